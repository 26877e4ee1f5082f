"""Demonstration files in a run: what does not fit ends it before training, what is changed is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from demonstration_files import remove_seals
from training_helpers import tiny_config

from ibrl_fast import ImitationTrainer, Trainer, read_demonstrations
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.config import EnvConfig, ImitationConfig, TrainConfig
from ibrl_fast.training.demo_config import DemoConfig
from ibrl_fast.training.run import Run

Edit = Callable[[h5py.Group], None]


@pytest.fixture
def edited(tmp_path: Path, demos_file: Path) -> Callable[[Edit], Path]:
    """Makes a copy of the demonstrations of assembly as another program might have written them."""

    def make(edit: Edit) -> Path:
        path = tmp_path / "other.hdf5"
        shutil.copy(demos_file, path)
        remove_seals(path)
        with h5py.File(path, "r+") as file:
            edit(file["data"])
        return path

    return make


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs say, line by line."""
    lines: list[str] = []
    monkeypatch.setattr(Run, "say", lambda self, line: lines.append(line))
    return lines


def record(**changes: Any) -> Edit:
    """Changes what the file records of its environment."""

    def edit(data: h5py.Group) -> None:
        env_args = json.loads(data.attrs["env_args"])
        env_args["env_name"] = changes.get("env_name", env_args["env_name"])
        env_args["env_kwargs"].update(changes)
        data.attrs["env_args"] = json.dumps(env_args)

    return edit


def put(name: str, change: Callable[[Any], Any]) -> Edit:
    """Replaces an array of every demonstration."""

    def edit(data: h5py.Group) -> None:
        for demo in data.values():
            values = demo[name][()]
            del demo[name]
            demo[name] = change(values)

    return edit


def drop(*names: str) -> Edit:
    """Removes arrays of every demonstration."""

    def edit(data: h5py.Group) -> None:
        for demo in data.values():
            for name in names:
                del demo[name]

    return edit


def both(*edits: Edit) -> Edit:
    """One change after the other."""

    def edit(data: h5py.Group) -> None:
        for change in edits:
            change(data)

    return edit


def poked(value: float) -> Edit:
    """One action value of every demonstration, in float64."""

    def change(actions: Any) -> Any:
        actions = actions.astype(np.float64)
        actions[0, 1] = value
        return actions

    return put("actions", change)


def split_state(data: h5py.Group) -> None:
    """Two entries in place of the state."""
    for demo in data.values():
        state = demo["obs/state"][()]
        del demo["obs/state"]
        demo["obs/object"], demo["obs/eef"] = state[:, 9:], state[:, :9]


def imitation(config: TrainConfig) -> ImitationConfig:
    config = replace(config, evaluation=replace(config.evaluation, episodes=1))
    return replace(config.imitation(), bc=replace(config.bc, updates=2))


def refusal(config: ImitationConfig, monkeypatch: pytest.MonkeyPatch) -> str:
    """The message with which a run ends before anything is trained, whose folder is gone again."""

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("expected no training")

    monkeypatch.setattr("ibrl_fast.training.imitation.train_bc", train)
    trainer = Trainer if isinstance(config, TrainConfig) else ImitationTrainer
    with pytest.raises(ArgumentError) as caught:
        trainer(config, quiet=True).run()
    assert not config.resolved_run_dir().exists()
    return str(caught.value)


KINDS: list[Any] = [pytest.param(lambda config: config, id="train"), pytest.param(imitation, id="bc")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            record(env_name="metaworld/reach", action_repeat=1, control_period=0.1),
            "data: env_args: expected task metaworld/assembly, action_repeat 2, control_period 0.0125 s "
            "as in the run, got task metaworld/reach, action_repeat 1, control_period 0.1 s "
            "(demos.allow_mismatch",
        ),
        (
            both(put("obs/state", lambda a: a[:, :20]), put("next_obs/state", lambda a: a[:, :20])),
            "demo_0: obs: state: expected 39 numbers, got 20",
        ),
        (put("actions", lambda a: np.tile(a, 2)[:, :7]), "demo_0: actions: expected 4 numbers, got 7"),
        (
            poked(1.001),
            "demo_0: actions: expected values in [-1, 1], got an absolute value of 1.001 (demos.clip_actions",
        ),
        (
            both(drop("next_obs"), split_state),
            "demo_0: obs: state: expected a dataset, got none; there are eef (9), object (30); "
            "--demos.state-keys eef,object joins them, in that order",
        ),
    ],
    ids=["environment", "state size", "action size", "action range", "keys"],
)
def test_what_does_not_fit_ends_the_run_before_training(
    tmp_path: Path,
    edited: Callable[[Edit], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[TrainConfig], ImitationConfig],
    edit: Edit,
    message: str,
) -> None:
    path = edited(edit)
    got = refusal(kind(tiny_config(tmp_path / "run", path)), monkeypatch)
    assert got.startswith(f"{path}: {message}"), got


def test_rewards_are_needed_by_reinforcement_learning_alone(
    tmp_path: Path, edited: Callable[[Edit], Path], monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    path = edited(drop("rewards", "dones", "terminated", "truncated"))
    config = tiny_config(tmp_path / "run", path)
    with monkeypatch.context() as patch:
        message = refusal(config, patch)
    assert message.startswith(f"{path}: demo_0: rewards: expected a dataset, got none (demos.reward last")

    # imitation alone does without, and its copy of them pretends nothing
    said.clear()
    ImitationTrainer(replace(imitation(config), run_dir=tmp_path / "bc"), quiet=True).run()
    assert [line for line in said if line.startswith("demonstrations")] == [
        f"demonstrations {path}: rewards or dones are missing, so they serve imitation alone"
    ]
    with h5py.File(tmp_path / "bc" / "demos.hdf5") as file:
        assert "rewards" not in file["data/demo_0"] and "actions" in file["data/demo_0"]


def test_what_is_allowed_or_changed_is_said_once(
    tmp_path: Path, edited: Callable[[Edit], Path], said: list[str]
) -> None:
    """A whole run on a file of another task, without rewards, with actions beyond the bounds."""
    path = edited(
        both(record(env_name="Lift"), poked(-2.0), drop("rewards", "dones", "next_obs"), split_state)
    )
    config = tiny_config(tmp_path / "run", path)
    options = {"allow_mismatch": True, "clip_actions": True, "reward": "last", "state_keys": ("eef,object",)}
    config = replace(config, demos=replace(config.demos, **options), total_env_steps=40)
    Trainer(config, quiet=True).run()
    assert [line for line in said if line.startswith("demonstrations")] == [
        f"demonstrations {path}: env_args: expected task metaworld/assembly as in the run, got task Lift; "
        "allowed by demos.allow_mismatch",
        f"demonstrations {path}: reward 1 and terminated at the end of each of 2 (demos.reward last)",
        f"demonstrations {path}: clipped action values beyond [-1, 1]: 2, up to 2 in size",
    ]
    copy = read_demonstrations(tmp_path / "run" / "demos.hdf5")
    assert all(demo.success and demo.rewards.sum() == 1 for demo in copy)
    assert copy[0].actions[0, 1] == -1.0
    with h5py.File(path) as file:
        parts = [file[f"data/demo_1/obs/{name}"][()] for name in ("eef", "object")]
    np.testing.assert_array_equal(copy[1].observations["state"][:-1], np.concatenate(parts, axis=1))


def test_images_of_another_size_or_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: Callable[[Edit], Path]
) -> None:
    """Compared with what is recorded, and where that is allowed or missing, with the images themselves."""
    from ibrl_fast.envs.rendering import RenderingUnavailableError

    def draw(data: h5py.Group) -> None:
        for demo in data.values():
            for name in ("obs", "next_obs"):
                images = np.zeros((len(demo["actions"]), 96, 96, 3), np.uint8)
                demo.create_dataset(f"{name}/corner2_image", data=images)

    path = edited(both(draw, record(cameras=["corner"], image_size=96)))
    config = tiny_config(tmp_path / "run", path, observation_scaling="none", state_stack=1)
    config = replace(config, env=replace(config.env, observation="both"))
    sizes = "obs: corner2: expected images [3, 84, 84], got images [3, 96, 96]"
    try:
        message = refusal(imitation(config), monkeypatch)
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    assert (
        "expected cameras corner2, image_size 84 as in the run, got cameras corner, image_size 96" in message
    )
    allowed = replace(config, demos=replace(config.demos, allow_mismatch=True))
    assert sizes in refusal(imitation(allowed), monkeypatch)


# Configurations.


def test_keys_by_commas_and_one_by_one_are_the_same() -> None:
    path = Path("x.hdf5")
    keys = DemoConfig(path=path, state_keys=("a,b", "c")).state_keys
    assert keys == DemoConfig(path=path, state_keys=("a", "b", "c")).state_keys == ("a", "b", "c")
    for wrong in ("a,,b", "", "a,b,a"):
        with pytest.raises(
            ArgumentError, match=r"demos.proprio_keys: expected different names of entries, got"
        ):
            DemoConfig(path=path, proprio_keys=(wrong,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"filter_key": "train"}, "demos.filter_key: expected none without demos.path, got train"),
        ({"proprio_keys": ("a",)}, r"demos.proprio_keys: expected none without demos.path, got \('a',\)"),
        ({"clip_actions": True}, "demos.clip_actions: expected False without demos.path, got True"),
        ({"reward": "last"}, "demos.reward: expected recorded without demos.path, got last"),
        ({"allow_mismatch": True}, "demos.allow_mismatch: expected False without demos.path, got True"),
        (
            {"path": Path("x.hdf5"), "action_noise": 0.1},
            "demos.action_noise: expected 0 with demos.path, got 0.1",
        ),
        (
            {"path": Path("x.hdf5"), "reward": "sum"},
            "demos.reward: expected recorded, last or success, got sum",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        DemoConfig(**values)


def test_keys_of_a_vector_that_the_policy_does_not_see_are_refused() -> None:
    demos = DemoConfig(path=Path("x.hdf5"), state_keys=("object",), proprio_keys=())
    with pytest.raises(
        ArgumentError,
        match=r"demos.state_keys: expected none without a state in env.observation, got \('object'",
    ):
        ImitationConfig(demos=demos, env=EnvConfig(observation="pixels"))
    with pytest.raises(ArgumentError, match=r"demos.proprio_keys: expected none without a proprio"):
        ImitationConfig(demos=DemoConfig(path=Path("x.hdf5"), proprio_keys=("eef",)))
