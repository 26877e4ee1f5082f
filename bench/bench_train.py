"""Wall clock of whole runs, from demonstrations to success, and where the time goes.

    python bench/bench_train.py                                            # the quickstart, on this processor
    python bench/bench_train.py metaworld_pixel --device cuda     # from pixels, on a GPU

A run counts as solved at the second of two evaluations in a row that reach `--rate`, and ends there. Written
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

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import tyro
from bench_learning import first_solved
from timing import RESULTS, machine_facts, write_results

from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.presets import preset
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.result import SUMMARY_NAME
from ibrl_fast.training.trainer import Trainer


def train_one(config: TrainConfig, rate: float) -> dict[str, Any]:
    """One run; returns its entry of the results."""
    result = Trainer(config).run()
    records = read_metrics(result.run_dir)
    seconds = json.loads((result.run_dir / SUMMARY_NAME).read_text())["seconds"]
    evaluations = [record for record in records if record["kind"] == "eval"]
    rates = [record for record in records if record["kind"] == "train"]
    kept = ("env_steps", "success_rate", "hybrid_success_rate", "cpu_seconds", "wall_seconds")

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
        "evaluations": [{key: point[key] for key in kept if key in point} for point in evaluations],
    }


def plot(runs: dict[str, dict[str, Any]], out: Path) -> None:
    """Success against the wall clock, and the shares of the phases, a colour and a bar for each run."""
    figure, (curves, bars) = plt.subplots(1, 2, figsize=(12, 1.8 + 0.5 * max(4, len(runs))))
    phases = sorted({phase for run in runs.values() for phase in run["phase_seconds"]})
    colors = plt.get_cmap("tab10").colors
    for row, (name, run) in enumerate(runs.items()):
        points = run["evaluations"]
        curves.plot(
            [point["wall_seconds"] for point in points],
            [point["success_rate"] for point in points],
            marker="o",
            markersize=3,
            label=name,
        )
        start = 0.0
        for phase, color in zip(phases, colors):
            share = run["phase_seconds"].get(phase, 0.0) / run["wall_seconds"]
            bars.barh(row, share, left=start, color=color, label=phase if row == 0 else None)
            start += share
        bars.text(start, row, f" {run['wall_seconds']:.0f} s", va="center", fontsize=8)
    curves.set_xlabel("wall seconds")
    curves.set_ylabel("success rate")
    curves.set_ylim(-0.03, 1.03)
    curves.grid(alpha=0.3)
    curves.legend(fontsize=8, loc="lower right")
    bars.set_yticks(range(len(runs)), list(runs), fontsize=8)
    bars.set_xlabel("share of the wall clock (evaluation beside training is not in it)")
    bars.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.22))
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    plt.close(figure)


def main(
    preset_name: tyro.conf.Positional[str] = "quickstart",
    task: str = "metaworld/assembly",
    seeds: tuple[int, ...] = (0,),
    device: str = "cpu",
    env_steps: int | None = None,
    rate: float = 0.9,
    keep: Path | None = None,
    out: Path = RESULTS,
) -> None:
    """Trains and adds to the results.

    Args:
        preset_name: the configuration.
        task: Meta-World task.
        seeds: of the runs.
        device: of the learner.
        env_steps: budget of a run; None leaves the preset's.
        rate: success rate that counts as solved.
        keep: where run folders are kept; None deletes them.
        out: folder of the results.
    """
    stem = "bench_train" if device == "cpu" else "bench_train_cuda"
    path = out / f"{stem}.json"
    runs: dict[str, Any] = json.loads(path.read_text())["runs"] if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            name = f"{preset_name} {task.rsplit('/', 1)[-1]} seed {seed}"
            config = preset(preset_name)
            config = replace(
                config,
                seed=seed,
                device=device,
                run_dir=(keep or Path(folder)) / name.replace(" ", "_"),
                total_env_steps=env_steps or config.total_env_steps,
                stop_at_success_rate=rate,
                env=replace(config.env, task=task),
            )
            runs[name] = train_one(config, rate) | {"machine": machine_facts(device)}
            write_results(path, {"runs": runs})
            run = runs[name]
            phases = ", ".join(f"{phase} {value:.1f}" for phase, value in run["phase_seconds"].items())
            print(f"{name}: solved {run['solved']}; {run['wall_seconds']:.0f} s ({phases})")
            print(
                f"  {run['env_steps_per_second'] or 0:.0f} environment steps/s, "
                f"{run['updates_per_second'] or 0:.0f} updates/s"
            )
    plot(runs, path.with_suffix(".png"))


if __name__ == "__main__":
    tyro.cli(main)
