"""Gymnasium environments of a user: small, without a simulator, each a function of its seed."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32)


class ReachEnv(gymnasium.Env):
    """A point with a goal; `controls` holds the actions that it was given, in its own units."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, render_mode: str | None = None, falls: bool = False, reports: str = "success") -> None:
        box = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = spaces.Dict(
            {
                "position": box,
                "goal": box,
                "arm": spaces.Dict({"angle": spaces.Box(-9, 9, (1,), np.float32)}),
                "steps": spaces.Box(0, 1000, (1,), np.int64),
            }
        )
        self.action_space = spaces.Box(LOW, HIGH)
        self.render_mode = render_mode
        self.controls: list[np.ndarray] = []
        self._falls, self._reports = falls, reports

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._position = self.np_random.uniform(-1, 1, 2)
        self._goal = self.np_random.uniform(-1, 1, 2)
        self._steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.controls.append(action.copy())
        self._position = self._position + 0.1 * (action - [0.0, 5.0]) / [2.0, 5.0]
        self._steps += 1
        distance = float(np.hypot(*(self._position - self._goal)))
        fell = self._falls and bool(np.abs(self._position).max() > 1.2)
        return self._observe(), -distance, fell, False, {self._reports: np.bool_(distance < 0.15)}

    def render(self) -> np.ndarray:
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[:, :30, 0] = min(10 * self._steps, 255)
        return picture

    def _observe(self) -> dict[str, Any]:
        return {
            "position": self._position.copy(),
            "goal": self._goal.copy(),
            "arm": {"angle": np.array([0.25 * self._steps], np.float32)},
            "steps": np.array([self._steps]),
        }


class CameraEnv(gymnasium.Env):
    """Two cameras, [H, W, 3] and [3, H, W], whose pixels say the seed's number and the step."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "front": spaces.Box(0, 255, (6, 8, 3), np.uint8),
                "joint": spaces.Box(-1, 1, (1,), np.float32),
                "wrist": spaces.Box(0, 255, (3, 6, 6), np.uint8),
            }
        )
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._pixels = self.np_random.integers(0, 200, (6, 8, 3), dtype=np.uint8)
        self._steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._observe(), 0.0, False, False, {"is_success": self._steps >= 5}

    def _observe(self) -> dict[str, Any]:
        pixels = self._pixels + np.uint8(self._steps)
        joint = np.array([self._steps / 10], np.float32)
        return {"front": pixels, "joint": joint, "wrist": pixels[:, :6].transpose(2, 0, 1).copy()}


class SpacesEnv(gymnasium.Env):
    """An environment with the spaces that it is given, which can do nothing."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space


class FaultyEnv(gymnasium.Env):
    """An environment that goes wrong in its third step, or where its fault says."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observe("reset"), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        is_due = self._steps == 3
        if self._fault == "raises" and is_due:
            raise ZeroDivisionError("the arm is gone\nand more")
        if self._fault == "dies" and is_due:
            os._exit(7)
        if self._fault == "kills" and is_due:
            os.kill(os.getpid(), 9)
        reward = np.nan if self._fault == "reward" and is_due else 1.0
        return self._observe("observation" if is_due else ""), reward, False, False, {"success": False}

    def close(self) -> None:
        if self._fault == "hangs" and multiprocessing.parent_process() is not None:
            time.sleep(600)

    def _observe(self, place: str) -> np.ndarray:
        observation = np.full(2, float(self._steps), np.float32)
        if place == self._fault:
            observation[1] = np.nan
        return np.zeros(3, np.float32) if self._fault == "shape" and self._steps else observation


def make_reach() -> gymnasium.Env:
    return ReachEnv("rgb_array")


def towards(state: np.ndarray) -> np.ndarray:
    """A controller for ReachEnv, whose state joins arm.angle, goal, position and steps."""
    return np.clip(10.0 * (state[1:3] - state[3:5]), -1.0, 1.0).astype(np.float32)


gymnasium.register("ibrl-tests/Reach-v0", entry_point=ReachEnv, max_episode_steps=30)
