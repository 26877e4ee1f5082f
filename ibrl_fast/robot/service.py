"""What a server does with a request: sessions, one that controls, safety once more, and what it refuses.

No socket and no thread is known here: a request comes in with the time, a reply goes out.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ibrl_fast.errors import expect
from ibrl_fast.robot.limits import SafetyLimits
from ibrl_fast.robot.robot import Command, Robot, RobotError
from ibrl_fast.robot.safety import Intervention, MotionHistory, filter_command
from ibrl_fast.robot.watchdog import Watchdog
from ibrl_fast.robot.wire import (
    SESSION_BYTES,
    WireError,
    check_request,
    info_to_plain,
    observation_to_plain,
    state_to_plain,
)

MAX_SESSIONS = 16
MAX_STREAM_HZ = 1000.0

_RESETTING = "it is being reset"

Reply = dict[str, Any]
Say = Callable[[str], object]


@dataclass
class Session:
    """A client that said hello."""

    name: str
    heard: float
    """When it last said anything, s."""
    number: int = -1
    """Of its last command."""
    stream_hz: float = 0.0
    """States per second that it asked for."""
    streamed: float = -1e9
    """When it was last sent a state, s."""


class Refusal(Exception):
    """A request that is answered with a code and words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class RobotService:
    """Owns a connected robot and answers requests about it.

    Args:
        robot: connected by `connect`.
        limits: what every command is held to, whatever the client did.
        token: what a hello must bring; None: nothing.
        watchdog: fed by valid commands.
        max_command_age: oldest observation that a command may answer, s of the robot's clock: what was
            delayed on its way is refused.
        control_timeout: silence after which another client may take control, s.
        say: receives one line for every event worth a log.
    """

    def __init__(
        self,
        robot: Robot,
        limits: SafetyLimits,
        *,
        token: str | None = None,
        watchdog: Watchdog | None = None,
        max_command_age: float = 0.3,
        control_timeout: float = 5.0,
        say: Say = lambda line: None,
    ) -> None:
        expect(max_command_age > 0.0, "max_command_age", "> 0 s", max_command_age)
        expect(control_timeout > 0.0, "control_timeout", "> 0 s", control_timeout)
        self.watchdog = watchdog or Watchdog()
        self.sessions: dict[bytes, Session] = {}
        self.stop_reason: str | None = "not reset yet"
        """Why commands are refused until a reset; None: they are not."""
        self.is_resetting = False
        self._robot, self._limits, self._token = robot, limits, token
        self._max_command_age, self._control_timeout = max_command_age, control_timeout
        self._say = say
        self._history = MotionHistory()
        self._controller: bytes | None = None
        self._info: dict[str, Any] = {}

    def connect(self) -> None:
        """Connect the robot."""
        self._info = info_to_plain(self._robot.connect())

    def answer(self, request: dict[str, Any], now: float) -> Reply:
        """Answer any map that `wire.unpack` returned; a reset may then begin (`begins_reset`)."""
        number = request.get("id")
        reply: Reply = {"id": number if isinstance(number, int) and 0 <= number < 1 << 62 else 0}
        try:
            check_request(request)
            kind = request["type"]
            if kind == "hello":
                return {**reply, "ok": True, **self._hello(request, now)}
            session = self.sessions.get(request["session"])
            if session is None:
                raise Refusal("session", "session: expected one that said hello, got another")
            session.heard = now
            return {**reply, "ok": True, **getattr(self, f"_{kind}")(request, session, now)}
        except Refusal as refusal:
            return {**reply, "ok": False, "code": refusal.code, "error": str(refusal)}
        except WireError as error:
            return {**reply, "ok": False, "code": "malformed", "error": str(error)}
        except RobotError as error:
            self._say(f"robot: {error}")
            return {**reply, "ok": False, "code": "robot", "error": str(error)}

    def watch(self, now: float) -> None:
        """Hold or stop the robot if its client has gone silent; may be called from another thread."""
        action = self.watchdog.check(now)
        if action is None:
            return
        self._say(f"watchdog: no valid command in time, {action}")
        if action == "stop":
            # refused from now on, and asked again until the robot has done it
            self.stop_reason = "the watchdog stopped it: no valid command in time"
            self._robot.stop()
            self.watchdog.rest()
        else:
            self._robot.hold()

    def reset(self) -> None:
        """Reset the robot, however long that takes; a server does it in a thread of its own.

        Raises:
            RobotError: it cannot be reset, or was stopped meanwhile.
        """
        try:
            self._robot.reset()
            if self.stop_reason != _RESETTING:
                self._robot.stop()
                raise RobotError(f"reset: expected no stop meanwhile, got one: {self.stop_reason}")
            self._history = MotionHistory()
            self.stop_reason = None
        finally:
            self.is_resetting = False

    def streams(self, now: float) -> list[bytes]:
        """Return the sessions that are due for a state, and note that they got it."""
        due = []
        for key, session in self.sessions.items():
            if session.stream_hz > 0.0 and now - session.streamed >= 1.0 / session.stream_hz:
                session.streamed = now
                due.append(key)
        return due

    def state_message(self) -> Reply:
        """Return the message of the state stream."""
        return {"id": 0, "ok": True, "type": "state", "state": state_to_plain(self._robot.observe().state)}

    def close(self) -> None:
        """Stop and let go of the robot."""
        self.watchdog.rest()
        self.stop_reason = "the server is closed"
        self._robot.close()

    # ---- requests

    def _hello(self, request: dict[str, Any], now: float) -> Reply:
        if self._token is not None:
            given = (request["token"] or "").encode()
            if not hmac.compare_digest(given, self._token.encode()):
                self._say(f"hello with a wrong token: {request['name']!r}")
                raise Refusal("token", "token: expected the server's, got another")
        if request["control"]:
            self._free_control(now)
            if self._controller is not None:
                other = self.sessions[self._controller].name
                raise Refusal("busy", f"control: expected nobody in control, got {other!r}")
        # the longest silent one that does not control makes room
        while len(self.sessions) >= MAX_SESSIONS:
            others = [key for key in self.sessions if key != self._controller]
            del self.sessions[min(others, key=lambda key: self.sessions[key].heard)]
        key = secrets.token_bytes(SESSION_BYTES)
        self.sessions[key] = Session(request["name"], now)
        if request["control"]:
            self._controller = key
            self._say(f"control: {request['name']!r}")
        return {"session": key, "info": self._info, "now": now}

    def _observe(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        self._expect_no_reset()
        observation = observation_to_plain(self._robot.observe())
        return {"now": now, "observation": observation, "stop_reason": self.stop_reason}

    def _command(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        self._expect_control(request)
        self._expect_no_reset()
        if self.stop_reason is not None:
            raise Refusal("stopped", f"command: expected a robot that runs, got a stop: {self.stop_reason}")
        if request["number"] <= session.number:
            raise Refusal("stale", f"number: expected more than {session.number}, got {request['number']}")
        age = now - request["basis"]
        if not 0.0 <= age <= self._max_command_age:
            raise Refusal("stale", f"basis: expected at most {self._max_command_age} s old, got {age:.3f} s")
        session.number = request["number"]
        command = Command(
            np.array(request["translation"], dtype=np.float64),
            np.array(request["rotation"], dtype=np.float64),
            request["gripper"],
        )
        filtered = filter_command(command, self._robot.observe().state, self._limits, self._history, now)
        if filtered.command is None:
            self._robot.hold()
            self.watchdog.rest()
            words = _words(filtered.interventions)
            self._say(f"safety refused: {words}")
            raise Refusal("fault" if filtered.end == "fault" else "boundary", f"safety: {words}")
        self._robot.command(filtered.command)
        self.watchdog.feed(now)
        self._history = self._history.after(filtered.command, now)
        if filtered.interventions:
            self._say(f"safety changed: {_words(filtered.interventions)}")
        return {"interventions": [intervention.rule for intervention in filtered.interventions]}

    def _hold(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        self._expect_control(request)
        self.watchdog.rest()
        self._robot.hold()
        return {}

    def _stop(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        # whoever may talk to the server may stop the robot
        self.watchdog.rest()
        self.stop_reason = f"{session.name!r} stopped it"
        self._say(f"stop: {session.name!r}")
        self._robot.stop()
        return {}

    def _reset(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        self._expect_control(request)
        self._expect_no_reset()
        self.watchdog.rest()
        self.is_resetting, self.stop_reason = True, _RESETTING
        return {"begins_reset": True}

    def _subscribe(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        if not 0.0 <= request["rate_hz"] <= MAX_STREAM_HZ:
            raise Refusal("malformed", f"rate_hz: expected 0 to {MAX_STREAM_HZ}, got {request['rate_hz']}")
        session.stream_hz = request["rate_hz"]
        return {}

    def _bye(self, request: dict[str, Any], session: Session, now: float) -> Reply:
        if request["session"] == self._controller:
            self._controller = None
            self._say(f"control given back: {session.name!r}")
            self.watchdog.rest()
            if not self.is_resetting:
                self._robot.hold()
        del self.sessions[request["session"]]
        return {}

    def _expect_control(self, request: dict[str, Any]) -> None:
        if request["session"] != self._controller:
            raise Refusal("session", "control: expected the client in control, got another")

    def _expect_no_reset(self) -> None:
        if self.is_resetting:
            raise Refusal("resetting", "robot: expected one that is ready, got one that is being reset")

    def _free_control(self, now: float) -> None:
        """Take control from a client that has been silent for too long."""
        if self._controller is None or self.is_resetting:
            return
        session = self.sessions[self._controller]
        if now - session.heard > self._control_timeout:
            self._say(f"control: {session.name!r} was silent for {now - session.heard:.1f} s")
            del self.sessions[self._controller]
            self._controller = None


def _words(interventions: tuple[Intervention, ...]) -> str:
    return "; ".join(f"{intervention.rule}: {intervention.detail}" for intervention in interventions)
