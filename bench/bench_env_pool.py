"""Environment steps per second: the native pool, raw mj_step, EnvPool, Gymnasium and the published Python.

    python bench/bench_env_pool.py [--quick] [--pixels] [--envpool-python PATH]

All candidates take the same random actions and run one after the other, round after round; reported are
medians over the rounds, and medians of the ratios within a round. Every candidate counts control steps of
12.5 ms (five mj_steps each); none counts frame skips; no episode ends within a measurement, resets have a
table of their own. Rates are given by wall time and by processor time of the calling process: on a machine
that others use, only the latter repeats. EnvPool runs in a Python of its own, a virtual environment with
`envpool==1.2.5`. Takes about six minutes with pictures and EnvPool; writes results/bench_env_pool.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from baselines.pools import EnvPoolServer, RawSteps, make_async, make_published, time_async, time_published
from plots import figure
from pool_cases import NUM_ENVS, TASKS, Samples, Timing, make_original, ratio, run_rounds, time_pool, timed
from record import Results, bench_parser

from ibrl_fast.envs.env_pool import list_native_tasks

RAW = "raw mj_step, 1 thread"
SINGLE = "native, 1 environment, 1 thread"
ONE = f"native, {NUM_ENVS} environments, 1 thread"
TWO = f"native, {NUM_ENVS} environments, 2 threads"
PUBLISHED = "published, 1 environment"
ASYNC = "AsyncVectorEnv, 2 environments, 2 processes"
ENVPOOL_ONE = f"EnvPool 1.2.5, {NUM_ENVS} environments, 1 thread"
ENVPOOL_TWO = f"EnvPool 1.2.5, {NUM_ENVS} environments, 2 threads"
BARE = "bare mjr_render and read"
PICTURE = "native, state and picture"
ENDLESS = 10**6
"""Steps of an episode, so that none ends within a measurement."""


def rates(samples: Samples) -> dict[str, dict[str, float | None]]:
    """Return medians per second; processes of others do not show in processor time."""
    result: dict[str, dict[str, float | None]] = {}
    for name, timings in samples.items():
        wall = statistics.median(timing[0] for timing in timings)
        cpu = statistics.median(timing[1] for timing in timings)
        result[name] = {"per_second_wall": 1 / wall, "per_second_cpu": None if name == ASYNC else 1 / cpu}
    return result


def bench_state(task: str, rounds: int, steps: int, server: EnvPoolServer | None) -> dict[str, Any]:
    """Measure rates and ratios for one task."""
    endless = {"max_episode_steps": ENDLESS}
    single = make_original(task, "native", num_envs=1, num_threads=1, **endless)
    one = make_original(task, "native", num_envs=NUM_ENVS, num_threads=1, **endless)
    two = make_original(task, "native", num_envs=NUM_ENVS, num_threads=2, **endless)
    raw, python = RawSteps(task), make_published(task)
    python_async = make_async(task, 2)
    candidates: dict[str, Callable[[int], Timing]] = {
        RAW: lambda r: raw.time(r, steps * 4),
        SINGLE: lambda r: time_pool(single, r, steps * 4),
        ONE: lambda r: time_pool(one, r, steps),
        TWO: lambda r: time_pool(two, r, steps),
        PUBLISHED: lambda r: time_published(python, r, steps),
        ASYNC: lambda r: time_async(python_async, r, steps),
    }
    if server is not None:
        candidates[ENVPOOL_ONE] = lambda r: server.time(task, r, steps, NUM_ENVS, 1)
        candidates[ENVPOOL_TWO] = lambda r: server.time(task, r, steps, NUM_ENVS, 2)
    samples = run_rounds(candidates, rounds)
    python_async.close()
    for pool in (single, one, two):
        pool.close()
    bound = ratio(samples, RAW, ASYNC, 0)
    ratios = {
        "1 environment against raw, by processor time": ratio(samples, SINGLE, RAW, 1),
        f"{NUM_ENVS} environments against raw, by processor time": ratio(samples, ONE, RAW, 1),
        "2 threads against 1": ratio(samples, TWO, ONE, 0),
        "1 thread against EnvPool, by processor time": ratio(samples, ONE, ENVPOOL_ONE, 1),
        "2 threads against EnvPool": ratio(samples, TWO, ENVPOOL_TWO, 0),
        "2 threads against AsyncVectorEnv": ratio(samples, TWO, ASYNC, 0),
        "attainable against AsyncVectorEnv: twice raw": None if bound is None else 2 * bound,
    }
    return {"rates": rates(samples), "ratios": {k: v for k, v in ratios.items() if v is not None}}


def bench_resets(task: str, rounds: int) -> dict[str, float]:
    """Time a reset, in milliseconds: latency is what the caller waits for, work all threads' CPU time."""
    python = make_published(task)
    pools = {
        "native": make_original(task, "native", num_threads=1),
        "native, settled ahead": make_original(task, "native", num_threads=2, settle_ahead=True),
    }
    python.reset()
    for pool in pools.values():
        pool.reset()
    samples: dict[str, list[float]] = {"published, work": []}
    for _ in range(rounds):
        samples["published, work"].append(timed(python.reset, 1)[1])
        for name, pool in pools.items():
            before = time.process_time()
            latency, _ = timed(pool.reset, 1)
            samples.setdefault(f"{name}, latency", []).append(latency)
            # idle threads get the time in which a learner would learn
            if name != "native":
                time.sleep(0.02)
            samples.setdefault(f"{name}, work", []).append(time.process_time() - before)
    for pool in pools.values():
        pool.close()
    return {name: 1e3 * statistics.median(values) for name, values in samples.items()}


def bench_pixels(task: str, size: int, rounds: int, steps: int) -> dict[str, Any]:
    """Measure frames per second of the pool beside bare rendering of its scenes, one thread each."""
    native = make_original(task, "native", num_threads=1, observation="pixels", image_size=size)
    reference = make_original(task, "reference", observation="pixels", image_size=size)
    views = reference._episodes.views
    renderer = views.renderer(size)
    env, camera = reference._episodes[0].env, views._camera_ids["corner2"]

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

    reference.reset(seed=0)
    samples = run_rounds(
        {BARE: lambda r: timed(bare, steps), PICTURE: lambda r: time_pool(native, r, steps)}, rounds
    )
    return {
        "device": native._pool.render_info[1],
        "rates": rates(samples),
        "ratios": {
            "against bare": ratio(samples, PICTURE, BARE, 0),
            "against bare, by processor time": ratio(samples, PICTURE, BARE, 1),
        },
    }


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw steps per second by task, and resets by task, in milliseconds."""
    with figure(path, 1, 2, size=(13, 6)) as axes:
        steps, right = axes[0]
        tasks, names = list(report["state"]), [RAW, ONE, TWO, ENVPOOL_ONE, ENVPOOL_TWO, PUBLISHED, ASYNC]
        names = [name for name in names if name in report["state"][tasks[0]]["rates"]]
        for index, name in enumerate(names):
            values = [report["state"][task]["rates"][name]["per_second_wall"] for task in tasks]
            steps.bar(np.arange(len(tasks)) + 0.8 * index / len(names), values, 0.8 / len(names), label=name)
        steps.set_xticks(np.arange(len(tasks)) + 0.35, tasks)
        steps.set_ylabel("environment steps per second, wall time")
        steps.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.06), ncols=2)

        resets = sorted(report["resets"].items(), key=lambda entry: entry[1]["native, latency"])
        for name, marker in (
            ("published, work", "s"),
            ("native, latency", "o"),
            ("native, settled ahead, latency", "^"),
        ):
            right.plot([entry[name] for _, entry in resets], range(len(resets)), marker, label=name, ms=5)
        right.set_yticks(range(len(resets)), [task for task, _ in resets], fontsize=7)
        right.set_xscale("log")
        right.set_xlabel("milliseconds of a reset")
        right.legend(fontsize=8)


def main() -> None:
    """Time steps, resets and pictures, print tables, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 100 steps instead of 9 of 400")
    parser.add_argument("--pixels", action="store_true", help="measure pictures as well")
    parser.add_argument("--envpool-python", help="a Python with envpool==1.2.5")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    options = parser.parse_args()
    written = Results(options)
    rounds, steps = (3, 100) if options.quick else (9, 400)

    server = EnvPoolServer(options.envpool_python) if options.envpool_python else None
    report: dict[str, Any] = {"rounds": rounds, "state": {}, "resets": {}, "pixels": {}}
    for task in options.tasks:
        report["state"][task] = result = bench_state(task, rounds, steps, server)
        print(task)
        for name, rate in result["rates"].items():
            cpu = rate["per_second_cpu"]
            print(f"  {name:45s} {rate['per_second_wall']:9.0f}/s wall {cpu or 0:9.0f}/s cpu", flush=True)
        for name, value in result["ratios"].items():
            print(f"  {name:55s} {value:6.2f}", flush=True)
    for name in list_native_tasks():
        if not name.startswith("metaworld/"):
            continue
        report["resets"][name] = resets = bench_resets(name.split("/")[1], rounds)
        print(
            f"reset {name:40s}",
            " ".join(f"{key} {value:.2f} ms" for key, value in resets.items()),
            flush=True,
        )
    if options.pixels:
        for size in (84, 96):
            report["pixels"][size] = bench_pixels("assembly", size, rounds, steps=60)
            print(f"assembly, {size} pixels", report["pixels"][size], flush=True)
    if server is not None:
        server.close()
    report = written.write(report)
    if options.plot:
        draw(report, written.picture)


if __name__ == "__main__":
    main()
