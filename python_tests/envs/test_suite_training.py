"""A run on a suite of one's own, and every option of environments in a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from point_suite import point_suite

from ibrl_fast import (
    ActorConfig,
    BCConfig,
    BCNetworkConfig,
    CriticConfig,
    DemoConfig,
    EnvConfig,
    NetworkConfig,
    ReplayConfig,
    TrainConfig,
    Trainer,
    collect_demonstrations,
    load_policy,
)
from ibrl_fast.envs import register_suite, registry
from ibrl_fast.envs.rendering import RenderingUnavailableError, check_rendering
from ibrl_fast.nn import DrQConfig
from ibrl_fast.training.config import TrainEvaluationConfig
from ibrl_fast.training.records.metrics import read_metrics


def short_run(run_dir: Path, env: EnvConfig, demos: Path | None = None, **evaluation: int) -> TrainConfig:
    """Some steps, with networks of 8 units."""
    options = {"episodes": 2, "workers": 0, "video_episodes": 0, **evaluation}
    return TrainConfig(
        run_dir=run_dir,
        total_env_steps=60 * env.action_repeat,
        batch_size=8,
        warmup_episodes=1,
        env=env,
        demos=DemoConfig(path=demos, episodes=2),
        bc=BCConfig(updates=5, batch_size=8),
        bc_network=BCNetworkConfig(actor=ActorConfig(hidden=(8,), dropout=0.0)),
        network=NetworkConfig(
            actor=ActorConfig(hidden=(8,), dropout=0.0), critic=CriticConfig(num_critics=2, hidden=(8,))
        ),
        replay=ReplayConfig(capacity=200),
        evaluation=TrainEvaluationConfig(every_env_steps=1000, **options),
    )


def test_a_registered_suite_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    register_suite(point_suite(saves_state=True))
    assert len(collect_demonstrations("origin", 2, action_repeat=1)) == 2

    env = EnvConfig(task="origin", num_envs=2, action_repeat=1, max_episode_steps=20)
    result = Trainer(short_run(tmp_path / "run", env)).run()
    assert result.env_steps >= 60
    policy = load_policy(result.policy_path)
    assert policy.contract.metadata["task"] == "point/origin"
    assert policy.contract.control_period == 0.1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["env"]["task"] == "point/origin"


def test_a_suite_that_cannot_save_its_state_is_trained_on_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    register_suite(point_suite())
    env = EnvConfig(task="origin", action_repeat=1, max_episode_steps=20)
    # background processes do not know the suite, so that they are not used
    config = short_run(tmp_path / "run", env, workers=2)
    first = Trainer(config, quiet=True)
    step, taken = first._step, []

    def counted() -> None:
        step()
        taken.append(1)
        if len(taken) == 23:
            first._stop.set()

    monkeypatch.setattr(first, "_step", counted)
    assert first.run().interrupted
    result = Trainer.from_checkpoint(tmp_path / "run", quiet=True).run()
    assert not result.interrupted and result.env_steps == 60
    kinds = [record["kind"] for record in read_metrics(tmp_path / "run")]
    assert kinds.count("resume") == 1


def test_every_option_of_environments_works_in_a_run(tmp_path: Path) -> None:
    try:
        check_rendering()
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    env = EnvConfig(
        task="handle-press",
        num_envs=2,
        observation="both",
        cameras=("topview",),
        image_size=84,
        action_repeat=3,
        max_episode_steps=50,
        backend="native",
        num_threads=2,
        fixed_goals=True,
        camera_positions={"topview": (0.0, 0.6, 1.1)},
        camera_quaternions={"topview": (1.0, 0.0, 0.0, 0.0)},
        shadows=True,
        shadow_size=64,
        multisample=2,
        settle_ahead=True,
    )
    config = short_run(tmp_path / "run", env, workers=1, episodes=1)
    narrow = ActorConfig(hidden=(8,), dropout=0.0, compress_dim=8)
    config = replace(
        config,
        total_env_steps=60,
        demos=DemoConfig(episodes=1),
        bc_network=BCNetworkConfig(actor=narrow, encoder=DrQConfig(channels=4)),
        network=NetworkConfig(
            actor=narrow,
            critic=CriticConfig(num_critics=2, hidden=(8,), head="trunk", embed_dim=8),
            encoder=DrQConfig(channels=4),
        ),
    )
    assert Trainer(config).run().env_steps >= 60
