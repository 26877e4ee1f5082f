"""What a server answers, without sockets and with time as a number; the watchdog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from robot_helpers import LIMITS

from ibrl_fast.robot import ManualClock, MockRobot, RobotError
from ibrl_fast.robot.mock import HOME
from ibrl_fast.robot.service import MAX_SESSIONS, RobotService
from ibrl_fast.robot.watchdog import Watchdog

TOKEN = "correct horse battery"


class Talk:
    """A service of a mock robot, and what one says to it."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.robot = MockRobot(self.clock)
        self.lines: list[str] = []
        self.service = RobotService(
            self.robot, options.pop("limits", LIMITS), say=self.lines.append, **options
        )
        self.service.connect()
        self.number = 0

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        self.number += 1
        request = {"id": self.number, "type": kind, **fields}
        reply = self.service.answer(request, self.clock.now())
        assert reply["id"] == self.number
        return reply

    def hello(self, name: str = "one", control: bool = True, token: str | None = None) -> dict[str, Any]:
        return self.ask("hello", name=name, token=token, control=control)

    def ready(self) -> bytes:
        """A session in control of a robot that was reset."""
        session: bytes = self.hello()["session"]
        assert self.ask("reset", session=session)["begins_reset"]
        self.service.reset()
        return session

    def command(self, session: bytes, number: int, x: float = 0.01, **changes: Any) -> dict[str, Any]:
        fields = {
            "number": number,
            "basis": self.clock.now(),
            "translation": [x, 0.0, 0.0],
            "rotation": [0.0, 0.0, 0.0],
            "gripper": None,
        }
        return self.ask("command", session=session, **{**fields, **changes})


def test_a_command_needs_a_reset_then_moves() -> None:
    talk = Talk()
    session = talk.hello()["session"]
    reply = talk.command(session, 1)
    assert (reply["ok"], reply["code"]) == (False, "stopped")
    assert talk.ask("reset", session=session)["begins_reset"]
    # until it has ended, nothing but hold and stop
    assert talk.ask("observe", session=session)["code"] == "resetting"
    assert talk.command(session, 1)["code"] == "resetting"
    assert talk.ask("reset", session=session)["code"] == "resetting"
    assert talk.ask("hold", session=session)["ok"]
    talk.service.reset()
    assert talk.command(session, 1)["ok"]
    talk.clock.sleep(1.0)
    reply = talk.ask("observe", session=session)
    np.testing.assert_allclose(reply["observation"]["state"]["position"], np.add(HOME, [0.01, 0, 0]))
    assert reply["now"] == talk.clock.now()


def test_one_client_controls_at_a_time() -> None:
    talk = Talk(control_timeout=5.0)
    one = talk.ready()
    other = talk.hello("other")
    assert other["code"] == "busy" and "'one'" in other["error"]
    watcher = talk.hello("watcher", control=False)["session"]
    assert talk.ask("observe", session=watcher)["ok"]
    assert talk.command(watcher, 1)["code"] == "session"
    assert talk.ask("hold", session=watcher)["code"] == "session"
    assert talk.ask("reset", session=watcher)["code"] == "session"
    # given back, or lost by silence
    assert talk.ask("bye", session=one)["ok"]
    assert talk.command(one, 1)["code"] == "session"
    two = talk.hello("two")["session"]
    talk.clock.sleep(4.0)
    assert talk.hello("three")["code"] == "busy"
    talk.clock.sleep(1.1)
    assert talk.hello("three")["ok"]
    assert talk.ask("observe", session=two)["code"] == "session"


def test_whoever_may_talk_may_stop() -> None:
    talk = Talk()
    one = talk.ready()
    watcher = talk.hello("watcher", control=False)["session"]
    assert talk.command(one, 1)["ok"]
    assert talk.ask("stop", session=watcher)["ok"]
    assert talk.robot.is_stopped
    reply = talk.command(one, 2)
    assert reply["code"] == "stopped" and "'watcher' stopped it" in reply["error"]
    assert "'watcher' stopped it" in talk.ask("observe", session=one)["stop_reason"]
    talk.ask("reset", session=one)
    talk.service.reset()
    assert talk.command(one, 3)["ok"]


def test_tokens() -> None:
    talk = Talk(token=TOKEN)
    for token in (None, "", TOKEN[:-1], TOKEN + "x", "é"):
        assert talk.hello(token=token)["code"] == "token"
    assert talk.service.sessions == {}
    assert talk.hello(token=TOKEN)["ok"]


def test_sessions_are_bounded_and_the_one_in_control_stays() -> None:
    talk = Talk()
    one = talk.ready()
    keys = [talk.hello(f"{n}", control=False)["session"] for n in range(3 * MAX_SESSIONS)]
    assert len(talk.service.sessions) == MAX_SESSIONS
    assert one in talk.service.sessions and keys[-1] in talk.service.sessions


def test_old_and_repeated_commands_are_refused() -> None:
    talk = Talk(max_command_age=0.3)
    session = talk.ready()
    assert talk.command(session, 5)["ok"]
    for number in (5, 4, 0):
        assert talk.command(session, number)["code"] == "stale"
    now = talk.clock.now()
    assert talk.command(session, 6, basis=now - 0.31)["code"] == "stale"
    assert talk.command(session, 6, basis=now + 0.01)["code"] == "stale"
    assert talk.command(session, 6, basis=now - 0.29)["ok"]
    assert talk.robot.commands == 2


def test_safety_once_more() -> None:
    talk = Talk(limits=replace(LIMITS, position_high=(HOME[0] + 0.02, 0.2, 0.5)))
    session = talk.ready()
    assert talk.command(session, 1, x=1.0)["code"] == "boundary"
    assert talk.robot.commands == 0
    reply = talk.command(session, 2, x=0.02)
    assert reply["ok"] and reply["interventions"] == []
    # too long a step is shortened, and said to be
    reply = talk.command(session, 3, x=-0.5)
    assert reply["ok"] and reply["interventions"] == ["step"]
    # and too many of them within a second
    rules = [talk.command(session, 4 + n, x=-0.03)["interventions"] for n in range(10)]
    assert rules[0] == [] and rules[-1] == ["speed"]


def test_the_watchdog_holds_then_stops() -> None:
    talk = Talk(watchdog=Watchdog(0.3, 1.0))
    session = talk.ready()
    talk.service.watch(talk.clock.now() + 99.0)  # nothing was commanded yet
    assert talk.command(session, 1, x=0.03)["ok"]
    talk.robot._max_speed = 0.05  # still under way
    way = []
    for seconds in (0.2, 0.15, 0.3):
        talk.clock.sleep(seconds)
        talk.service.watch(talk.clock.now())
        way.append(talk.robot.observe().state.position[0] - HOME[0])
    np.testing.assert_allclose(way, [0.01, 0.0175, 0.0175], atol=1e-9)
    assert not talk.robot.is_stopped
    # a command within the time goes on; observations do not count
    assert talk.command(session, 2)["ok"]
    talk.clock.sleep(0.9)
    talk.ask("observe", session=session)
    talk.service.watch(talk.clock.now())
    assert not talk.robot.is_stopped
    talk.clock.sleep(0.2)
    talk.service.watch(talk.clock.now())
    assert talk.robot.is_stopped
    assert talk.command(session, 3)["code"] == "stopped"
    assert [line for line in talk.lines if line.startswith("watchdog")] == [
        "watchdog: no valid command in time, hold",
        "watchdog: no valid command in time, hold",
        "watchdog: no valid command in time, stop",
    ]


def test_the_watchdog_rests_after_a_hold_that_was_asked_for() -> None:
    talk = Talk()
    session = talk.ready()
    talk.command(session, 1)
    talk.ask("hold", session=session)
    talk.clock.sleep(100.0)
    talk.service.watch(talk.clock.now())
    assert not talk.robot.is_stopped
    # invalid commands do not feed it
    talk.command(session, 2)
    for number in range(5):
        talk.clock.sleep(0.25)
        talk.command(session, number, basis=0.0)
        talk.service.watch(talk.clock.now())
    assert talk.robot.is_stopped


def test_a_robot_that_fails_is_an_answer_not_an_end() -> None:
    talk = Talk()
    session = talk.ready()
    talk.robot.faults.is_disconnected = True
    reply = talk.ask("observe", session=session)
    assert reply["code"] == "robot" and "connection is gone" in reply["error"]
    talk.robot.faults.is_disconnected = False
    assert talk.ask("observe", session=session)["ok"]


def test_streams_keep_their_own_rate() -> None:
    talk = Talk()
    one, other = talk.ready(), talk.hello("other", control=False)["session"]
    talk.ask("subscribe", session=one, rate_hz=50.0)
    talk.ask("subscribe", session=other, rate_hz=10.0)
    counts = {one: 0, other: 0}
    for _ in range(1000):
        talk.clock.sleep(0.001)
        for session in talk.service.streams(talk.clock.now()):
            counts[session] += 1
    assert abs(counts[one] - 48) <= 3 and abs(counts[other] - 10) <= 1
    assert talk.service.state_message()["state"]["position"] == list(HOME)
    assert talk.ask("subscribe", session=one, rate_hz=1e9)["code"] == "malformed"
    talk.ask("subscribe", session=one, rate_hz=0.0)
    talk.ask("bye", session=other)
    talk.clock.sleep(1.0)
    assert talk.service.streams(talk.clock.now()) == []


def test_a_stop_during_a_reset_stays() -> None:
    talk = Talk()
    session = talk.ready()
    talk.ask("reset", session=session)
    original = talk.robot.reset

    def reset() -> None:
        assert talk.ask("stop", session=session)["ok"]
        original()

    talk.robot.reset = reset  # type: ignore[method-assign]
    with pytest.raises(RobotError, match="expected no stop meanwhile, got one: 'one' stopped it"):
        talk.service.reset()
    assert talk.robot.is_stopped and talk.command(session, 1)["code"] == "stopped"
    talk.robot.reset = original  # type: ignore[method-assign]
    talk.ask("reset", session=session)
    talk.service.reset()
    assert talk.command(session, 2)["ok"]


def test_a_stop_that_failed_is_asked_for_again() -> None:
    talk = Talk()
    session = talk.ready()
    talk.command(session, 1)
    talk.clock.sleep(2.0)
    talk.robot.faults.is_disconnected = True
    for _ in range(3):
        with pytest.raises(RobotError, match="connection is gone"):
            talk.service.watch(talk.clock.now())
    assert talk.command(session, 2)["code"] == "stopped"
    talk.robot.faults.is_disconnected = talk.robot.is_stopped = False
    talk.service.watch(talk.clock.now())
    assert talk.robot.is_stopped
    talk.robot.is_stopped = False
    talk.service.watch(talk.clock.now())
    assert not talk.robot.is_stopped  # once is enough


def test_requests_that_are_none() -> None:
    talk = Talk()
    session = talk.ready()
    whole = {
        "id": 1,
        "type": "command",
        "session": session,
        "number": 1,
        "basis": talk.clock.now(),
        "translation": [0.0, 0.0, 0.0],
        "rotation": [0.0, 0.0, 0.0],
        "gripper": 0.05,
    }
    bad: dict[str, list[Any]] = {
        "id": [-1, 1.0, True, "1", None, 1 << 62],
        "type": ["Command", "_words", "close", None, 7, ["command"], {}],
        "session": [b"", session[:-1], session.hex(), None],
        "number": [-1, 0.5, True],
        "basis": [float("nan"), "0", None, True],
        "translation": [[0.0, 0.0], [0.0] * 4, [0.0, float("inf"), 0.0], ["0", 0, 0], 0.0, None],
        "rotation": [[float("nan")] * 3, {}, b"000"],
        "gripper": [float("nan"), "open", []],
    }
    for name, values in bad.items():
        for value in values:
            reply = talk.service.answer({**whole, name: value}, talk.clock.now())
            assert reply["code"] == "malformed", (name, value)
        without = {key: entry for key, entry in whole.items() if key != name}
        assert talk.service.answer(without, talk.clock.now())["code"] == "malformed"
    assert talk.service.answer({**whole, "more": 1}, talk.clock.now())["code"] == "malformed"
    assert talk.robot.commands == 0
    assert talk.service.answer(whole, talk.clock.now())["ok"]


def test_close_stops_the_robot() -> None:
    talk = Talk()
    session = talk.ready()
    talk.service.close()
    assert talk.robot.is_stopped and talk.command(session, 1)["code"] == "stopped"


def test_limits_of_the_watchdog() -> None:
    for values in ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="hold_after"):
            Watchdog(*values)
