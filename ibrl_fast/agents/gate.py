"""When the learned proposals may act in the deployed policy: once training episodes show no harm.

A fresh critic overvalues the RL actions, so that early in training IBRL falls below the imitation policy
that it started from (README, learning results). The gate leaves training as it is, the paper's algorithm to
the letter. It decides what is deployed, that is evaluated and exported: the imitation policy alone until the
recent training episodes of the hybrid policy succeed more often than its warm-up episodes did.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from ibrl_fast.errors import ArgumentError
from ibrl_fast.fields import check_fields

# A recent success rate that opens the gate however good the imitation policy is
SURELY_GOOD = 0.95


@dataclass(frozen=True)
class GateConfig:
    """The evidence that opens and closes the gate."""

    window: int = 20
    """Recent training episodes of the hybrid policy that count; closed before as many are there."""
    open_above: float = 0.1
    """The gate opens when the recent success rate is this far above the imitation policy's, or 95%."""
    close_below: float = 0.15
    """The gate closes again when the recent success rate falls this far below the imitation policy's."""

    def __post_init__(self) -> None:
        check_fields(self, "gate.")
        if self.window < 1:
            raise ArgumentError(f"gate.window: expected at least 1, got {self.window}")
        for name in ("open_above", "close_below"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"gate.{name}: expected in [0, 1], got {getattr(self, name)}")


class DeploymentGate:
    """Keeps the evidence; `is_open` says whether RL proposals may act in the deployed policy.

    Args:
        config: how much evidence is wanted.
    """

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._il_successes = 0
        self._il_episodes = 0
        self._recent: deque[bool] = deque(maxlen=config.window)
        self.is_open = False

    def record(self, success: bool, *, from_il: bool) -> None:
        """Add a training episode that ended.

        Args:
            success: whether the task was solved.
            from_il: the imitation policy alone acted (a warm-up episode).
        """
        if from_il:
            self._il_episodes += 1
            self._il_successes += success
            return
        self._recent.append(success)
        if len(self._recent) < self._config.window:
            return
        rate = sum(self._recent) / len(self._recent)
        il_rate = self._il_successes / max(1, self._il_episodes)
        if self.is_open:
            self.is_open = rate >= il_rate - self._config.close_below
        else:
            self.is_open = rate >= min(il_rate + self._config.open_above, SURELY_GOOD)

    def state_dict(self) -> dict[str, Any]:
        """Return the evidence so far."""
        return {
            "il_successes": self._il_successes,
            "il_episodes": self._il_episodes,
            "recent": [int(success) for success in self._recent],
            "is_open": self.is_open,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` stood."""
        self._il_successes, self._il_episodes = state["il_successes"], state["il_episodes"]
        self._recent.extend(bool(success) for success in state["recent"])
        self.is_open = state["is_open"]
