"""What `make_pool` can be asked for: one frozen, validated record that every backend receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

import numpy as np

from ibrl_fast.errors import ArgumentError

Observation = Literal["state", "pixels", "both"]
Reward = Literal["sparse", "dense"]
Autoreset = Literal["same_step", "next_step", "disabled"]

DEFAULT_CAMERA_POSITIONS: Mapping[str, tuple[float, float, float]] = {"corner2": (0.75, 0.075, 0.7)}
"""Camera positions in metres that differ from the published model's: a closer `corner2`."""


@dataclass(frozen=True)
class NativeOptions:
    """Options that the native backend alone has; see `make_pool` for the words."""

    batch_size: int | None = None
    pin_memory: bool = False
    render_device: int = -1
    settle_ahead: bool | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            _check_integer("batch_size", self.batch_size, minimum=1)
        _check_integer("render_device", self.render_device, minimum=-1)
        _check_bool("pin_memory", self.pin_memory)
        if self.settle_ahead is not None:
            _check_bool("settle_ahead", self.settle_ahead)

    def check_unused(self, backend: str) -> None:
        """Raises ValueError if an option is set: for backends that have none of them."""
        given = [entry.name for entry in fields(self) if getattr(self, entry.name) != entry.default]
        if given:
            raise ArgumentError(
                f"{', '.join(given)}: expected the default for the {backend} backend, got "
                + ", ".join(repr(getattr(self, name)) for name in given)
                + " (only the native backend has it)"
            )


@dataclass(frozen=True)
class PoolOptions:
    """Options of a pool that every backend has; see `make_pool` for the words."""

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
    camera_quaternions: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    frame_stack: int | Mapping[str, int] = 1
    channels_last: bool = False
    shadows: bool = False
    shadow_size: int = 0
    multisample: int = -1
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
        for name in ("terminate_on_success", "fixed_goals", "shadows", "channels_last"):
            _check_bool(name, getattr(self, name))
        _check_integer("shadow_size", self.shadow_size, minimum=0)
        if self.shadow_size and not self.shadows:
            raise ArgumentError(f"shadow_size: expected 0 without shadows, got {self.shadow_size}")
        _check_integer("multisample", self.multisample, minimum=-1)
        self._check_cameras()
        self._check_frame_stack()

    def _check_cameras(self) -> None:
        """Cameras are a non-empty tuple of different names; poses are three finite numbers."""
        names = (self.cameras,) if isinstance(self.cameras, str) else tuple(self.cameras)
        if not names or len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
            raise ArgumentError(
                f"cameras: expected different camera names, at least one, got {self.cameras!r}"
            )
        if "state" in names or "proprio" in names:
            raise ArgumentError(f"cameras: expected names other than observation keys, got {names!r}")
        object.__setattr__(self, "cameras", names)
        for word, size in (("camera_positions", 3), ("camera_quaternions", 4)):
            poses = {}
            for name, pose in getattr(self, word).items():
                array = np.asarray(pose, dtype=np.float64)
                if array.shape != (size,) or not np.isfinite(array).all():
                    raise ArgumentError(f"{word}[{name!r}]: expected {size} finite numbers, got {pose!r}")
                poses[name] = tuple(array.tolist())
                if size == 4 and abs(np.linalg.norm(array) - 1.0) > 1e-6:
                    raise ArgumentError(f"{word}[{name!r}]: expected a unit quaternion, got {pose!r}")
            object.__setattr__(self, word, poses)

    def _check_frame_stack(self) -> None:
        """A number for all observation keys, or numbers for some of them."""
        if not isinstance(self.frame_stack, Mapping):
            _check_integer("frame_stack", self.frame_stack, minimum=1)
            return
        keys = (*(["state"] if self.has_state else []), *self.image_keys)
        for key, stack in self.frame_stack.items():
            if key not in keys:
                raise ArgumentError(f"frame_stack: expected keys among {', '.join(keys)}, got {key!r}")
            _check_integer(f"frame_stack[{key!r}]", stack, minimum=1)

    def stack_of(self, key: str) -> int:
        """Frames in an observation of that key."""
        stack = self.frame_stack
        return int(stack.get(key, 1) if isinstance(stack, Mapping) else stack)

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Observation keys that hold images."""
        return () if self.observation == "state" else self.cameras

    @property
    def has_state(self) -> bool:
        """Whether observations hold the state vector."""
        return self.observation != "pixels"


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected bool, got {value!r}")


def _check_integer(name: str, value: object, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected int, got {value!r}")
    if value < minimum:
        raise ArgumentError(f"{name}: expected at least {minimum}, got {value}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
