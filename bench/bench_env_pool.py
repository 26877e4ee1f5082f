"""Environment steps per second: the native pool, raw mj_step, EnvPool, Gymnasium and the published Python.

    python bench/bench_env_pool.py [--quick] [--pixels] [--envpool-python PATH] [--output FILE.json]

All contenders take the same random actions and run one after the other, round after round; reported are
medians over the rounds. Every contender counts control steps of 12.5 ms (five mj_steps each); none counts
frame skips. Rates are given by wall time and by the processor time of the calling process: on a machine that
others use, only the latter repeats. EnvPool runs in a Python of its own, a virtual environment with
`envpool==1.2.5`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from mujoco import rollout

from ibrl_fast.envs import make_pool

TASKS = {
    "assembly": "MetaWorld/Assembly-v3",
    "box-close": "MetaWorld/BoxClose-v3",
    "coffee-push": "MetaWorld/CoffeePush-v3",
    "stick-pull": "MetaWorld/StickPull-v3",
}
FRAME_SKIP = 5
NUM_ENVS = 8

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

Timing = tuple[float, float]
"""Wall and processor seconds per control step of one environment."""


def timed(function: Callable[[], object], steps: int) -> Timing:
    start, cpu = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - start) / steps, (time.process_time() - cpu) / steps


def draw_actions(round_index: int, steps: int, num_envs: int) -> np.ndarray:
    """Uniform actions float32 [steps, num_envs, 4]."""
    return np.random.default_rng(round_index).uniform(-1, 1, (steps, num_envs, 4)).astype(np.float32)


def make_original(task: str, backend: str, **options: Any) -> Any:
    """A pool that runs 500-step episodes without repeated actions, as the published environments do."""
    defaults = {"action_repeat": 1, "max_episode_steps": 500, "terminate_on_success": False}
    return make_pool(task, backend=backend, **{**defaults, **options})


def time_pool(pool: Any, round_index: int, steps: int) -> Timing:
    pool.reset(seed=round_index)
    actions = draw_actions(round_index, steps, pool.num_envs)

    def run() -> None:
        for action in actions:
            pool.step(action)

    return timed(run, steps * pool.num_envs)


class RawSteps:
    """Five mj_steps per control step, in MuJoCo's own C++ rollout, with the task's controls and poses."""

    def __init__(self, task: str) -> None:
        self._pool = make_original(task, "reference")
        self._pool.reset(seed=0)
        self._env = self._pool._envs[0].env
        self._data = [mujoco.MjData(self._env.model)]

    def time(self, round_index: int, steps: int) -> Timing:
        self._pool.reset(seed=round_index)
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
    """One published environment as it comes, without a time limit."""
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

    def run() -> None:
        for action in actions:
            env.step(action)

    return timed(run, steps)


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


def time_resets(pool: Any, count: int) -> Timing:
    def run() -> None:
        for _ in range(count):
            pool.reset()

    return timed(run, count * pool.num_envs)


def bench_state(task: str, rounds: int, steps: int, server: EnvPoolServer | None) -> dict[str, Any]:
    """Medians for one task."""
    native_single = make_original(task, "native", num_envs=1, num_threads=1)
    native_one = make_original(task, "native", num_envs=NUM_ENVS, num_threads=1)
    native_two = make_original(task, "native", num_envs=NUM_ENVS, num_threads=2)
    raw, python = RawSteps(task), make_published(task)
    python_async = make_async(task, 2)
    contenders: dict[str, Callable[[int], Timing]] = {
        "raw mj_step, 1 thread": lambda r: raw.time(r, steps * 4),
        "native, 1 environment, 1 thread": lambda r: time_pool(native_single, r, steps * 4),
        "native, 8 environments, 1 thread": lambda r: time_pool(native_one, r, steps),
        "native, 8 environments, 2 threads": lambda r: time_pool(native_two, r, steps),
        "published, 1 environment": lambda r: time_published(python, r, steps),
        "AsyncVectorEnv, 2 environments, 2 processes": lambda r: time_async(python_async, r, steps),
    }
    if server is not None:
        contenders["EnvPool 1.2.5, 8 environments, 1 thread"] = lambda r: server.time(
            task, r, steps, NUM_ENVS, 1
        )
        contenders["EnvPool 1.2.5, 8 environments, 2 threads"] = lambda r: server.time(
            task, r, steps, NUM_ENVS, 2
        )
    reset_native = make_original(task, "native", num_envs=1, num_threads=1)
    reset_native.reset(), python.reset()
    contenders["reset, native"] = lambda r: time_resets(reset_native, 30)
    contenders["reset, published"] = lambda r: timed(lambda: [python.reset() for _ in range(5)], 5)

    samples: dict[str, list[Timing]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender(10**6)  # warm-up
    for round_index in range(rounds):
        for name, contender in contenders.items():
            samples[name].append(contender(round_index))
    python_async.close()
    result = {}
    for name, timings in samples.items():
        wall = statistics.median(timing[0] for timing in timings)
        cpu = statistics.median(timing[1] for timing in timings)
        result[name] = {"per_second_wall": 1 / wall, "per_second_cpu": 1 / cpu if cpu > 0 else None}
    return result


def bench_pixels(task: str, size: int, rounds: int, steps: int) -> dict[str, Any]:
    """Frames per second of the pool beside bare rendering and reading of the same scenes, one thread each."""
    native = make_original(task, "native", num_threads=1, observation="pixels", image_size=size)
    state = make_original(task, "native", num_threads=1)
    reference = make_original(task, "reference", observation="pixels", image_size=size)
    renderer = reference._renderer(size)
    env, camera = reference._envs[0].env, reference._camera_ids["corner2"]

    def bare() -> None:
        renderer._gl.make_current()
        renderer._camera.fixedcamid = camera
        for _ in range(steps):
            mujoco.mjv_updateScene(
                env.model, env.data, renderer._option, None, renderer._camera,
                mujoco.mjtCatBit.mjCAT_ALL.value, renderer._scene,
            )  # fmt: skip
            mujoco.mjr_render(renderer._viewport, renderer._scene, renderer._context)
            mujoco.mjr_readPixels(renderer._pixels, None, renderer._viewport, renderer._context)

    contenders: dict[str, Callable[[int], Timing]] = {
        "bare mjr_render and read": lambda r: timed(bare, steps),
        "native, state alone": lambda r: time_pool(state, r, steps),
        "native, state and picture": lambda r: time_pool(native, r, steps),
    }
    samples: dict[str, list[Timing]] = {name: [] for name in contenders}
    reference.reset(seed=0)
    for round_index in range(-1, rounds):
        for name, contender in contenders.items():
            timing = contender(max(round_index, 0))
            if round_index >= 0:
                samples[name].append(timing)
    result: dict[str, Any] = {"device": native._pool.render_info[1]}
    for name, timings in samples.items():
        wall = statistics.median(timing[0] for timing in timings)
        cpu = statistics.median(timing[1] for timing in timings)
        result[name] = {"per_second_wall": 1 / wall, "per_second_cpu": 1 / cpu}
    return result


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model,
        "usable_cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "mujoco": mujoco.__version__,
        # names of files instead of paths, which are this machine's own matter
        "command": " ".join(
            ["python", "bench/bench_env_pool.py", *(Path(word).name for word in sys.argv[1:])]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 100 steps instead of 9 of 400")
    parser.add_argument("--pixels", action="store_true", help="measure pictures as well")
    parser.add_argument("--envpool-python", help="a Python with envpool==1.2.5")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "env_pool.json")
    arguments = parser.parse_args()
    rounds, steps = (3, 100) if arguments.quick else (9, 400)

    server = EnvPoolServer(arguments.envpool_python) if arguments.envpool_python else None
    report: dict[str, Any] = {"machine": machine(), "rounds": rounds, "state": {}, "pixels": {}}
    for task in arguments.tasks:
        report["state"][task] = bench_state(task, rounds, steps, server)
        print(task)
        for name, rates in report["state"][task].items():
            cpu = rates["per_second_cpu"]
            print(f"  {name:45s} {rates['per_second_wall']:9.0f}/s wall {cpu or 0:9.0f}/s cpu", flush=True)
    if arguments.pixels:
        for size in (84, 96):
            report["pixels"][size] = bench_pixels("assembly", size, rounds, steps=40)
            print(f"assembly, {size} pixels", report["pixels"][size], flush=True)
    if server is not None:
        server.close()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
