"""What `make_pool` can be asked for: one frozen, validated record that every backend receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

Observation = Literal["state", "pixels", "both"]
Reward = Literal["sparse", "dense"]
Autoreset = Literal["same_step", "next_step", "disabled"]

DEFAULT_CAMERA_POSITIONS: Mapping[str, tuple[float, float, float]] = {"corner2": (0.75, 0.075, 0.7)}
"""Camera positions in metres that differ from the published model's: a closer `corner2`."""


@dataclass(frozen=True)
class PoolOptions:
    """Options of a pool; see `make_pool` for the words."""

    num_envs: int = 1
    seed: int = 0
    observation: Observation = "state"
    cameras: tuple[str, ...] = ("corner2",)
    image_size: int = 84
    action_repeat: int = 2
    max_episode_steps: int = 100
    reward: Reward = "sparse"
    terminate_on_success: bool = True
    fixed_goals: bool = False
    autoreset: Autoreset = "same_step"
    camera_positions: Mapping[str, tuple[float, float, float]] = field(
        default_factory=lambda: dict(DEFAULT_CAMERA_POSITIONS)
    )
    shadows: bool = False
    num_threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_envs", "image_size", "action_repeat", "max_episode_steps"):
            _check_integer(name, getattr(self, name), minimum=1)
        _check_integer("seed", self.seed, minimum=0)
        if self.num_threads is not None:
            _check_integer("num_threads", self.num_threads, minimum=1)
        _check_choice("observation", self.observation, get_args(Observation))
        _check_choice("reward", self.reward, get_args(Reward))
        _check_choice("autoreset", self.autoreset, get_args(Autoreset))
        for name in ("terminate_on_success", "fixed_goals", "shadows"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: expected bool, got {getattr(self, name)!r}")
        self._check_cameras()

    def _check_cameras(self) -> None:
        """Cameras are a non-empty tuple of different names; poses are three finite numbers."""
        names = (self.cameras,) if isinstance(self.cameras, str) else tuple(self.cameras)
        if not names or len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"cameras: expected different camera names, at least one, got {self.cameras!r}")
        if "state" in names or "proprio" in names:
            raise ValueError(f"cameras: expected names other than observation keys, got {names!r}")
        object.__setattr__(self, "cameras", names)
        positions = {}
        for name, position in self.camera_positions.items():
            array = np.asarray(position, dtype=np.float64)
            if array.shape != (3,) or not np.isfinite(array).all():
                raise ValueError(f"camera_positions[{name!r}]: expected 3 finite numbers, got {position!r}")
            positions[name] = (float(array[0]), float(array[1]), float(array[2]))
        object.__setattr__(self, "camera_positions", positions)

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Observation keys that hold images."""
        return () if self.observation == "state" else self.cameras

    @property
    def has_state(self) -> bool:
        """Whether observations hold the state vector."""
        return self.observation != "pixels"


def _check_integer(name: str, value: object, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected int, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {value}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
