"""Presets hold the paper's numbers (Table II, and the choices that the paper leaves open)."""

from __future__ import annotations

from typing import Any

import pytest

from ibrl_fast.nn import DrQConfig, ResNet18Config, ViTConfig
from ibrl_fast.training.presets import PRESETS, preset

PAPER = ("metaworld_pixel", "robomimic_pixel", "real_robot", "robomimic_state")

# Equal in all four columns of Table II
SHARED = {
    "agent.learning_rate": 1e-4,
    "batch_size": 256,
    "replay.gamma": 0.99,
    "replay.nstep": 3,
    "agent.exploration_std": 0.1,
    "agent.noise_clip": 0.3,
    "agent.polyak": 0.99,
    "agent.subset_size": 2,
    "update_frequency": 2,
    "replay.bootstrap_on_truncation": True,
    "replay.random_shift_pad": 4,
    "observation_scaling": "none",
    "agent.actor_proposal": True,
    "agent.bootstrap_proposal": True,
    "agent.acting_rule.is_paper": True,
    "agent.bootstrap_rule.is_paper": True,
    "method": "ibrl",
    "warmup_updates": 0,
    "agent.gate": None,
}

# One row each: Meta-World pixels, Robomimic pixels, real robot, Robomimic state
ROWS: dict[str, tuple[Any, Any, Any, Any]] = {
    "network.actor.dropout": (0.0, 0.5, 0.5, 0.5),
    "network.critic.num_critics": (2, 2, 2, 5),
    "critic_updates": (1, 1, 1, 5),
    "agent.beta": (None, None, None, 10.0),
    "env.image_size": (84, 96, 96, 84),
    "env.action_repeat": (2, 1, 1, 1),
    "env.observation": ("pixels", "proprio_pixels", "proprio_pixels", "state"),
    "state_stack": (1, 3, 3, 3),
    "image_stack": (1, 1, 1, 1),
    "env.cameras": (("corner2",), ("robot0_eye_in_hand",), ("wrist",), None),
    "demos.episodes": (3, 10, 10, 10),
    "env.max_episode_steps": (100, 200, 75, 200),
    "total_env_steps": (100_000, 200_000, 8_000, 200_000),
    "warmup_episodes": (47, 40, 0, 40),
    "bc.updates": (20_000, 100_000, 100_000, 100_000),
    "bc.learning_rate": (1e-4, 1e-4, 1e-4, 1e-4),
    "bc.batch_size": (256, 256, 256, 256),
    "network.critic.hidden": ((1024, 1024), (1024, 1024), (1024, 1024), (1024, 1024, 1024)),
    "network.actor.hidden": ((1024, 1024), (1024, 1024), (1024, 1024), (1024, 1024, 1024)),
    "network.encoder": (DrQConfig(channels=32), ViTConfig(), ViTConfig(), None),
    "bc_network.encoder": (ResNet18Config(), ResNet18Config(), ResNet18Config(), None),
    "bc_network.actor.dropout": (0.0, 0.0, 0.0, 0.5),
}


def value_at(config: Any, path: str) -> Any:
    """The field at a dotted path."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize("column", range(4), ids=PAPER)
def test_paper_numbers(column: int) -> None:
    config = preset(PAPER[column])
    expected = {**SHARED, **{path: row[column] for path, row in ROWS.items()}}
    assert {path: value_at(config, path) for path in expected} == expected


def test_names() -> None:
    assert list(PRESETS) == [
        "quickstart",
        "metaworld_state",
        "metaworld_pixel",
        "robomimic_state",
        "robomimic_pixel",
        "real_robot",
    ]


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"preset: expected one of quickstart, .*real_robot, got quick"):
        preset("quick")


def test_buffers_hold_a_whole_run() -> None:
    for name in PRESETS:
        config = preset(name)
        assert config.replay.capacity * config.env.action_repeat >= config.total_env_steps, name


def test_quickstart_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    config = preset("quickstart")
    assert config.env.observation == "state"
    assert config.cpu_threads() == 1
    assert config.demos.path is None
