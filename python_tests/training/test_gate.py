"""The deployment gate: opens on evidence, closes with hysteresis, and decides what a policy module does."""

from __future__ import annotations

import pytest

from ibrl_fast.agents.gate import DeploymentGate, GateConfig


def feed(gate: DeploymentGate, outcomes: str, *, from_il: bool = False) -> list[bool]:
    """Records episodes, `1` a success; returns the gate's state after each."""
    states = []
    for outcome in outcomes:
        gate.record(outcome == "1", from_il=from_il)
        states.append(gate.is_open)
    return states


def test_stays_closed_until_the_window_is_full() -> None:
    gate = DeploymentGate(GateConfig(window=4))
    assert feed(gate, "0110", from_il=True) == [False] * 4
    assert feed(gate, "1111") == [False, False, False, True]


def test_opens_at_the_imitation_rate_and_closes_only_below_the_margin() -> None:
    gate = DeploymentGate(GateConfig(window=4, open_above=0.0, close_below=0.3))
    feed(gate, "1100", from_il=True)
    # recent rates once the window is full: 0.25, 0.5 (opens), 0.25 (0.25 below: stays open), 0 (closes)
    assert feed(gate, "0001" + "1" + "00" + "00") == [
        False,
        False,
        False,
        False,
        True,
        True,
        True,
        True,
        False,
    ]


def test_no_margin_closes_at_once() -> None:
    gate = DeploymentGate(GateConfig(window=2, open_above=0.0, close_below=0.0))
    feed(gate, "10", from_il=True)
    assert feed(gate, "100") == [False, True, False]


def test_wants_the_margin_above_the_imitation_rate() -> None:
    gate = DeploymentGate(GateConfig(window=4, open_above=0.2))
    feed(gate, "1100", from_il=True)
    assert feed(gate, "1100" + "1" + "1" + "1") == [False] * 6 + [True]


def test_opens_for_nearly_perfect_episodes_however_good_imitation_is() -> None:
    gate = DeploymentGate(GateConfig(window=4, open_above=0.5))
    feed(gate, "1111", from_il=True)
    assert feed(gate, "01111") == [False] * 4 + [True]


def test_continues_from_a_saved_state() -> None:
    gate, other = DeploymentGate(GateConfig(window=3)), DeploymentGate(GateConfig(window=3))
    feed(gate, "110", from_il=True)
    feed(gate, "0111")
    other.load_state_dict(gate.state_dict())
    assert other.is_open == gate.is_open
    assert feed(other, "0010111") == feed(gate, "0010111")


@pytest.mark.parametrize(
    "values", [{"window": 0}, {"open_above": 2.0}, {"close_below": -0.1}, {"close_below": 1.5}]
)
def test_refuses_bad_values(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"gate.{next(iter(values))}: expected"):
        GateConfig(**values)  # type: ignore[arg-type]
