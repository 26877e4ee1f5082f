"""What an action in [-1, 1] means in metres and radians, and back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ibrl_fast.errors import expect
from ibrl_fast.fields import check_fields
from ibrl_fast.robot.robot import Array, Command

ACTION_DIMS = (4, 7)
"""Translation and gripper, or translation, rotation and gripper (paper Sec. V.B)."""


@dataclass(frozen=True)
class ActionMap:
    """Actions are deltas of the end effector, and the gripper's absolute width: -1 open, 1 closed."""

    translation: float = 0.03
    """Way along an axis for an action of 1, m."""
    rotation: float = 0.15
    """Component of the rotation vector for an action of 1, rad."""
    gripper_open: float = 0.085
    """Width for an action of -1, m."""
    gripper_closed: float = 0.0
    """Width for an action of 1, m."""

    def __post_init__(self) -> None:
        check_fields(self)
        for entry in dataclasses.fields(self)[:3]:
            expect(getattr(self, entry.name) > 0.0, entry.name, "> 0", getattr(self, entry.name))
        expect(
            0.0 <= self.gripper_closed < self.gripper_open,
            "gripper_closed",
            "from 0 to less than gripper_open",
            self.gripper_closed,
        )

    def command(self, action: Array) -> Command:
        """Return the command that an action `[4]` or `[7]` means; beyond [-1, 1] it is clipped."""
        check_action_dim(len(action))
        values = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        turn = self.rotation * values[3:6] if len(values) == 7 else np.zeros(3)
        share = 0.5 * (1.0 - float(values[-1]))
        width = self.gripper_closed + share * (self.gripper_open - self.gripper_closed)
        return Command(self.translation * values[:3], turn, width)

    def action(self, command: Command, gripper: float, action_dim: int) -> Array:
        """Return the action `[action_dim]` float32 in [-1, 1] nearest to a command.

        Args:
            command: what was sent.
            gripper: width for a command that leaves the gripper alone, m.
            action_dim: 4 or 7.
        """
        check_action_dim(action_dim)
        width = gripper if command.gripper is None else command.gripper
        share = (width - self.gripper_closed) / (self.gripper_open - self.gripper_closed)
        turn = np.asarray(command.rotation) / self.rotation if action_dim == 7 else ()
        values = [*(np.asarray(command.translation) / self.translation), *turn, 1.0 - 2.0 * share]
        return np.clip(np.array(values, dtype=np.float32), -1.0, 1.0)


def check_action_dim(action_dim: int) -> None:
    """Raise `ArgumentError` for actions of another size."""
    expect(
        action_dim in ACTION_DIMS,
        "action",
        "4 numbers (translation, gripper) or 7 (translation, rotation, gripper)",
        action_dim,
    )
