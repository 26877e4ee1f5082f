"""Training goes on while policies are evaluated; a run stops and resumes as its seed alone decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import (
    differences,
    reproducible_content,
    reproducible_records,
    run_interrupted,
    tiny_config,
)

from ibrl_fast.agents import GateConfig, IBRLConfig
from ibrl_fast.training import finish
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.evaluation import evaluator as evaluate
from ibrl_fast.training.evaluation.evaluator import EpisodePart, EvaluationResult, Evaluator
from ibrl_fast.training.learners import load_policy_module
from ibrl_fast.training.records.checkpoint import load_checkpoint
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.trainer import Trainer


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a tiny run's time."""
    monkeypatch.setattr(finish, "write_report", lambda *_: [])
    monkeypatch.setattr(finish, "plot_phase_seconds", lambda *_: None)


def all_succeed(parts: list[EpisodePart]) -> EvaluationResult:
    """Every evaluation is a success."""
    count = sum(len(part.episodes) for part in parts)
    return EvaluationResult((True,) * count, (13,) * count, 0.0)


def stopping_config(run_dir: Path, demos: Path, workers: int = 0, **changes: Any) -> TrainConfig:
    """Evaluations at 20, 40, ... environment steps, which count 10 later."""
    config = tiny_config(run_dir, demos, **{"stop_at_success_rate": 0.9, **changes})
    return replace(config, evaluation=replace(config.evaluation, every_env_steps=20, workers=workers))


def weights(policy: Path) -> dict[str, torch.Tensor]:
    """What is in an exported file."""
    return dict(torch.jit.load(str(policy)).state_dict())


@pytest.mark.parametrize(
    "agent",
    [IBRLConfig(learning_rate=1e-3), IBRLConfig(learning_rate=1e-3, gate=GateConfig(window=1))],
    ids=["ibrl", "gate"],
)
def test_deploys_the_policy_that_was_good_twice(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch, agent: IBRLConfig
) -> None:
    monkeypatch.setattr(evaluate, "merge_parts", all_succeed)
    config = stopping_config(tmp_path / "run", demos_file, agent=agent)
    result = Trainer(config, quiet=True).run()
    assert (result.env_steps, result.policy_env_steps) == (50, 40)
    last = read_metrics(config.run_dir)[-1]
    assert (last["kind"], last["env_steps"], last["policy_env_steps"]) == ("summary", 50, 40)

    # the same run without its last ten steps
    shorter = replace(config, run_dir=tmp_path / "shorter", total_env_steps=40, stop_at_success_rate=None)
    assert Trainer(shorter, quiet=True).run().policy_env_steps == 40
    expected = weights(shorter.run_dir / "policy.pt")
    assert differences(weights(config.run_dir / "policy.pt"), expected) == []
    assert differences(dict(load_policy_module(config.run_dir).state_dict()), expected) == []
    trained = load_checkpoint(config.run_dir)["learner"]
    assert differences(trained, load_checkpoint(shorter.run_dir)["learner"]) != []

    # a finished run that is resumed is what it was
    again = Trainer.from_checkpoint(config.run_dir, quiet=True).run()
    assert (again.env_steps, again.policy_env_steps) == (50, 40)
    assert differences(weights(config.run_dir / "policy.pt"), expected) == []


def test_training_waits_only_where_a_result_counts(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(stopping_config(tmp_path, demos_file, stop_at_success_rate=1.0), quiet=True)
    finished, waits = Evaluator.finished, []

    def slow(evaluator: Evaluator, *, wait: bool = False) -> list[tuple[int, EvaluationResult]]:
        """Nothing is ever there before it is waited for."""
        if not wait:
            return []
        waits.append(trainer._run.env_steps if hasattr(trainer, "_run") else None)
        return finished(evaluator, wait=True)

    monkeypatch.setattr(Evaluator, "finished", slow)
    trainer.run()
    # after imitation; where each counts; at the end of training, and of the final policy
    assert [step for step in waits if step] == [30, 50, 70, 90, 110, 120, 120]


@pytest.mark.parametrize("stopped_after", [19, 22, 25], ids=["handed over", "under way", "counting"])
@pytest.mark.parametrize("workers", [0, 1])
def test_interrupted_while_a_result_is_awaited(
    tmp_path: Path, demos_file: Path, stopped_after: int, workers: int
) -> None:
    config = stopping_config(tmp_path / "whole", demos_file, stop_at_success_rate=1.0)
    Trainer(config, quiet=True).run()
    part = stopping_config(tmp_path / "part", demos_file, workers, stop_at_success_rate=1.0)
    assert run_interrupted(part, stopped_after).interrupted
    Trainer.from_checkpoint(part.run_dir, quiet=True).run()

    def by_kind(run_dir: Path) -> list[dict[str, Any]]:
        # in the background an evaluation may come before or after other records
        return sorted(reproducible_records(run_dir), key=lambda record: str(record["kind"]))

    assert differences(by_kind(config.run_dir), by_kind(part.run_dir)) == []
    contents = [reproducible_content(run) for run in (config.run_dir, part.run_dir)]
    for content in contents:
        content["config"]["evaluation"]["workers"] = None
    assert differences(*contents) == []


def test_killed_after_a_result_was_recorded(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records that came after the checkpoint are made again, not twice."""
    config = stopping_config(tmp_path / "whole", demos_file, checkpoint_every_env_steps=22)
    config = replace(config, stop_at_success_rate=1.0)
    Trainer(config, quiet=True).run()
    part = replace(config, run_dir=tmp_path / "part")
    trainer = Trainer(part, quiet=True)
    step = trainer._step

    def killed() -> None:
        step()
        if trainer._run.env_steps == 64:
            raise MemoryError

    monkeypatch.setattr(trainer, "_step", killed)
    with pytest.raises(MemoryError):
        trainer.run()
    assert load_checkpoint(part.run_dir)["counters"]["agent_steps"] == 22
    assert 60 in [record["env_steps"] for record in read_metrics(part.run_dir) if record["kind"] == "eval"]
    Trainer.from_checkpoint(part.run_dir, quiet=True).run()
    assert differences(reproducible_records(config.run_dir), reproducible_records(part.run_dir)) == []


def test_two_in_a_row_may_end_with_the_budget(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "merge_parts", all_succeed)
    result = Trainer(stopping_config(tmp_path, demos_file, total_env_steps=44), quiet=True).run()
    assert (result.env_steps, result.policy_env_steps) == (44, 40)
