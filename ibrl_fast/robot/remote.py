"""A robot behind a server: the same protocol as hardware, so that a client cannot tell the difference.

Times of the server's clock are moved to this one's by the moment at which the question was sent: a reading
can seem older than it is, never younger. An observation that does not come in time leaves the last one
standing, with its old times; whoever runs a loop sees its age.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibrl_fast.errors import ArgumentError, expect, first_line
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.extras import need
from ibrl_fast.robot.robot import BoundaryError, Command, Observation, RobotError, RobotInfo, RobotState
from ibrl_fast.robot.server import ADDRESS
from ibrl_fast.robot.wire import (
    EXTRA,
    MAX_REPLY,
    WireError,
    info_from_plain,
    observation_from_plain,
    pack,
    state_from_plain,
    unpack,
)


@dataclass(frozen=True)
class ClientKeys:
    """Files of CURVE keys, as `zmq.auth.create_certificates` writes them."""

    secret: Path
    """This client's secret key (`client.key_secret`)."""
    server: Path
    """The server's public key (`server.key`)."""


class _Line:
    """One socket to a server: a question, its answer, and what answers to earlier questions said."""

    def __init__(self, address: str, keys: ClientKeys | None, context: Any, clock: Clock) -> None:
        zmq = need("zmq", EXTRA)
        self._zmq, self._clock = zmq, clock
        self._socket = context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.MAXMSGSIZE, MAX_REPLY)
        # nothing waits for a connection, to be sent all at once when it is back
        self._socket.set(zmq.IMMEDIATE, 1)
        self._socket.set(zmq.SNDHWM, 4)
        self._socket.set(zmq.RECONNECT_IVL, 20)
        self._socket.set(zmq.RECONNECT_IVL_MAX, 200)
        if keys is not None:
            _use_keys(keys, self._socket)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            raise ArgumentError(f"address: expected tcp://HOST:PORT or ipc://PATH, got {address}") from error
        self._number = 0
        self.late: list[dict[str, Any]] = []
        """Answers that came after their question had been given up, but for states."""
        self.states: list[dict[str, Any]] = []
        """States of the stream, the newest last."""

    def ask(self, message: dict[str, Any], timeout: float) -> dict[str, Any] | None:
        """Send a question and return its answer; None where none came in time, s."""
        self._number += 1
        number, deadline = self._number, self._clock.now() + timeout
        try:
            # a connection that is not there yet is waited for
            if not self._socket.poll(max(0.0, 1e3 * timeout), self._zmq.POLLOUT):
                return None
            self._socket.send(pack({"id": number, **message}), flags=self._zmq.DONTWAIT)
        except self._zmq.Again:
            return None
        while True:
            left = deadline - self._clock.now()
            for reply in self.receive(max(0.0, left)):
                if reply.get("id") == number:
                    return reply
                self.late.append(reply)
                del self.late[:-16]
            if left <= 0.0:
                return None

    def receive(self, seconds: float) -> list[dict[str, Any]]:
        """Return the answers that are there, or the first within a time; states are put aside."""
        replies = []
        while self._socket.poll(1e3 * seconds):
            seconds = 0.0
            frames = self._socket.recv_multipart()
            reply = unpack(frames[-1], MAX_REPLY)
            if reply.get("type") == "state":
                self.states.append(reply)
                del self.states[:-16]
            else:
                replies.append(reply)
        return replies

    def close(self) -> None:
        """Let go."""
        self._socket.close()


class RemoteRobot:
    """The robot of a `RobotServer`.

    Args:
        address: `tcp://HOST:PORT` or `ipc://PATH`.
        token: what the server asks for.
        keys: CURVE keys, where the server has some.
        name: under which the server knows this client.
        control: whether to command it; False: only watch, and stop.
        timeout: longest wait for an answer in the loop, s.
        patience: longest wait for `connect`, and for any sign of life later, s.
        reset_timeout: longest wait for the end of a reset, s.
        clock: of the client.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        token: str | None = None,
        keys: ClientKeys | None = None,
        name: str = "client",
        control: bool = True,
        timeout: float = 0.08,
        patience: float = 2.0,
        reset_timeout: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        for option, value in (("timeout", timeout), ("patience", patience), ("reset_timeout", reset_timeout)):
            expect(value > 0.0, option, "> 0 s", value)
        self._zmq = need("zmq", EXTRA)
        self._clock = clock or MonotonicClock()
        self._hello = {"type": "hello", "name": name, "token": token, "control": control}
        self._timeout, self._patience, self._reset_timeout = timeout, patience, reset_timeout
        self._address, self._keys = address, keys
        # stops and holds have a line of their own, so that they wait for nothing
        self._context: Any = None
        self._line: _Line | None = None
        self._urgent: _Line | None = None
        self._urgent_lock = threading.Lock()
        self._session = b""
        self._info: RobotInfo | None = None
        self._commands = 0
        self._basis = 0.0
        self._last: Observation | None = None
        self._heard = 0.0

    def connect(self) -> RobotInfo:
        """Say hello to the server."""
        if self._line is None:
            self._context = self._zmq.Context()
            self._line = _Line(self._address, self._keys, self._context, self._clock)
            self._urgent = _Line(self._address, self._keys, self._context, self._clock)
        reply = self._expect(self._line.ask(self._hello, self._patience), "hello")
        self._session = reply["session"] if isinstance(reply.get("session"), bytes) else b""
        self._info = info_from_plain(reply.get("info"))
        self._commands, self._heard, self._last = 0, self._clock.now(), None
        self._basis = _number(reply, "now")
        return self._info

    def observe(self) -> Observation:
        """Return the newest observation that came in time, or the last one with its old times."""
        line, info = self._connected()
        asked = self._clock.now()
        reply = line.ask({"type": "observe", "session": self._session}, self._timeout)
        self._look_at_late()
        if reply is None:
            silent = self._clock.now() - self._heard
            if self._last is None or silent > self._patience:
                raise RobotError(f"server {self._address}: expected an answer, got none for {silent:.1f} s")
            return self._last
        self._expect(reply, "observe")
        self._heard = self._clock.now()
        now = _number(reply, "now")
        self._last = observation_from_plain(reply.get("observation"), info, asked - now)
        self._basis = now
        return self._last

    def command(self, command: Command) -> None:
        """Send a command; what the server says against it is raised here, or by a later call."""
        line, _ = self._connected()
        self._commands += 1
        message = {
            "type": "command",
            "session": self._session,
            "number": self._commands,
            # what is delayed on its way answers to something too old, and is refused
            "basis": self._basis,
            "translation": [float(value) for value in command.translation],
            "rotation": [float(value) for value in command.rotation],
            "gripper": None if command.gripper is None else float(command.gripper),
        }
        reply = line.ask(message, self._timeout)
        self._look_at_late()
        if reply is not None:
            self._expect(reply, "command")
            self._heard = self._clock.now()

    def hold(self) -> None:
        """Ask the server to hold; the watchdog does where the connection is gone."""
        self._ask_urgently("hold")

    def stop(self) -> None:
        """Ask the server to stop; the watchdog does where the connection is gone."""
        self._ask_urgently("stop")

    def reset(self) -> None:
        """Reset, and take control again where it was lost by long silence."""
        line, _ = self._connected()
        reply = line.ask({"type": "reset", "session": self._session}, self._reset_timeout)
        if reply is not None and reply.get("code") == "session":
            self.connect()
            reply = line.ask({"type": "reset", "session": self._session}, self._reset_timeout)
        self._basis = _number(self._expect(reply, "reset"), "now")
        line.late.clear()
        self._last, self._heard = None, self._clock.now()

    def close(self) -> None:
        """Give control back and let go; the robot holds."""
        if self._line is None or self._urgent is None:
            return
        with self._urgent_lock:
            self._line.ask({"type": "bye", "session": self._session}, self._timeout)
            for line in (self._line, self._urgent):
                line.close()
            self._line = self._urgent = None
            self._context.destroy(linger=0)

    def subscribe(self, rate_hz: float) -> None:
        """Ask for states at a rate of their own; 0: no more."""
        line, _ = self._connected()
        message = {"type": "subscribe", "session": self._session, "rate_hz": float(rate_hz)}
        self._expect(line.ask(message, self._patience), "subscribe")

    def states(self, seconds: float = 0.0) -> list[RobotState]:
        """Return the states that were streamed since the last call, oldest first, by the server's clock.

        Args:
            seconds: longest wait for the first, s.
        """
        line, _ = self._connected()
        line.late += line.receive(seconds if not line.states else 0.0)
        states, line.states = line.states, []
        return [state_from_plain(message.get("state"), 0.0) for message in states]

    def _connected(self) -> tuple[_Line, RobotInfo]:
        if self._line is None or self._info is None:
            raise RobotError("robot: expected a connected one, got one that is not")
        return self._line, self._info

    def _ask_urgently(self, kind: str) -> None:
        with self._urgent_lock:
            if self._urgent is None:
                raise RobotError("robot: expected a connected one, got one that is not")
            self._expect(self._urgent.ask({"type": kind, "session": self._session}, self._timeout), kind)

    def _look_at_late(self) -> None:
        """Raise what an answer to an earlier command says against it."""
        line, _ = self._connected()
        late, line.late = line.late, []
        for reply in late:
            # a command that came too late did nothing; how old the next observation is says the rest
            if not reply.get("ok") and reply.get("code") not in ("stale", "resetting"):
                self._expect(reply, "an earlier command")

    def _expect(self, reply: dict[str, Any] | None, what: str) -> dict[str, Any]:
        """Return an answer that is a good one; raise what it says otherwise."""
        if reply is None:
            raise RobotError(f"server {self._address}: expected an answer to {what}, got none in time")
        if reply.get("ok") is not True:
            kind = BoundaryError if reply.get("code") == "boundary" else RobotError
            raise kind(f"server: {what}: {reply.get('error')}")
        return reply


def _number(reply: dict[str, Any], name: str) -> float:
    value = reply.get(name)
    if not isinstance(value, float | int):
        raise WireError(f"{name}: expected a number, got {type(value).__name__}")
    return float(value)


def _use_keys(keys: ClientKeys, socket: Any) -> None:
    auth = need("zmq.auth", EXTRA)
    try:
        public, secret = auth.load_certificate(keys.secret)
        server, _ = auth.load_certificate(keys.server)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"keys: expected CURVE keys, got {first_line(error)}") from error
    expect(secret is not None, "keys.secret", "a secret key", f"a public one in {keys.secret}")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server
