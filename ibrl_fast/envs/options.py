"""Every option of a pool, once: those of a training run (`EnvOptions`), and all (`PoolOptions`).

`make_pool` takes them, training configurations derive from them, and the native backend reads them by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any, Literal, get_args

from ibrl_fast.errors import ArgumentError, describe

Observation = Literal["state", "pixels", "both", "proprio_pixels"]
Reward = Literal["sparse", "dense"]
Success = Literal["task", "terminated"]
Autoreset = Literal["same_step", "next_step", "disabled"]
Backend = Literal["auto", "reference", "native"]

VECTORS_OF: Mapping[str, tuple[str, ...]] = {
    "state": ("state",),
    "pixels": (),
    "both": ("state",),
    "proprio_pixels": ("proprio",),
}
"""The vectors that each choice of `observation` holds; all but `state` hold the cameras as well."""
VECTOR_NAMES = ("state", "proprio")

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
_DRAWING = (
    "camera_positions",
    "camera_quaternions",
    "shadows",
    "shadow_size",
    "multisample",
    "render_device",
)
_NATIVE_ONLY = ("batch_size", "pin_memory", "render_device", "settle_ahead")


class OptionTypeError(ArgumentError, TypeError):
    """An option of another type than its own."""


@dataclass(frozen=True)
class EnvOptions:
    """Options that a training run can choose."""

    num_envs: int = 1
    """Environments stepped together."""
    observation: Observation = "state"
    """`state`: the vector of that name; `pixels`: the cameras; `both`: `state` and cameras; `proprio_pixels`:
    `proprio`, what the robot knows of itself, and cameras."""
    cameras: tuple[str, ...] | None = None
    """Cameras of the task's model, the first one also for videos; None: the task's own choice."""
    image_size: int = 84
    """Height and width of the images, pixels."""
    action_repeat: int = 2
    """Control steps per agent step; a success that ends the episode stops them early."""
    max_episode_steps: int = 100
    """Agent steps until an episode is truncated."""
    reward: Reward = "sparse"
    """`sparse` (1 on success) or `dense` (the environment's own, summed over the repeated actions)."""
    success: Success = "task"
    """What counts as success: `task`, the task's own rule, or `terminated`, that the environment ends the
    episode (for tasks whose environments do)."""
    state_keys: tuple[str, ...] = ()
    """Entries of the environment's observation that, joined in this order, are `state`; none: the task's own
    choice. Names may be joined by commas."""
    proprio_keys: tuple[str, ...] = ()
    """The same for `proprio`."""
    backend: Backend = "auto"
    """`reference`: Python environments, one after the other; `native`: the C++ pool, equal to them
    (docs/env_pool.md says how closely); `auto`: native for the tasks that it has, several processes for tasks
    that bring such a way."""
    num_threads: int | None = None
    """Threads of the native backend; None: one per usable core, at most one per environment."""
    fixed_goals: bool = False
    """Every environment repeats the start and goal that its seed draws first. Episodes with seeds of their
    own, as in evaluation and in collected demonstrations, draw theirs from those."""
    camera_positions: Mapping[str, tuple[float, float, float]] | None = None
    """Camera name -> position that replaces the model's, m; None: the task's own choice; empty: none."""
    camera_quaternions: Mapping[str, tuple[float, float, float, float]] | None = None
    """Camera name -> orientation (w, x, y, z) that replaces the model's; a camera looks along its -z."""
    shadows: bool = False
    """Draw shadows and smooth edges (slow in software)."""
    shadow_size: int = 0
    """With shadows, side of the shadow map in pixels; 0: the model's own."""
    multisample: int = -1
    """Samples per pixel; -1: none without shadows, the model's own with them."""
    render_device: int = -1
    """Native backend: index among EGL's devices; -1: the first GPU that works, then software."""
    settle_ahead: bool | None = None
    """Native backend: threads without work settle the scene of each environment's next episode, so that its
    reset is a copy; changes no result. None: where episodes follow by themselves and more than one thread may
    run."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "image_size", "action_repeat", "max_episode_steps"):
            check_integer(name, getattr(self, name), minimum=1)
        if self.num_threads is not None:
            check_integer("num_threads", self.num_threads, minimum=1)
        check_choice("observation", self.observation, get_args(Observation))
        check_choice("backend", self.backend, get_args(Backend))
        check_choice("reward", self.reward, get_args(Reward))
        check_choice("success", self.success, get_args(Success))
        for name in ("state_keys", "proprio_keys"):
            object.__setattr__(self, name, _entry_names(name, getattr(self, name)))
        for name in ("fixed_goals", "shadows"):
            _check_bool(name, getattr(self, name))
        check_integer("shadow_size", self.shadow_size, minimum=0)
        if self.shadow_size and not self.shadows:
            raise ArgumentError(f"shadow_size: expected 0 without shadows, got {self.shadow_size}")
        check_integer("multisample", self.multisample, minimum=-1)
        check_integer("render_device", self.render_device, minimum=-1)
        self._check_settle_ahead()
        if self.cameras is not None:
            object.__setattr__(self, "cameras", _camera_names(self.cameras))
        for name, size in (("camera_positions", 3), ("camera_quaternions", 4)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _camera_poses(name, getattr(self, name), size))
        if self.backend == "reference":
            self.check_reference()

    def _check_settle_ahead(self) -> None:
        if self.settle_ahead is not None:
            _check_bool("settle_ahead", self.settle_ahead)
        if self.settle_ahead and self.num_threads == 1:
            raise ArgumentError("settle_ahead: expected num_threads of at least 2 with it, got 1")

    def check_reference(self) -> None:
        """Raise an ArgumentError if an option is set that the reference backend does not have."""
        defaults = {entry.name: entry.default for entry in fields(self)}
        given = [name for name in _NATIVE_ONLY if name in defaults and getattr(self, name) != defaults[name]]
        if given:
            raise ArgumentError(
                f"{', '.join(given)}: expected the default for the reference backend, got "
                + ", ".join(repr(getattr(self, name)) for name in given)
                + " (only the native backend has it)"
            )
        if self.num_threads not in (None, 1):
            raise ArgumentError(
                f"num_threads: expected None or 1 for the reference backend, got {self.num_threads}"
            )

    def check_undrawn(self, task: str) -> None:
        """Raise an ArgumentError if an option is set that says how MuJoCo draws."""
        defaults = {entry.name: entry.default for entry in fields(self)}
        for name in _DRAWING:
            if getattr(self, name) != defaults[name]:
                got = describe(getattr(self, name))
                raise ArgumentError(
                    f"{name}: expected the default for {task}, whose pictures are its own, got {got}"
                )

    @property
    def vector_keys(self) -> tuple[str, ...]:
        """Observation keys that hold vectors."""
        return VECTORS_OF[self.observation]


@dataclass(frozen=True)
class PoolOptions(EnvOptions):
    """All options of a pool.

    The defaults are the paper's: sparse reward, 1 in the step that succeeds, which ends the episode; 100
    agent steps of two control steps.
    """

    seed: int = 0
    """Decides every start and goal; environment i gets its own stream, `derive_env_seed(seed, i)`."""
    terminate_on_success: bool = True
    """Whether success ends the episode."""
    autoreset: Autoreset = "same_step"
    """`same_step` (Gymnasium's SAME_STEP), `next_step` or `disabled`."""
    frame_stack: int | Mapping[str, int] = 1
    """Observations hold the last k frames, newest first, an episode's first one repeated: vectors [k * dim],
    pictures [k * 3, H, W]. A number for all keys, or a number by key (the others: 1)."""
    channels_last: bool = False
    """Pictures [H, W, k * 3] instead of [k * 3, H, W]."""
    batch_size: int | None = None
    """Native backend: results that one `recv` gives; None: all environments."""
    pin_memory: bool = False
    """Native backend: results lie in page-locked memory, for asynchronous copies to a GPU (needs CUDA)."""

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, minimum=0)
        check_choice("autoreset", self.autoreset, get_args(Autoreset))
        for name in ("terminate_on_success", "channels_last", "pin_memory"):
            _check_bool(name, getattr(self, name))
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, minimum=1)
        super().__post_init__()
        self._check_frame_stack()

    def _check_frame_stack(self) -> None:
        """Check a number for all observation keys, or numbers for some of them."""
        if not isinstance(self.frame_stack, Mapping):
            check_integer("frame_stack", self.frame_stack, minimum=1)
            return
        keys = (*self.vector_keys, *self.image_keys)
        are_known = self.observation == "state" or self.cameras is not None
        for key, stack in self.frame_stack.items():
            if are_known and key not in keys:
                raise ArgumentError(f"frame_stack: expected keys among {', '.join(keys)}, got {key!r}")
            check_integer(f"frame_stack[{key!r}]", stack, minimum=1, maximum=_MOST["frame_stack"])

    def changed(self, changes: Mapping[str, Any]) -> PoolOptions:
        """Return these options with some replaced.

        Raises:
            OptionTypeError: an unknown name (lists the valid ones) or a value of another type.
            ArgumentError: a value that cannot be used.
        """
        names = [entry.name for entry in fields(self)]
        for name in changes:
            if name not in names:
                raise OptionTypeError(f"options: expected names among {', '.join(names)}, got {name!r}")
        return replace(self, **changes)

    def with_cameras(
        self, cameras: tuple[str, ...], positions: Mapping[str, tuple[float, float, float]]
    ) -> PoolOptions:
        """Return these options with cameras and camera positions where they are None."""
        return replace(
            self,
            cameras=self.cameras or cameras or None,
            camera_positions=positions if self.camera_positions is None else self.camera_positions,
            camera_quaternions=self.camera_quaternions or {},
        )

    def stack_of(self, key: str) -> int:
        """Return the number of frames in an observation of that key."""
        stack = self.frame_stack
        return int(stack.get(key, 1) if isinstance(stack, Mapping) else stack)

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Observation keys that hold images."""
        return () if self.observation == "state" else self.cameras or ()


def _camera_names(given: Any) -> tuple[str, ...]:
    """Cameras are a non-empty tuple of different names."""
    entries = (given,) if isinstance(given, str) else given
    names = tuple(entries) if isinstance(entries, Iterable) else ()
    are_names = all(isinstance(name, str) and "\0" not in name for name in names)
    if not names or not are_names or len(set(names)) != len(names):
        raise ArgumentError(f"cameras: expected different camera names, at least one, got {describe(given)}")
    if set(names) & set(VECTOR_NAMES):
        raise ArgumentError(f"cameras: expected names other than observation keys, got {names!r}")
    return names


def _entry_names(word: str, given: Any) -> tuple[str, ...]:
    """Entries are a tuple of different names; several may stand in one text, with commas between them."""
    entries = (given,) if isinstance(given, str) else given
    texts = tuple(entries) if isinstance(entries, Iterable) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise ArgumentError(f"{word}: expected names of entries, got {describe(given)}")
    names = tuple(part.strip() for text in texts for part in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise ArgumentError(f"{word}: expected different names of entries, got {describe(given)}")
    return names


def _camera_poses(word: str, given: Any, size: int) -> dict[str, tuple[float, ...]]:
    """Poses are finite numbers [size] by camera; four of them are a unit quaternion."""
    from ibrl_fast.envs.checks import to_array

    poses = {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ArgumentError(f"{word}: expected a mapping from camera names, got {describe(given)}")
    for name, pose in given.items():
        expected = f"{size} finite numbers of at most {_FARTHEST_CAMERA:g}"
        array = to_array(f"{word}[{name!r}]", pose, expected).astype("float64")
        if array.shape != (size,) or not (abs(array) <= _FARTHEST_CAMERA).all():
            raise ArgumentError(f"{word}[{name!r}]: expected {expected}, got {describe(pose)}")
        poses[name] = tuple(array.tolist())
        if size == 4 and abs(math.hypot(*array.tolist()) - 1.0) > 1e-6:
            raise ArgumentError(f"{word}[{name!r}]: expected a unit quaternion, got {pose!r}")
    return poses


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise OptionTypeError(f"{name}: expected bool, got {describe(value)}")


def check_integer(name: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Raise unless it is an integer from `minimum` to `maximum` (None: to the bound of that option)."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise OptionTypeError(f"{name}: expected int, got {describe(value)}")
    number, most = int(value), _MOST.get(name) if maximum is None else maximum
    if number < minimum:
        raise ArgumentError(f"{name}: expected at least {minimum}, got {describe(value)}")
    if most is not None and number > most:
        raise ArgumentError(f"{name}: expected at most {most}, got {describe(value)}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ArgumentError unless it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{name}: expected one of {', '.join(choices)}, got {describe(value)}")
