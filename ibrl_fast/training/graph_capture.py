"""CUDA graphs: update rounds, acting and imitation steps recorded once and replayed by one call each.

The only place that knows about graphs. An agent, a buffer or an imitation step is captured without knowing
it, if it is tensor code alone: sizes and random counters in device memory, no value read back, the same work
every time.

A round is one graph, not one for the critic and one for the actor: a launch a round instead of G + 1, no gaps
between the updates, and one pool of memory. What that costs: a replay's time is not told apart by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import torch

from ibrl_fast.agents import TD3Agent
from ibrl_fast.agents.bc import Step
from ibrl_fast.data import Batch, ReplayBuffer
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.logging import MetricsAccumulator, PhaseTimer

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
        reads: a buffer that the step draws from; it hears of every run on the stream that runs it.
    """

    def __init__(
        self,
        step: Callable[[], Result],
        device: torch.device,
        *,
        generators: Sequence[torch.Generator] = (),
        frozen: Callable[[], Any] = lambda: None,
        warmup: int = 3,
        reads: ReplayBuffer | None = None,
    ) -> None:
        if warmup < 1:
            raise ArgumentError(f"warmup: expected at least 1, got {warmup}")
        self._step = step
        self._device = device
        self._generators = generators
        self._frozen = frozen
        self._warmup = warmup
        self._reads = reads
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
        with self._reading():
            graph.replay()
        return result

    def _forget(self) -> None:
        """Starts over: what was recorded may read memory that is no longer used."""
        if self._recorded is not None:
            torch.cuda.synchronize(self._device)
        self._recorded = None
        self._eager_calls = 0

    def _run_eagerly(self) -> Result:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), self._reading():
            result = self._step()
        current.wait_stream(self._stream)
        return result

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Result]:
        """Records the step; nothing is computed. Memory that it allocates belongs to the graph."""
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

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Around a run, on the stream that runs it."""
        if self._reads is None:
            yield
            return
        self._reads.before_reads()
        try:
            yield
        finally:
            self._reads.after_reads()


class UpdateRound:
    """G critic updates, each on a batch of its own, then one actor update on the last batch.

    Args:
        agent: what is updated.
        buffer: where the batches come from. What draws on the device is captured with the rest; a buffer on
            the host is sampled outside, and its batches are copied to where the captured updates read.
        batch_size: transitions per batch.
        critic_updates: G.
        capture: whether rounds are replayed from a CUDA graph after `warmup_rounds` eager ones, or all eager.
        warmup_rounds: eager rounds before the capture, on a stream of their own; they count as all rounds do.
        timer: gets the phases `sample`, `critic`, `actor` of eager rounds, `update` of replayed ones.

    Raises:
        ValueError: a number below 1, or capture on a device without CUDA graphs.
    """

    def __init__(
        self,
        agent: TD3Agent,
        buffer: ReplayBuffer,
        *,
        batch_size: int,
        critic_updates: int,
        capture: bool,
        warmup_rounds: int = 3,
        timer: PhaseTimer | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("critic_updates", critic_updates)):
            if value < 1:
                raise ArgumentError(f"{name}: expected at least 1, got {value}")
        self._agent = agent
        self._buffer = buffer
        self._batch_size = batch_size
        self._critic_updates = critic_updates
        self._timer: Callable[[str], AbstractContextManager[None]] = timer or (lambda phase: nullcontext())
        self._metrics = MetricsAccumulator()
        # what the host counts in one round, and the batches of a buffer that is sampled outside
        self._counted: dict[str, int] = {}
        self._inputs: list[Batch] = []
        self._graphed: GraphedStep[None] | None = None
        if resolve_capture(capture, agent.device):
            self._graphed = GraphedStep(
                self._captured_round,
                agent.device,
                generators=(agent.random.generator,),
                frozen=lambda: (agent.loads, agent.random.seed, buffer.seed),
                warmup=warmup_rounds,
                reads=buffer if buffer.draws_on_device else None,
            )

    def __call__(self) -> None:
        """One round. Nothing is read back from the device.

        Raises:
            ValueError: the buffer is empty.
            CaptureError: the round cannot be captured.
        """
        if self._graphed is None:
            self._round(lambda number: self._buffer.sample(self._batch_size))
            return
        if not len(self._buffer):
            # a recorded draw would read past the table
            raise ArgumentError("buffer: expected at least one transition, got none")
        if not self._buffer.draws_on_device:
            with self._timer("sample"):
                self._fill_inputs()
        if not self._graphed.captured:
            before = self._metrics.counts
            self._graphed()
            self._counted = {key: n - before.get(key, 0) for key, n in self._metrics.counts.items()}
            return
        with self._timer("update"):
            self._graphed()
        # what a replay leaves out: the host's own counting
        self._agent.critic_updates += self._critic_updates
        self._agent.actor_updates += 1
        self._metrics.count(self._counted)

    def _round(self, next_batch: Callable[[int], Batch]) -> None:
        """The round itself; `next_batch` gets the number of the critic update, from 0."""
        for number in range(self._critic_updates):
            with self._timer("sample"):
                batch = next_batch(number)
            with self._timer("critic"):
                self._metrics.add(self._agent.update_critic(batch))
        with self._timer("actor"):
            self._metrics.add(self._agent.update_actor(batch))

    def _captured_round(self) -> None:
        if self._buffer.draws_on_device:
            self._round(lambda number: self._buffer.draw(self._batch_size))
        else:
            self._round(lambda number: self._inputs[number])

    def _fill_inputs(self) -> None:
        """Batches of a buffer on the host, where captured updates read them; the first make the place."""
        for number in range(self._critic_updates):
            batch = self._buffer.sample(self._batch_size)
            if number < len(self._inputs):
                self._inputs[number].copy_(batch)
            else:
                self._inputs.append(batch)

    def pop(self) -> dict[str, float]:
        """The means of all metrics since the last call, read from the device in one transfer."""
        return self._metrics.pop()

    def state_dict(self) -> dict[str, Any]:
        """Metrics since the last `pop`; agent and buffer save themselves."""
        return self._metrics.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` stood."""
        self._metrics.load_state_dict(state)


def step_capture(
    capture: bool | None, device: torch.device | str
) -> Callable[[Step, torch.Generator], Step] | None:
    """What `train_bc` wraps its step in, so that it is captured; None where it runs eagerly.

    Raises:
        ValueError: capture is asked for on a device without CUDA graphs.
    """
    if not resolve_capture(capture, device):
        return None
    return lambda step, generator: GraphedStep(step, torch.device(device), generators=(generator,))
