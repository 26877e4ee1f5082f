"""From an environment's spaces to the facts of a task.

observation    a Box, or a Dict of boxes (dicts in it too: their names joined by a point)
  1-D box               an entry of `state`, which joins all in the space's order unless keys are chosen
  uint8 [H, W, 3]       a camera; also [3, H, W]
action         a Box of finite bounds, floating: low to high is [-1, 1], component by component
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from ibrl_fast.envs.gym.source import EnvSource
from ibrl_fast.envs.options import VECTOR_NAMES, EnvOptions
from ibrl_fast.envs.suite import Abilities, TaskInfo
from ibrl_fast.errors import ArgumentError, describe

ABILITIES = Abilities(seeds=True, parallel=True, terminates=True, own_pictures=True)

VECTOR, IMAGE = "observation", "image"
"""Names of the one entry of an environment whose observation is a box."""

_UNKNOWN_UNIT = math.nan


def describe_env(
    name: str, source: EnvSource, state_keys: tuple[str, ...] = (), proprio_keys: tuple[str, ...] = ()
) -> TaskInfo:
    """Make one environment, look at it and close it.

    Args:
        name: the task's.
        source: makes it.
        state_keys: the task's own choice of what `state` joins; none: all vectors in the space's order.
        proprio_keys: the same for `proprio`; none: the task has none.

    Raises:
        ArgumentError: spaces that are not those of a task.
    """
    env = source.open(name)
    try:
        boxes = list_boxes(name, env.observation_space)
        low, high = action_bounds(name, env.action_space)
        period = _control_period(env)
    finally:
        env.close()
    units = {key: (_UNKNOWN_UNIT,) * box.shape[0] for key, box in boxes.items() if len(box.shape) == 1}
    is_mapped = bool((low != -1.0).any() or (high != 1.0).any())
    task = TaskInfo(
        name=name,
        observations={},
        action_dim=len(low),
        control_period=period,
        cameras=tuple(key for key, box in boxes.items() if len(box.shape) == 3),
        abilities=ABILITIES,
        entries=units,
        control_low=tuple(low.tolist()) if is_mapped else None,
        control_high=tuple(high.tolist()) if is_mapped else None,
    )
    chosen = EnvOptions(state_keys=state_keys or tuple(units), proprio_keys=proprio_keys)
    return task.observed_by(chosen)


def list_boxes(name: str, space: Any) -> dict[str, spaces.Box]:
    """Return the boxes of an observation space by name, in its order.

    Raises:
        ArgumentError: a space of another kind, naming it.
    """
    boxes = dict(_walk(space, ""))
    if isinstance(space, spaces.Box):
        boxes = {IMAGE if _is_image(space) else VECTOR: space}
    if not boxes:
        raise ArgumentError(f"{name}: observation space: expected at least one entry, got none")
    for key, box in boxes.items():
        is_vector = isinstance(box, spaces.Box) and len(box.shape) == 1 and box.shape[0] > 0
        if not (is_vector or _is_image(box)):
            where = f"entry {key!r}: " if isinstance(space, spaces.Dict) else ""
            raise ArgumentError(
                f"{name}: observation space: {where}expected a 1-D Box, or a uint8 Box [H, W, 3] or "
                f"[3, H, W] of images, got {describe(box)}"
            )
        if _is_image(box) and (key in VECTOR_NAMES or "/" in key):
            raise ArgumentError(
                f"{name}: observation space: expected images named other than {', '.join(VECTOR_NAMES)} "
                f"and without /, got {key!r}"
            )
    return boxes


def read_entry(observation: Any, key: str) -> Any:
    """Return an entry of an observation by the name that `list_boxes` gives it."""
    while isinstance(observation, dict):
        if key in observation:
            return observation[key]
        first, point, key = _split(observation, key)
        if not point:
            raise KeyError(first)
        observation = observation[first]
    return observation


def action_bounds(name: str, space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of every action component, float64 [action_dim].

    Raises:
        ArgumentError: another kind of space, or bounds that are not finite.
    """
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f" or 0 in space.shape:
        raise ArgumentError(f"{name}: action space: expected a floating Box, got {describe(space)}")
    low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in (space.low, space.high))
    good = np.isfinite(low) & np.isfinite(high) & (low < high)
    if not good.all():
        index = int(np.argmin(good))
        raise ArgumentError(
            f"{name}: action space: expected finite bounds, low below high, got "
            f"[{low[index]:g}, {high[index]:g}] for component {index}; a wrapper such as "
            "gymnasium.wrappers.TransformAction can set them"
        )
    return low, high


def _walk(space: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Give what a space holds, by name."""
    if not isinstance(space, spaces.Dict):
        yield prefix.removesuffix("."), space
        return
    for key, inner in space.spaces.items():
        yield from _walk(inner, f"{prefix}{key}.")


def _split(observation: dict[str, Any], key: str) -> tuple[str, str, str]:
    """Split a joined name behind the part that is a key here, which may have points itself."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        first = ".".join(parts[:count])
        if first in observation:
            return first, ".", ".".join(parts[count:])
    return key, "", ""


def _is_image(box: Any) -> bool:
    is_box = isinstance(box, spaces.Box) and box.dtype == np.uint8 and len(box.shape) == 3
    return is_box and 0 not in box.shape and 3 in (box.shape[-1], box.shape[0])


def _control_period(env: Any) -> float | None:
    """Return seconds of a step: `dt` where the environment has it (MuJoCo's have), else 1 / render_fps."""
    fps = env.metadata.get("render_fps") if isinstance(env.metadata, dict) else None
    candidates = [
        getattr(env.unwrapped, "dt", None),
        1.0 / fps if isinstance(fps, int | float) and fps else None,
    ]
    for value in candidates:
        if isinstance(value, int | float | np.floating) and 0.0 < value < math.inf:
            return float(value)
    return None
