"""`ibrl-fast eval RUN_OR_POLICY --episodes N`: success rate with its interval, and a video."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists
from ibrl_fast.errors import FileError
from ibrl_fast.files import check_output
from ibrl_fast.training.config_file import load_config


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Evaluate and print one line; `begin` is called where the work starts."""
    tyro.cli(functools.partial(evaluate, begin), args=arguments, prog="ibrl-fast eval")


def evaluate(
    begin: Callable[[], None],
    policy: Annotated[Path, tyro.conf.Positional],
    episodes: int = 50,
    run: Path | None = None,
    seed: int = 1_000_000,
    workers: int = 1,
    video: Path | None = None,
) -> None:
    """Evaluate a run folder's policy, or an exported policy file in the environment of a run.

    Args:
        policy: a run folder or an exported TorchScript policy.
        episodes: number of episodes, each with a fixed seed of its own.
        run: the run folder whose environment an exported policy is evaluated in (its own folder when absent).
        seed: of the episodes; the default is that of evaluation during training.
        workers: background processes.
        video: an MP4 to write, of the first three episodes.
    """
    check_exists("policy", policy, "a run folder or an exported policy")
    config = load_config(run or (policy if policy.is_dir() else policy.parent))

    from ibrl_fast.deploy.export import script_policy
    from ibrl_fast.deploy.policy import ObservationContract, load_policy
    from ibrl_fast.envs.registry import resolve_task
    from ibrl_fast.seeding import episode_seeds
    from ibrl_fast.training.evaluation.evaluator import EpisodeRunner, EvaluationSpec, Evaluator, merge_parts
    from ibrl_fast.training.learners import load_policy_module

    resolve_task(config.env.task)
    begin()
    if video is not None:
        check_output(video, "video")
    seeds = tuple(episode_seeds(seed, episodes))
    if policy.is_file():
        loaded = load_policy(policy)
        stacks = {key: field.stack for key, field in loaded.contract.observations.items()}
        runner = EpisodeRunner(EvaluationSpec(config.env.pool_kwargs(), stacks, seeds))
        result = merge_parts([runner.run(loaded.act_with_source, list(range(episodes)), video)])
        runner.close()
    else:
        module = load_policy_module(policy)
        stacks = {
            key: field.stack
            for key, field in ObservationContract.from_json(str(module.contract_json)).observations.items()
        }
        evaluator = Evaluator(EvaluationSpec(config.env.pool_kwargs(), stacks, seeds), workers)
        try:
            evaluator.submit(script_policy(module), 0, video=video)
            ((_, result),) = evaluator.finished(wait=True)
        finally:
            evaluator.close()
    print(json.dumps(result.metrics(), indent=2))
    if result.no_video:
        raise FileError(f"video {video}: {result.no_video}")
