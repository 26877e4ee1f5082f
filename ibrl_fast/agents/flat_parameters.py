"""One contiguous tensor for all parameters of a group, so that an op treats them in one launch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ibrl_fast.errors import ArgumentError

# each tensor begins at a multiple of this many bytes: a cache line, and whole vectors
ALIGNMENT = 64


class FlatParameters:
    """Moves parameters into one storage, of which each becomes a view; the Parameter objects stay the same.

    A module goes on as before: its parameters keep shape, layout (channels_last stays) and gradients;
    `load_state_dict`, in-place operations and `Module.to` the same device and dtype keep the views. Giving a
    parameter other memory (`.data = ...`, `Module.to` another device or dtype) takes it out of the storage;
    `check` finds that. A copied module has parameters of its own, outside the storage. Saving one view writes
    the whole storage to the file: save a whole group, or a copy.

    Args:
        parameters: different ones of one dtype on one device; at least one.

    Attributes:
        parameters: as given.
        values: `[size]`, the storage; zero where alignment leaves gaps.
        offsets: where each parameter begins in `values`.

    Raises:
        ValueError: parameters that cannot share a storage.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = tuple(parameters)
        different = len(set(self.parameters))
        if not 0 < different == len(self.parameters):
            count = len(self.parameters)
            raise ArgumentError(
                f"parameters: expected one or more, all different, got {count}, {different} different"
            )
        first = self.parameters[0]
        step = ALIGNMENT // first.element_size()
        self.offsets: list[int] = []
        size = 0
        for i, parameter in enumerate(self.parameters):
            if (parameter.dtype, parameter.device) != (first.dtype, first.device):
                raise ArgumentError(
                    f"parameters[{i}]: expected {first.dtype} on {first.device} like the first, "
                    f"got {parameter.dtype} on {parameter.device}"
                )
            self.offsets.append(size)
            size += -(-parameter.numel() // step) * step
        self.values = torch.zeros(size, dtype=first.dtype, device=first.device)
        for parameter, offset in zip(self.parameters, self.offsets):
            # without gaps, dimensions in the order that they have in memory
            strides = torch.empty_like(parameter, device="meta").stride()
            view = self.values.as_strided(parameter.shape, strides, offset)
            parameter.data = view.copy_(parameter.detach())

    def check(self) -> None:
        """Refuse to go on with parameters that are no longer views: they would not be updated.

        Raises:
            ValueError: naming the first of them.
        """
        begin, element = self.values.data_ptr(), self.values.element_size()
        for i, (parameter, offset) in enumerate(zip(self.parameters, self.offsets)):
            if parameter.data_ptr() != begin + offset * element and parameter.numel():
                raise ArgumentError(
                    f"parameters[{i}]: expected the view that FlatParameters made, got other memory; "
                    "move or assign parameters before, and change them in place afterwards"
                )
