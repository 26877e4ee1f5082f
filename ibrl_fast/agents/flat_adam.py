"""Adam for parameters in flat storage, which also moves their target network along."""

from __future__ import annotations

import torch
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.agents.flat_parameters import FlatParameters
from ibrl_fast.agents.ranges import nvtx_range
from ibrl_fast.errors import ArgumentError


class FlatAdam:
    """Adam (Kingma and Ba 2015; no weight decay) and the EMA of a target, one launch for all parameters.

    The step counter lives on the device: a step can be captured in a CUDA graph.

    Args:
        group: what is optimised.
        learning_rate: size of a step.
        target: moving averages of the last parameters of the group, in the same order, updated after each
            step; None for none.
        rho: share of the target that stays, target = rho * target + (1 - rho) * online.

    Raises:
        ValueError: a target that does not mirror the end of the group.
    """

    def __init__(
        self,
        group: FlatParameters,
        learning_rate: float,
        *,
        target: FlatParameters | None = None,
        rho: float = 1.0,
    ) -> None:
        self.group = group
        self.target = target
        self.learning_rate = learning_rate
        self.rho = rho
        self.exp_avg = torch.zeros_like(group.values)
        self.exp_avg_sq = torch.zeros_like(group.values)
        self.step_counter = torch.zeros(1, dtype=torch.int64, device=group.values.device)
        if target is not None:
            online = group.parameters[-len(target.parameters) :]
            shapes, expected = (
                [(tuple(parameter.shape), parameter.stride()) for parameter in each]
                for each in (target.parameters, online)
            )
            if shapes != expected:
                raise ArgumentError(
                    f"target: expected the shapes and strides of the group's last parameters {expected}, "
                    f"got {shapes}"
                )

    def zero_grad(self) -> None:
        """Forget all gradients, so that a backward pass hands its own over instead of adding to them."""
        for parameter in self.group.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update the parameters by their gradients, then the target.

        Raises:
            ValueError: a parameter without a gradient, or one that is no longer in its group's storage.
        """
        self.group.check()
        if self.target is not None:
            self.target.check()
        gradients = []
        for i, parameter in enumerate(self.group.parameters):
            gradient = parameter.grad
            if gradient is None:
                raise ArgumentError(f"parameters[{i}]: expected a gradient for each parameter, got None")
            # autograd's gradients have the layout of their parameter; others are brought into it
            if gradient.stride() != parameter.stride() and not _same_layout(gradient, parameter):
                gradient = torch.empty_like(parameter).copy_(gradient)
            gradients.append(gradient)
        with nvtx_range("adam"):
            ops.adam_update(
                self.group.values,
                gradients,
                self.group.offsets,
                self.exp_avg,
                self.exp_avg_sq,
                self.step_counter,
                learning_rate=self.learning_rate,
                target=None if self.target is None else self.target.values,
                rho=self.rho,
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Return moving averages and step counter, not copied; the parameters belong to their modules."""
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "step": self.step_counter}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where state_dict was taken.

        Raises:
            ValueError: the state of another optimiser or of another group.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ArgumentError(f"optimizer state: expected {sorted(own)}, got {sorted(state)}")
        for name, value in own.items():
            if state[name].shape != value.shape:
                raise ArgumentError(f"{name}: expected {list(value.shape)}, got {list(state[name].shape)}")
        for name, value in own.items():
            value.copy_(state[name])


def _same_layout(a: Tensor, b: Tensor) -> bool:
    """Whether tensors of one shape have their elements in the same order; sizes of 1 have no order."""
    return all(x == y for x, y, size in zip(a.stride(), b.stride(), b.shape) if size > 1)
