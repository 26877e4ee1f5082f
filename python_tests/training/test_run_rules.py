"""A run's folder: nothing is replaced unasked, and one process works there at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_helpers import reproducible_records, run_interrupted, tiny_config

from ibrl_fast import Trainer, collect_demonstrations, load_policy, write_demonstrations
from ibrl_fast.agents import GateConfig, IBRLConfig
from ibrl_fast.data.demonstration_set import DemonstrationSet
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.learners import load_policy_module
from ibrl_fast.training.records.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from ibrl_fast.training.records.run_folder import reopen


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_is_not_replaced_unasked(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "run", demos_file, total_env_steps=20)
    Trainer(config, quiet=True).run()
    before = content_of(tmp_path / "run")
    other = replace(config, seed=7)
    # also one that would fail at once
    missing = replace(other, demos=replace(config.demos, path=tmp_path / "missing.hdf5"))
    for again in (other, missing):
        with pytest.raises(ArgumentError, match="run_dir: expected a folder without a run, got "):
            Trainer(again, quiet=True).run()
        assert content_of(tmp_path / "run") == before

    (tmp_path / "run" / "notes.txt").write_text("mine")
    result = Trainer(other, quiet=True, overwrite=True).run()
    assert result.success_rate is not None
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 7
    alone = replace(other, run_dir=tmp_path / "alone")
    Trainer(alone, quiet=True).run()
    assert reproducible_records(tmp_path / "run") == reproducible_records(tmp_path / "alone")


def test_two_resumes_at_once(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "run", demos_file)
    run_interrupted(config, 9)
    first, second = (Trainer.from_checkpoint(tmp_path / "run", quiet=True) for _ in range(2))
    before = content_of(tmp_path / "run")
    with reopen(tmp_path / "run"), pytest.raises(ArgumentError, match="no other run works in"):
        first.run()
    assert content_of(tmp_path / "run") == before

    # the second goes on from where the first came to, not from what it had read
    assert first.run().env_steps == 120
    assert second.run().env_steps == 120
    summaries = [record for record in reproducible_records(tmp_path / "run") if record["kind"] == "summary"]
    assert len(summaries) == 1


@pytest.mark.parametrize(
    "part", ["counters", "learner", "buffer", "collector", "contract", "interval", "gate", "evaluations"]
)
def test_whole_content_of_another_run(tmp_path: Path, demos_file: Path, part: str) -> None:
    """Checksums are right, the content is not: one error, and the records stay."""
    run_interrupted(tiny_config(tmp_path / "run", demos_file, agent=IBRLConfig(gate=GateConfig())), 9)
    content = load_checkpoint(tmp_path / "run")
    records = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    for wrong in ({"nothing": torch.zeros(3)}, [1, 2], 7, "text"):
        save_checkpoint(tmp_path / "run" / "checkpoint.pt", {**content, part: wrong})
        with pytest.raises(CheckpointError) as error:
            # the contract is what an export reads; a run makes its own
            if part == "contract":
                load_policy_module(tmp_path / "run")
            Trainer.from_checkpoint(tmp_path / "run", quiet=True).run()
        assert str(tmp_path / "run") in str(error.value)
        assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == records
    assert not (tmp_path / "run" / ".lock").exists()


def test_demonstrations_without_a_success_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = collect_demonstrations("assembly", 2, seed=11, success_only=False, max_episode_steps=5)
    assert isinstance(demos, DemonstrationSet) and not any(demo.success for demo in demos)
    write_demonstrations(tmp_path / "demos.hdf5", demos, demos.env_args)
    config = tiny_config(tmp_path / "run", tmp_path / "demos.hdf5", total_env_steps=20)
    result = Trainer(config).run()
    out = capsys.readouterr().out.replace("\n", " ")
    assert "none of 2 succeeds (all rewards are zero)" in " ".join(out.split())
    assert result.policy_path is not None and load_policy(result.policy_path)
