"""The replay buffer: episodes in preallocated rows, demonstrations kept for good, ready batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ibrl_fast.data.batch import Batch
from ibrl_fast.data.batch_request import BatchRequest
from ibrl_fast.data.buffer_checkpoint import check_state, load_state, save_state
from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.buffer_reads import BufferReads
from ibrl_fast.data.demonstration_set import Demonstration
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.data.episode_writer import EpisodeWriter
from ibrl_fast.data.observation_space import ObsSpec
from ibrl_fast.data.prefetch import Prefetch
from ibrl_fast.data.row_storage import RowStorage, Storage
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
    """

    def __init__(
        self,
        observation_space: Mapping[str, ObsSpec],
        action_dim: int,
        *,
        capacity: int,
        max_episode_steps: int,
        num_envs: int = 1,
        demo_capacity: int = 0,
        num_demos: int = 0,
        storage: Storage = "device",
        device: torch.device | str = "cpu",
        num_il_samples: int = 1,
        nstep: int = 3,
        gamma: float = 0.99,
        bootstrap_on_truncation: bool = True,
        stacks: Mapping[str, int] | None = None,
        random_shift_pad: int = 4,
        image_dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        """Allocates everything.

        Args:
            observation_space: name to `ObsSpec`; uint8 entries are images.
            action_dim: numbers in an action.
            capacity: online steps held, over all environments together.
            max_episode_steps: longest online episode, in steps.
            num_envs: environments that append.
            demo_capacity: demonstration steps that fit, in addition to `capacity`.
            num_demos: demonstrations that fit (each takes a tail row beside its steps).
            storage: `device` keeps all on `device`, `pinned` keeps images in pinned host memory that the
                device reads, `host` keeps and samples all on the host and copies batches over.
            device: where batches are wanted.
            num_il_samples: imitation proposals cached for each observation; 0 when there is no imitation
                policy.
            nstep: steps summed before the bootstrap.
            gamma: discount of one step.
            bootstrap_on_truncation: whether a time limit leaves the bootstrap in place.
            stacks: observations joined, newest first, per key (1 where absent).
            random_shift_pad: largest shift of the image augmentation, in pixels (0: none).
            image_dtype: what images are scaled to, float32 or bfloat16, in [-0.5, 0.5].
            seed: of row sampling and augmentation.

        Errors: ValueError or TypeError for a wrong parameter; MemoryError, with needed and available bytes,
        when the buffer cannot fit.
        """
        self._plan = BufferPlan(
            dict(observation_space),
            action_dim,
            capacity=capacity,
            max_episode_steps=max_episode_steps,
            num_envs=num_envs,
            demo_capacity=demo_capacity,
            num_demos=num_demos,
            storage=storage,
            device=device,
            num_il_samples=num_il_samples,
            nstep=nstep,
            gamma=gamma,
            bootstrap_on_truncation=bootstrap_on_truncation,
            stacks=dict(stacks or {}),
            random_shift_pad=random_shift_pad,
            image_dtype=image_dtype,
            seed=seed,
        )
        self._storage = RowStorage(
            self._plan.columns,
            device=torch.device(device),
            storage=storage,
            extra_host_bytes=EpisodeIndex.required_bytes(self._plan.layout),
        )
        self._writes = self._storage.writes
        self._index = EpisodeIndex(self._plan.layout)
        self._writer = EpisodeWriter(self._plan, self._index, self._writes)
        self._sampler = BatchSampler(self._plan, self._storage)
        self._prefetch = Prefetch(torch.device(device))
        self._checks = TransitionChecks(self._plan)
        self._reads = BufferReads(self._writes)
        self._lock = self._reads.lock

    @staticmethod
    def required_bytes(observation_space: Mapping[str, ObsSpec], action_dim: int, **parameters: Any) -> int:
        """Exactly the bytes that a buffer with these parameters (those of `__init__`) allocates.

        Beside them, on a device: batches, 8 bytes per row, pinned staging of a few times the largest append.
        """
        return BufferPlan(dict(observation_space), action_dim, **parameters).required_bytes

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return self._storage.nbytes + EpisodeIndex.required_bytes(self._plan.layout)

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
    def num_online_steps(self) -> int:
        """Online transitions held."""
        with self._lock:
            return self._index.size - self._index.num_demo_steps

    @property
    def seed(self) -> int:
        """Of row sampling and augmentation."""
        return self._sampler.seed

    def is_demo(self, rows: Tensor) -> Tensor:
        """Which of a batch's `rows` [batch] come from demonstrations: [batch] bool."""
        return rows < self._plan.layout.demo_rows

    def add_demonstrations(
        self, demos: Sequence[Demonstration], il_actions: Sequence[Any] | None = None
    ) -> None:
        """Stores demonstrations for good, all of them or (on any error) none.

        Args:
            demos: their observations must contain this buffer's keys; further ones are not stored.
            il_actions: per demonstration [T + 1, samples, action_dim], the imitation policy's proposals at
                every observation; None with `num_il_samples=0`.

        Errors: ValueError or TypeError naming the demonstration and the field; ValueError where they do not
        fit.
        """
        checked = self._checks.demonstrations(demos, il_actions)
        with self._lock:
            self._reads.check_ended("add_demonstrations")
            self._writer.add_demonstrations(checked)

    def start_episode(
        self, env_ids: Sequence[int] | None, obs: Mapping[str, Any], il_action: Any = None
    ) -> None:
        """Stores the first observation of new episodes.

        An environment whose episode still runs has it closed where it stands: its last step keeps its
        bootstrap.

        Args:
            env_ids: which environments, N of them; None for all.
            obs: per key [N, ...].
            il_action: [N, samples, action_dim], the proposals at `obs`; None with `num_il_samples=0`.
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
        """Stores one step of N environments, whose episodes end where it terminated or was truncated.

        Args:
            action: [N, action_dim], in [-1, 1].
            reward: [N].
            terminated: [N] bool, the task ended (no bootstrap).
            truncated: [N] bool, a time limit ended the episode.
            next_obs: per key [N, ...]; where the episode ended, its true final observation.
            il_action_next: [N, samples, action_dim], the proposals at `next_obs`; None with
                `num_il_samples=0`.
            env_ids: which environments; None for all.

        Errors: ValueError or TypeError naming the field, and the buffer is unchanged.
        """
        envs = self._checks.envs(env_ids)
        count = len(envs)
        values = self._checks.step("", count, action, reward, terminated, truncated)
        observed = self._checks.observation("next_", count, next_obs, il_action_next)
        with self._lock:
            self._reads.check_ended("append")
            self._writer.append(envs, values, observed)

    def sample(self, batch_size: int, demo_fraction: float | None = None) -> Batch:
        """Draw a batch uniformly, with replacement; the prepared one, if there is one.

        Args:
            batch_size: transitions, at least 1.
            demo_fraction: None draws from all transitions alike. A number in [0, 1] is the share of
                demonstrations: the first `batch_size * demo_fraction` rows (rounded) are theirs, the rest
                online steps. While no online step is held (a warm-up), the rest are demonstrations, too.

        Raises:
            TypeError, ValueError: a wrong size or fraction, an empty buffer, demonstrations are wanted and
                none is held, or a batch of another kind is prepared.
        """
        request = BatchRequest.of(batch_size, demo_fraction)
        with self._lock:
            return self._read(request) if self._prefetch.is_empty else self._prefetch.take(request)

    def prefetch(self, batch_size: int, demo_fraction: float | None = None) -> None:
        """Prepares the batch that the next `sample` of this size and fraction returns.

        It is drawn now, and does not see steps appended later: the batches of a run depend on the seed and
        the order of calls alone. On a device it is made on a stream of its own, beside updates that are
        queued; the host does not wait. `state_dict` contains it.

        Errors: those of `sample`; ValueError when a batch is prepared already.
        """
        request = BatchRequest.of(batch_size, demo_fraction)
        with self._lock:
            self._prefetch.put(request, lambda: self._read(request))

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
        request = BatchRequest.of(batch_size, demo_fraction)
        return self._sampler.draw(request.batch_size, request.demo_size)

    def check_can_sample(self, batch_size: int, demo_fraction: float | None = None) -> None:
        """Raise what `sample` would for these arguments; no batch is drawn."""
        request = BatchRequest.of(batch_size, demo_fraction)
        with self._lock:
            request.check_held(self._index)

    def before_reads(self) -> None:
        """Begins reads on the current stream: those queued from now on see all steps appended so far.

        The stream waits for writes under way, the host does not. Until `after_reads`, other threads' calls
        wait, and appends of this thread are RuntimeErrors.
        """
        self._reads.begin()

    def after_reads(self) -> None:
        """Ends reads: those between `before_reads` and here are queued, on the stream that was current there.

        Rows that they may reach are overwritten only when they are done.

        Errors: RuntimeError where this thread has not called `before_reads`.
        """
        self._reads.end()

    def state_dict(self) -> dict[str, Any]:
        """Everything that later samples and appends depend on, bit for bit, as tensors, numbers and strings.

        The size is that of the rows written so far.
        """
        with self._lock:
            with self._reads.around():
                self._writes.finish()
                state = save_state(self._plan, self._storage, self._index, self._sampler.seed)
            return state | {"prefetched": self._prefetch.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, in a buffer of the same sizes (storage and device may differ).

        The state may come from anywhere: all of it is checked before anything changes.

        Errors: ValueError naming the field that no buffer of these sizes could have saved, and the buffer is
        unchanged.
        """
        check_state(self._plan, state)
        with self._lock:
            with self._reads.around():
                self._writes.finish()
                prefetched = self._prefetch.restored(state.get("prefetched", {}))
                load_state(self._plan, self._storage, self._index, state)
                self._writes.replace()
            self._writer.publish()
            self._sampler.seed = int(state["seed"])
            self._prefetch.load(prefetched)

    def _read(self, request: BatchRequest) -> Batch:
        """Draws on the current stream."""
        request.check_held(self._index)
        with self._reads.around():
            return self._sampler.draw(request.batch_size, request.demo_size)
