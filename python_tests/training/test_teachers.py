"""Teachers of one's own: files, other runs, modules and functions; kept with the run where that can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_helpers import (
    differences,
    reproducible_content,
    reproducible_records,
    run_interrupted,
    tiny_config,
)

from ibrl_fast import Trainer, load_policy
from ibrl_fast.agents import IBRLConfig, RPLConfig, TD3Config
from ibrl_fast.cli import main
from ibrl_fast.deploy.policy import PolicyFileError
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training import finish
from ibrl_fast.training.imitation_trainer import ImitationTrainer
from ibrl_fast.training.learners import load_imitation_policy, load_policy_module
from ibrl_fast.training.records.checkpoint import load_checkpoint
from ibrl_fast.training.resume import resume_trainer

# tiny_config sees two stacked frames of 39
STATE, ACTIONS = 78, 4


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "write_report", lambda *_: [])
    monkeypatch.setattr(finish, "plot_phase_seconds", lambda *_: None)


class Linear(nn.Module):
    """A teacher with weights, of the user's."""

    def __init__(self, samples: int = 0, size: int = ACTIONS) -> None:
        super().__init__()
        self.samples, self.size = samples, size
        torch.manual_seed(3)
        self.layer = nn.Linear(STATE, max(1, samples) * size)

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        action = torch.tanh(self.layer(obs["state"]))
        return action if self.samples == 0 else action.view(-1, self.samples, self.size)


def ends_with(first: Path, second: Path) -> None:
    assert differences(reproducible_records(first), reproducible_records(second)) == []
    contents = [reproducible_content(run) for run in (first, second)]
    for content in contents:
        content["config"]["il_policy"] = None
    assert differences(*contents) == []


def weights_of_teacher(run: Path) -> dict[str, Tensor]:
    modules: dict[str, dict[str, Tensor]] = load_checkpoint(run)["learner"]["modules"]
    return modules["bc_policy"]


@pytest.mark.parametrize("samples", [0, 3])
def test_a_module(tmp_path: Path, demos_file: Path, samples: int) -> None:
    """Trained, exported and resumed without the module, which stays as it was."""
    module = Linear(samples)
    config = tiny_config(tmp_path / "whole", demos_file)
    result = Trainer(config, il_policy=module, quiet=True).run()
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(weights_of_teacher(tmp_path / "whole")["policy.layer.weight"], module.layer.weight)
    buffer = load_checkpoint(tmp_path / "whole")["buffer"]
    assert any(tuple(value.shape[1:]) == (max(1, samples), ACTIONS) for value in tensors(buffer))

    # what is exported chooses among the actor's and the module's actions
    assert result.policy_path is not None
    policy = load_policy(result.policy_path)
    obs = {"state": torch.randn(64, STATE)}
    action, source = policy.act_with_source(obs)
    proposals = module(obs) if samples else module(obs).unsqueeze(1)
    nearest = (proposals - action.unsqueeze(1)).abs().amax(2).amin(1)
    assert bool((nearest[source == 1] < 1e-5).all()) and bool((nearest[source == 0] > 1e-5).all())

    # a run that was interrupted goes on with the copy in its folder
    part = replace(config, run_dir=tmp_path / "part")
    trainer = Trainer(part, il_policy=module, quiet=True)
    stop_after(trainer, 9)
    assert trainer.run().interrupted
    assert resume_trainer(tmp_path / "part", quiet=True).run().success_rate is not None
    ends_with(tmp_path / "whole", tmp_path / "part")
    assert load_policy_module(tmp_path / "part").act(obs)[0].shape == (64, ACTIONS)  # type: ignore[operator]


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.dim() == 3 else []
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [tensor for item in items for tensor in tensors(item)]


def stop_after(trainer: Trainer, agent_steps: int) -> None:
    step, left = trainer._step, [agent_steps]

    def counted() -> None:
        step()
        left[0] -= 1
        if left[0] == 0:
            trainer._stop.set()

    trainer._step = counted  # type: ignore[method-assign]


def test_a_torchscript_file_is_the_module(tmp_path: Path, demos_file: Path) -> None:
    file = tmp_path / "linear.pt"
    torch.jit.script(Linear()).save(str(file))
    config = tiny_config(tmp_path / "file", demos_file, il_policy=file, total_env_steps=40)
    Trainer(config, quiet=True).run()
    file.unlink()
    assert load_policy_module(config.run_dir) is not None
    module = replace(config, run_dir=tmp_path / "module", il_policy=None)
    Trainer(module, il_policy=Linear(), quiet=True).run()
    ends_with(config.run_dir, module.run_dir)


def test_three_runs_on_one_teacher(tmp_path: Path, demos_file: Path) -> None:
    """The imitation policy of another run, of imitation alone or of a method, by its folder."""
    imitation = tiny_config(tmp_path / "bc", demos_file).imitation()
    ImitationTrainer(imitation, quiet=True).run()
    # scripted as in the runs that take it: what is fused in eager mode may differ in last bits
    expected = torch.jit.script(load_imitation_policy(tmp_path / "bc"))
    obs = {"state": torch.randn(5, STATE)}
    before = tmp_path / "bc"
    for name, agent in (("ibrl", IBRLConfig(learning_rate=1e-3)), ("rpl", RPLConfig(learning_rate=1e-3))):
        config = tiny_config(tmp_path / name, demos_file, agent=agent, il_policy=before, total_env_steps=20)
        Trainer(config, quiet=True).run()
        assert torch.equal(load_imitation_policy(tmp_path / name)(obs), expected(obs))
        before = tmp_path / name


def test_an_exported_policy(tmp_path: Path, demos_file: Path) -> None:
    first = tiny_config(tmp_path / "first", demos_file, total_env_steps=20)
    path = Trainer(first, quiet=True).run().policy_path
    assert path is not None
    second = tiny_config(tmp_path / "second", demos_file, il_policy=path, total_env_steps=20)
    Trainer(second, quiet=True).run()
    obs = {"state": torch.randn(5, STATE)}
    expected = load_policy(path).act(obs)
    torch.testing.assert_close(load_imitation_policy(tmp_path / "second")(obs), expected)

    # it sees what it was made for
    other = tiny_config(tmp_path / "other", demos_file, il_policy=path, state_stack=1)
    with pytest.raises(ArgumentError, match=r"sees state \[39\] float32.*got one that sees state \[78\]"):
        Trainer(other, quiet=True).run()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("residual", [False, True])
def test_a_function_that_cannot_be_scripted(
    tmp_path: Path, demos_file: Path, capsys: pytest.CaptureFixture[str], residual: bool
) -> None:
    """Evaluated here; the exported policy is the actor alone, which a residual one cannot be."""
    module = Linear()
    calls: list[int] = []

    def function(obs: dict[str, Tensor]) -> Tensor:
        calls.append(len(obs["state"]))
        return module(obs)  # type: ignore[no-any-return]

    agent = RPLConfig(learning_rate=1e-3) if residual else IBRLConfig(learning_rate=1e-3)
    config = tiny_config(tmp_path / "run", demos_file, agent=agent)
    config = replace(config, evaluation=replace(config.evaluation, workers=1))
    trainer = Trainer(config, il_policy=function)
    stop_after(trainer, 9)
    assert trainer.run().interrupted
    out = " ".join(capsys.readouterr().out.split())
    assert "the imitation policy cannot be scripted (a Python function)" in out and len(calls) > 50

    with pytest.raises(ArgumentError, match="il_policy: expected the module or function that the run began"):
        Trainer.from_checkpoint(tmp_path / "run", quiet=True).run()
    result = Trainer.from_checkpoint(tmp_path / "run", il_policy=function).run()
    if residual:
        assert result.policy_path is None and not (tmp_path / "run" / "policy.pt").exists()
        assert "no policy.pt" in capsys.readouterr().out
        return
    assert result.policy_path is not None
    _, source = load_policy(result.policy_path).act_with_source({"state": torch.randn(8, STATE)})
    assert not bool(source.any())
    # as a module that can be scripted, but for what the file holds
    here = replace(config.evaluation, workers=0)
    scripted = replace(config, run_dir=tmp_path / "module", evaluation=here)
    Trainer(scripted, il_policy=module, quiet=True).run()
    assert (
        differences(reproducible_records(tmp_path / "run"), reproducible_records(tmp_path / "module")) == []
    )


WRONG: dict[str, tuple[Any, str]] = {
    "no module": (3, "expected a module or a function of observations, got int"),
    "size": (Linear(size=3), r"expected actions \[2, 4\] or samples \[2, S, 4\] .*, got \[2, 3\]"),
    "samples": (lambda obs: torch.zeros(2, 2, 3, 4), r"got \[2, 2, 3, 4\]"),
    "type": (lambda obs: torch.zeros(2, 4, dtype=torch.int64), "got torch.int64"),
    "nothing": (lambda obs: None, "got NoneType"),
    "infinite": (lambda obs: torch.full((2, 4), torch.nan), "expected finite actions, got"),
    "key": (lambda obs: obs["camera"], "il_policy: expected actions .* got 'camera'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_teacher(tmp_path: Path, demos_file: Path, name: str) -> None:
    policy, message = WRONG[name]
    with pytest.raises(ArgumentError, match=message):
        Trainer(tiny_config(tmp_path / "run", demos_file), il_policy=policy, quiet=True).run()
    assert not (tmp_path / "run").exists()


def test_two_teachers_or_one_too_many(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "run", demos_file)
    with pytest.raises(ArgumentError, match="il_policy: expected None beside the configuration's"):
        Trainer(replace(config, il_policy=tmp_path / "x.pt"), il_policy=Linear())
    with pytest.raises(ArgumentError, match="il_policy: expected None for method td3, which has no teacher"):
        Trainer(replace(config, agent=TD3Config()), il_policy=Linear())
    with pytest.raises(ArgumentError, match="il_policy: expected None for method td3, which has no teacher"):
        replace(config, agent=TD3Config(), il_policy=tmp_path)


def test_files_that_are_no_teacher(tmp_path: Path, demos_file: Path) -> None:
    text = tmp_path / "text.pt"
    text.write_text("hello")
    for path, message in ((text, "another kind of file"), (tmp_path / "missing.pt", "got no file there")):
        with pytest.raises(PolicyFileError, match=message):
            Trainer(tiny_config(tmp_path / "run", demos_file, il_policy=path), quiet=True).run()
    run_interrupted(tiny_config(tmp_path / "td3", demos_file, agent=TD3Config()), 2)
    with pytest.raises(ArgumentError, match=r"expected a run with an imitation policy, got .*td3"):
        Trainer(tiny_config(tmp_path / "run", demos_file, il_policy=tmp_path / "td3"), quiet=True).run()
    assert not (tmp_path / "run").exists()


def test_command_line(tmp_path: Path, demos_file: Path) -> None:
    bc = ["bc", "assembly", "--demos", str(demos_file), "--run-dir", str(tmp_path / "bc"), "--updates", "3"]
    main(bc)
    flags = ["--demos.path", str(demos_file), "--demos.episodes", "2", "--total-env-steps", "4"]
    flags += ["--evaluation.episodes", "1", "--evaluation.workers", "0", "--evaluation.video-episodes", "0"]
    main(["train", *flags, "--bc.from", str(tmp_path / "bc"), "--run-dir", str(tmp_path / "run")])
    obs = {"state": torch.randn(3, 39)}
    first, second = (load_imitation_policy(tmp_path / name) for name in ("bc", "run"))
    assert torch.equal(torch.jit.script(first)(obs), second(obs))
