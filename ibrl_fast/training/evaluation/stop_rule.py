"""When a run has learned enough, and which policy it then deploys; training never waits to know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ibrl_fast.training.evaluation.evaluator import EvaluationResult

ENOUGH_IN_A_ROW = 2


@dataclass
class Candidate:
    """A policy as it was when it was handed over for evaluation.

    Attributes:
        env_steps: taken by then.
        counts_at: environment steps at which its result counts, however early that came in.
        gate_was_open: whether it would have been deployed with its RL actions.
        weights: of the whole policy module, copied.
        result: of the policy with its RL actions; None until it came in.
    """

    env_steps: int
    counts_at: int
    gate_was_open: bool
    weights: dict[str, Tensor]
    result: EvaluationResult | None = None

    def to_plain(self) -> dict[str, Any]:
        """Keyword arguments of `from_plain`, as plain values."""
        return {**vars(self), "result": None if self.result is None else self.result.to_plain()}

    @classmethod
    def from_plain(cls, **values: Any) -> Candidate:
        """Return what `to_plain` was made from."""
        result = values.pop("result")
        return cls(**values, result=None if result is None else EvaluationResult(**result))


def copied_weights(policy: nn.Module) -> dict[str, Tensor]:
    """Return a policy's parameters and buffers as they are now."""
    return {name: value.detach().clone() for name, value in policy.state_dict().items()}


@contextmanager
def holding(policy: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Give a policy, and all that shares its modules, other weights for as long as the block lasts."""
    current = copied_weights(policy)
    policy.load_state_dict(weights)
    try:
        yield
    finally:
        policy.load_state_dict(current)


class StopRule:
    """Ends a run after two evaluations in a row that reach a success rate.

    Args:
        success_rate: that is enough; None never ends it.

    Attributes:
        deployed: the policy of the second of them; None while training goes on.
    """

    def __init__(self, success_rate: float | None) -> None:
        self._enough = success_rate
        self._good_in_a_row = 0
        self.deployed: Candidate | None = None

    def count(self, candidate: Candidate, success_rate: float) -> None:
        """Count the success rate of a candidate, as it would have been deployed."""
        if self._enough is None:
            return
        self._good_in_a_row = self._good_in_a_row + 1 if success_rate >= self._enough else 0
        if self._good_in_a_row >= ENOUGH_IN_A_ROW:
            self.deployed = candidate

    def state_dict(self) -> dict[str, Any]:
        """Return what has been counted."""
        deployed = None if self.deployed is None else self.deployed.to_plain()
        return {"good_in_a_row": self._good_in_a_row, "deployed": deployed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict()."""
        self._good_in_a_row = state["good_in_a_row"]
        self.deployed = None if state["deployed"] is None else Candidate.from_plain(**state["deployed"])
