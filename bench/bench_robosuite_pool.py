"""robosuite's tasks in the native pool, against 25 raw mj_steps and against robosuite's Python.

    python bench/bench_robosuite_pool.py [--quick] [--pixels]

All candidates take the same random actions and run one after the other, round after round, in one thread;
reported are medians over the rounds, and medians of the ratios within a round, by processor time (which
repeats on a machine that others use). A step is a control step of 0.05 s. Raw is `mj_step` 25 times in C++
with the model as robosuite compiles it, from every state of the native pool's episode and with its torques
held: the physics alone, no controller, no observation. With --pixels one camera of 96 x 96 pixels is observed
as well: by robosuite with its own settings, by the pool with the same (equal pixel for pixel) and with its
default of no shadows. Memory is what 32 further environments add to the process, a thirty-second of it.
Writes results/bench_robosuite_pool.json.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from pool_cases import Timing, ratio, run_rounds, timed
from record import Results, bench_parser

from ibrl_fast.envs import make_pool
from ibrl_fast.envs.registry import find_suite, resolve_task
from ibrl_fast.envs.robosuite.package import import_robosuite, make_published, quiet
from ibrl_fast.envs.robosuite.tasks import published_of

TASKS = ("robosuite/lift", "robosuite/can", "robosuite/square")
CAMERA = "agentview"
SIZE = 96
RAW = "raw, 25 mj_steps"
SINGLE = "native, 1 environment"
EIGHT = "native, 8 environments"
PUBLISHED = "robosuite"
PICTURES = "native, with pictures as robosuite's"
PLAIN_PICTURES = "native, with pictures without shadows"
_SPEC = int(mujoco.mjtState.mjSTATE_INTEGRATION)


def make_native(task: str, **options: Any) -> Any:
    defaults = {
        "num_threads": 1, "action_repeat": 1, "max_episode_steps": 10**6, "terminate_on_success": False,
    }  # fmt: skip
    return make_pool(task, backend="native", **{**defaults, **options})


def draw_actions(round_index: int, steps: int, num_envs: int) -> np.ndarray:
    """Draw uniform actions `[steps, num_envs, 7]` float32."""
    return np.random.default_rng(round_index).uniform(-1, 1, (steps, num_envs, 7)).astype(np.float32)


class RawSteps:
    """The physics of a control step from states that the native pool visits."""

    def __init__(self, task: str) -> None:
        info = resolve_task(task)
        find_assets = find_suite(info.suite).find_assets
        assert find_assets is not None
        self._model = mujoco.MjModel.from_binary_path(str(find_assets(info)))
        self._data = mujoco.MjData(self._model)
        self._pool = make_native(task)

    def time(self, round_index: int, steps: int) -> Timing:
        self._pool.reset(seed=round_index)
        total = np.zeros(2)
        for action in draw_actions(round_index, steps, 1):
            self._pool.step(action)
            mujoco.mj_setState(self._model, self._data, self._pool.get_state()["physics"][0], _SPEC)
            total += timed(lambda: mujoco.mj_step(self._model, self._data, nstep=25), 1)
        return float(total[0] / steps), float(total[1] / steps)


def time_native(pool: Any, round_index: int, steps: int) -> Timing:
    pool.reset(seed=round_index)
    actions = draw_actions(round_index, steps, pool.num_envs)
    return timed(lambda: [pool.step(action) for action in actions], steps * pool.num_envs)


def time_published(env: Any, round_index: int, steps: int) -> Timing:
    env.reset()
    actions = draw_actions(round_index, steps, 1)[:, 0].astype(np.float64)
    return timed(lambda: [env.step(action) for action in actions], steps)


def bench_state(task: str, rounds: int, steps: int) -> dict[str, Any]:
    """Measure milliseconds of a step and of a soft reset, and ratios."""
    raw, single, eight = RawSteps(task), make_native(task), make_native(task, num_envs=8)
    published = make_published(published_of(resolve_task(task)).env_name, seed=0, hard_reset=False)
    candidates: dict[str, Callable[[int], Timing]] = {
        RAW: lambda r: raw.time(r, steps),
        SINGLE: lambda r: time_native(single, r, steps),
        EIGHT: lambda r: time_native(eight, r, max(1, steps // 8)),
        PUBLISHED: lambda r: time_published(published, r, max(1, steps // 4)),
    }
    samples = run_rounds(candidates, rounds)
    resets = {"native": single.reset, "robosuite, soft": published.reset}
    return {
        "milliseconds_cpu": {name: _milliseconds(timings) for name, timings in samples.items()},
        "ratios": {
            "1 environment against raw": ratio(samples, SINGLE, RAW, 1),
            "8 environments against raw": ratio(samples, EIGHT, RAW, 1),
            "1 environment against robosuite": ratio(samples, SINGLE, PUBLISHED, 1),
            "8 environments against robosuite": ratio(samples, EIGHT, PUBLISHED, 1),
            "attainable against robosuite: raw": ratio(samples, RAW, PUBLISHED, 1),
        },
        "reset_milliseconds_cpu": {
            name: _milliseconds([timed(reset, 1) for _ in range(10 * rounds)])
            for name, reset in resets.items()
        },
        "megabytes_per_environment": _memory(task),
    }


def bench_pixels(task: str, rounds: int, steps: int) -> dict[str, Any]:
    """Measure milliseconds of a step with state and picture, and ratios."""
    options = {"observation": "both", "cameras": (CAMERA,), "image_size": SIZE}
    same, plain = make_native(task, shadows=True, **options), make_native(task, **options)
    with quiet():
        published = import_robosuite().make(
            published_of(resolve_task(task)).env_name, robots="Panda", has_renderer=False,
            has_offscreen_renderer=True, use_camera_obs=True, camera_names=[CAMERA], camera_heights=SIZE,
            camera_widths=SIZE, hard_reset=False, ignore_done=True, control_freq=20, seed=0,
        )  # fmt: skip
    samples = run_rounds(
        {
            PICTURES: lambda r: time_native(same, r, steps),
            PLAIN_PICTURES: lambda r: time_native(plain, r, steps),
            PUBLISHED: lambda r: time_published(published, r, steps),
        },
        rounds,
    )
    return {
        "device": same._pool.render_info[1],
        "milliseconds_wall": {name: _milliseconds(timings, clock=0) for name, timings in samples.items()},
        "ratios": {f"{name} against robosuite": ratio(samples, name, PUBLISHED, 0) for name in samples},
    }


def _milliseconds(timings: list[Timing], clock: int = 1) -> float:
    return 1e3 * statistics.median(timing[clock] for timing in timings)


def _memory(task: str) -> float:
    """Megabytes that one more environment takes, steps and reset included."""
    pools, sizes = [], [_resident_bytes()]
    for num_envs in (1, 1, 33):
        pools.append(make_native(task, num_envs=num_envs))
        pools[-1].reset(seed=0)
        for action in draw_actions(0, 30, num_envs):
            pools[-1].step(action)
        sizes.append(_resident_bytes())
    return ((sizes[3] - sizes[2]) - (sizes[2] - sizes[1])) / 32 / 1e6


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def main() -> None:
    """Time steps, resets and pictures, print them, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 40 steps instead of 9 of 160")
    parser.add_argument("--pixels", action="store_true", help="measure pictures as well")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    options = parser.parse_args()
    written = Results(options)
    rounds, steps = (3, 40) if options.quick else (9, 160)

    report: dict[str, Any] = {"rounds": rounds, "state": {}, "pixels": {}}
    for task in options.tasks:
        report["state"][task] = result = bench_state(task, rounds, steps)
        print(task, result, flush=True)
        if options.pixels:
            report["pixels"][task] = result = bench_pixels(task, rounds, steps=10)
            print(task, result, flush=True)
    written.write(report)


if __name__ == "__main__":
    main()
