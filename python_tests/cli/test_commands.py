"""Every command does what it says, in tiny runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli_helpers import tiny_arguments

import ibrl_fast
from ibrl_fast import load_policy, read_demonstrations
from ibrl_fast.cli import COMMANDS, main
from ibrl_fast.training.config_file import config_to_dict, load_config
from ibrl_fast.training.records.checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint
from ibrl_fast.training.records.metrics import read_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demos_file: Path) -> Path:
    """The folder of a finished run of `ibrl-fast train`."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    main(["train", "quickstart", "--seed", "5", *tiny_arguments(demos_file, folder)])
    return folder


def test_train(run: Path) -> None:
    config = load_config(run)
    assert config.seed == 5 and config.network.critic.hidden == (8,)
    assert config.replay == ibrl_fast.preset("quickstart").replay
    kinds = {record["kind"] for record in read_metrics(run)}
    assert kinds == {"bc", "episode", "train", "eval", "summary"}
    action = load_policy(run / "policy.pt").act({"state": torch.zeros(1, 39)})
    assert action.shape == (1, 4)


def test_train_without_imitation(tmp_path: Path, demos_file: Path) -> None:
    changes: dict[str, object] = {"--method": "td3", "--total-env-steps": 4, "--evaluation.episodes": 1}
    changes |= dict.fromkeys(("--bc.updates", "--bc.batch-size", "--bc-network.actor.hidden"))
    main(["train", *tiny_arguments(demos_file, tmp_path / "run", changes)])
    config = load_config(tmp_path / "run")
    assert config.method == "td3" and not hasattr(config.agent, "gate")


def test_train_again_overwrites_nothing(
    run: Path, demos_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "metrics.jsonl").read_bytes()
    main(["train", *tiny_arguments(demos_file, run, {"--total-env-steps": 4, "--evaluation.episodes": 1})])
    assert "run_2" in capsys.readouterr().out.replace("\n", "")
    assert (run / "metrics.jsonl").read_bytes() == before
    assert (run.with_name("run_2") / "policy.pt").is_file()


def test_resume(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["resume", str(run)])
    assert "final policy" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["run", "file", "file elsewhere"])
def test_eval(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    arguments = [str(run)]
    if what == "file":
        arguments = [str(run / "policy.pt")]
    if what == "file elsewhere":
        (tmp_path / "mine.pt").write_bytes((run / "policy.pt").read_bytes())
        arguments = [str(tmp_path / "mine.pt"), "--run", str(run)]
    main(["eval", *arguments, "--episodes", "3", "--workers", "0"])
    result = json.loads(capsys.readouterr().out)
    assert result["episodes"] == 3 and 0 <= result["success_rate"] <= 1
    assert result["mean_episode_steps"] == 11


def test_export(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "exported.pt"
    main(["export", str(run), "--out", str(out)])
    assert str(out) in capsys.readouterr().out.replace("\n", "")
    obs = {"state": torch.randn(5, 39, generator=torch.Generator().manual_seed(0))}
    torch.testing.assert_close(
        load_policy(out).act(obs), load_policy(run / "policy.pt").act(obs), rtol=0, atol=0
    )


def test_a_run_from_a_gpu_is_exported_on_the_cpu(run: Path, tmp_path: Path) -> None:
    """Its precision and its graphs are of no concern to the policy."""
    content = load_checkpoint(run)
    config = load_config(run)
    config = replace(config, device="cuda", capture=True, agent=replace(config.agent, precision="tf32"))
    content["config"] = json.dumps(config_to_dict(config))
    save_checkpoint(tmp_path / CHECKPOINT_NAME, content)
    main(["export", str(tmp_path), "--out", str(tmp_path / "exported.pt")])
    obs = {"state": torch.zeros(2, 39)}
    assert torch.equal(
        load_policy(tmp_path / "exported.pt").act(obs), load_policy(run / "policy.pt").act(obs)
    )


def test_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(run), str(run), "--out", str(tmp_path)])
    assert (tmp_path / "learning_curve.png").stat().st_size > 1000
    assert "learning_curve.png" in capsys.readouterr().out


def test_bc(tmp_path: Path, demos_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bc", "assembly", "--demos", str(demos_file), "--run-dir", str(tmp_path / "bc"), "--updates", "3"])
    assert "final policy" in capsys.readouterr().out
    assert len(read_demonstrations(tmp_path / "bc" / "demos.hdf5")) == 2  # all of the file
    assert load_policy(tmp_path / "bc" / "policy.pt").act({"state": torch.zeros(1, 39)}).shape == (1, 4)


def test_demos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demos.hdf5"
    main(["demos", "assembly", "--episodes", "1", "--seed", "3", "--action-noise", "0.01", "--out", str(out)])
    demos = read_demonstrations(out)
    assert len(demos) == 1 and bool(demos[0].terminated[-1])
    assert "1 demonstrations" in capsys.readouterr().out


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.strip() == ibrl_fast.__version__
    for arguments, status in ((["--help"], 0), ([], 2)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == status
        captured = capsys.readouterr()
        for name in COMMANDS:
            assert f"  {name} " in captured.out + captured.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"ibrl-fast {name}" in capsys.readouterr().out
