"""Runs on Minari data sets, end to end: imitation alone and IBRL, from the command line and from Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from training_helpers import tiny_config

from ibrl_fast import ImitationTrainer, Trainer, load_policy, read_demonstrations
from ibrl_fast.cli import main
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.demo_config import DemoConfig
from ibrl_fast.training.run import Run

minari_sets = pytest.importorskip("minari_sets", reason="the package minari is not installed")

NAME = "minari:arm/expert-v0"


@pytest.fixture(autouse=True)
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demos_file: Path) -> None:
    """The expert's demonstrations as a Minari data set: two vectors, actions in [0, 2], goal-conditioned."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    episodes: list[dict[str, Any]] = []
    for demo in read_demonstrations(demos_file):
        state, steps = demo.observations["state"], len(demo)
        flags = [False] * steps + [True]
        observations = {"arm": state[:, :18], "goal": state[:, 18:]}
        episodes.append(
            {
                "observations": observations,
                "actions": demo.actions + np.float32(1.0),
                "rewards": [-1.0] * steps,
                "terminations": [False] * steps,
                "truncations": [False] * (steps - 1) + [True],
                "infos": {"is_success": flags},
            }
        )
    boxes = {"arm": spaces.Box(-np.inf, np.inf, (18,)), "goal": spaces.Box(-np.inf, np.inf, (21,))}
    minari_sets.create(
        "arm/expert-v0",
        episodes,
        observation_space=spaces.Dict(boxes),
        action_space=spaces.Box(0.0, 2.0, (4,), np.float32),
    )


def config(run_dir: Path, **demos: Any) -> Any:
    made = tiny_config(run_dir, None)
    options = {"state_keys": ("arm", "goal"), "episodes": 2} | demos
    return replace(made, demos=DemoConfig(path=Path(NAME), **options), env=replace(made.env, action_repeat=1))


def test_ibrl(tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Run, "say", lambda self, line: lines.append(line))
    result = Trainer(config(tmp_path / "run", reward="success"), quiet=True).run()
    assert result.success_rate is not None and load_policy(tmp_path / "run" / "policy.pt")
    copy, source = (read_demonstrations(path) for path in (tmp_path / "run" / "demos.hdf5", demos_file))
    assert copy.env_args["env_kwargs"]["dataset"] == NAME
    for ours, theirs in zip(copy, source, strict=True):
        np.testing.assert_array_equal(ours.observations["state"], theirs.observations["state"])
        np.testing.assert_allclose(ours.actions, theirs.actions, atol=1e-6)
        assert ours.rewards.tolist() == theirs.rewards.tolist() and ours.success and ours.terminated[-1]
    assert f"demonstrations {NAME}: actions brought from [0, 2] to [-1, 1]" in lines
    # and on from its checkpoint, without the data set
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "nowhere"))
    assert Trainer.from_checkpoint(tmp_path / "run", quiet=True).run().success_rate == result.success_rate


def test_another_action_repeat_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    made = config(tmp_path / "run")
    made = replace(made, env=replace(made.env, action_repeat=2))
    message = f"^{NAME}: data: env_args: expected action_repeat 2 as in the run, got action_repeat 1"
    with pytest.raises(ArgumentError, match=message):
        Trainer(made, quiet=True).run()
    assert not (tmp_path / "run").exists()


def test_bc(tmp_path: Path) -> None:
    made = config(tmp_path / "python").imitation()
    assert ImitationTrainer(made, quiet=True).run().success_rate is not None
    flags = ["--demos.state-keys", "arm,goal", "--demos.allow-mismatch", "True", "--updates", "2"]
    main(["bc", "assembly", "--demos", NAME, *flags, "--run-dir", str(tmp_path / "cli")])
    assert len(read_demonstrations(tmp_path / "cli" / "demos.hdf5")) == 2
