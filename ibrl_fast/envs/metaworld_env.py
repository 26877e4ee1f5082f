"""One published Meta-World environment with the settings of this package, stepped at the agent's rate."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs import metaworld_state
from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.registry import TaskInfo

State = npt.NDArray[np.float64]

_INSTABILITIES = tuple(
    int(warning)
    for warning in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
        mujoco.mjtWarning.mjWARN_BADCTRL,
    )
)


# observations are handed out as float32
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class StepResult:
    """What one agent step gave."""

    state: State
    """Observation float64 [39]; the last good one if the physics diverged."""
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    diverged: bool


class MetaworldEnv:
    """A published `metaworld` v3 environment (sawyer) with goals visible and drawn anew at every reset.

    Actions are float32 [4] in [-1, 1], as in the published environment. One agent step is `action_repeat`
    simulation steps of 12.5 ms; it stops early when success ends the episode.
    """

    def __init__(self, task: TaskInfo, options: PoolOptions) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        self._options = options
        self.env: Any = ALL_V3_ENVIRONMENTS[task.suite_name]()
        # the published class hides the goal by default, and clips to a cached space that still hides it
        self.env._partially_observable = False
        self.env.__dict__.pop("sawyer_observation_space", None)
        self.env.observation_space = self.env.sawyer_observation_space
        # a new start and goal at every reset, from this environment's own generator
        self.env._freeze_rand_vec = False
        self.env.seeded_rand_vec = True
        self.env._set_task_called = True
        # the time limit is this class's
        self.env.max_path_length = options.max_episode_steps * options.action_repeat
        self._skip_what_nobody_reads(task)
        self._observe_alike_everywhere()

        self.elapsed_steps = 0
        self.episode_return = 0.0
        self.state: State = np.zeros(task.state_dim)
        self._fresh: metaworld_state.EnvState | None = None

    def reset(self, seed: int | None = None) -> State:
        """Starts an episode that depends on the seed alone; without one the random stream goes on."""
        with warnings.catch_warnings():
            # Meta-World's Box spaces warn about their own precision
            warnings.simplefilter("ignore")
            if seed is not None:
                self._forget_history()
                self.env.seed(seed)
            elif self.env._last_rand_vec is None:
                raise RuntimeError("reset: expected a seed for an environment's first episode, got none")

            # fixed goals: draw once, then repeat that very episode
            if self._options.fixed_goals and seed is not None:
                self.env._freeze_rand_vec = False
                self.env.reset()
                self.env._freeze_rand_vec = True
            state, _ = self.env.reset()

        # pictures show the state itself: tasks move bodies after their last forward pass; this one must not
        # touch the solver's warm start, which is part of the physics
        warm_start = self.env.data.qacc_warmstart.copy()
        mujoco.mj_forward(self.env.model, self.env.data)
        self.env.data.qacc_warmstart[:] = warm_start
        self.elapsed_steps = 0
        self.episode_return = 0.0
        self.state = np.asarray(state, dtype=np.float64)
        return self.state

    def step(self, action: npt.NDArray[np.float32]) -> StepResult:
        """One agent step with a float32 [4] action in [-1, 1]."""
        options, env = self._options, self.env
        dense_reward, success, diverged = 0.0, False, False
        for _ in range(options.action_repeat):
            state, reward, _, _, info = env.step(action)
            diverged = self._has_diverged(state)
            if diverged:
                break
            self.state = state
            dense_reward += float(reward)
            success = success or bool(info["success"])
            if success and options.terminate_on_success:
                break

        self.elapsed_steps += 1
        total = float(success) if options.reward == "sparse" else dense_reward
        self.episode_return += total
        terminated = success and options.terminate_on_success and not diverged
        out_of_time = self.elapsed_steps >= options.max_episode_steps
        truncated = not terminated and (out_of_time or diverged)
        return StepResult(self.state, total, terminated, truncated, success, diverged)

    def get_state(self) -> metaworld_state.EnvState:
        """Named arrays that hold everything that decides the future."""
        return {
            **metaworld_state.capture(self.env),
            "elapsed_steps": np.array(self.elapsed_steps, dtype=np.int64),
            "episode_return": np.array(self.episode_return, dtype=np.float64),
            "observation": self.state.copy(),
        }

    def set_state(self, state: metaworld_state.EnvState) -> State:
        """Continues where `get_state` stood."""
        metaworld_state.restore(self.env, state)
        self.env._freeze_rand_vec = self._options.fixed_goals
        self.elapsed_steps = int(state["elapsed_steps"])
        self.episode_return = float(state["episode_return"])
        self.state = state["observation"].copy()
        return self.state

    def _skip_what_nobody_reads(self, task: TaskInfo) -> None:
        """Leaves out the costly parts of the published evaluation that change neither reward nor success."""
        # contacts between pads and object fill an info entry, and are part of success in few tasks
        if not task.success_needs_contact:
            self.env.touching_object = lambda object_geom_id: False
        # grasp shaping is part of the dense reward alone
        if self._options.reward == "sparse":
            self.env._gripper_caging_reward = lambda *args, **kwargs: 0.0

    def _observe_alike_everywhere(self) -> None:
        """Computes the opening of the gripper, observation entry 3, without BLAS.

        NumPy's norm goes through a kernel that depends on the processor; the rest of an observation does not.
        """
        env, published = self.env, self.env._get_curr_obs_combined_no_goal
        left, right = (env.model.body(name).id for name in ("leftclaw", "rightclaw"))

        def observe() -> State:
            state: State = published()
            x, y, z = (env.data.xpos[right] - env.data.xpos[left]).tolist()
            state[3] = min(max(math.sqrt(x * x + y * y + z * z) / 0.1, 0.0), 1.0)
            return state

        env._get_curr_obs_combined_no_goal = observe

    def _forget_history(self) -> None:
        """Undoes what earlier episodes left in model and task, so that a seed alone decides what follows."""
        if self._fresh is None:
            self.env.seed(0)
            self.env.reset()
            self._fresh = metaworld_state.capture(self.env)
        metaworld_state.restore(self.env, self._fresh)
        self.env._freeze_rand_vec = False

    def _has_diverged(self, state: State) -> bool:
        """MuJoCo resets itself when its state turns bad; its warning counters tell."""
        counters = self.env.data.warning
        unstable = any(counters[index].number for index in _INSTABILITIES)
        return unstable or not (np.abs(state) <= _LARGEST).all()
