"""The result of a run, and the counters of one under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ibrl_fast.errors import FileError
from ibrl_fast.files import read_json, write_json
from ibrl_fast.training.evaluation.evaluator import EvaluationResult

SUMMARY_NAME = "summary.json"


@dataclass(frozen=True)
class TrainResult:
    """The result of a run.

    Attributes:
        success_rate: of the final policy.
        success_low: lower end of its 95% interval.
        success_high: upper end of its 95% interval.
        bc_success_rate: of the imitation policy that the run started from, on the same episodes, or None.
        env_steps: environment steps taken, warm-up included.
        wall_seconds: of the whole run, resumed parts added up.
        run_dir: the folder with everything.
        policy_path: the exported policy; None where there is none (yet).
        interrupted: the run was stopped by Ctrl-C; `Trainer.from_checkpoint(run_dir).run()` goes on.
        policy_env_steps: environment steps after which the final policy was as it is: `env_steps`, or fewer
            where a success rate ended the run (training went on until it was known); None while interrupted.
    """

    success_rate: float | None
    success_low: float | None
    success_high: float | None
    bc_success_rate: float | None
    env_steps: int
    wall_seconds: float
    run_dir: Path
    policy_path: Path | None
    interrupted: bool = False
    policy_env_steps: int | None = None


@dataclass
class Counters:
    """Where a run stands; saved with it.

    Attributes:
        agent_steps: steps taken, over all environments.
        warmup_steps: those of the warm-up.
        episodes: training episodes that ended.
        rounds: update rounds made.
        steps_owed: agent steps that no update round has answered yet.
        next_checkpoint: environment steps at which the next one is due.
        wall_seconds: until the last checkpoint.
    """

    agent_steps: int = 0
    warmup_steps: int = 0
    episodes: int = 0
    rounds: int = 0
    steps_owed: int = 0
    next_checkpoint: int = 0
    wall_seconds: float = 0.0


def describe(what: str, result: EvaluationResult) -> str:
    """One line on an evaluation, for the person who watches."""
    interval = f"95% interval {100 * result.success_low:.0f}-{100 * result.success_high:.0f}%"
    return f"{what}: success {100 * result.success_rate:.0f}% ({interval}, {len(result.successes)} episodes)"


def summary_values(result: TrainResult) -> dict[str, Any]:
    """Return a result as JSON values."""
    policy = None if result.policy_path is None else result.policy_path.name
    return {**vars(result), "run_dir": str(result.run_dir), "policy_path": policy}


def write_summary(result: TrainResult, seconds: Mapping[str, float]) -> None:
    """Write summary.json into the run's folder: the result, and the wall seconds of every phase."""
    write_json(result.run_dir / SUMMARY_NAME, {**summary_values(result), "seconds": dict(seconds)})


def read_summary(run_dir: Path) -> TrainResult:
    """Read the result in a run's folder, wherever that lies by now.

    Raises:
        FileError: it cannot be read, or is damaged.
    """
    path = run_dir / SUMMARY_NAME
    values = read_json(path)
    names = [entry.name for entry in fields(TrainResult)]
    missing = [name for name in names if name not in values]
    if missing:
        raise FileError(f"{path}: expected a run's result, got one without {', '.join(missing)}")
    known = {name: values[name] for name in names}
    policy = None if known["policy_path"] is None else run_dir / known["policy_path"]
    return TrainResult(**{**known, "run_dir": run_dir, "policy_path": policy})
