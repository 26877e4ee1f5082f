"""The end of a run: exported policy, last evaluation, summary, and pictures that cannot fail it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ibrl_fast.deploy.export import export_policy
from ibrl_fast.envs import resolve_task
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.evaluation.evaluator import EvaluationResult, can_film
from ibrl_fast.training.evaluation.schedule import Evaluations
from ibrl_fast.training.records.report import plot_phase_seconds, write_report
from ibrl_fast.training.records.result import TrainResult, describe, write_summary
from ibrl_fast.training.records.run_folder import POLICY_NAME
from ibrl_fast.training.run import Run


def conclude(
    run: Run, exported: nn.Module | None, evaluations: Evaluations, policy_env_steps: int
) -> TrainResult:
    """Export a policy, evaluate the run's once more and write everything down.

    Args:
        run: whose state is saved.
        exported: the policy module for the file; None where there is none that a file can hold.
        evaluations: of the run, which watch its policy.
        policy_env_steps: environment steps after which the policy was as it is.
    """
    run.counters.wall_seconds = run.wall_seconds
    if exported is None:
        run.say(
            f"no {POLICY_NAME}: a policy that corrects the imitation policy needs one that can be scripted"
        )
    else:
        export_policy(exported, run.run_dir / POLICY_NAME)
    final = evaluations.last(filmed=_is_filmed(run))
    metrics = {
        **final.metrics(),
        "policy_env_steps": policy_env_steps,
        "warmup_env_steps": run.counters.warmup_steps * run.config.env.action_repeat,
        "wall_seconds": run.wall_seconds,
    }
    run.log("summary", run.env_steps, metrics)
    run.say(describe(f"final policy (of {policy_env_steps} steps)", final))
    policy_path = None if exported is None else run.run_dir / POLICY_NAME
    result = _result(run, final, evaluations.bc_success_rate, policy_path, policy_env_steps)
    write_summary(result, run.timer.seconds)

    # nothing from here on can fail the run
    if final.no_video:
        run.say(f"no video: {final.no_video}")
    with run.decorating("pictures"):
        plot_phase_seconds(run.timer.seconds, run.run_dir / "phases.png")
        if isinstance(run.config, TrainConfig):
            write_report([run.run_dir], run.run_dir)
    return result


def _is_filmed(run: Run) -> bool:
    """Return whether a video is wanted, and can be drawn where this package draws it."""
    task = resolve_task(run.config.env.task)
    draws = bool(task.cameras) and not task.abilities.own_pictures
    return run.config.evaluation.video_episodes > 0 and (not draws or can_film(run.say))


def interrupted_result(run: Run, bc_success_rate: float | None = None) -> TrainResult:
    """Where a run stands that was asked to stop."""
    return _result(run, None, bc_success_rate)


def _result(
    run: Run,
    final: EvaluationResult | None,
    bc_success_rate: float | None,
    policy_path: Path | None = None,
    policy_env_steps: int | None = None,
) -> TrainResult:
    return TrainResult(
        success_rate=None if final is None else final.success_rate,
        success_low=None if final is None else final.success_low,
        success_high=None if final is None else final.success_high,
        bc_success_rate=bc_success_rate,
        env_steps=run.env_steps,
        wall_seconds=run.wall_seconds,
        run_dir=run.run_dir,
        policy_path=policy_path,
        interrupted=final is None,
        policy_env_steps=policy_env_steps,
    )
