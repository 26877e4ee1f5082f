"""Replay buffers to compare with: one written in torch as a researcher would, and TorchRL's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from baselines.drq import drq_augment, image_batch
from ibrl_fast.data import ObsSpec
from ibrl_fast.ops.nstep_return import nstep_return_reference
from ibrl_fast.ops.replay_gather import stacked_rows_reference

EPISODE = 100
Space = dict[str, ObsSpec]


def random_observations(space: Space, count: int, device: torch.device) -> dict[str, Tensor]:
    """Draw observations `[count, ...]` per key."""
    return {
        key: torch.randint(0, 256, (count, *spec.shape), dtype=torch.uint8, device=device)
        if spec.is_image
        else torch.rand(count, *spec.shape, device=device)
        for key, spec in space.items()
    }


class TorchBuffer:
    """Rows in episode order in torch tensors; torch's random numbers, advanced indexing and `grid_sample`."""

    def __init__(
        self,
        space: Space,
        stacks: dict[str, int],
        action_dim: int,
        capacity: int,
        *,
        storage: torch.device,
        device: torch.device,
    ) -> None:
        """Fill it with random steps; observations lie on `storage`, batches are wanted on `device`."""
        self.space, self.stacks, self.device = space, stacks, device
        self.obs = random_observations(space, capacity, storage)
        self.action = torch.rand(capacity, action_dim, device=storage) * 2 - 1
        self.il_action = torch.rand(capacity, 1, action_dim, device=storage) * 2 - 1
        self.reward = torch.rand(capacity, device=storage)
        self.step = (torch.arange(capacity, device=storage) % (EPISODE + 1)).int()
        self.is_tail = self.step == EPISODE
        self.terminated = torch.zeros(capacity, dtype=torch.bool, device=storage)
        self.truncated = self.step == EPISODE - 1
        self.table = torch.nonzero(~self.is_tail)[:, 0]
        self.position = 0

    def sample(self, batch_size: int) -> dict[str, Any]:
        """Draw a stacked, augmented n-step batch."""
        rows = self.table[torch.randint(0, len(self.table) - 4, (batch_size,), device=self.table.device)]
        reward, discount, later = nstep_return_reference(
            self.reward, self.terminated, self.truncated, self.is_tail, rows, nstep=3, gamma=0.99
        )
        obs, next_obs = {}, {}
        for key, spec in self.space.items():
            stored, stack = self.obs[key], self.stacks.get(key, 1)
            if spec.is_image and stored.device == self.device:
                obs[key], next_obs[key] = image_batch(stored, rows, later, self.step, stack)
                continue
            for side, at in ((obs, rows), (next_obs, later)):
                batch = stored[stacked_rows_reference(at, self.step, stack)].flatten(1, 2).to(self.device)
                side[key] = drq_augment(batch.float()) / 255.0 - 0.5 if spec.is_image else batch
        small = (self.action[rows], reward, discount, self.il_action[rows], self.il_action[later])
        return {"obs": obs, "next_obs": next_obs, "rest": [each.to(self.device) for each in small]}

    def append(self, step: dict[str, Any]) -> None:
        """Store one step of some environments, column by column."""
        count = len(step["reward"])
        rows = torch.arange(self.position, self.position + count, device=self.table.device)
        self.position = (self.position + count) % (len(self.step) - 2 * count)
        for key, value in step["obs"].items():
            self.obs[key][rows + 1] = torch.as_tensor(value).to(rows.device)
        for column, name in (
            (self.action, "action"),
            (self.reward, "reward"),
            (self.terminated, "terminated"),
            (self.truncated, "truncated"),
        ):
            column[rows] = torch.as_tensor(step[name]).to(rows.device)
        self.il_action[rows + 1] = torch.as_tensor(step["il_action"]).to(rows.device)


def find_torchrl() -> ModuleType | str:
    """Import TorchRL's data module, or say why there is none."""
    try:
        return importlib.import_module("torchrl.data")
    except Exception as error:  # an incompatible release fails in many ways
        return f"{type(error).__name__}: {error}"


class TorchRLBuffer:
    """TensorDictReplayBuffer over whole n-step transitions, whose stacks and returns were made when added.

    So a sample needs no stacking and no n-step sum, and the storage takes 2 x stack as many frames.
    """

    def __init__(
        self,
        torchrl: ModuleType,
        space: Space,
        stacks: dict[str, int],
        action_dim: int,
        capacity: int,
        batch_size: int,
        *,
        memmap: Path | None,
        device: torch.device,
    ) -> None:
        """Fill it with random transitions, in a memory map in `memmap` or else on `device`."""
        tensordict = importlib.import_module("tensordict")
        storage = (
            torchrl.LazyTensorStorage(capacity, device=device)
            if memmap is None
            else torchrl.LazyMemmapStorage(capacity, scratch_dir=memmap)
        )
        self._where = device if memmap is None else torch.device("cpu")
        self._device, self._space, self._stacks = device, space, stacks
        self._buffer = torchrl.TensorDictReplayBuffer(storage=storage, batch_size=batch_size, prefetch=2)
        self._make = tensordict.TensorDict
        for _ in range(0, capacity, 500):
            self._buffer.extend(self._transitions(action_dim, 500))

    def _transitions(self, action_dim: int, count: int) -> Any:
        """Draw random transitions, stacked."""
        where = self._where
        stacked = {
            key: ObsSpec((self._stacks.get(key, 1) * spec.shape[0], *spec.shape[1:]), spec.dtype)
            for key, spec in self._space.items()
        }
        entries = {
            "obs": random_observations(stacked, count, where),
            "next_obs": random_observations(stacked, count, where),
            "action": torch.rand(count, action_dim, device=where),
            "reward": torch.rand(count, device=where),
            "discount": torch.rand(count, device=where),
            "il_action": torch.rand(count, 1, action_dim, device=where),
            "il_action_next": torch.rand(count, 1, action_dim, device=where),
        }
        return self._make(entries, batch_size=[count], device=where)

    def sample(self) -> Any:
        """Draw a batch on the device, augmented."""
        batch = self._buffer.sample().to(self._device)
        for key, spec in self._space.items():
            if spec.is_image:
                for side in ("obs", "next_obs"):
                    batch[side, key] = drq_augment(batch[side, key].float()) / 255.0 - 0.5
        return batch

    def appender(self, action_dim: int, envs: int) -> Callable[[], Any]:
        """Return a call that adds one transition of each environment, made before."""
        step = self._transitions(action_dim, envs).cpu()
        return lambda: self._buffer.extend(step)
