"""From row numbers to a batch: the draw, the n-step return, stacking and image augmentation, one op each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.data.batch import Batch
from ibrl_fast.data.batch_upload import BatchUpload
from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.row_storage import RowStorage

# Tensors that one call of `ops.replay_gather` takes.
_MOST_SOURCES = 16


class BatchSampler:
    """Draw batches with tensor operations alone; see `ReplayBuffer.draw`.

    Attributes:
        seed: of all draws; a batch is a function of it and of the counter column.
    """

    def __init__(self, plan: BufferPlan, storage: RowStorage) -> None:
        """Read from `storage`, whose columns are those of `plan`."""
        self._plan = plan
        tensors = storage.tensors

        # What rows are drawn from: the table, how much of it is what, and the random counter. All of them are
        # read where they lie, so that a captured draw follows a buffer that grows.
        self._table, self._counter = tensors["table"], tensors["counter"]
        self._all_count, self._demo_count, self._rest_begin, self._rest_count = tensors["counts"].split(1)

        # What n-step returns are summed from, and what stacks stop at.
        self._reward, self._is_tail = tensors["reward"], tensors["is_tail"]
        self._terminated, self._truncated = tensors["terminated"], tensors["truncated"]
        self._episode_step = tensors["episode_step"]

        # Images are gathered and shifted one camera at a time.
        stacks = {key: plan.stacks.get(key, 1) for key in plan.observation_space}
        self._images = [
            (key, tensors[f"obs/{key}"], stacks[key])
            for key, spec in plan.observation_space.items()
            if spec.is_image
        ]

        # Vectors are gathered together: first those of the drawn rows, then those of the rows n steps later.
        self._keys = [key for key, spec in plan.observation_space.items() if not spec.is_image]
        observed, observed_stacks = (
            [tensors[f"obs/{key}"] for key in self._keys],
            [stacks[k] for k in self._keys],
        )
        proposals = [tensors["il_action"]] if plan.num_il_samples else []
        now, later = [*observed, *proposals, tensors["action"]], [*observed, *proposals]
        self._sources, self._num_now, self._num_later = [*now, *later], len(now), len(later)
        self._stacks = [*observed_stacks, 1, 1][: len(now)] + [*observed_stacks, 1][: len(later)]

        # What stands in a batch for proposals where there are none, and the way to the learner's device.
        self._no_proposals = torch.zeros((1, 0, plan.action_dim), device=self._counter.device)
        moves = self._counter.device.type != torch.device(plan.device).type
        self._upload = BatchUpload(plan) if moves else None
        self.seed = plan.seed

    @property
    def seed(self) -> int:
        """Seed of all draws."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        """Give each draw its own stream of random numbers: two for rows, then one per camera."""
        self._seed = seed
        words = np.random.SeedSequence(seed).generate_state(2 + len(self._images), np.uint64)
        self._streams = [int(word >> np.uint64(1)) for word in words]

    @property
    def draws_on_device(self) -> bool:
        """Whether batches are made where they are wanted."""
        return self._upload is None

    def draw(self, batch_size: int, demo_size: int | None = None) -> Batch:
        """Draw from all transitions, or `demo_size` demonstrations and the rest of the batch online ones."""
        if self._upload is None:
            return self._draw(batch_size, demo_size, None)
        return self._upload.send(batch_size, lambda out: self._draw(batch_size, demo_size, out))

    def _draw(self, batch_size: int, demo_size: int | None, out: Batch | None) -> Batch:
        """Make a batch where the columns lie, in `out` where given."""
        # Rows: all from one run of the table, or demonstrations first and the rest behind them.
        rows = None if out is None else out.rows
        if demo_size is None:
            rows = self._draw_rows(batch_size, rows, self._all_count, None, stream=0)
        else:
            if rows is None:
                rows = torch.empty(batch_size, dtype=torch.int64, device=self._table.device)
            self._draw_rows(demo_size, rows[:demo_size], self._demo_count, None, stream=0)
            rest = batch_size - demo_size, rows[demo_size:], self._rest_count, self._rest_begin
            self._draw_rows(*rest, stream=1)
        assert rows is not None

        # Their transitions, and another position in the random streams for the next draw.
        batch = self._gather(rows, out)
        self._counter.add_(1)
        return batch

    def _draw_rows(
        self, size: int, rows: Tensor | None, count: Tensor, begin: Tensor | None, *, stream: int
    ) -> Tensor | None:
        """Draw `size` rows from the `count` entries of the table after `begin`, into `rows` where given."""
        if size == 0:
            return rows
        seed, counter = self._streams[stream], self._counter
        return ops.sample_rows(self._table, count, size, seed=seed, counter=counter, begin=begin, out=rows)

    def _gather(self, rows: Tensor, out: Batch | None) -> Batch:
        """Make the batch of these rows `[batch]`, in `out` where given."""
        plan = self._plan

        # n-step returns: rewards summed up to the bootstrap, and the row that is bootstrapped from.
        reward, discount, next_rows = ops.nstep_return(
            self._reward,
            self._terminated,
            self._truncated,
            self._is_tail,
            rows,
            nstep=plan.nstep,
            gamma=plan.gamma,
            bootstrap_on_truncation=plan.bootstrap_on_truncation,
            out=None if out is None else (out.reward, out.discount, torch.empty_like(rows)),
        )

        # Vectors, proposals and actions of the drawn rows, vectors and proposals of the later ones.
        all_rows = [rows] * self._num_now + [next_rows] * self._num_later
        targets = None if out is None else self._vectors_of(out)
        gathered: list[Tensor] = []
        for first in range(0, len(all_rows), _MOST_SOURCES):
            part = slice(first, first + _MOST_SOURCES)
            gathered += ops.replay_gather(
                self._sources[part],
                all_rows[part],
                self._episode_step,
                stacks=self._stacks[part],
                out=None if targets is None else targets[part],
            )
        now, later = gathered[: self._num_now], gathered[self._num_now :]
        obs, next_obs = dict(zip(self._keys, now)), dict(zip(self._keys, later))
        none = (
            self._no_proposals.expand(rows.shape[0], 0, plan.action_dim) if not plan.num_il_samples else None
        )

        # Images of both, shifted independently.
        for number, (key, frames, stack) in enumerate(self._images):
            shifted, next_shifted = ops.random_shift_gather(
                frames,
                rows,
                next_rows,
                self._episode_step,
                stack=stack,
                pad=plan.random_shift_pad,
                out_dtype=plan.image_dtype,
                seed=self._streams[2 + number],
                counter=self._counter,
                out=None if out is None else (out.obs[key], out.next_obs[key]),
            )
            assert next_shifted is not None
            obs[key], next_obs[key] = shifted, next_shifted
        return Batch(
            obs=obs,
            action=now[-1],
            reward=reward,
            discount=discount,
            next_obs=next_obs,
            il_action=now[-2] if none is None else none,
            il_action_next=later[-1] if none is None else none,
            rows=rows,
        )

    def _vectors_of(self, batch: Batch) -> list[Tensor]:
        """List what `ops.replay_gather` fills in a batch, in the order of its sources."""
        has_proposals = self._plan.num_il_samples > 0
        return [
            *(batch.obs[key] for key in self._keys),
            *([batch.il_action] if has_proposals else []),
            batch.action,
            *(batch.next_obs[key] for key in self._keys),
            *([batch.il_action_next] if has_proposals else []),
        ]
