"""Whether a policy, a robot and a rate fit each other; asked before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ibrl_fast.deploy import ObservationContract
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.robot.robot import Array, RobotInfo


class RunsOnRobot(Protocol):
    """What the client needs of a policy: `ibrl_fast.load_policy` returns one."""

    contract: ObservationContract
    source: int | None

    def reset(self) -> None:
        """Forget the last episode."""

    def warm_up(self) -> None:
        """Run once on anything."""

    def step(self, obs: Mapping[str, Array]) -> Array:
        """Return the next action `[action_dim]` in [-1, 1]."""


def check_sensors(info: RobotInfo, contract: ObservationContract) -> None:
    """Raise `ArgumentError` for a robot that does not measure what a policy needs."""
    for name, field in contract.observations.items():
        there = info.sensors.get(name)
        got = "none" if there is None else f"{list(there.shape)} {there.dtype}"
        if there is None or (there.shape, there.dtype) != (field.shape, field.dtype):
            raise ArgumentError(
                f"robot {info.name}: expected the sensor {name} {list(field.shape)} {field.dtype} "
                f"that the policy needs, got {got}"
            )


def check_rate(rate_hz: float, contract: ObservationContract) -> None:
    """Raise `ArgumentError` for another time between actions than the policy was trained with."""
    if contract.control_period is None:
        return
    trained = 1.0 / (contract.control_period * (contract.action_repeat or 1))
    expect(
        abs(rate_hz - trained) <= 0.01 * trained,
        "rate_hz",
        f"{trained:g}, with which the policy was trained",
        f"{rate_hz:g}",
    )
