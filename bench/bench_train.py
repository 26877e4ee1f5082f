"""Wall clock of whole runs, from demonstrations to success, and where the time goes.

    python bench/bench_train.py                                            # the quickstart, on this processor
    python bench/bench_train.py metaworld_pixel --device cuda     # from pixels, on a GPU

A run counts as solved at the second of two evaluations in a row that reach `--rate`, and ends when that is
known, half an interval later. Written
are the seconds of every phase (evaluation runs beside training, in processes of its own), environment steps
and updates per second over the RL phase, and the learning curve against the wall clock. Runs go one after the
other; results are added to results/bench_train.json (bench_train_cuda.json) under preset, task and seed.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from learning_runs import first_solved, learning_curve
from plots import figure
from record import Results, bench_parser

from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.presets import preset
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.result import SUMMARY_NAME
from ibrl_fast.training.trainer import Trainer


def train_one(config: TrainConfig, rate: float) -> dict[str, Any]:
    """Train once; return the entry of the results."""
    result = Trainer(config).run()
    records = read_metrics(result.run_dir)
    seconds = json.loads((result.run_dir / SUMMARY_NAME).read_text())["seconds"]
    evaluations = [record for record in records if record["kind"] == "eval"]
    rates = [record for record in records if record["kind"] == "train"]

    def mean(key: str) -> float | None:
        return sum(record[key] for record in rates) / len(rates) if rates else None

    return {
        "bc_success_rate": result.bc_success_rate,
        "final_success_rate": result.success_rate,
        "solved": first_solved(evaluations, rate),
        "env_steps": result.env_steps,
        "wall_seconds": result.wall_seconds,
        "phase_seconds": {name: value for name, value in seconds.items() if value > 0},
        "env_steps_per_second": mean("env_steps_per_second"),
        "updates_per_second": mean("updates_per_second"),
        "evaluations": learning_curve(evaluations),
    }


def draw(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw success against the wall clock, and the shares of the phases: a colour and a bar for each run."""
    with figure(path, 1, 2, size=(12, 1.8 + 0.5 * max(4, len(runs)))) as axes:
        curves, shares = axes[0]
        phases = sorted({phase for run in runs.values() for phase in run["phase_seconds"]})
        for row, (name, run) in enumerate(runs.items()):
            seconds = [point["wall_seconds"] for point in run["evaluations"]]
            rates = [point["success_rate"] for point in run["evaluations"]]
            curves.plot(seconds, rates, marker="o", markersize=3, label=name)
            start = 0.0
            for number, phase in enumerate(phases):
                share = run["phase_seconds"].get(phase, 0.0) / run["wall_seconds"]
                label = phase if row == 0 else None
                shares.barh(row, share, left=start, color=f"C{number}", label=label)
                start += share
            shares.text(start, row, f" {run['wall_seconds']:.0f} s", va="center", fontsize=8)
        curves.set_xlabel("wall seconds")
        curves.set_ylabel("success rate")
        curves.set_ylim(-0.03, 1.03)
        curves.grid(alpha=0.3)
        curves.legend(fontsize=8, loc="lower right")
        shares.set_yticks(range(len(runs)), list(runs), fontsize=8)
        shares.set_xlabel("share of the wall clock (evaluation beside training is not in it)")
        shares.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.22))


def main() -> None:
    """Train every seed and add it to the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("preset", nargs="?", default="quickstart", help="the configuration")
    parser.add_argument("--task", default="metaworld/assembly")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu", help="of the learner")
    parser.add_argument("--env-steps", type=int, help="budget of a run instead of the preset's")
    parser.add_argument("--rate", type=float, default=0.9, help="success rate that counts as solved")
    parser.add_argument("--keep", type=Path, help="where run folders are kept; they are deleted without it")
    options = parser.parse_args()
    results = Results(options, options.device)
    runs: dict[str, Any] = results.earlier().get("runs", {})
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            name = f"{options.preset} {options.task.rsplit('/', 1)[-1]} seed {seed}"
            config = preset(options.preset)
            config = replace(
                config,
                seed=seed,
                device=options.device,
                run_dir=(options.keep or Path(folder)) / name.replace(" ", "_"),
                total_env_steps=options.env_steps or config.total_env_steps,
                stop_at_success_rate=options.rate,
                env=replace(config.env, task=options.task),
            )
            runs[name] = train_one(config, options.rate) | results.header
            results.write({"runs": runs})
            run = runs[name]
            phases = ", ".join(f"{phase} {value:.1f}" for phase, value in run["phase_seconds"].items())
            print(f"{name}: solved {run['solved']}; {run['wall_seconds']:.0f} s ({phases})")
            print(
                f"  {run['env_steps_per_second'] or 0:.0f} environment steps/s, "
                f"{run['updates_per_second'] or 0:.0f} updates/s"
            )
    if options.plot:
        draw(runs, results.picture)


if __name__ == "__main__":
    main()
