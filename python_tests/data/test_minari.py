"""Minari data sets: every number as Minari's own files hold it, and one error for what does not fit."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ibrl_fast.data import DemonstrationError, ExpectedDemos, read_demonstrations, write_demonstrations

minari_sets = pytest.importorskip("minari_sets", reason="the package minari is not installed")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's data sets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def edit_metadata(folder: Path, **changes: Any) -> None:
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in metadata.items() if value is not ...}))


# ---- what is read


@pytest.mark.parametrize("data_format", ["hdf5", "arrow", "parquet"])
def test_pendulum_equals_what_its_steps_gave(data_format: str) -> None:
    if data_format != "hdf5":
        pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
    episodes = minari_sets.create_pendulum(data_format=data_format)
    demos = read_demonstrations("minari:pendulum/random-v0")
    assert len(demos) == len(episodes) == 3
    kwargs = {"action_repeat": 1, "dataset": "minari:pendulum/random-v0"}
    assert demos.env_args == {"env_name": "gym:Pendulum-v1", "type": 2, "env_kwargs": kwargs}
    assert demos.remarks == ("actions brought from [-2, 2] to [-1, 1]",)
    for demo, episode in zip(demos, episodes, strict=True):
        np.testing.assert_array_equal(demo.observations["state"], episode["observations"])
        np.testing.assert_allclose(demo.actions, episode["actions"] / 2.0, rtol=0, atol=1e-7)
        np.testing.assert_allclose(demo.rewards, episode["rewards"], rtol=1e-6)
        assert demo.terminated.tolist() == episode["terminations"]
        assert demo.truncated.tolist() == episode["truncations"]
        assert demo.seed == episode["seed"] and demo.recorded_success is None and not demo.success


def test_folders_name_a_data_set_as_well(root: Path) -> None:
    minari_sets.create_pendulum()
    whole = read_demonstrations("minari:pendulum/random-v0")
    for path in (root / "pendulum" / "random-v0", root / "pendulum" / "random-v0" / "data"):
        demos = read_demonstrations(path, max_demos=2)
        assert len(demos) == 2 and demos.env_args == whole.env_args
        np.testing.assert_array_equal(demos[1].actions, whole[1].actions)


def test_dict_observations_are_joined_and_images_are_cameras(root: Path) -> None:
    episodes = [minari_sets.arm_episode(0, 4, None), minari_sets.arm_episode(1, 6, 3)]
    minari_sets.create_arm("arm/mixed-v0", episodes)
    keys = ["state", "front", "wrist"]
    demos = read_demonstrations("minari:arm/mixed-v0", keys=keys, state_keys=["goal.object", "robot"])
    with h5py.File(minari_sets.data_folder(root, "arm/mixed-v0") / "main_data.hdf5") as file:
        for number, demo in enumerate(demos):
            stored = file[f"episode_{number}/observations"]
            state = np.concatenate([stored["goal/object"][()], stored["robot"][()]], axis=1)
            np.testing.assert_array_equal(demo.observations["state"], state.astype(np.float32))
            wrist = stored["wrist_image"][()]
            np.testing.assert_array_equal(demo.observations["wrist"], wrist)
            # Minari keeps large images as JPEG
            from PIL import Image

            front = np.stack([np.asarray(Image.open(io.BytesIO(bytes(frame)))) for frame in stored["front"]])
            np.testing.assert_array_equal(demo.observations["front"], front.transpose(0, 3, 1, 2))
            low, high = minari_sets.ARM_ACTIONS.low, minari_sets.ARM_ACTIONS.high
            back = low + (demo.actions.astype(np.float64) + 1) / 2 * (high - low)
            np.testing.assert_allclose(back, file[f"episode_{number}/actions"][()], atol=1e-6)
    assert [demo.recorded_success for demo in demos] == [False, True]
    assert demos.env_args["env_kwargs"]["state_keys"] == ["goal.object", "robot"]
    # without a choice: every vector and camera by its name, and nothing of another kind
    assert set(read_demonstrations("minari:arm/mixed-v0").observation_space) == {
        "robot",
        "goal.object",
        "front",
        "wrist",
    }


def test_rewards_and_ends_from_the_recorded_success() -> None:
    episodes = [minari_sets.arm_episode(0, 5, None), minari_sets.arm_episode(1, 6, 3)]
    minari_sets.create_arm("arm/mixed-v0", episodes)
    as_recorded = read_demonstrations("minari:arm/mixed-v0", keys=["robot"])
    np.testing.assert_allclose(as_recorded[1].rewards, episodes[1]["rewards"], rtol=1e-6)
    assert as_recorded.remarks[-1].startswith("rewards and ends as recorded; demos.reward success takes them")

    failed, done = read_demonstrations("minari:arm/mixed-v0", keys=["robot"], reward="success")
    assert failed.rewards.tolist() == [0.0] * 5 and failed.truncated.tolist() == [False] * 4 + [True]
    assert done.rewards.tolist() == [0.0, 0.0, 0.0, 1.0] and not done.truncated.any()
    assert done.terminated.tolist() == [False] * 3 + [True] and done.success
    np.testing.assert_array_equal(
        done.observations["robot"], episodes[1]["observations"]["robot"][:5].astype(np.float32)
    )

    last = read_demonstrations("minari:arm/mixed-v0", keys=["robot"], reward="last")
    assert last[0].rewards.tolist() == [0.0] * 4 + [1.0] and last[0].terminated[-1]


@pytest.mark.parametrize("offset", [0, 1])
def test_success_is_as_long_as_the_steps_or_as_the_observations(offset: int) -> None:
    flags = [False, False, True, True, True][offset:]
    episode = minari_sets.arm_episode(0, 4, None, infos={"success": flags})
    minari_sets.create_arm("arm/one-v0", [episode])
    (demo,) = read_demonstrations("minari:arm/one-v0", keys=["robot"], reward="success")
    assert len(demo) == 2


def test_filter_keys_are_flags_of_the_episodes(root: Path) -> None:
    minari_sets.create_pendulum()
    dataset = minari_sets.minari.load_dataset("pendulum/random-v0")
    flags = [{"train": number != 1, "note": "x"} for number in range(3)]
    dataset.storage.update_episode_metadata(flags, [0, 1, 2])
    demos = read_demonstrations("minari:pendulum/random-v0", filter_key="train")
    assert [demo.seed for demo in demos] == [7, 9]
    assert len(read_demonstrations("minari:pendulum/random-v0", filter_key="train", max_demos=1)) == 1
    with pytest.raises(DemonstrationError, match=r"expected one of the filter keys \['train'\], got 'note'"):
        read_demonstrations("minari:pendulum/random-v0", filter_key="note")


def test_a_copy_in_hdf5_is_the_same(tmp_path: Path) -> None:
    minari_sets.create_arm("arm/one-v0", [minari_sets.arm_episode(3, 5, 2)])
    demos = read_demonstrations("minari:arm/one-v0", keys=["front"], state_keys=())
    write_demonstrations(tmp_path / "copy.hdf5", demos)
    copy = read_demonstrations(tmp_path / "copy.hdf5")
    np.testing.assert_array_equal(copy[0].observations["front"], demos[0].observations["front"])
    np.testing.assert_array_equal(copy[0].actions, demos[0].actions)
    assert (copy[0].seed, copy[0].recorded_success, copy.env_args) == (103, True, demos.env_args)


# ---- what does not fit


def test_another_task_or_action_repeat_names_both_sides() -> None:
    minari_sets.create_pendulum()
    name = "minari:pendulum/random-v0"
    expected = ExpectedDemos(task="gym:Pendulum-v1", action_repeat=1, control_period=0.05, action_dim=1)
    assert len(read_demonstrations(name, expected=expected)) == 3
    # a run may name the module that registers its environment
    module = ExpectedDemos(task="gym:gymnasium.envs:Pendulum-v1")
    assert read_demonstrations(name, expected=module).env_args["env_name"] == module.task
    other = ExpectedDemos(task="gym:Reacher-v5", action_repeat=2)
    message = (
        f"^{name}: data: env_args: expected task gym:Reacher-v5, action_repeat 2 as in the run, got task "
        "gym:Pendulum-v1, action_repeat 1"
    )
    with pytest.raises(DemonstrationError, match=message):
        read_demonstrations(name, expected=other)
    assert "allowed by" in read_demonstrations(name, expected=other, allow_mismatch=True).remarks[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"keys": ["state"]},
            r"state: expected a box, got none; there are goal\.object \(2\), robot \(3\); --demos.state-keys "
            r"goal\.object,robot joins them, in that order",
        ),
        ({"keys": ["side"]}, r"side: expected a box, got none; there are \['front', .*'wrist'\]"),
        ({"state_keys": ["front"]}, "front: expected a vector, got none; there are goal.object"),
        ({"expected": ExpectedDemos(action_dim=7)}, "actions: expected 7 numbers, got 2"),
        (
            {"keys": ["robot"], "expected": ExpectedDemos(shapes={"robot": (9,)})},
            "obs: robot: expected 9 numbers, got 3",
        ),
        (
            {"filter_key": "train"},
            "episode metadata: expected no filter key, as there is no flag, got 'train'",
        ),
        ({"max_demos": 0}, "max_demos: expected at least 1, got 0"),
    ],
)
def test_one_error_names_the_data_set(options: dict[str, Any], message: str) -> None:
    minari_sets.create_arm("arm/one-v0", [minari_sets.arm_episode(0, 4, None)])
    with pytest.raises(DemonstrationError, match=f"^minari:arm/one-v0: .*{message}"):
        read_demonstrations("minari:arm/one-v0", **options)


def test_actions_beyond_the_bounds() -> None:
    episode = minari_sets.pendulum_episodes(1)[0]
    for size, options in ((2.0 + 1e-5, {}), (2.5, {"clip_actions": True}), (2.5, {})):
        actions = episode["actions"].copy()
        actions[2] = size
        name = f"pendulum/by{len(options)}-v{int(10 * size)}"
        minari_sets.create(name, [episode | {"actions": actions}], env="Pendulum-v1")
        if size > 2.1 and not options:
            with pytest.raises(DemonstrationError, match=r"episode 0: actions: expected values in \[-1, 1\]"):
                read_demonstrations(f"minari:{name}")
            continue
        demos = read_demonstrations(f"minari:{name}", **options)
        assert demos[0].actions[2] == 1.0 and "clipped action values" in demos.remarks[-1]


@pytest.mark.parametrize(
    ("bounds", "got"), [((-np.inf, np.inf), "-inf, inf"), ((1.0, 1.0), "1.0, 1.0")], ids=["infinite", "none"]
)
def test_actions_without_bounds(bounds: tuple[float, float], got: str) -> None:
    space = minari_sets.spaces.Box(*bounds, (1,), np.float32)
    minari_sets.create_pendulum(action_space=space)
    with pytest.raises(
        DemonstrationError, match=f"action_space: expected a Box .* finite bounds, got Box.{got}"
    ):
        read_demonstrations("minari:pendulum/random-v0")


def test_reward_success_without_it(tmp_path: Path) -> None:
    minari_sets.create_pendulum()
    with pytest.raises(
        DemonstrationError, match="episode 0: infos: expected success or is_success for demos"
    ):
        read_demonstrations("minari:pendulum/random-v0", reward="success")
    write_demonstrations(tmp_path / "x.hdf5", read_demonstrations("minari:pendulum/random-v0"))
    with pytest.raises(DemonstrationError, match="reward: expected recorded or last for a file without"):
        read_demonstrations(tmp_path / "x.hdf5", reward="success")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minari:x", "minari: expected an id such as D4RL/pen/human-v2, got x"),
        ("minari:../x-v0", "minari: expected an id such as .*, got ../x-v0"),
        ("minari:/x-v0", "minari: expected an id such as .*, got /x-v0"),
        (
            "minari:D4RL/pen/human-v2",
            "expected a data set in .*, got none; `minari download D4RL/pen/human-v2` gets it",
        ),
    ],
)
def test_what_is_not_there(name: str, message: str, root: Path) -> None:
    with pytest.raises(DemonstrationError, match=message):
        read_demonstrations(name)
    assert not root.exists()


# ---- nothing but the data set is opened, and nothing is run


def test_no_environment_is_built(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari_sets.create_pendulum()
    folder = minari_sets.data_folder(root, "pendulum/random-v0")

    def build(*_: object, **__: object) -> None:
        raise AssertionError("an environment was built")

    monkeypatch.setattr("gymnasium.make", build)
    spec = {"id": "Evil-v0", "entry_point": "os:system", "kwargs": {"command": "false"}}
    edit_metadata(folder, env_spec=json.dumps(spec))
    assert read_demonstrations("minari:pendulum/random-v0").env_args["env_name"] == "gym:Evil-v0"
    for name in ("observation_space", "action_space"):
        edit_metadata(folder, **{name: ...})
        message = f"metadata.json: {name}: expected a space .no environment is built from a file"
        with pytest.raises(DemonstrationError, match=message):
            read_demonstrations("minari:pendulum/random-v0")
        minari_sets.minari.delete_dataset("pendulum/random-v0")
        monkeypatch.undo()
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
        minari_sets.create_pendulum()
        monkeypatch.setattr("gymnasium.make", build)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_spec": "{"}, "env_spec: Expecting"),
        ({"env_spec": "[]"}, "env_spec: id: expected an environment's id, got None"),
        ({"data_format": "pickle"}, "data_format: expected one of arrow, hdf5, parquet, got pickle"),
        ({"total_episodes": 0}, "total_episodes: expected a number of at least 1, got 0"),
        ({"total_episodes": 9}, "episode_3: expected a group, got none"),
        ({"action_space": "{}"}, "action_space: expected readable data, got:"),
        ({"observation_space": '{"type": "Box"}'}, "observation_space: expected readable data, got:"),
        ({"action_space": '{"type": "Discrete", "n": 3, "start": 0}'}, "action_space: expected a Box"),
    ],
)
def test_metadata_that_cannot_be(root: Path, changes: dict[str, Any], message: str) -> None:
    minari_sets.create_pendulum()
    edit_metadata(minari_sets.data_folder(root, "pendulum/random-v0"), **changes)
    with pytest.raises(DemonstrationError, match=f"^minari:pendulum/random-v0: .*{message}"):
        read_demonstrations("minari:pendulum/random-v0")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_metadata_that_are_no_json_object(root: Path, content: bytes) -> None:
    minari_sets.create_pendulum()
    (minari_sets.data_folder(root, "pendulum/random-v0") / "metadata.json").write_bytes(content)
    message = "^minari:pendulum/random-v0: metadata.json: expected a JSON object, got"
    with pytest.raises(DemonstrationError, match=message):
        read_demonstrations("minari:pendulum/random-v0")


@pytest.mark.parametrize("entry", ["episode_1", "episode_1/actions", "episode_1/observations"])
def test_links_out_of_the_file_are_refused(root: Path, tmp_path: Path, entry: str) -> None:
    minari_sets.create_pendulum()
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    with h5py.File(minari_sets.data_folder(root, "pendulum/random-v0") / "main_data.hdf5", "r+") as file:
        del file[entry]
        file[entry] = h5py.ExternalLink(str(tmp_path / "pipe"), "/x")
    with pytest.raises(DemonstrationError, match=r"main_data.hdf5: .*got a link to another file"):
        read_demonstrations("minari:pendulum/random-v0")


def test_files_that_are_links_or_pipes_are_refused(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
    minari_sets.create_pendulum(data_format="parquet")
    folder = minari_sets.data_folder(root, "pendulum/random-v0")
    file = next((folder / "1").glob("*.parquet"))
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        DemonstrationError, match=r"episode 1: part-0.parquet: expected a regular file, got a link"
    ):
        read_demonstrations("minari:pendulum/random-v0")


def test_sizes_that_differ_from_what_is_declared(root: Path) -> None:
    minari_sets.create_pendulum()
    with h5py.File(minari_sets.data_folder(root, "pendulum/random-v0") / "main_data.hdf5", "r+") as file:
        del file["episode_2/rewards"]
        file["episode_2/rewards"] = np.zeros(3)
    with pytest.raises(DemonstrationError, match=r"episode 2: rewards: expected \[6\], got \[3\]"):
        read_demonstrations("minari:pendulum/random-v0")
    assert len(read_demonstrations("minari:pendulum/random-v0", max_demos=2)) == 2
