"""An interrupted and resumed run equals an uninterrupted one, to the bit; runs repeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_helpers import (
    differences,
    reproducible_content,
    reproducible_records,
    run_interrupted,
    tiny_config,
    tiny_pixel_config,
)

from ibrl_fast import collect_demonstrations, write_demonstrations
from ibrl_fast.agents import (
    GateConfig,
    IBRLConfig,
    IBRLRPLConfig,
    ResFiTConfig,
    RFTConfig,
    RLPDConfig,
    RPLConfig,
    TD3Config,
)
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training import finish
from ibrl_fast.training.collector import Collector
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.imitation_trainer import ImitationTrainer
from ibrl_fast.training.resume import resume_trainer
from ibrl_fast.training.trainer import Trainer


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a tiny run's time and are no part of what is compared."""
    monkeypatch.setattr(finish, "write_report", lambda *_: [])
    monkeypatch.setattr(finish, "plot_phase_seconds", lambda *_: None)


def resume(run_dir: Path) -> None:
    result = Trainer.from_checkpoint(run_dir, quiet=True).run()
    assert not result.interrupted


def assert_equal_runs(first: Path, second: Path) -> None:
    assert differences(reproducible_records(first), reproducible_records(second)) == []
    assert differences(reproducible_content(first), reproducible_content(second)) == []
    policies = [torch.jit.load(str(run / "policy.pt")).state_dict() for run in (first, second)]
    assert differences(dict(policies[0]), dict(policies[1])) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="ibrl"),
        pytest.param({"agent": TD3Config(learning_rate=1e-3), "warmup_episodes": 2}, id="td3"),
        pytest.param({"agent": RLPDConfig(learning_rate=1e-3), "warmup_updates": 2}, id="rlpd"),
        pytest.param({"agent": RPLConfig(learning_rate=1e-3)}, id="rpl"),
        pytest.param({"agent": IBRLRPLConfig(learning_rate=1e-3)}, id="ibrl_rpl"),
        pytest.param(
            {"agent": ResFiTConfig(learning_rate=1e-3), "warmup_updates": 5}, id="resfit, critics first"
        ),
        pytest.param(
            {
                "agent": RFTConfig(learning_rate=1e-3, warmup_actor=False),
                "warmup_updates": 3,
                "bc_network": tiny_config(Path("runs"), None).network.imitation(),
            },
            id="rft",
        ),
        pytest.param({"agent": IBRLConfig(learning_rate=1e-3, gate=GateConfig(window=2))}, id="gate"),
        pytest.param({"overlap_collection": True, "warmup_updates": 2}, id="overlap"),
    ],
)
def test_resumed_run_is_bit_for_bit(tmp_path: Path, demos_file: Path, changes: dict[str, object]) -> None:
    config = tiny_config(tmp_path / "whole", demos_file, **changes)
    Trainer(config, quiet=True).run()

    # Interrupted in the warm-up, right after an episode's end, and between two log records
    part = replace(config, run_dir=tmp_path / "part")
    result = run_interrupted(part, 5)
    assert result.interrupted and result.env_steps == 10 and result.policy_path is None
    for more_steps in (21, 12):
        trainer = Trainer.from_checkpoint(tmp_path / "part", quiet=True)
        step, left = trainer._step, [more_steps]

        def counted() -> None:
            step()  # noqa: B023 - called within the same turn
            left[0] -= 1  # noqa: B023
            if left[0] == 0:  # noqa: B023
                trainer._stop.set()  # noqa: B023

        trainer._step = counted  # type: ignore[method-assign]
        assert trainer.run().interrupted
    resume(tmp_path / "part")
    assert_equal_runs(tmp_path / "whole", tmp_path / "part")


def test_equality_notices_one_step(tmp_path: Path, demos_file: Path) -> None:
    first, second = tiny_config(tmp_path / "a", demos_file), tiny_config(tmp_path / "b", demos_file)
    run_interrupted(first, 20)
    run_interrupted(second, 21)
    found = "\n".join(differences(reproducible_content(first.run_dir), reproducible_content(second.run_dir)))
    for part in ("/learner/", "/buffer/", "/collector/", "/counters/"):
        assert part in found


def test_several_environments(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "whole", demos_file)
    config = replace(config, env=replace(config.env, num_envs=3), total_env_steps=180)
    Trainer(config, quiet=True).run()
    part = replace(config, run_dir=tmp_path / "part")
    run_interrupted(part, 17)
    resume(part.run_dir)
    assert_equal_runs(config.run_dir, part.run_dir)


@pytest.mark.slow
def test_pixels(tmp_path: Path) -> None:
    demos = collect_demonstrations("assembly", 1, observation="pixels", seed=11)
    write_demonstrations(tmp_path / "demos.hdf5", demos)
    config = tiny_pixel_config(tmp_path / "whole", tmp_path / "demos.hdf5")
    Trainer(config, quiet=True).run()
    part = replace(config, run_dir=tmp_path / "part")
    run_interrupted(part, 9)
    resume(part.run_dir)
    assert_equal_runs(config.run_dir, part.run_dir)


def test_seed_decides(tmp_path: Path, demos_file: Path) -> None:
    def weights(config: TrainConfig) -> object:
        run_interrupted(config, 6)
        return reproducible_content(config.run_dir)["learner"]

    first = weights(tiny_config(tmp_path / "a", demos_file))
    assert differences(first, weights(tiny_config(tmp_path / "b", demos_file))) == []
    assert differences(first, weights(tiny_config(tmp_path / "c", demos_file, seed=1))) != []


def test_interrupted_before_the_first_step_can_be_resumed(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "whole", demos_file)
    Trainer(config, quiet=True).run()
    part = replace(config, run_dir=tmp_path / "part")
    trainer = Trainer(part, quiet=True)
    start = Collector.start

    def interrupted_start(collector: Collector, seed: int) -> None:
        start(collector, seed)
        trainer._stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collector, "start", interrupted_start)
        assert trainer.run().env_steps == 0
    resume(part.run_dir)
    assert_equal_runs(config.run_dir, part.run_dir)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "run", demos_file).imitation()
    first = ImitationTrainer(config, quiet=True).run()
    before = reproducible_records(config.run_dir), reproducible_content(config.run_dir)
    with pytest.raises(ArgumentError, match="config: expected TrainConfig for Trainer, got ImitationConfig"):
        Trainer.from_checkpoint(config.run_dir)
    again = resume_trainer(config.run_dir, quiet=True).run()
    assert again.success_rate == first.success_rate
    after = reproducible_records(config.run_dir), reproducible_content(config.run_dir)
    assert differences(list(before), list(after)) == []
