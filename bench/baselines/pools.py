"""Steps and resets of others: raw mj_step, EnvPool, Gymnasium's processes and the published Python."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import mujoco
import numpy as np
from mujoco import rollout
from pool_cases import TASKS, Timing, draw_actions, timed

FRAME_SKIP = 5

ENVPOOL_SERVER = """
import json, sys, time
import numpy as np, envpool
pools = {}
for line in sys.stdin:
    job = json.loads(line)
    key = (job["task"], job["num_envs"], job["threads"])
    if key not in pools:
        pools.clear()
        pools[key] = envpool.make(job["task"], env_type="gymnasium", num_envs=job["num_envs"],
                                  num_threads=job["threads"], seed=0, max_episode_steps=500)
    pool = pools[key]
    pool.reset()
    rng = np.random.default_rng(job["round"])
    actions = rng.uniform(-1, 1, (job["steps"], job["num_envs"], 4)).astype(np.float64)
    start, cpu = time.perf_counter(), time.process_time()
    for action in actions:
        pool.step(action)
    print(json.dumps([time.perf_counter() - start, time.process_time() - cpu]), flush=True)
"""


class RawSteps:
    """Five mj_steps per control step, in MuJoCo's own C++ rollout, with the task's controls and poses."""

    def __init__(self, task: str) -> None:
        self._env = make_published(task)
        self._data = [mujoco.MjData(self._env.model)]

    def time(self, round_index: int, steps: int) -> Timing:
        self._env.seed(round_index)
        self._env.reset()
        env, model, data = self._env, self._env.model, self._env.data
        spec = mujoco.mjtState
        initial = np.empty(mujoco.mj_stateSize(model, spec.mjSTATE_FULLPHYSICS))
        mujoco.mj_getState(model, data, initial, spec.mjSTATE_FULLPHYSICS)

        # gripper controls, then the mocap body's position and orientation, each held for five substeps
        actions = draw_actions(round_index, steps, 1)[:, 0]
        controls, position = [], data.mocap_pos[0].copy()
        for action in actions:
            position = np.clip(position + action[:3] * np.float32(0.01), env.mocap_low, env.mocap_high)
            controls += [[action[3], -action[3], *position, 1, 0, 1, 0]] * FRAME_SKIP
        control_spec = spec.mjSTATE_CTRL | spec.mjSTATE_MOCAP_POS | spec.mjSTATE_MOCAP_QUAT
        control = np.array(controls)[None]
        states = np.empty((1, len(controls), initial.size))

        def run() -> None:
            rollout.rollout(
                model, self._data, initial[None], control, control_spec=int(control_spec), state=states
            )

        return timed(run, steps)


class EnvPoolServer:
    """EnvPool in a Python of its own, one line of JSON per measurement."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", ENVPOOL_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def time(self, task: str, round_index: int, steps: int, num_envs: int, threads: int) -> Timing:
        job = {"task": TASKS[task], "num_envs": num_envs, "threads": threads, "steps": steps}
        job["round"] = round_index
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        wall, cpu = json.loads(self._process.stdout.readline())
        return wall / (steps * num_envs), cpu / (steps * num_envs)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def make_published(task: str) -> Any:
    """Make one published environment as it comes, without a time limit."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env: Any = ALL_V3_ENVIRONMENTS[f"{task}-v3"]()
    env._partially_observable = False
    env.__dict__.pop("sawyer_observation_space", None)
    env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
    env.max_path_length = 10**9
    env.seed(0)
    return env


def time_published(env: Any, round_index: int, steps: int) -> Timing:
    env.reset()
    actions = draw_actions(round_index, steps, 1)[:, 0]

    return timed(lambda: [env.step(action) for action in actions], steps)


def make_async(task: str, num_envs: int) -> Any:
    from gymnasium.vector import AsyncVectorEnv

    return AsyncVectorEnv([lambda: make_published(task) for _ in range(num_envs)])  # type: ignore[misc]


def time_async(pool: Any, round_index: int, steps: int) -> Timing:
    pool.reset()
    actions = draw_actions(round_index, steps, pool.num_envs)

    def run() -> None:
        for action in actions:
            pool.step(action)

    return timed(run, steps * pool.num_envs)
