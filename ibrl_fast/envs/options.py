"""What `make_pool` can be asked for: one frozen, validated record that every backend receives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

import numpy as np

from ibrl_fast.envs.checks import describe, to_array
from ibrl_fast.errors import ArgumentError

Observation = Literal["state", "pixels", "both"]
Reward = Literal["sparse", "dense"]
Autoreset = Literal["same_step", "next_step", "disabled"]

DEFAULT_CAMERA_POSITIONS: Mapping[str, tuple[float, float, float]] = {"corner2": (0.75, 0.075, 0.7)}
"""Camera positions in metres that differ from the published model's: a closer `corner2`."""


_MOST = {
    "num_envs": 2**31 - 1,
    "batch_size": 2**31 - 1,
    "max_episode_steps": 2**31 - 1,
    "action_repeat": 10_000,
    "image_size": 16_384,
    "shadow_size": 16_384,
    "multisample": 64,
    "num_threads": 4096,
    "render_device": 1023,
    "frame_stack": 1024,
}
"""The largest values of options; memory is a limit of its own."""
_FARTHEST_CAMERA = 1e6  # m


class OptionTypeError(ArgumentError, TypeError):
    """An option of another type than its own."""


@dataclass(frozen=True)
class NativeOptions:
    """Options that the native backend alone has; see `make_pool` for the words."""

    batch_size: int | None = None
    pin_memory: bool = False
    render_device: int = -1
    settle_ahead: bool | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, minimum=1)
        check_integer("render_device", self.render_device, minimum=-1)
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
            check_integer(name, getattr(self, name), minimum=1)
        check_integer("seed", self.seed, minimum=0)
        if self.num_threads is not None:
            check_integer("num_threads", self.num_threads, minimum=1)
        check_choice("observation", self.observation, get_args(Observation))
        check_choice("reward", self.reward, get_args(Reward))
        check_choice("autoreset", self.autoreset, get_args(Autoreset))
        for name in ("terminate_on_success", "fixed_goals", "shadows", "channels_last"):
            _check_bool(name, getattr(self, name))
        check_integer("shadow_size", self.shadow_size, minimum=0)
        if self.shadow_size and not self.shadows:
            raise ArgumentError(f"shadow_size: expected 0 without shadows, got {self.shadow_size}")
        check_integer("multisample", self.multisample, minimum=-1)
        self._check_cameras()
        self._check_frame_stack()

    def _check_cameras(self) -> None:
        """Cameras are a non-empty tuple of different names; poses are three finite numbers."""
        given = (self.cameras,) if isinstance(self.cameras, str) else self.cameras
        names = tuple(given) if isinstance(given, Iterable) else ()
        if (
            not names
            or not all(isinstance(name, str) and "\0" not in name for name in names)
            or len(set(names)) != len(names)
        ):
            raise ArgumentError(
                f"cameras: expected different camera names, at least one, got {describe(self.cameras)}"
            )
        if "state" in names or "proprio" in names:
            raise ArgumentError(f"cameras: expected names other than observation keys, got {names!r}")
        object.__setattr__(self, "cameras", names)
        for word, size in (("camera_positions", 3), ("camera_quaternions", 4)):
            poses = {}
            given = getattr(self, word)
            if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
                raise ArgumentError(f"{word}: expected a mapping from camera names, got {describe(given)}")
            for name, pose in given.items():
                expected = f"{size} finite numbers of at most {_FARTHEST_CAMERA:g}"
                array = to_array(f"{word}[{name!r}]", pose, expected).astype(np.float64)
                if array.shape != (size,) or not (np.abs(array) <= _FARTHEST_CAMERA).all():
                    raise ArgumentError(f"{word}[{name!r}]: expected {expected}, got {describe(pose)}")
                poses[name] = tuple(array.tolist())
                if size == 4 and abs(np.linalg.norm(array) - 1.0) > 1e-6:
                    raise ArgumentError(f"{word}[{name!r}]: expected a unit quaternion, got {pose!r}")
            object.__setattr__(self, word, poses)

    def _check_frame_stack(self) -> None:
        """A number for all observation keys, or numbers for some of them."""
        if not isinstance(self.frame_stack, Mapping):
            check_integer("frame_stack", self.frame_stack, minimum=1)
            return
        keys = (*(["state"] if self.has_state else []), *self.image_keys)
        for key, stack in self.frame_stack.items():
            if key not in keys:
                raise ArgumentError(f"frame_stack: expected keys among {', '.join(keys)}, got {key!r}")
            check_integer(f"frame_stack[{key!r}]", stack, minimum=1, maximum=_MOST["frame_stack"])

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
        raise OptionTypeError(f"{name}: expected bool, got {describe(value)}")


def check_integer(name: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Raise unless it is an integer from `minimum` to `maximum` (None: to the bound of that option)."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise OptionTypeError(f"{name}: expected int, got {describe(value)}")
    most = _MOST.get(name) if maximum is None else maximum
    if value < minimum:
        raise ArgumentError(f"{name}: expected at least {minimum}, got {describe(value)}")
    if most is not None and value > most:
        raise ArgumentError(f"{name}: expected at most {most}, got {describe(value)}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ArgumentError unless it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{name}: expected one of {', '.join(choices)}, got {describe(value)}")
