"""A method of one file outside the package and one line: trained, exported, resumed, on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from own_method import MimicConfig
from training_helpers import (
    differences,
    reproducible_content,
    reproducible_records,
    run_interrupted,
    tiny_config,
)

from ibrl_fast import load_policy
from ibrl_fast.agents import METHODS
from ibrl_fast.cli import main
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.config_file import load_config
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.resume import resume_trainer
from ibrl_fast.training.trainer import Trainer


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line."""
    monkeypatch.setitem(METHODS, "mine", "own_method:MimicConfig")


def config_of(folder: Path, demos: Path) -> TrainConfig:
    return tiny_config(folder, demos, agent=MimicConfig(rate=1e-2))


def test_trains_exports_and_resumes(tmp_path: Path, demos_file: Path) -> None:
    whole = Trainer(config_of(tmp_path / "whole", demos_file), quiet=True).run()
    assert whole.env_steps == 120 and whole.bc_success_rate is None
    # its own numbers and the time of its own phase are in the records
    records = [record for record in read_metrics(tmp_path / "whole") if record["kind"] == "train"]
    assert records[-1]["seconds/imitate"] > 0
    losses = [record["imitation_loss"] for record in records]
    assert losses[-1] < 0.9 * losses[0]

    # the file acts, and the weights are the trained ones
    policy = load_policy(tmp_path / "whole" / "policy.pt")
    obs = {"state": torch.randn(3, 78, generator=torch.Generator().manual_seed(0))}
    action, source = policy.act_with_source(obs)
    assert action.shape == (3, 4) and source.tolist() == [0, 0, 0]

    # interrupted and resumed, by what the run's folder says alone
    assert run_interrupted(config_of(tmp_path / "parts", demos_file), agent_steps=31).interrupted
    resumed = resume_trainer(tmp_path / "parts", quiet=True)
    assert type(resumed.config.agent) is MimicConfig and resumed.config.agent.rate == 1e-2
    resumed.run()
    first, second = (reproducible_content(tmp_path / name) for name in ("whole", "parts"))
    assert differences(first, second) == []
    assert reproducible_records(tmp_path / "whole") == reproducible_records(tmp_path / "parts")
    assert torch.equal(load_policy(tmp_path / "parts" / "policy.pt").act(obs), action)


def test_command_line(tmp_path: Path, demos_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {
        "--demos": demos_file,
        "--episodes": 2,
        "--run-dir": tmp_path / "run",
        "--total-env-steps": 40,
        "--batch-size": 8,
        "--warmup-episodes": 0,
        "--env.max-episode-steps": 11,
        "--network.actor.hidden": 8,
        "--evaluation.episodes": 1,
        "--evaluation.workers": 0,
        "--evaluation.video-episodes": 0,
        "--agent.rate": 0.01,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    main(["train", "--method", "mine", *words])
    config = load_config(tmp_path / "run")
    assert isinstance(config, TrainConfig) and config.agent == MimicConfig(rate=0.01)
    capsys.readouterr()
    main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "mine.pt")])
    assert load_policy(tmp_path / "mine.pt").act({"state": torch.zeros(1, 39)}).shape == (1, 4)

    # its help has its options and no other's
    with pytest.raises(SystemExit):
        main(["train", "--method", "mine", "--help"])
    text = capsys.readouterr().out
    assert "--agent.rate" in text and "--agent.noise" in text and "--agent.polyak" not in text


def test_another_method_in_its_place(tmp_path: Path, demos_file: Path) -> None:
    config = config_of(tmp_path, demos_file)
    assert replace(config, agent=TrainConfig().agent).with_method("mine").agent == MimicConfig()
    with pytest.raises(ArgumentError, match=r"method: expected one of ibrl, .*, mine, got theirs"):
        config.with_method("theirs")
