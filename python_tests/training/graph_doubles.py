"""Stand-ins for torch.cuda's graphs and streams, so that capture can be tested where there is no GPU.

A recorded graph is a list of dispatched operations on the tensors of the recording; a replay repeats them in
place, as a GPU would. Host values that a graph freezes are frozen here in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

# read a value back, or have a result whose size depends on values
_WAITING = (
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "equal",
    "nonzero",
    "nonzero_static",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "repeat_interleave",
)


class CaptureError(RuntimeError):
    """What a CUDA graph could not hold."""


class Recording(TorchDispatchMode):
    """Notes every operation; refuses those that no CUDA graph can hold.

    Args:
        device: every tensor must live there. `meta` sees every look at a value; `cpu` sees none by `tolist`
            and `numpy`, but every tensor made from host values, which `meta` makes unseen.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        if name in _WAITING:
            raise CaptureError(f"{func} waits for a value")
        if name == "lift_fresh":
            raise CaptureError(f"{func} makes a tensor from host values")
        if name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            raise CaptureError(f"{func} with a mask has a size that depends on values")
        out = func(*args, **kwargs)
        for value in tree_leaves((args, kwargs, out)):
            if isinstance(value, Tensor) and value.device.type != self.device.type:
                raise CaptureError(f"{func} has a tensor on {value.device}, not on {self.device}")
        if not func._schema.name.startswith("profiler::"):
            self.operations.append((func, *tree_map_only(Tensor, torch.detach, (args, kwargs, out))))
        return out

    def fingerprint(self) -> list[str]:
        """Every operation with its host values and the kinds of its tensors, in order."""
        return [
            f"{func} {tree_map_only((Tensor, torch.Generator), _kind, (args, kwargs))}"
            for func, args, kwargs, _ in self.operations
        ]


def _kind(tensor: Tensor | torch.Generator) -> str:
    if isinstance(tensor, torch.Generator):
        return "generator"
    return f"{tensor.dtype}{tuple(tensor.shape)}{tuple(tensor.stride())}"


class Graph:
    """Stands for torch.cuda.CUDAGraph. The first replay is that of the recording itself, which ran."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.recording = Recording(machine.device)
        self.generators: list[torch.Generator] = []
        self.replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    @torch.no_grad()
    def replay(self) -> None:
        self.machine.log.append(f"replay on {self.machine.stream}")
        self.replays += 1
        if self.replays == 1 or self.machine.device.type == "meta":
            return
        for func, args, kwargs, out in self.recording.operations:
            aliases = [result.alias_info for result in func._schema.returns]
            if func._schema.is_mutable:
                func(*args, **kwargs)
            elif not any(alias is not None for alias in aliases):
                again = func(*args, **kwargs)
                for place, value in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if isinstance(place, Tensor):
                        place.copy_(value)


class Stream:
    """Stands for a CUDA stream: a name."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name

    def __repr__(self) -> str:
        return self.name

    def wait_stream(self, other: Stream) -> None:
        self.machine.log.append(f"{self} waits for {other}")


class Machine:
    """A CUDA device in place of `device`, for as long as `monkeypatch` lasts.

    Attributes:
        log: what streams and graphs were asked for, in order.
        graphs: all that were made.
        stream: the current one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
        self.device, self.log, self.graphs = device, list[str](), list[Graph]()
        self.stream = Stream(self, "main")
        self._streams = 0
        module = "ibrl_fast.training.graph_capture"
        for user in (module, "ibrl_fast.training.acting", "ibrl_fast.training.update_round"):
            monkeypatch.setattr(f"{user}.resolve_capture", lambda capture, device: bool(capture))
        for name in ("Stream", "CUDAGraph", "current_stream", "graph", "synchronize"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, f"_{name.lower()}"))
        monkeypatch.setattr(torch.cuda, "stream", self._on_stream)

    def _stream(self, device: torch.device) -> Stream:
        self._streams += 1
        return Stream(self, f"side {self._streams}")

    def _cudagraph(self) -> Graph:
        self.graphs.append(Graph(self))
        return self.graphs[-1]

    def _current_stream(self, device: torch.device) -> Stream:
        return self.stream

    def _synchronize(self, device: torch.device) -> None:
        self.log.append("synchronize")

    @contextmanager
    def _on_stream(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def _graph(self, graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        # like the real one, this changes the stream, and leaves it as it is when the capture fails
        self.stream = stream
        self.log.append(f"capture on {stream}")
        with graph.recording:
            yield
