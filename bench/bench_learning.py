"""Learning curves from state: IBRL against imitation alone (BC) and TD3 with demonstrations in its buffer.

    python bench/bench_learning.py --jobs 2 --plot               # every task, method and seed (1.5 hours)
    python bench/bench_learning.py --tasks assembly --seeds 0    # one of them

Every run is the `metaworld_state` preset, one thread, evaluated in place, with a gate that opens at parity. A
run ends early after two evaluations in a row of at least 92%. Runs that are in the results already, each with
its commit, are not done again; delete the file to start anew. Writes results/bench_learning.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from learning_runs import first_solved, learning_curve
from plots import OURS, THIRD, figure
from record import Results, bench_parser

from ibrl_fast.agents import DeploymentGate, GateConfig, IBRLConfig
from ibrl_fast.training.presets import preset
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.trainer import Trainer

TASKS = ("assembly", "box-close", "coffee-push", "stick-pull")
COLORS = {"ibrl": OURS, "td3": THIRD}
BUDGETS = {"ibrl": 80_000, "td3": 24_000}
"""Environment steps of a run."""
Method = Literal["ibrl", "td3"]


def train_one(task: str, method: Method, seed: int, env_steps: int, run_dir: Path) -> dict[str, Any]:
    """Train once, from demonstrations to the last evaluation; return the entry of the results."""
    config = preset("metaworld_state").with_method(method)
    if isinstance(config.agent, IBRLConfig):
        config = replace(config, agent=replace(config.agent, gate=GateConfig(open_above=0.0)))
    config = replace(
        config,
        seed=seed,
        run_dir=run_dir,
        num_threads=1,
        total_env_steps=env_steps,
        stop_at_success_rate=0.92,
        env=replace(config.env, task=f"metaworld/{task}"),
        evaluation=replace(config.evaluation, workers=0, video_episodes=0),
    )
    result = Trainer(config, quiet=True).run()
    records = read_metrics(result.run_dir)
    points = [record for record in records if record["kind"] == "eval"]
    imitation = [record["success_rate"] for record in records if record["kind"] == "bc"]
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "bc_success_rate": result.bc_success_rate,
        "bc_during": imitation[0] if imitation else None,
        "final_success_rate": result.success_rate,
        "env_steps": result.env_steps,
        "wall_seconds": result.wall_seconds,
        "solved": first_solved(points),
        "episodes": [[r["env_steps"], int(r["success"])] for r in records if r["kind"] == "episode"],
        "evaluations": learning_curve(points),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Tell the results as a Markdown table: means over seeds, and where every seed stood."""

    def mean(values: list[float]) -> str:
        return f"{100 * float(np.mean(values)):.0f}%" if values else "-"

    lines = [
        "| task | BC | IBRL, final | 90% twice in a row: steps / CPU s, by seed | TD3 | "
        "worst fall below BC: IBRL / gate at parity / presets' gate |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        mine = {m: [run for run in runs if run["task"] == task and run["method"] == m] for m in COLORS}
        solved = [
            f"{run['solved']['env_steps'] // 1000}k / {run['solved']['cpu_seconds']:.0f}"
            if run["solved"]
            else "no"
            for run in mine["ibrl"]
        ]
        # both at the last step that every TD3 run has
        pairs = [
            (run["evaluations"][-1]["env_steps"], run["evaluations"][-1]["success_rate"])
            for run in mine["td3"]
            if run["evaluations"]
        ]
        td3 = (
            f"{mean([rate for _, rate in pairs])} at {min(step for step, _ in pairs) // 1000}k"
            if pairs
            else "-"
        )
        falls = [fall_below_bc(run) for run in mine["ibrl"] if run["evaluations"]]
        worst = " / ".join(f"{100 * max(values):.0f}" for values in zip(*falls)) if falls else "-"
        cells = [
            task,
            mean([run["bc_success_rate"] for run in mine["ibrl"]]),
            mean([run["final_success_rate"] for run in mine["ibrl"]]),
            ", ".join(solved),
            td3,
            f"{worst} points",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fall_below_bc(run: dict[str, Any]) -> tuple[float, float, float]:
    """Find the largest fall below BC on the same episodes: no gate, the run's gate, the presets' gate.

    The last is replayed from the training episodes; where they were not kept it is the run's own gate's, an
    upper bound, since a gate that asks for more is open less often.
    """
    points, bc = run["evaluations"], run["bc_during"]
    without = max(bc - point["hybrid_success_rate"] for point in points)
    own = max(bc - point["success_rate"] for point in points)
    if not run.get("episodes"):
        return max(0.0, without), max(0.0, own), max(0.0, own)
    config = preset("metaworld_state")
    assert isinstance(config.agent, IBRLConfig) and config.agent.gate is not None
    gate, episodes, replayed = DeploymentGate(config.agent.gate), list(run["episodes"]), [0.0]
    last = episodes[-1][0]
    warmup = len(episodes[: config.warmup_episodes])
    for point in points:
        if point["env_steps"] > last and not gate.is_open:
            break
        while episodes and episodes[0][0] <= point["env_steps"]:
            _, success = episodes.pop(0)
            gate.record(bool(success), from_il=warmup > 0)
            warmup -= 1
        replayed.append(bc - point["hybrid_success_rate"] if gate.is_open else 0.0)
    return max(0.0, without), max(0.0, own), max(replayed)


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel per task: mean and span of the seeds for each method; BC as dashed lines."""
    with figure(path, 2, 2, size=(11, 7), sharey=True) as axes:
        for axis, task in zip(axes.flat, TASKS):
            draw_task(axis, task, [run for run in runs if run["task"] == task])
        for axis in axes[:, 0]:
            axis.set_ylabel("success rate")


def draw_task(axis: Any, task: str, runs: list[dict[str, Any]]) -> None:
    """Draw the curves of one task's runs."""
    for method, color in COLORS.items():
        mine = [run for run in runs if run["method"] == method]
        curves = [{p["env_steps"]: p["success_rate"] for p in run["evaluations"]} for run in mine]
        if not curves:
            continue
        # a run that ended early, solved, keeps its final rate
        steps = sorted(set().union(*curves))
        finals = [run["final_success_rate"] for run in mine]
        values = np.array([[curve.get(s, final) for s in steps] for curve, final in zip(curves, finals)])
        label = f"{method} ({len(mine)} seeds)"
        axis.plot(steps, values.mean(0), color=color, marker="o", ms=3, label=label)
        axis.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)
        hybrid = [{p["env_steps"]: p.get("hybrid_success_rate") for p in run["evaluations"]} for run in mine]
        shared = sorted(set.intersection(*(set(curve) for curve in hybrid)))
        if method == "ibrl" and shared:
            without = np.mean([[curve[step] for step in shared] for curve in hybrid], axis=0)
            axis.plot(shared, without, color=color, linestyle=":", label="ibrl without its gate")
    for run in runs:
        if run["bc_during"] is not None:
            axis.axhline(run["bc_during"], color="#666666", linestyle="--", linewidth=0.8)
    axis.plot([], [], color="#666666", linestyle="--", label="BC, each seed")
    axis.set_title(task)
    axis.set_xlabel("environment steps")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")


def train_apart(task: str, method: str, seed: int, env_steps: int) -> dict[str, Any]:
    """Train once in a process of its own."""
    command = [sys.executable, __file__, "--single", task, method, str(seed), str(env_steps)]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def train_missing(options: argparse.Namespace, results: Results) -> list[dict[str, Any]]:
    """Train what the results lack, and write them after every run; return all runs."""
    runs: list[dict[str, Any]] = results.earlier().get("runs", [])
    known = {(run["task"], run["method"], run["seed"]) for run in runs}
    wanted = [
        (task, method, seed)
        for seed in options.seeds
        for task in options.tasks
        for method in options.methods
        if (task, method, seed) not in known
    ]

    def train(job: tuple[str, str, int]) -> None:
        run = train_apart(*job, options.env_steps or BUDGETS[job[1]])
        runs.append(run | {key: results.header[key] for key in ("commit", "draft") if key in results.header})
        # whatever order they ended in
        runs.sort(key=lambda run: (run["task"], run["method"], run["seed"]))
        results.write({"runs": runs})
        rates = f"BC {run['bc_success_rate']} final {run['final_success_rate']}"
        print(f"{' '.join(map(str, job))}: {rates} solved {run['solved']}", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(train, wanted))
    return runs


def main() -> None:
    """Train what is missing in the results, and print their table."""
    parser = bench_parser(__doc__)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=list(COLORS), choices=COLORS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--env-steps", type=int, help="budget of a run instead of its method's")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one process and thread each")
    options = parser.parse_args()
    results = Results(options)
    runs = train_missing(options, results)
    if options.plot:
        draw(runs, results.picture)
    print(table(runs))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--single"]:
        one_task, one_method, one_seed, budget = sys.argv[2:6]
        with tempfile.TemporaryDirectory() as folder:
            entry = train_one(one_task, one_method, int(one_seed), int(budget), Path(folder) / "run")  # type: ignore[arg-type]
        print(json.dumps(entry))
    else:
        main()
