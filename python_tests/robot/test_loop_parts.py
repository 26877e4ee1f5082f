"""Actions in metres, quantiles of times, real-time wishes, and the wall clock, which nothing looks at."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

import ibrl_fast.robot
from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import ActionMap, Command, ManualClock, MonotonicClock, StepTimes, real_time
from ibrl_fast.robot.clock import sleep_until
from ibrl_fast.robot.timing import summarise, table


def test_actions_and_back() -> None:
    actions = ActionMap(translation=0.02, rotation=0.1, gripper_open=0.08, gripper_closed=0.01)
    command = actions.command(np.array([1.0, -0.5, 0.0, 0.2, 0.0, -1.0, 1.0]))
    np.testing.assert_allclose(command.translation, [0.02, -0.01, 0.0])
    np.testing.assert_allclose(command.rotation, [0.02, 0.0, -0.1])
    assert command.gripper == pytest.approx(0.01)
    assert actions.command(np.array([0, 0, 0, -1.0])).gripper == pytest.approx(0.08)
    np.testing.assert_allclose(actions.command(np.array([9.0, 0, 0, 0])).translation, [0.02, 0, 0])
    random = np.random.default_rng(0)
    for size in (4, 7):
        action = random.uniform(-1, 1, size)
        np.testing.assert_allclose(actions.action(actions.command(action), 0.0, size), action, atol=1e-6)
    np.testing.assert_array_equal(actions.action(Command(), 0.08, 4), np.float32([0, 0, 0, -1]))
    assert actions.action(Command(np.full(3, 9.0)), 0.5, 7).dtype == np.float32
    assert np.abs(actions.action(Command(np.full(3, 9.0)), 0.5, 7)).max() == 1.0


@pytest.mark.parametrize(
    "change", [{"translation": 0.0}, {"rotation": -1.0}, {"gripper_closed": 0.1}, {"gripper_open": "x"}]
)
def test_actions_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(change))):
        ActionMap(**change)


def test_quantiles_of_times_against_numpy() -> None:
    random = np.random.default_rng(0)
    steps, marks = [], []
    for tick in range(200):
        parts = random.exponential(0.005, 5)
        ends = 0.1 * tick + np.cumsum(parts)
        steps.append(StepTimes(0.1 * tick, *ends))
        marks.append(ends)
    summary = summarise(steps, 0.1)
    sent = np.array(marks)[:, 4]
    latency = 1e3 * (sent - 0.1 * np.arange(200))
    assert summary["latency"]["p95"] == pytest.approx(np.percentile(latency, 95))
    jitter = 1e3 * np.abs(np.diff(sent) - 0.1)
    assert summary["jitter"]["p99"] == pytest.approx(np.percentile(jitter, 99))
    assert summary["jitter"]["max"] == pytest.approx(jitter.max())
    assert list(summary) == ["wake", "sensors", "inference", "safety", "send", "latency", "jitter"]
    assert len(table(summary).splitlines()) == 8
    # a step that sent nothing has no latency, and its neighbours no jitter between them
    steps[100].sent = None
    assert summarise(steps[99:102], 0.1)["latency"]["max"] > 0 and "jitter" not in summarise(
        steps[99:102], 0.1
    )
    assert summarise([], 0.1) == {}


def test_clocks() -> None:
    clock = ManualClock(5.0)
    assert sleep_until(clock, 6.0) == 0.0 and clock.now() == 6.0
    assert sleep_until(clock, 5.5) == 0.5 and clock.now() == 6.0
    clock.sleep(-1.0)
    assert clock.now() == 6.0
    real = MonotonicClock()
    before = real.now()
    assert sleep_until(real, before + 0.002) >= 0.0 and real.now() >= before + 0.002
    assert sleep_until(real, before) >= 0.0


def test_real_time_wishes_are_granted_or_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    policy, cores = os.sched_getscheduler(0), os.sched_getaffinity(0)
    core = min(cores)
    with monkeypatch.context() as inner:
        inner.setattr("ibrl_fast.robot.realtime._lock_memory", refuse)
        # the scheduler was never changed, so that there is nothing to give back
        inner.setattr(
            os, "sched_setscheduler", lambda pid, kind, wish: refuse() if kind == os.SCHED_FIFO else None
        )
        with real_time(50, core, lock_memory=True) as messages:
            assert not gc.isenabled()
            assert os.sched_getaffinity(0) == {core}
    assert gc.isenabled() and os.sched_getaffinity(0) == cores and os.sched_getscheduler(0) == policy
    assert messages[0].startswith("memory locked: refused (Operation not permitted); raise `ulimit -l`")
    assert messages[1] == f"core {core}: granted"
    assert messages[2].startswith("SCHED_FIFO priority 50: refused") and "ulimit -r" in messages[2]
    with real_time() as messages:
        assert messages == []
    for options, name in (({"priority": 0}, "priority"), ({"core": 10_000}, "core")):
        with pytest.raises(ArgumentError, match=name), real_time(**options):
            pass


def test_nothing_in_the_robot_looks_at_the_time_of_day() -> None:
    folder = Path(ibrl_fast.robot.__file__).parent
    for file in folder.rglob("*.py"):
        for word in ("time.time(", "datetime", "perf_counter", "time.time_ns"):
            assert word not in file.read_text(), (file.name, word)
