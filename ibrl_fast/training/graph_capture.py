"""CUDA graphs: update rounds, acting and imitation steps recorded once and replayed by one call each.

The only place that knows about graphs. An agent, a buffer or an imitation step is captured without knowing
it, if it is tensor code alone: sizes and random counters in device memory, no value read back, the same work
every time.

A round is one graph, not one for the critic and one for the actor: a launch a round instead of G + 1, no gaps
between the updates, and one pool of memory. What that costs: a replay's time is not told apart by part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import torch

from ibrl_fast.agents.bc import Step
from ibrl_fast.errors import ArgumentError

Result = TypeVar("Result")


class CaptureError(ArgumentError):
    """`capture` is on for work that a CUDA graph cannot hold; the message says what stands in the way."""


def resolve_capture(capture: bool | None, device: torch.device | str) -> bool:
    """Whether to capture on this device; None captures where there are CUDA graphs.

    Raises:
        ValueError: capture is asked for on a device without CUDA graphs.
    """
    on_cuda = torch.device(device).type == "cuda"
    if capture and not on_cuda:
        raise ArgumentError(
            f"capture: expected False or None on {device} (CUDA graphs need a CUDA device), got True"
        )
    return on_cuda if capture is None else capture


class GraphedStep(Generic[Result]):
    """A step that runs eagerly a few times, is then captured, and from then on replayed.

    Every call is one real step, also those that warm up and the one that captures: it replays what it
    recorded. Eager calls run on the stream that captures later, so that libraries have their workspaces and
    autograd has its nodes there; replays go to the caller's stream. Both come after what that stream holds,
    and before what it gets next.

    Args:
        step: tensor code that reads and writes tensors which stay where they are, the same work every time.
        device: a CUDA device.
        generators: all that the step draws from, beside PyTorch's own.
        frozen: host values that become part of the recorded work; when one changes, it is recorded anew.
        warmup: eager calls before the capture, at least 1.
        around: entered around every run, on the stream that runs it, and outside what is recorded.
    """

    def __init__(
        self,
        step: Callable[[], Result],
        device: torch.device,
        *,
        generators: Sequence[torch.Generator] = (),
        frozen: Callable[[], Any] = lambda: None,
        warmup: int = 3,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        if warmup < 1:
            raise ArgumentError(f"warmup: expected at least 1, got {warmup}")
        self._step = step
        self._device = device
        self._generators = generators
        self._frozen = frozen
        self._warmup = warmup
        self._around = around
        self._stream = torch.cuda.Stream(device)
        self._recorded: tuple[torch.cuda.CUDAGraph, Result] | None = None
        self._eager_calls = 0
        self._values = frozen()

    @property
    def captured(self) -> bool:
        """Whether the next call only replays."""
        return self._recorded is not None and self._frozen() == self._values

    def __call__(self) -> Result:
        """One step; a result of a replay lies where the last one lay.

        Raises:
            CaptureError: the step cannot be captured; generators and counters are not to be used any more.
        """
        values = self._frozen()
        if values != self._values:
            self._forget()
            self._values = values
        if self._recorded is None:
            if self._eager_calls < self._warmup:
                self._eager_calls += 1
                return self._run_eagerly()
            self._recorded = self._capture()
        graph, result = self._recorded
        with self._around():
            graph.replay()
        return result

    def _forget(self) -> None:
        """Start over: what was recorded may read memory that is no longer used."""
        if self._recorded is not None:
            torch.cuda.synchronize(self._device)
        self._recorded = None
        self._eager_calls = 0

    def _run_eagerly(self) -> Result:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), self._around():
            result = self._step()
        current.wait_stream(self._stream)
        return result

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Result]:
        """Record the step; nothing is computed. Memory that it allocates belongs to the graph."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        reason: Exception | None = None
        try:
            # a failed capture does not leave its stream by itself; other threads may go on using the device
            with (
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                try:
                    result = self._step()
                except Exception as error:
                    reason = error
                    raise
        except Exception as error:
            reason = reason or error
            raise CaptureError(
                f"capture: expected work that a CUDA graph can hold, got {type(reason).__name__}: {reason}; "
                f"start again with capture=False"
            ) from reason
        # what was set up for the generators comes before the first replay
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return graph, result


def step_capture(
    capture: bool | None, device: torch.device | str
) -> Callable[[Step, torch.Generator], Step] | None:
    """Return what `train_bc` wraps its step in, so that it is captured; None where it runs eagerly.

    Raises:
        ValueError: capture is asked for on a device without CUDA graphs.
    """
    if not resolve_capture(capture, device):
        return None
    return lambda step, generator: GraphedStep(step, torch.device(device), generators=(generator,))
