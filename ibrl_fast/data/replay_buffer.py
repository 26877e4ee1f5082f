"""The replay buffer: episodes in preallocated rows, demonstrations kept for good, ready batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ibrl_fast.data.batch import Batch
from ibrl_fast.data.buffer_checkpoint import check_state, load_state, save_state
from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.buffer_reads import BufferReads
from ibrl_fast.data.demonstration_set import Demonstration
from ibrl_fast.data.draw_request import DrawRequest
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.data.episode_writer import EpisodeWriter
from ibrl_fast.data.row_storage import RowStorage
from ibrl_fast.data.sampler import BatchSampler
from ibrl_fast.data.transition_checks import TransitionChecks


class ReplayBuffer:
    """Transitions of several environments and of demonstrations, sampled as n-step batches.

    Every observation is stored once: an episode of T steps takes T + 1 consecutive rows, the last of which
    (the tail) holds the final observation and its imitation proposals. Running episodes can be sampled at
    once: their n-step returns stop at the newest observation and bootstrap there.

    Threads: all methods may be called from several threads, on CUDA also with different streams; calls take
    place one after the other, each as a whole. From `before_reads` to `after_reads`, both of one thread, the
    others wait. `draw` alone takes no lock and belongs there.

    Capacity: of each environment the newest `capacity // num_envs` steps are kept. Whole episodes, the oldest
    first, are evicted only when one more step would exceed this, or when episodes average less than a quarter
    of `max_episode_steps` and tails have used up the rows reserved for them. Demonstrations are never
    evicted.

    Randomness: rows and shifts are functions of (seed, number of batches drawn so far).

    On a device, new steps are written on a stream of the buffer's own, beside the updates. A CUDA graph
    captures `draw` alone; each replay of it is called between `before_reads` and `after_reads`.

    Attributes:
        plan: the options that it was built from.
    """

    def __init__(self, plan: BufferPlan) -> None:
        """Allocate everything.

        Raises:
            MemoryError: the buffer cannot fit; the message names needed and available bytes.
        """
        self.plan = plan

        # Memory: the columns, how they are written, and where in them episodes lie.
        self._storage = RowStorage(
            plan.columns,
            device=torch.device(plan.device),
            storage=plan.storage,
            extra_host_bytes=EpisodeIndex.required_bytes(plan.layout),
        )
        self._writes = self._storage.writes
        self._index = EpisodeIndex(plan.layout)

        # The way in: a caller's arrays are checked, then written where the index says.
        self._checks = TransitionChecks(plan)
        self._writer = EpisodeWriter(plan, self._index, self._writes)

        # The way out: batches are drawn while nobody writes.
        self._sampler = BatchSampler(plan, self._storage)
        self._reads = BufferReads(self._writes)
        self._lock = self._reads.lock

    # ---- what it holds

    def __len__(self) -> int:
        """Transitions that can be sampled, demonstrations included."""
        with self._lock:
            return self._index.size

    @property
    def num_demo_steps(self) -> int:
        """Demonstration transitions held."""
        with self._lock:
            return self._index.num_demo_steps

    @property
    def seed(self) -> int:
        """Seed of row sampling and augmentation; that of a loaded state after `load_state_dict`."""
        return self._sampler.seed

    # ---- new steps

    def add_demonstrations(
        self, demos: Sequence[Demonstration], il_actions: Sequence[Any] | None = None
    ) -> None:
        """Store demonstrations for good, all of them or (on any error) none.

        Args:
            demos: their observations must contain this buffer's keys; further ones are not stored.
            il_actions: per demonstration of T steps `[T + 1, samples, action_dim]`, in [-1, 1]: the imitation
                policy's actions at every observation; None with `num_il_samples=0`.

        Raises:
            TypeError, ValueError: naming the demonstration and the field, or more than there is room for.
            RuntimeError: reads are under way in this thread.
        """
        checked = self._checks.demonstrations(demos, il_actions)
        with self._lock:
            self._reads.check_ended("add_demonstrations")
            self._writer.add_demonstrations(checked)

    def start_episode(
        self, env_ids: Sequence[int] | None, obs: Mapping[str, Any], il_action: Any = None
    ) -> None:
        """Store the first observation of new episodes.

        An environment whose episode still runs has it closed where it stands: its last step keeps its
        bootstrap.

        Args:
            env_ids: which environments, N of them; None for all.
            obs: per key `[N, features]` float32 or `[N, channels, height, width]` uint8.
            il_action: `[N, samples, action_dim]`, in [-1, 1], the imitation policy's actions at `obs`; None
                with `num_il_samples=0`.

        Raises:
            TypeError, ValueError: naming the field, and the buffer is unchanged.
            RuntimeError: reads are under way in this thread.
        """
        envs = self._checks.envs(env_ids)
        observed = self._checks.observation("", len(envs), obs, il_action)
        with self._lock:
            self._reads.check_ended("start_episode")
            self._writer.start_episode(envs, observed)

    def append(
        self,
        action: Any,
        reward: Any,
        terminated: Any,
        truncated: Any,
        next_obs: Mapping[str, Any],
        il_action_next: Any = None,
        env_ids: Sequence[int] | None = None,
    ) -> None:
        """Store one step of N environments, whose episodes end where it terminated or was truncated.

        Args:
            action: `[N, action_dim]`, in [-1, 1].
            reward: `[N]`.
            terminated: `[N]` bool, the task ended (no bootstrap).
            truncated: `[N]` bool, a time limit ended the episode.
            next_obs: per key `[N, ...]` as in `start_episode`; where the episode ended, its true final
                observation.
            il_action_next: `[N, samples, action_dim]`, in [-1, 1], the imitation policy's actions at
                `next_obs`; None with `num_il_samples=0`.
            env_ids: which environments, N of them; None for all.

        Raises:
            TypeError, ValueError: naming the field, or an environment without an episode, or one that is
                longer than `max_episode_steps`; the buffer is unchanged.
            RuntimeError: reads are under way in this thread.
        """
        envs = self._checks.envs(env_ids)
        count = len(envs)
        values = self._checks.step("", count, action, reward, terminated, truncated)
        observed = self._checks.observation("next_", count, next_obs, il_action_next)
        with self._lock:
            self._reads.check_ended("append")
            self._writer.append(envs, values, observed)

    # ---- batches

    def sample(self, batch_size: int, demo_fraction: float | None = None) -> Batch:
        """Draw a batch uniformly, with replacement.

        Args:
            batch_size: transitions, at least 1.
            demo_fraction: None draws from all transitions alike. A number in [0, 1] is the share of
                demonstrations: the first `batch_size * demo_fraction` rows (rounded) are theirs, the rest
                online steps. While no online step is held (a warm-up), the rest are demonstrations, too.

        Raises:
            TypeError, ValueError: a wrong size or fraction, an empty buffer, or demonstrations are wanted and
                none is held.
            RuntimeError: reads are under way in this thread.
        """
        request = DrawRequest.of(batch_size, demo_fraction)
        with self._lock:
            request.check_held(self._index)
            with self._reads.around():
                return self._sampler.draw(request.batch_size, request.demo_size)

    @property
    def draws_on_device(self) -> bool:
        """Whether `draw` runs on the learner's device; else batches are gathered on the host and copied."""
        return self._sampler.draws_on_device

    def draw(self, batch_size: int, demo_fraction: float | None = None) -> Batch:
        """Draw what `sample` returns as tensor code alone, for graphs: no lock, no event, contents unchecked.

        The random counter and the numbers of demonstrations and online steps are read in device memory, so
        that a graph captured before the first online step is right after it. Calls, and replays of a captured
        one, stand between `before_reads` and `after_reads`, where `check_can_sample` has passed.
        """
        request = DrawRequest.of(batch_size, demo_fraction)
        return self._sampler.draw(request.batch_size, request.demo_size)

    def check_can_sample(self, batch_size: int, demo_fraction: float | None = None) -> None:
        """Raise what `sample` would for these arguments; no batch is drawn."""
        request = DrawRequest.of(batch_size, demo_fraction)
        with self._lock:
            request.check_held(self._index)

    # ---- reads of captured draws

    def before_reads(self) -> None:
        """Begin reads on the current stream: those queued from now on see all steps appended so far.

        The stream waits for writes under way, the host does not. Until `after_reads`, other threads' calls
        wait.

        Raises:
            RuntimeError: reads are under way in this thread already, or the stream is being captured.
        """
        self._reads.begin()

    def after_reads(self) -> None:
        """End reads: those since `before_reads` are queued, on the stream that was current there.

        Rows that they may reach are overwritten only when they are done.

        Raises:
            RuntimeError: this thread has not called `before_reads`.
        """
        self._reads.end()

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return all that later samples and appends depend on, bit for bit: tensors, numbers and strings.

        The size is that of the rows written so far.
        """
        with self._lock, self._reads.around():
            self._writes.finish()
            return save_state(self.plan, self._storage, self._index, self._sampler.seed)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from `state_dict`, in a buffer of the same sizes (storage and device may differ).

        The state may come from anywhere: all of it is checked before anything changes.

        Raises:
            ValueError: naming the field that no buffer of these sizes could have saved; nothing is changed.
        """
        check_state(self.plan, state)
        with self._lock:
            with self._reads.around():
                # No write or read is on its way while every row gets another value.
                self._writes.finish()
                load_state(self.plan, self._storage, self._index, state)
                self._writes.replace()
            self._writer.publish()
            self._sampler.seed = int(state["seed"])
