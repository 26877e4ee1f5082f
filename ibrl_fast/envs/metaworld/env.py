"""One published Meta-World environment with the settings of this package."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.divergence import has_diverged
from ibrl_fast.envs.metaworld import state as state_layout
from ibrl_fast.envs.metaworld.tasks import STATE_DIM, published_name, success_needs_contact
from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import EnvState, Outcome, TaskInfo

State = npt.NDArray[np.float64]


class MetaworldEnv:
    """A published `metaworld` v3 environment (sawyer) with goals visible and drawn anew at every reset.

    Actions are float32 [4] in [-1, 1], as in the published environment; a control step is five physics steps
    of 2.5 ms. With the sparse reward, what only the dense one needs is left out.

    Args:
        task: one of the suite's.
        options: `reward`, `fixed_goals` and the time limit are read.
    """

    def __init__(self, task: TaskInfo, options: PoolOptions) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        self._options = options
        self.published: Any = ALL_V3_ENVIRONMENTS[published_name(task)]()
        # the published class hides the goal by default, and clips to a cached space that still hides it
        self.published._partially_observable = False
        self.published.__dict__.pop("sawyer_observation_space", None)
        self.published.observation_space = self.published.sawyer_observation_space
        # a new start and goal at every reset, from this environment's own generator
        self.published._freeze_rand_vec = False
        self.published.seeded_rand_vec = True
        self.published._set_task_called = True
        # the time limit is the pool's
        self.published.max_path_length = options.max_episode_steps * options.action_repeat
        self._skip_what_nobody_reads(task)
        self._observe_alike_everywhere()

        self.state: State = np.zeros(STATE_DIM)
        self._fresh: EnvState | None = None

    @property
    def vectors(self) -> dict[str, State]:
        """The current observation: `state`, float64 [39]."""
        return {"state": self.state}

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel`."""
        return self.published.model

    @property
    def data(self) -> Any:
        """The `mujoco.MjData`."""
        return self.published.data

    def reset(self, seed: int | None = None) -> None:
        """Start an episode that depends on the seed alone; without one the random stream goes on."""
        with warnings.catch_warnings():
            # Meta-World's Box spaces warn about their own precision
            warnings.simplefilter("ignore")
            if seed is not None:
                self._forget_history()
                self.published.seed(seed)
            elif self.published._last_rand_vec is None:
                raise RuntimeError("reset: expected a seed for an environment's first episode, got none")

            # fixed goals: draw once, then repeat that very episode
            if self._options.fixed_goals and seed is not None:
                self.published._freeze_rand_vec = False
                self.published.reset()
                self.published._freeze_rand_vec = True
            state, _ = self.published.reset()

        # pictures show the state itself: tasks move bodies after their last forward pass; this one must not
        # touch the solver's warm start, which is part of the physics
        warm_start = self.published.data.qacc_warmstart.copy()
        mujoco.mj_forward(self.published.model, self.published.data)
        self.published.data.qacc_warmstart[:] = warm_start
        self.state = np.asarray(state, dtype=np.float64)

    def step(self, action: npt.NDArray[np.float32]) -> Outcome:
        """Take one control step; the state stays the last good one if the physics diverges."""
        state, reward, _, _, info = self.published.step(action)
        if has_diverged(self.published.data, state):
            return Outcome(0.0, success=False, diverged=True)
        self.state = state
        return Outcome(float(reward), bool(info["success"]))

    def get_state(self) -> EnvState:
        """Return named arrays that hold everything that decides the future (the layout is in `state.py`)."""
        return {**state_layout.capture(self.published), "observation": self.state.copy()}

    def set_state(self, state: EnvState) -> None:
        """Restore what `get_state` returned."""
        state_layout.restore(self.published, state)
        self.published._freeze_rand_vec = self._options.fixed_goals
        self.state = state["observation"].copy()

    def _skip_what_nobody_reads(self, task: TaskInfo) -> None:
        """Leave out the costly parts of the published evaluation that change neither reward nor success."""
        # contacts between pads and object fill an info entry, and are part of success in few tasks
        if not success_needs_contact(task):
            self.published.touching_object = lambda object_geom_id: False
        # grasp shaping is part of the dense reward alone
        if self._options.reward == "sparse":
            self.published._gripper_caging_reward = lambda *args, **kwargs: 0.0

    def _observe_alike_everywhere(self) -> None:
        """Compute the opening of the gripper, observation entry 3, without BLAS.

        NumPy's norm goes through a kernel that depends on the processor; the rest of an observation does not.
        """
        env, published = self.published, self.published._get_curr_obs_combined_no_goal
        left, right = (env.model.body(name).id for name in ("leftclaw", "rightclaw"))

        def observe() -> State:
            state: State = published()
            x, y, z = (env.data.xpos[right] - env.data.xpos[left]).tolist()
            state[3] = min(max(math.sqrt(x * x + y * y + z * z) / 0.1, 0.0), 1.0)
            return state

        env._get_curr_obs_combined_no_goal = observe

    def _forget_history(self) -> None:
        """Undo what earlier episodes left in model and task, so that a seed alone decides what follows."""
        if self._fresh is None:
            self.published.seed(0)
            self.published.reset()
            self._fresh = state_layout.capture(self.published)
        state_layout.restore(self.published, self._fresh)
        self.published._freeze_rand_vec = False
