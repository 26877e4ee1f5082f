"""Configurations: to JSON and back, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibrl_fast.agents import METHODS, GateConfig, IBRLConfig, ProposalRule, RLPDConfig, TD3Config
from ibrl_fast.envs import PoolOptions, make_pool
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import ActorConfig, CriticConfig, NetworkConfig
from ibrl_fast.training.config import DemoConfig, EnvConfig, EvaluationConfig, ReplayConfig, TrainConfig
from ibrl_fast.training.config_file import (
    CONFIG_NAME,
    config_from_dict,
    config_to_dict,
    load_config,
    save_config,
)
from ibrl_fast.training.presets import PRESETS, preset


def odd_config() -> TrainConfig:
    """Every kind of field away from its default: optional values, tuples, paths, nested configs, choices."""
    return TrainConfig(
        run_dir=Path("somewhere/{task}"),
        stop_at_success_rate=0.75,
        warmup_episodes=2,
        env=EnvConfig(
            observation="both",
            cameras=("corner", "corner3"),
            backend="native",
            camera_positions={"corner": (0.0, 1.0, 0.5)},
            shadows=True,
        ),
        demos=DemoConfig(
            path=Path("demos.hdf5"),
            episodes=7,
            filter_key="train",
            state_keys=("eef", "object"),
            reward="last",
        ),
        agent=IBRLConfig(
            gate=GateConfig(window=3),
            beta=2.5,
            acting_rule=ProposalRule(kind="lcb", std_factor=2.0, margin=0.25),
        ),
        network=NetworkConfig(actor=ActorConfig(hidden=(8, 9), compress_dim=None)),
        replay=ReplayConfig(bootstrap_on_truncation=False, nstep=1),
    )


@pytest.mark.parametrize("make", [*PRESETS.values(), odd_config], ids=[*PRESETS, "odd"])
def test_json_round_trip(make: Callable[[], TrainConfig]) -> None:
    config = make()
    restored = config_from_dict(json.loads(json.dumps(config_to_dict(config), allow_nan=False)))
    assert restored == config
    assert repr(restored) == repr(config)  # equal types too: 1 == 1.0 and Path(x) != "x"


def test_file_round_trip(tmp_path: Path) -> None:
    save_config(odd_config(), tmp_path)
    assert load_config(tmp_path) == odd_config()


def test_fields_left_out_of_a_file_have_their_defaults() -> None:
    values = {"format": 2, "method": "ibrl", "seed": 3, "env": {"num_envs": 2}}
    assert config_from_dict(values) == TrainConfig(seed=3, env=EnvConfig(num_envs=2))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_through_json(method: str) -> None:
    config = preset("quickstart").with_method(method)
    assert config.method == method and config_from_dict(config_to_dict(config)) == config
    # what two methods share stays, what one lacks is gone
    assert config.agent.learning_rate == 3e-4  # type: ignore[attr-defined]
    assert type(config.with_method("td3").agent) is TD3Config


def test_imitation_alone_goes_through_json() -> None:
    config = preset("quickstart").imitation()
    assert config.method == "bc" and config_from_dict(config_to_dict(config)) == config
    assert config.demos == preset("quickstart").demos and config.evaluation.episodes == 50


def test_a_run_of_an_earlier_version_says_so_in_one_line(tmp_path: Path) -> None:
    values = config_to_dict(TrainConfig())
    del values["format"]
    (tmp_path / CONFIG_NAME).write_text(json.dumps(values))
    with pytest.raises(
        ArgumentError, match=r"format: expected 2, got 1 \(the version of ibrl_fast that made"
    ):
        load_config(tmp_path)


def test_a_method_refuses_what_only_another_has() -> None:
    with pytest.raises(TypeError, match="beta"):
        TD3Config(beta=1.0)  # type: ignore[call-arg]
    values = config_to_dict(TrainConfig(agent=RLPDConfig()))
    values["agent"]["beta"] = 1.0
    with pytest.raises(ArgumentError, match=r"RLPDConfig: expected fields .*demo_fraction.*, got beta"):
        config_from_dict(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["configuration"]),
        ("[]", ["object", "fields"]),
        ('{"format": 2, "method": "sac"}', ["method: expected one of ibrl, td3, rlpd", "got sac"]),
        ('{"sead": 1}', ["seed", "got sead"]),
        ('{"env": {"tusk": "x"}}', ["EnvConfig", "task", "got tusk"]),
        ('{"env": 3}', ["EnvConfig", "got 3"]),
        ('{"batch_size": 0}', ["batch_size: expected at least 1, got 0"]),
        ('{"batch_size": "many"}', ["configuration"]),
        ('{"network": {"encoder": {"chanels": 3}}}', ["DrQConfig", "chanels"]),
    ],
)
def test_damaged_file_is_one_error_with_its_name(tmp_path: Path, text: str, words: list[str]) -> None:
    if text.startswith('{"') and "format" not in text:
        text = '{"format": 2, "method": "ibrl", ' + text[1:]
    (tmp_path / CONFIG_NAME).write_text(text)
    with pytest.raises(ValueError) as error:
        load_config(tmp_path)
    for word in [str(tmp_path / CONFIG_NAME), *words]:
        assert word in str(error.value)


def test_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"expected a run folder with {CONFIG_NAME}, got {tmp_path}"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (EnvConfig, {"num_envs": 0}, "env.num_envs: expected at least 1, got 0"),
        (EnvConfig, {"action_repeat": 0}, "env.action_repeat: expected at least 1, got 0"),
        (EnvConfig, {"max_episode_steps": -1}, "env.max_episode_steps: expected at least 1, got -1"),
        (
            EnvConfig,
            {"observation": "sound"},
            "env.observation: expected state, pixels, both or proprio_pixels, got sound",
        ),
        (EnvConfig, {"shadow_size": 64}, "env.shadow_size: expected 0 without shadows, got 64"),
        (
            EnvConfig,
            {"camera_positions": {"corner2": (1.0, 2.0)}},
            r"env.camera_positions\['corner2'\]: expected 3 finite numbers",
        ),
        (
            EnvConfig,
            {"settle_ahead": True, "num_threads": 1},
            "env.settle_ahead: expected num_threads of at least 2 with it, got 1",
        ),
        (
            EnvConfig,
            {"backend": "reference", "render_device": 1},
            "env.render_device: expected the default for the reference backend, got 1",
        ),
        (DemoConfig, {"state_keys": ("object",)}, "demos.state_keys: expected none without demos.path"),
        (EnvConfig, {"backend": "warp"}, "env.backend: expected auto, reference or native, got warp"),
        (
            EnvConfig,
            {"observation": "pixels", "cameras": ()},
            "env.cameras: expected different camera names, at least one, got",
        ),
        (DemoConfig, {"episodes": None}, "demos.episodes: expected a number without demos.path, got None"),
        (DemoConfig, {"episodes": 0}, "demos.episodes: expected at least 1, got 0"),
        (DemoConfig, {"action_noise": -0.1}, "demos.action_noise: expected at least 0, got -0.1"),
        (ReplayConfig, {"nstep": 0}, "replay.nstep: expected at least 1, got 0"),
        (ReplayConfig, {"gamma": 1.5}, r"replay.gamma: expected in \(0, 1\], got 1.5"),
        (ReplayConfig, {"gamma": float("nan")}, r"replay.gamma: expected in \(0, 1\], got nan"),
        (ReplayConfig, {"storage": "cloud"}, "replay.storage: expected device, pinned or host, got cloud"),
        (ReplayConfig, {"random_shift_pad": -1}, "replay.random_shift_pad: expected at least 0, got -1"),
        (EvaluationConfig, {"episodes": 0}, "evaluation.episodes: expected at least 1, got 0"),
        (EvaluationConfig, {"workers": -1}, "evaluation.workers: expected at least 0, got -1"),
        (TrainConfig, {"agent": "sac"}, "agent: expected MethodConfig, got sac"),
        (IBRLConfig, {"gate": GateConfig(), "actor_proposal": False}, "gate: expected None without"),
        (TrainConfig, {"agent": IBRLConfig(gate=GateConfig())}, "warmup_episodes: expected at least 1 with"),
        (RLPDConfig, {"demo_fraction": 1.5}, r"demo_fraction: expected in \[0, 1\] or None, got 1.5"),
        (TrainConfig, {"update_frequency": 0}, "update_frequency: expected at least 1, got 0"),
        (TrainConfig, {"seed": -1}, "seed: expected at least 0, got -1"),
        (TrainConfig, {"stop_at_success_rate": 1.5}, r"stop_at_success_rate: expected in \(0, 1\] or None"),
        (
            TrainConfig,
            {"observation_scaling": "unit"},
            "observation_scaling: expected none or demonstrations",
        ),
        (
            TrainConfig,
            {"observation_scaling": "demonstrations", "env": EnvConfig(observation="pixels")},
            "observation_scaling: expected none without a state, got demonstrations",
        ),
    ],
)
def test_refuses(make: Callable[..., Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**values)


def test_run_dir_is_filled_in() -> None:
    config = TrainConfig(seed=4, env=EnvConfig(task="metaworld/box-close"))
    assert config.resolved_run_dir() == Path("runs/box-close_ibrl_seed4")
    assert replace(config, label="mine").resolved_run_dir() == Path("runs/box-close_mine_seed4")
    assert replace(config, run_dir=Path("here")).resolved_run_dir() == Path("here")


def test_cpu_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    small = NetworkConfig(actor=ActorConfig(hidden=(256,)), critic=CriticConfig(hidden=(256,)))
    assert TrainConfig(network=small).cpu_threads() == 1
    assert TrainConfig(network=small, num_threads=3).cpu_threads() == 3
    assert TrainConfig().cpu_threads() >= 1


def test_pool_options_are_options_of_make_pool() -> None:
    known = {entry.name for entry in dataclasses.fields(PoolOptions)}
    given = EnvConfig(camera_positions={"corner2": (0, 0, 1)}).pool_kwargs()
    assert set(given) == {entry.name for entry in dataclasses.fields(EnvConfig)} - {"num_envs"}
    assert set(given) - {"task"} < known
    assert json.loads(json.dumps(given))["camera_positions"] == {"corner2": [0.0, 0.0, 1.0]}
    make_pool(**json.loads(json.dumps(given)), num_envs=1, seed=0).close()


def test_a_task_is_kept_with_its_suite() -> None:
    assert EnvConfig(task="assembly") == EnvConfig(task="metaworld/assembly")
    assert (
        EnvConfig(task="robosuite/PickPlaceCan") == EnvConfig(task="can") == EnvConfig(task="robosuite/can")
    )
    assert EnvConfig(task="nothing").task == "nothing"


def every_field(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of every field of a configuration that is no configuration itself."""
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from every_field(value, (*path, entry.name))
        yield (*path, entry.name), value


def put(config: Any, path: tuple[str, ...], value: Any) -> Any:
    """The configuration with one field changed."""
    first, *rest = path
    return replace(config, **{first: put(getattr(config, first), tuple(rest), value) if rest else value})


@pytest.mark.parametrize("name", PRESETS)
def test_no_field_takes_what_it_is_not(name: str) -> None:
    """Wrong types, infinite numbers and integers beyond reason, in every field of every preset."""
    wrong: list[Any] = [float("nan"), float("inf"), -float("inf"), 2.5j, [1], {}, b"x"]
    for path, value in every_field(preset(name)):
        more = (
            [2.5, "many", True, 10**20, -(10**20)]
            if isinstance(value, int) and not isinstance(value, bool)
            else []
        )
        for bad in [*wrong, *more]:
            if bad == {} and path[-1] in ("camera_positions", "camera_quaternions"):
                continue  # moves no camera
            with pytest.raises(ArgumentError) as error:
                put(preset(name), path, bad)
            assert path[-1] in str(error.value)
