"""The replay buffer: episodes in preallocated rows, demonstrations kept for good, ready batches."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ibrl_fast.data.batch import Batch
from ibrl_fast.data.buffer_checkpoint import check_state, load_state, save_state
from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.checks import check_integer
from ibrl_fast.data.demonstration_set import Demonstration
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.data.observation_space import ObsSpec
from ibrl_fast.data.row_storage import RowStorage, Storage
from ibrl_fast.data.sampler import BatchSampler
from ibrl_fast.data.transition_checks import TransitionChecks


class ReplayBuffer:
    """Transitions of several environments and of demonstrations, sampled as n-step batches.

    Every observation is stored once: an episode of T steps takes T + 1 consecutive rows, the last of which
    (the tail) holds the final observation and its imitation proposals. Running episodes can be sampled at
    once: their n-step returns stop at the newest observation and bootstrap there. All methods may be called
    from several threads (on CUDA: threads that share one stream, as PyTorch's default is).

    Capacity: of each environment the newest `capacity // num_envs` steps are kept. Whole episodes, the oldest
    first, are evicted only when one more step would exceed this, or when episodes average less than a quarter
    of `max_episode_steps` and tails have used up the rows reserved for them. Demonstrations are never
    evicted.

    Randomness: rows and shifts are functions of (seed, number of batches drawn so far).
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
        self._index = EpisodeIndex(self._plan.layout)
        # No row holds a step yet.
        self._storage.columns["is_tail"].tensor.fill_(1)
        self._sampler = BatchSampler(self._plan, self._storage)
        self._checks = TransitionChecks(self._plan)
        self._lock = threading.Lock()

    @staticmethod
    def required_bytes(observation_space: Mapping[str, ObsSpec], action_dim: int, **parameters: Any) -> int:
        """Exactly the bytes that a buffer with these parameters (those of `__init__`) allocates."""
        return BufferPlan(dict(observation_space), action_dim, **parameters).required_bytes

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return self._storage.nbytes + EpisodeIndex.required_bytes(self._plan.layout)

    def __len__(self) -> int:
        """Transitions that can be sampled, demonstrations included."""
        return self._index.size

    @property
    def num_demo_steps(self) -> int:
        """Demonstration transitions held."""
        return self._index.num_demo_steps

    @property
    def num_online_steps(self) -> int:
        """Online transitions held."""
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
        # Check everything first.
        if (il_actions is None) != (self._plan.num_il_samples == 0):
            raise ValueError(
                f"il_actions: expected {'none' if il_actions is not None else 'proposals'} with "
                f"num_il_samples {self._plan.num_il_samples}, got {'none' if il_actions is None else 'some'}"
            )
        if il_actions is not None and len(il_actions) != len(demos):
            raise ValueError(f"il_actions: expected {len(demos)} entries, got {len(il_actions)}")
        checked = []
        for number, demo in enumerate(demos):
            name = f"demos[{number}]."
            steps = len(demo.actions)
            values = self._checks.step(
                name, steps, demo.actions, demo.rewards, demo.terminated, demo.truncated
            )
            proposals = None if il_actions is None else il_actions[number]
            observed = self._checks.observation(name, steps + 1, demo.observations, proposals)
            checked.append((steps, values, observed))

        with self._lock:
            free_steps = self._plan.demo_capacity - self._index.num_demo_steps
            free_demos = self._plan.num_demos - len(self._index.demos)
            new_steps = sum(steps for steps, _, _ in checked)
            if new_steps > free_steps or len(checked) > free_demos:
                raise ValueError(
                    f"demos: expected at most {free_demos} more with {free_steps} steps in all, "
                    f"got {len(checked)} with {new_steps} steps"
                )
            self._storage.wait_for_reads()
            for steps, values, observed in checked:
                first = self._index.add_demo(steps)
                self._storage.write(slice(first, first + steps), values)
                observed["episode_step"] = np.arange(steps + 1, dtype=np.int32)
                observed["is_tail"] = (np.arange(steps + 1) == steps).astype(np.uint8)
                self._storage.write(slice(first, first + steps + 1), observed)
            self._publish()

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
            self._storage.wait_for_reads()
            rows = [self._index.start_episode(env) for env in envs]
            observed["episode_step"] = np.zeros(len(envs), dtype=np.int32)
            observed["is_tail"] = np.ones(len(envs), dtype=np.uint8)
            self._storage.write(rows, observed)
            self._publish()

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
        index = self._index
        with self._lock:
            for env in envs:
                if not index.running[env]:
                    raise ValueError(
                        f"append: expected start_episode first, got no episode in environment {env}"
                    )
                if index.steps[env] == self._plan.max_episode_steps:
                    raise ValueError(
                        f"append: expected an end after max_episode_steps = {index.steps[env]} steps, "
                        f"got one more in environment {env}"
                    )
            # The tail becomes a transition, the next row the new tail.
            self._storage.wait_for_reads()
            steps = [index.steps[env] + 1 for env in envs]
            rows = [index.append(env) for env in envs]
            values["is_tail"] = np.zeros(count, dtype=np.uint8)
            self._storage.write(rows, values)
            observed["episode_step"] = np.asarray(steps, dtype=np.int32)
            observed["is_tail"] = np.ones(count, dtype=np.uint8)
            self._storage.write([row + 1 for row in rows], observed)
            for env, ended in zip(envs, (values["terminated"] | values["truncated"]).tolist()):
                if ended:
                    index.end_episode(env)
            self._publish()

    def sample(self, batch_size: int) -> Batch:
        """A batch drawn uniformly, with replacement, from all transitions.

        Errors: ValueError when the buffer is empty.
        """
        with self._lock:
            batch = self.draw(batch_size)
            self.after_reads()
            return batch

    @property
    def draws_on_device(self) -> bool:
        """Whether a draw is device work alone, which a CUDA graph can repeat."""
        return self._plan.storage != "host"

    def draw(self, batch_size: int) -> Batch:
        """What `sample` returns, by tensor code alone; between `before_reads` and `after_reads`."""
        return self._sampler.sample(batch_size, self._index.num_demo_steps, self._index.size)

    def before_reads(self) -> None:
        """To be called before draws are put on the current stream."""

    def after_reads(self) -> None:
        """To be called after draws were put on the current stream: writes wait for them."""
        self._storage.mark_read()

    def sample_mixed(self, batch_size: int, demo_fraction: float) -> Batch:
        """A batch whose first `batch_size * demo_fraction` (rounded) transitions are demonstrations.

        The others are online ones.

        Errors: ValueError for a fraction outside [0, 1], or when a part is wanted of which there is none.
        """
        if not 0.0 <= demo_fraction <= 1.0:
            raise ValueError(f"demo_fraction: expected a value in [0, 1], got {demo_fraction}")
        demo_size = int(check_integer("batch_size", batch_size, 1) * demo_fraction + 0.5)
        with self._lock:
            batch = self._sampler.sample(
                batch_size, self._index.num_demo_steps, self._index.size, demo_size=demo_size
            )
            self.after_reads()
            return batch

    def state_dict(self) -> dict[str, Any]:
        """Everything that later samples and appends depend on, bit for bit, as tensors, numbers and strings.

        The size is that of the rows written so far.
        """
        with self._lock:
            return save_state(self._plan, self._storage, self._index, self._sampler.seed)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, in a buffer of the same sizes (storage and device may differ).

        Errors: ValueError naming what differs, and the buffer is unchanged.
        """
        check_state(self._plan, state)
        with self._lock:
            self._storage.wait_for_reads()
            load_state(self._plan, self._storage, self._index, state)
            self._sampler.seed = int(state["seed"])
            self._publish()

    def _publish(self) -> None:
        """Shows the samplers what the index now holds."""
        index, columns = self._index, self._storage.columns
        if index.touched:
            columns["table"].write(index.touched, index.table[index.touched])
            index.touched.clear()
        online = index.size - index.num_demo_steps
        columns["counts"].write(slice(0, 3), np.asarray([index.size, index.num_demo_steps, online]))
