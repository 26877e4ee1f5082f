"""Checks of steps and observations on their way into the replay buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.checks import check_action, check_flag, check_image, check_integer, check_vector
from ibrl_fast.data.demonstration_set import Demonstration
from ibrl_fast.errors import ArgumentError

Values = dict[str, npt.NDArray[Any]]


class TransitionChecks:
    """Turn a caller's arrays into column values, or raise one error that names the field."""

    def __init__(self, plan: BufferPlan) -> None:
        """Prepare the checks of every column of `plan`."""
        self._plan = plan
        self._all_envs = list(range(plan.num_envs))
        self._entries = [
            (key, f"obs/{key}", check_image if spec.is_image else check_vector, spec.shape)
            for key, spec in plan.observation_space.items()
        ]

    def envs(self, env_ids: Sequence[int] | None) -> list[int]:
        """Return environment numbers, each once; None for all."""
        if env_ids is None:
            return self._all_envs
        given = env_ids.tolist() if isinstance(env_ids, (np.ndarray, Tensor)) else env_ids
        if not isinstance(given, (Sequence, range)) or isinstance(given, str):
            raise TypeError(f"env_ids: expected a list of numbers, got {type(env_ids).__name__}")
        envs = [env if type(env) is int else check_integer("env_ids", env, 0) for env in given]
        if len(set(envs)) != len(envs) or any(not 0 <= env < self._plan.num_envs for env in envs):
            raise ArgumentError(
                f"env_ids: expected different numbers in [0, {self._plan.num_envs - 1}], got {envs}"
            )
        return envs

    def step(
        self, name: str, count: int, action: Any, reward: Any, terminated: Any, truncated: Any
    ) -> Values:
        """Return what is stored with `count` steps; `name` begins the field's name in an error."""
        return {
            "action": check_action(f"{name}action", action, (count, self._plan.action_dim)),
            "reward": check_vector(f"{name}reward", reward, (count,)),
            "terminated": check_flag(f"{name}terminated", terminated, (count,)),
            "truncated": check_flag(f"{name}truncated", truncated, (count,)),
        }

    def observation(self, name: str, count: int, obs: Mapping[str, Any], il_action: Any) -> Values:
        """Return what is stored with `count` observations; `name` begins the field's name in an error."""
        if not isinstance(obs, Mapping):
            raise TypeError(f"{name}obs: expected a dict, got {type(obs).__name__}")
        values: Values = {}
        for key, column, check, shape in self._entries:
            if key not in obs:
                raise ArgumentError(f"{name}obs: expected an entry {key!r}, got {sorted(obs)}")
            values[column] = check(f"{name}obs[{key!r}]", obs[key], (count, *shape))
        samples = self._plan.num_il_samples
        if samples:
            if il_action is None:
                raise ArgumentError(f"{name}il_action: expected {samples} proposals, got None")
            shape = (count, samples, self._plan.action_dim)
            values["il_action"] = check_action(f"{name}il_action", il_action, shape)
        elif il_action is not None:
            raise ArgumentError(f"{name}il_action: expected None with num_il_samples 0, got proposals")
        return values

    def demonstrations(
        self, demos: Sequence[Demonstration], il_actions: Sequence[Any] | None
    ) -> list[tuple[int, Values, Values]]:
        """Return per demonstration T, what is stored with its T steps, and with its T + 1 observations."""
        samples = self._plan.num_il_samples
        if (il_actions is None) != (samples == 0):
            raise ArgumentError(
                f"il_actions: expected {'none' if il_actions is not None else 'proposals'} with "
                f"num_il_samples {samples}, got {'none' if il_actions is None else 'some'}"
            )
        if il_actions is not None and len(il_actions) != len(demos):
            raise ArgumentError(f"il_actions: expected {len(demos)} entries, got {len(il_actions)}")
        checked = []
        for number, demo in enumerate(demos):
            name = f"demos[{number}]."
            if not isinstance(demo, Demonstration):
                raise TypeError(f"demos[{number}]: expected a Demonstration, got {type(demo).__name__}")
            # its arrays may have been written to since it was made
            steps = len(demo.actions)
            for flag in ("terminated", "truncated"):
                if np.asarray(getattr(demo, flag))[:-1].any():
                    raise ArgumentError(
                        f"{name}{flag}: expected an end at the last step alone, got one before"
                    )
            values = self.step(name, steps, demo.actions, demo.rewards, demo.terminated, demo.truncated)
            proposals = None if il_actions is None else il_actions[number]
            checked.append((steps, values, self.observation(name, steps + 1, demo.observations, proposals)))
        return checked
