"""One Gymnasium environment with the face of a suite's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.checks import LARGEST
from ibrl_fast.envs.gym.describe import action_bounds, read_entry
from ibrl_fast.envs.gym.pictures import as_picture, fit_picture, headless, resize_picture
from ibrl_fast.envs.gym.source import EnvFailedError, EnvSource
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import AbilityError, Outcome, TaskInfo
from ibrl_fast.errors import UserError, first_line

_LOG = logging.getLogger(__name__)

REPORTS = ("success", "is_success")
"""Entries of a step's `info` that report success, the first that is there."""
MOST_SEEDS = 2**31
"""Seeds go on modulo this: many environments take no larger ones."""


class GymEnv:
    """A `gymnasium.Env` whose actions are in [-1, 1] and whose vectors are those of its task.

    An observation or reward that is not finite ends the episode as diverged, and the last good observation
    stays.

    Args:
        task: from `describe_env`, with the vectors that were asked for.
        options: `success` and what is observed are read.
        source: makes the environment.
    """

    def __init__(self, task: TaskInfo, options: PoolOptions, source: EnvSource) -> None:
        self.env = source.open(task.name)
        self._task = task
        self._cameras = options.image_keys
        self._joined = {key: task.joined[key] for key in options.vector_keys}
        self._rule = _ended if options.success == "terminated" else source.success
        self._watches = self._rule is None and options.reward == "sparse"
        low, high = action_bounds(task.name, self.env.action_space)
        self._low, self._high = low, high
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._vectors: dict[str, npt.NDArray[np.float64]] = {}
        self._observation: Any = None

    @property
    def vectors(self) -> Mapping[str, npt.NDArray[np.float64]]:
        """The current observation's vectors, float64 [dim] each."""
        return self._vectors

    def reset(self, seed: int | None) -> None:
        """Start an episode: the environment's own `reset`, with the seed modulo `MOST_SEEDS`."""
        seed = None if seed is None else int(seed) % MOST_SEEDS
        observation, _ = self._call("reset", lambda: self.env.reset(seed=seed))
        vectors = self._read(observation)
        if not _are_finite(vectors):
            raise EnvFailedError(
                f"{self._task.name}: reset: expected finite observations of at most {LARGEST:g}, "
                f"got {_first_bad(vectors)}"
            )
        self._vectors, self._observation = vectors, observation

    def step(self, action: npt.NDArray[np.float32]) -> Outcome:
        """Take one control step with `action`, float32 [action_dim] in [-1, 1]."""
        controls = np.clip(self._middle + self._half * action, self._low, self._high)
        space = self.env.action_space
        controls = controls.astype(space.dtype).reshape(space.shape)
        outcome = self._call("step", lambda: self._step(controls))
        observation, reward, terminated, truncated, success = outcome
        vectors = self._read(observation)
        if not (_are_finite(vectors) and abs(reward) <= LARGEST):
            return Outcome(0.0, success=False, diverged=True)
        self._vectors, self._observation = vectors, observation
        return Outcome(reward, success, terminated=terminated, truncated=truncated)

    def picture(self, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Return the observed image of a camera, or for None what `render` gives, uint8 [size, size, 3].

        Raises:
            AbilityError: the environment was made without `render_mode="rgb_array"`.
        """
        if camera is not None:
            image = self._call("observation", lambda: as_picture(read_entry(self._observation, camera)))
            return resize_picture(image, size)
        if self.env.render_mode != "rgb_array":
            raise AbilityError(
                "render_frames: expected an environment with render_mode='rgb_array', got "
                f"render_mode={self.env.render_mode!r} of {self._task.name}"
            )
        with headless():
            frame = self._call("render", lambda: as_picture(self.env.render()))
        return fit_picture(frame, size)

    def close(self) -> None:
        """Close the environment."""
        self._call("close", self.env.close)

    def _step(self, controls: npt.NDArray[Any]) -> tuple[Any, float, bool, bool, bool]:
        observation, reward, terminated, truncated, info = self.env.step(controls)
        reward, terminated, truncated = float(reward), bool(terminated), bool(truncated)
        if self._watches:
            self._watches = False
            _look_for_report(self._task.name, info)
        rule = _reported if self._rule is None else self._rule
        return observation, reward, terminated, truncated, bool(rule(reward, terminated, truncated, info))

    def _read(self, observation: Any) -> dict[str, npt.NDArray[np.float64]]:
        """Join the entries of every vector."""

        def read() -> dict[str, npt.NDArray[np.float64]]:
            return {
                vector: np.concatenate(
                    [np.asarray(read_entry(observation, key), np.float64).reshape(-1) for key in keys]
                )
                for vector, keys in self._joined.items()
            }

        vectors = self._call("observation", read)
        for vector, values in vectors.items():
            size = len(self._task.observations[vector])
            if len(values) != size:
                raise EnvFailedError(
                    f"{self._task.name}: {vector}: expected {size} numbers as its space says, "
                    f"got {len(values)}"
                )
        return vectors

    def _call(self, what: str, call: Callable[[], Any]) -> Any:
        """Call the environment; whatever it raises becomes one error that names it."""
        try:
            return call()
        except UserError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise EnvFailedError(f"{self._task.name}: {what}: expected a result, got {reason}") from error


def _ended(reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> bool:
    return terminated


def _reported(reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> bool:
    value = next((info[name] for name in REPORTS if name in info), None)
    return value is not None and bool(np.asarray(value).any())


def _look_for_report(name: str, info: Mapping[str, Any]) -> None:
    """Say so where the first step of an environment reports neither success nor failure."""
    if not any(report in info for report in REPORTS):
        _LOG.warning(
            "%s: the first step's info has neither %s: without a later one no step is a success; choose "
            "success='terminated', a function in register_env, or reward='dense'",
            name,
            " nor ".join(REPORTS),
        )


def _are_finite(vectors: Mapping[str, npt.NDArray[np.float64]]) -> bool:
    return all((np.abs(values) <= LARGEST).all() for values in vectors.values())


def _first_bad(vectors: Mapping[str, npt.NDArray[np.float64]]) -> str:
    for vector, values in vectors.items():
        bad = ~(np.abs(values) <= LARGEST)
        if bad.any():
            index = int(np.argmax(bad))
            return f"{values[index]} in {vector}[{index}]"
    return "none"
