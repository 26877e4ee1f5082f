"""One update round: the batches that a method asks for, and its learner's updates on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ibrl_fast.agents.learner import Learner, Metrics, Phase, no_phase
from ibrl_fast.data import Batch, ReplayBuffer
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.graph_capture import GraphedStep, resolve_capture
from ibrl_fast.training.records.metrics import MetricsAccumulator

Update = Callable[[list[Batch], Phase], list[Metrics]]


class UpdateRound:
    """Draws what `learner.config.batches` asks for, and updates the learner (Alg. 1 lines 14 to 22).

    Args:
        learner: what is updated.
        buffer: where the batches come from. What draws on the device is captured with the rest; a buffer on
            the host is sampled outside, and its batches are copied to where the captured updates read.
        batch_size: transitions per batch.
        critic_updates: G.
        capture: whether rounds are replayed from a CUDA graph after `warmup_rounds` eager ones, or all eager.
        warmup_rounds: eager rounds before the capture, on a stream of their own; they count as all rounds do.
        timer: gets the phases `sample` and those of the learner in eager rounds, `update` of replayed ones.

    Raises:
        ValueError: a number below 1, or capture on a device without CUDA graphs.
    """

    def __init__(
        self,
        learner: Learner,
        buffer: ReplayBuffer,
        *,
        batch_size: int,
        critic_updates: int,
        capture: bool,
        warmup_rounds: int = 3,
        timer: Phase = no_phase,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("critic_updates", critic_updates)):
            if value < 1:
                raise ArgumentError(f"{name}: expected at least 1, got {value}")
        self._learner = learner
        self._buffer = buffer
        self._requests = learner.config.batches(batch_size, critic_updates)
        self._timer = timer
        self._metrics = MetricsAccumulator()
        # what the host counts in one round, and the batches of a buffer that is sampled outside
        self._counted: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._inputs: list[Batch] = []
        self._graphed: GraphedStep[None] | None = None
        if resolve_capture(capture, learner.device):
            self._graphed = GraphedStep(
                self._captured_round,
                learner.device,
                generators=(learner.random.generator,),
                frozen=lambda: (learner.loads, learner.random.seed, buffer.seed),
                warmup=warmup_rounds,
                around=lambda: reading(buffer),
            )

    def __call__(self, *, warmup: bool = False) -> None:
        """One round. Nothing is read back from the device.

        Args:
            warmup: a round that the warm-up owes; where the method has such rounds of their own, they are few
                and not captured.

        Raises:
            ValueError: the buffer is empty, or lacks the demonstrations of a mixed batch.
            CaptureError: the round cannot be captured.
        """
        if warmup and self._learner.config.separate_warmup:
            self._round(self._buffer.sample, self._learner.warm_up)
            return
        if self._graphed is None:
            self._round(self._buffer.sample, self._learner.update)
            return
        if self._buffer.draws_on_device:
            # a recorded draw would read past the table
            for request in set(self._requests):
                self._buffer.check_can_sample(request.size, request.demo_fraction)
        else:
            with self._timer("sample"):
                self._fill_inputs()
        if not self._graphed.captured:
            counts, steps = self._metrics.counts, dict(self._learner.counts)
            self._graphed()
            self._counted = _difference(self._metrics.counts, counts)
            self._steps = _difference(self._learner.counts, steps)
            return
        with self._timer("update"):
            self._graphed()
        # what a replay leaves out: the host's own counting
        for name, number in self._steps.items():
            self._learner.counts[name] += number
        self._metrics.count(self._counted)

    def _round(self, draw: Callable[[int, float | None], Batch], update: Update) -> None:
        """Make the round itself; `draw` gets a batch's size and its share of demonstrations."""
        batches = []
        for request in self._requests:
            with self._timer("sample"):
                batches.append(draw(request.size, request.demo_fraction))
        self._update(batches, update)

    def _update(self, batches: list[Batch], update: Update) -> None:
        for metrics in update(batches, self._timer):
            self._metrics.add(metrics)

    def _captured_round(self) -> None:
        if self._buffer.draws_on_device:
            self._round(self._buffer.draw, self._learner.update)
        else:
            self._update(self._inputs, self._learner.update)

    def _fill_inputs(self) -> None:
        """Batches of a buffer on the host, where captured updates read them; the first make the place."""
        for number, request in enumerate(self._requests):
            batch = self._buffer.sample(request.size, request.demo_fraction)
            if number < len(self._inputs):
                self._inputs[number].copy_(batch)
            else:
                self._inputs.append(batch)

    def pop(self) -> dict[str, float]:
        """Return the means of all metrics since the last call, read from the device in one transfer."""
        return self._metrics.pop()

    def state_dict(self) -> dict[str, Any]:
        """Metrics since the last `pop`; learner and buffer save themselves."""
        return self._metrics.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict()."""
        self._metrics.load_state_dict(state)


@contextmanager
def reading(buffer: ReplayBuffer) -> Iterator[None]:
    """Around draws on the stream that makes them: the buffer's writes keep clear of them."""
    if not buffer.draws_on_device:
        yield
        return
    buffer.before_reads()
    try:
        yield
    finally:
        buffer.after_reads()


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: number - before.get(name, 0) for name, number in after.items()}
