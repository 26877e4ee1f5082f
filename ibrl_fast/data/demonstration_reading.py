"""How a demonstration file is read: what it must be, what is changed in it, and what is said about that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ibrl_fast.data.action_bounds import ActionBounds
from ibrl_fast.data.expected_demos import ExpectedDemos, RewardSource
from ibrl_fast.errors import ArgumentError


@dataclass
class Reading:
    """How a file is read, and what is to be said about it afterwards.

    Attributes:
        expected: what its demonstrations are for.
        allow_mismatch: another environment than expected is a remark, no error.
        reward: where rewards and ends come from.
        needs_rewards: recorded ones must be there.
        bounds: of actions.
        has_rewards: false once `look_for_rewards` has found that they are not recorded.
        remarks: so far, one line each.
    """

    expected: ExpectedDemos
    allow_mismatch: bool
    reward: RewardSource
    needs_rewards: bool
    bounds: ActionBounds
    has_rewards: bool = True
    remarks: list[str] = field(default_factory=list)

    def compare(self, env_args: Mapping[str, Any]) -> None:
        """Compare the environment, where a difference may be allowed."""
        try:
            self.expected.check_environment(env_args)
        except ArgumentError as error:
            if not self.allow_mismatch:
                raise ArgumentError(
                    f"data: {error} (demos.allow_mismatch True reads them all the same)"
                ) from error
            self.remarks.append(f"{error}; allowed by demos.allow_mismatch")

    @property
    def last_is_reward(self) -> bool:
        """Recorded rewards and ends are ignored: 1 and terminated in every last step."""
        return self.reward == "last"

    def look_for_rewards(self, count: int, *, are_recorded: bool) -> None:
        """Decide where rewards and ends come from, the same for all demonstrations."""
        if self.last_is_reward:
            self.remarks.append(f"reward 1 and terminated at the end of each of {count} (demos.reward last)")
        elif not are_recorded:
            self.has_rewards = False
            self.remarks.append("rewards or dones are missing, so they serve imitation alone")
