"""A replay buffer's options, checked, and the memory that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import get_args

import torch

from ibrl_fast.data.checks import check_integer
from ibrl_fast.data.episode_index import EpisodeIndex, RowLayout
from ibrl_fast.data.observation_space import ObsSpec
from ibrl_fast.data.row_storage import ColumnShapes, Storage, column_bytes
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops.random_shift_gather import MAX_WIDTH

# rows, steps and numbers per row are counted in 32 bits by the kernels
_MOST = 2**31 - 1


@dataclass(frozen=True)
class BufferPlan:
    """What a `ReplayBuffer` is built from; memory can be asked for before anything is allocated.

    Raises:
        TypeError, ValueError: an option is wrong; the message names it.
    """

    observation_space: Mapping[str, ObsSpec]
    """What an observation holds, by name; uint8 entries are images."""
    action_dim: int
    """Numbers in an action."""
    _: KW_ONLY
    capacity: int
    """Online steps held, over all environments together."""
    max_episode_steps: int
    """Longest online episode, in steps."""
    num_envs: int = 1
    """Environments that append."""
    demo_capacity: int = 0
    """Demonstration steps that fit, in addition to `capacity`."""
    num_demos: int = 0
    """Demonstrations that fit (each takes a tail row beside its steps)."""
    storage: Storage = "host"
    """Where rows live: `device` keeps all on `device`, `pinned` keeps images in pinned host memory that the
    device reads, `host` keeps and samples all on the host and copies batches over."""
    device: torch.device | str = "cpu"
    """Where batches are wanted."""
    num_il_samples: int = 1
    """Imitation actions cached for each observation; 0 when there is no imitation policy."""
    nstep: int = 3
    """Steps of reward before the bootstrap."""
    gamma: float = 0.99
    """Discount of one step, in (0, 1]."""
    bootstrap_on_truncation: bool = True
    """Whether a time limit leaves the bootstrap in place."""
    stacks: Mapping[str, int] = field(default_factory=dict)
    """Observations joined, newest first, by name (1 where absent)."""
    random_shift_pad: int = 4
    """Largest shift of the image augmentation, pixels; 0 turns it off."""
    image_dtype: torch.dtype = torch.float32
    """What images are scaled to, float32 or bfloat16, in [-0.5, 0.5]."""
    seed: int = 0
    """Of row sampling and augmentation."""

    def __post_init__(self) -> None:
        # Sizes and counts.
        for name, minimum, maximum in (
            ("action_dim", 1, _MOST),
            ("capacity", 1, _MOST),
            ("max_episode_steps", 1, _MOST),
            ("num_envs", 1, _MOST),
            ("demo_capacity", 0, _MOST),
            ("num_demos", 0, _MOST),
            ("num_il_samples", 0, _MOST),
            ("nstep", 1, _MOST),
            ("random_shift_pad", 0, 2**15 - 1),
            ("seed", 0, None),
        ):
            check_integer(name, getattr(self, name), minimum, maximum)

        # Sizes that must agree with each other.
        for name in ("observation_space", "stacks"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name}: expected a dict, got {type(getattr(self, name)).__name__}")
            object.__setattr__(self, name, dict(getattr(self, name)))
        if not self.observation_space:
            raise ArgumentError("observation_space: expected at least one entry, got none")
        for key, spec in self.observation_space.items():
            if not isinstance(key, str) or not isinstance(spec, ObsSpec):
                raise TypeError(f"observation_space[{key!r}]: expected an ObsSpec, got {type(spec).__name__}")
            if spec.is_image and spec.shape[2] > MAX_WIDTH:
                raise ArgumentError(
                    f"observation_space[{key!r}]: expected images at most {MAX_WIDTH} pixels wide, "
                    f"got {list(spec.shape)}"
                )
        if self.capacity < self.num_envs * self.max_episode_steps:
            raise ArgumentError(
                f"capacity: expected at least num_envs * max_episode_steps = "
                f"{self.num_envs * self.max_episode_steps}, got {self.capacity}"
            )
        if (self.demo_capacity > 0) != (self.num_demos > 0) or self.num_demos > self.demo_capacity:
            raise ArgumentError(
                f"num_demos: expected 1 to demo_capacity demonstrations (0 when there are none), "
                f"got {self.num_demos} with demo_capacity {self.demo_capacity}"
            )
        unknown = sorted(set(self.stacks) - set(self.observation_space))
        if unknown:
            raise ArgumentError(f"stacks: expected keys of {sorted(self.observation_space)}, got {unknown}")
        for key, stack in self.stacks.items():
            check_integer(f"stacks[{key!r}]", stack, 1, _MOST)

        # Choices.
        if not isinstance(self.gamma, (int, float)):
            raise TypeError(f"gamma: expected a number, got {type(self.gamma).__name__}")
        if not isinstance(self.bootstrap_on_truncation, bool):
            got = type(self.bootstrap_on_truncation).__name__
            raise TypeError(f"bootstrap_on_truncation: expected a bool, got {got}")
        try:
            torch.device(self.device)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ArgumentError(f"device: expected a device of PyTorch, got {self.device!r}") from error
        if not 0.0 < self.gamma <= 1.0:
            raise ArgumentError(f"gamma: expected a value in (0, 1], got {self.gamma}")
        if not isinstance(self.storage, str) or self.storage not in get_args(Storage):
            raise ArgumentError(f"storage: expected one of {list(get_args(Storage))}, got {self.storage!r}")
        if self.storage == "pinned" and torch.device(self.device).type != "cuda":
            raise ArgumentError(f"storage: expected 'device' or 'host' on {self.device}, got 'pinned'")
        if self.image_dtype not in (torch.float32, torch.bfloat16):
            raise ArgumentError(
                f"image_dtype: expected torch.float32 or torch.bfloat16, got {self.image_dtype}"
            )

    @property
    def layout(self) -> RowLayout:
        """How many rows each region has."""
        return RowLayout(
            capacity=self.capacity,
            num_envs=self.num_envs,
            max_episode_steps=self.max_episode_steps,
            demo_capacity=self.demo_capacity,
            num_demos=self.num_demos,
        )

    @property
    def columns(self) -> ColumnShapes:
        """Shape and dtype of every tensor, by name."""
        rows = self.layout.rows
        observations = {
            f"obs/{key}": ((rows, *spec.shape), spec.dtype) for key, spec in self.observation_space.items()
        }
        return observations | {
            "action": ((rows, self.action_dim), torch.float32),
            "reward": ((rows,), torch.float32),
            "terminated": ((rows,), torch.bool),
            "truncated": ((rows,), torch.bool),
            "il_action": ((rows, self.num_il_samples, self.action_dim), torch.float32),
            "episode_step": ((rows,), torch.int32),
            "is_tail": ((rows,), torch.uint8),
            "table": ((self.layout.table_size,), torch.int64),
            "counts": ((4,), torch.int64),
            "counter": ((1,), torch.int64),
        }

    def batch_shapes(self, batch_size: int) -> ColumnShapes:
        """Return shape and dtype of every tensor of a batch, by the names of `Batch.tensors`."""
        observed: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        for key, spec in self.observation_space.items():
            shape = (batch_size, self.stacks.get(key, 1) * spec.shape[0], *spec.shape[1:])
            observed[key] = (shape, self.image_dtype if spec.is_image else torch.float32)
        numbers = ((batch_size,), torch.float32)
        proposals = ((batch_size, self.num_il_samples, self.action_dim), torch.float32)
        return {
            **{f"obs/{key}": each for key, each in observed.items()},
            "action": ((batch_size, self.action_dim), torch.float32),
            "reward": numbers,
            "discount": numbers,
            **{f"next_obs/{key}": each for key, each in observed.items()},
            "il_action": proposals,
            "il_action_next": proposals,
            "rows": ((batch_size,), torch.int64),
        }

    @property
    def required_bytes(self) -> int:
        """Bytes of all tensors and of the episode bookkeeping."""
        tensors = sum(column_bytes(shape, dtype) for shape, dtype in self.columns.values())
        return tensors + EpisodeIndex.required_bytes(self.layout)

    def fingerprint(self) -> str:
        """Describe what a checkpoint must share with the buffer that loads it."""
        spec = {key: (list(spec.shape), str(spec.dtype)) for key, spec in self.observation_space.items()}
        return (
            f"observations {spec}, action_dim {self.action_dim}, capacity {self.capacity}, "
            f"max_episode_steps {self.max_episode_steps}, num_envs {self.num_envs}, "
            f"demo_capacity {self.demo_capacity}, num_demos {self.num_demos}, "
            f"num_il_samples {self.num_il_samples}"
        )
