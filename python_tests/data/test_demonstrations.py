"""Demonstration files: round trips, robomimic's own loader, files of other programs, malformed files."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest
from demonstration_files import make_demo, remove_seals

from ibrl_fast.data import (
    DemonstrationError,
    DemonstrationSet,
    ObsSpec,
    read_demonstrations,
    write_demonstrations,
)

ENV_ARGS = {"env_name": "metaworld/assembly", "type": 1, "env_kwargs": {"action_repeat": 2}}


@pytest.fixture
def demos():
    return [make_demo(0, 5), make_demo(1, 1), make_demo(2, 12, success=False), make_demo(3, 3, states=None)]


@pytest.fixture
def path(tmp_path, demos):
    path = tmp_path / "demos.hdf5"
    write_demonstrations(path, demos, ENV_ARGS, masks={"train": [2, 0], "valid": [1]})
    return path


def assert_same_demo(a, b):
    assert a.observations.keys() == b.observations.keys()
    for key in a.observations:
        assert a.observations[key].dtype == b.observations[key].dtype
        np.testing.assert_array_equal(a.observations[key], b.observations[key])
    for name in ("actions", "rewards", "terminated", "truncated"):
        assert getattr(a, name).dtype == getattr(b, name).dtype
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.states is None) == (b.states is None)
    if a.states is not None:
        np.testing.assert_array_equal(a.states, b.states)
    assert a.seed == b.seed


# Round trips.


def test_round_trip_keeps_everything(path, demos):
    read = read_demonstrations(path)
    assert read.env_args == ENV_ARGS
    assert (len(read), read.num_steps, read.action_dim) == (4, 21, 4)
    assert read.observation_space["corner2"].shape == (3, 6, 8)
    for a, b in zip(read, demos, strict=True):
        assert_same_demo(a, b)
    assert [demo.success for demo in read] == [True, True, False, True]


def test_layout_is_robomimics(path):
    with h5py.File(path) as file:
        assert file["data"].attrs["total"] == 21
        assert json.loads(file["data"].attrs["env_args"]) == ENV_ARGS
        demo = file["data/demo_2"]
        assert demo.attrs["num_samples"] == 12
        assert demo["obs/corner2_image"].shape == demo["next_obs/corner2_image"].shape == (12, 6, 8, 3)
        assert demo["obs/corner2_image"].dtype == np.uint8
        assert demo["dones"][()].tolist() == [0] * 11 + [1]
        np.testing.assert_array_equal(demo["obs/state"][1:], demo["next_obs/state"][:-1])
        assert file["mask/train"][()].tolist() == [b"demo_2", b"demo_0"]


def test_filter_keys_numbers_and_entries(path, demos):
    train = read_demonstrations(path, filter_key="train", keys=["corner2"])
    assert len(train) == 2
    np.testing.assert_array_equal(train[1].actions, demos[2].actions)
    assert set(train[0].observations) == {"corner2"}
    assert len(read_demonstrations(path, max_demos=3)) == 3
    with pytest.raises(DemonstrationError, match=r"mask: expected one of .*'train', 'valid'.*got 'test'"):
        read_demonstrations(path, filter_key="test")
    with pytest.raises(DemonstrationError, match="max_demos: expected at least 1"):
        read_demonstrations(path, max_demos=0)


def test_more_than_ten_demonstrations_keep_their_order(tmp_path):
    demos = [make_demo(i, 2) for i in range(12)]
    write_demonstrations(tmp_path / "many.hdf5", demos)
    assert [demo.seed for demo in read_demonstrations(tmp_path / "many.hdf5")] == [d.seed for d in demos]


def test_failed_write_leaves_the_old_file(path, demos, monkeypatch):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"demos\[1\].observations"):
        write_demonstrations(path, [demos[0], make_demo(observations={"state": np.zeros((6, 7))})])
    with pytest.raises(ValueError, match="at least one demonstration"):
        write_demonstrations(path, [])
    with pytest.raises(ValueError, match="masks"):
        write_demonstrations(path, demos, masks={"train": [4]})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_demonstrations(path, demos)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_robomimic_loads_our_files(path, demos):
    dataset_module = pytest.importorskip(
        "robomimic.utils.dataset",
        reason="needs robomimic: pip install --no-deps robomimic==0.3.0",
    )
    import robomimic.utils.obs_utils as obs_utils

    modalities = {"obs": {"low_dim": ["state", "proprio"], "rgb": ["corner2_image"]}}
    obs_utils.initialize_obs_utils_with_obs_specs(modalities)
    dataset = dataset_module.SequenceDataset(
        hdf5_path=str(path),
        obs_keys=("state", "proprio", "corner2_image"),
        dataset_keys=("actions", "rewards", "dones"),
        frame_stack=3,
        hdf5_cache_mode=None,
        filter_by_attribute="train",
    )
    assert (dataset.n_demos, len(dataset)) == (2, 17)
    entry = dataset[4]
    np.testing.assert_array_equal(entry["actions"][-1], demos[0].actions[4])
    np.testing.assert_array_equal(entry["obs"]["state"], demos[0].observations["state"][2:5])
    np.testing.assert_array_equal(entry["next_obs"]["state"][-1], demos[0].observations["state"][5])
    np.testing.assert_array_equal(
        entry["obs"]["corner2_image"][-1], demos[0].observations["corner2"][4].transpose(1, 2, 0)
    )
    assert (entry["rewards"][-1], entry["dones"][-1]) == (1, 1)


# Files of other programs.


def write_foreign(path, *, next_obs=True, rewards=(0, 0, 1), demos=1):
    """A robomimic file as its own tools write them: several low-dimensional entries, no terminated."""
    rng = np.random.default_rng(0)
    steps = len(rewards)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = steps * demos
        data.attrs["env_args"] = json.dumps({"env_name": "PickPlaceCan", "type": 1})
        for number in range(demos):
            group = data.create_group(f"demo_{number}")
            group.attrs["num_samples"] = steps
            group.attrs["model_file"] = "<mujoco/>"
            whole = {
                "object": rng.normal(size=(steps + 1, 14)),
                "robot0_eef_pos": rng.normal(size=(steps + 1, 3)),
                "robot0_eef_quat": rng.normal(size=(steps + 1, 4)),
                "robot0_gripper_qpos": rng.normal(size=(steps + 1, 2)),
                "agentview_image": rng.integers(0, 256, (steps + 1, 6, 6, 3), dtype=np.uint8),
                "agentview_depth": rng.random((steps + 1, 6, 6, 1)),
            }
            for key, value in whole.items():
                group[f"obs/{key}"] = value[:-1]
                if next_obs:
                    group[f"next_obs/{key}"] = value[1:]
            group["actions"] = rng.uniform(-1, 1, (steps, 7))
            group["rewards"] = np.asarray(rewards, dtype=np.float64)
            group["dones"] = np.ones(steps, dtype=np.int64)
            group["states"] = rng.normal(size=(steps, 71))
    return path


def test_foreign_file_with_joined_entries(tmp_path):
    path = write_foreign(tmp_path / "low_dim.hdf5", demos=2)
    proprio = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
    read = read_demonstrations(
        path, keys=("state", "proprio", "agentview"), state_keys=("object", *proprio), proprio_keys=proprio
    )
    assert {key: spec.shape for key, spec in read.observation_space.items()} == {
        "state": (23,),
        "proprio": (9,),
        "agentview": (3, 6, 6),
    }
    with h5py.File(path) as file:
        group = file["data/demo_1"]
        stored = np.concatenate([group["obs/object"][:], group["next_obs/object"][-1:]])
        np.testing.assert_array_equal(read[1].observations["state"][:, :14], stored.astype(np.float32))
        np.testing.assert_array_equal(
            read[1].observations["agentview"][:-1].transpose(0, 2, 3, 1), group["obs/agentview_image"][:]
        )
        np.testing.assert_array_equal(
            read[1].observations["proprio"][-1, :3], group["next_obs/robot0_eef_pos"][-1].astype(np.float32)
        )
    # Without keys: what is not joined keeps its name, depth images stay in the file.
    everything = read_demonstrations(path, state_keys=("object",))
    assert set(everything.observation_space) == {"state", *proprio, "agentview"}


def test_foreign_end_is_judged_by_the_last_reward(tmp_path):
    done = read_demonstrations(write_foreign(tmp_path / "a.hdf5", rewards=(0, 1, 1)))[0]
    assert (done.terminated.tolist(), done.truncated.any()) == ([False, False, True], False)
    failed = read_demonstrations(write_foreign(tmp_path / "b.hdf5", rewards=(0, 1, 0)))[0]
    assert (failed.terminated.any(), failed.truncated.tolist()) == (False, [False, False, True])


def test_foreign_file_without_next_observations(tmp_path):
    """A success repeats its last observation; anything else loses its last step."""
    done = read_demonstrations(write_foreign(tmp_path / "a.hdf5", next_obs=False))[0]
    assert len(done) == 3 and done.terminated[-1]
    np.testing.assert_array_equal(done.observations["object"][3], done.observations["object"][2])

    failed = read_demonstrations(write_foreign(tmp_path / "b.hdf5", next_obs=False, rewards=(0, 0, 0)))[0]
    assert len(failed) == 2 and failed.states.shape == (2, 71)
    assert failed.truncated.tolist() == [False, True] and not failed.terminated.any()
    with h5py.File(tmp_path / "b.hdf5") as file:
        stored = file["data/demo_0/obs/object"][:]
    np.testing.assert_array_equal(failed.observations["object"], stored.astype(np.float32))

    with pytest.raises(DemonstrationError, match="demo_0: next_obs: expected it for an episode of one step"):
        read_demonstrations(write_foreign(tmp_path / "c.hdf5", next_obs=False, rewards=(0,)))


# Malformed files: one error that names file, demonstration and field.


def replace(name, change):
    def edit(file):
        array = file[name][()]
        del file[name]
        file[name] = change(array)

    return edit


def poke(index, value):
    def change(array):
        array = array.astype(np.float64)
        array[index] = value
        return array

    return change


def delete(name):
    def edit(file):
        del file[name]

    return edit


def delete_attribute(name, attribute):
    def edit(file):
        del file[name].attrs[attribute]

    return edit


def set_attribute(name, attribute, value):
    def edit(file):
        file[name].attrs[attribute] = value

    return edit


def keep_no_demo(file):
    for name in list(file["data"]):
        del file["data"][name]


MALFORMED = [
    (delete("data"), "data: expected a group"),
    (keep_no_demo, "data: expected at least one demonstration"),
    (set_attribute("data", "env_args", "{not json"), "data: env_args: expected JSON"),
    (set_attribute("data", "env_args", "[1, 2]"), "data: env_args: expected a JSON object"),
    (delete("data/demo_2/actions"), "demo_2: actions: expected a dataset"),
    (delete("data/demo_2/rewards"), "demo_2: rewards: expected a dataset"),
    (delete("data/demo_2/dones"), "demo_2: dones: expected a dataset"),
    (delete("data/demo_2/truncated"), "demo_2: truncated: expected a dataset"),
    (delete("data/demo_2/obs"), "demo_2: obs: expected a group"),
    (delete("data/demo_2/obs/state"), "demo_2: obs: state: expected a dataset"),
    (delete("data/demo_2/next_obs/corner2_image"), "demo_2: next_obs: corner2_image: expected a dataset"),
    (delete_attribute("data/demo_2", "num_samples"), "demo_2: num_samples: expected"),
    (set_attribute("data/demo_2", "num_samples", 11), "demo_2: num_samples: expected the 12 steps"),
    (set_attribute("data/demo_2", "num_samples", "many"), "demo_2: num_samples: expected the 12 steps"),
    (replace("data/demo_2/rewards", lambda a: a[:-1]), "demo_2: rewards: expected 12 entries, got 11"),
    (replace("data/demo_2/dones", lambda a: a[:-1]), "demo_2: dones: expected 12 entries, got 11"),
    (replace("data/demo_2/states", lambda a: a[:-1]), "demo_2: states: expected 12 entries, got 11"),
    (replace("data/demo_2/obs/state", lambda a: a[:-2]), "demo_2: obs: state: expected 12 entries, got 10"),
    (replace("data/demo_2/next_obs/state", lambda a: a[1:]), "demo_2: next_obs: state: expected 12 entries"),
    (replace("data/demo_2/actions", poke((3, 1), np.nan)), r"demo_2: actions: expected values in \[-1, 1\]"),
    (
        replace("data/demo_2/actions", poke((3, 1), -1.01)),
        r"demo_2: actions: .* got an absolute value of 1.01",
    ),
    (replace("data/demo_2/actions", lambda a: a[:, 0]), r"demo_2: actions: expected \[steps, action_dim\]"),
    (replace("data/demo_2/actions", lambda a: a[:, :2]), r"demos\[2\].actions: expected 4 numbers"),
    (replace("data/demo_2/actions", lambda a: np.zeros((0, 4))), "demo_2: num_samples"),
    (replace("data/demo_2/actions", lambda a: 3.0), "demo_2: actions: expected an array, got a scalar"),
    (replace("data/demo_2/rewards", poke(4, np.inf)), "demo_2: rewards: expected finite"),
    (
        replace("data/demo_2/terminated", poke(4, 1)),
        "demo_2: terminated: expected true at the last step only",
    ),
    (replace("data/demo_2/obs/state", poke((1, 1), np.nan)), "demo_2: obs: state: expected finite"),
    (
        replace("data/demo_2/obs/state", lambda a: a[:, :, None]),
        r"demo_2: obs: state: expected \[12, features\]",
    ),
    (
        replace("data/demo_2/obs/corner2_image", lambda a: a / 255.0),
        "demo_2: obs: corner2_image: expected uint8",
    ),
    (
        replace("data/demo_2/obs/corner2_image", lambda a: a.transpose(0, 3, 1, 2)),
        r"demo_2: obs: corner2_image: expected uint8 \[12, height, width, 3\], got uint8 \[12, 3, 6, 8\]",
    ),
    (
        replace("data/demo_2/next_obs/corner2_image", lambda a: a[:, :4]),
        r"demo_2: next_obs: corner2: expected \[12, 3, 6, 8\] as in obs, got \[12, 3, 4, 8\]",
    ),
    (
        lambda file: file.move("data/demo_2", "data/demo_two"),
        "data: expected demonstrations named demo_<number>, got 'demo_two'",
    ),
    (set_attribute("data/demo_2", "seed", "noon"), "demo_2: seed: expected an integer"),
]


@pytest.mark.parametrize(("edit", "message"), MALFORMED)
def test_malformed_file_gets_one_error(path, edit, message):
    remove_seals(path)
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(DemonstrationError, match=message) as caught:
        read_demonstrations(path, keys=["state", "corner2"])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("edit", [edit for edit, _ in MALFORMED])
def test_malformed_file_with_checksums_gets_one_error(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(DemonstrationError) as caught:
        read_demonstrations(path, keys=["state", "corner2"])
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_mask_of_a_missing_demonstration(path):
    with h5py.File(path, "r+") as file:
        del file["data/demo_2"]
    with pytest.raises(DemonstrationError, match="demo_2: expected a group"):
        read_demonstrations(path, filter_key="train")


def test_unknown_entry_lists_those_of_the_file(path):
    with pytest.raises(
        DemonstrationError,
        match=r"demo_0: obs: wrist: expected a dataset, got none; there are .*corner2.*state",
    ):
        read_demonstrations(path, keys=["wrist"])


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_file(path, part):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(DemonstrationError, match="file: expected a complete HDF5 file") as caught:
        read_demonstrations(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for place in (tmp_path / "none.hdf5", tmp_path):
        with pytest.raises(DemonstrationError, match="file: expected a"):
            read_demonstrations(place)


# In memory.


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"actions": np.zeros(5)}, ValueError, "actions: expected"),
        ({"actions": np.full((5, 4), 2.0)}, ValueError, r"actions: expected values in \[-1, 1\]"),
        ({"rewards": np.zeros(4)}, ValueError, r"rewards: expected \[5\], got \[4\]"),
        ({"terminated": np.zeros(5)}, TypeError, "terminated: expected bool"),
        ({"truncated": np.asarray([True] * 5)}, ValueError, "truncated: expected true at the last step only"),
        ({"observations": {}}, ValueError, "observations: expected at least one"),
        (
            {"observations": {"state": np.zeros((5, 3))}},
            ValueError,
            r"observations\['state'\]: expected \[6, 3\]",
        ),
        (
            {"observations": {"cam": np.zeros((6, 3, 4, 4))}},
            TypeError,
            r"observations\['cam'\]: expected uint8",
        ),
        ({"states": np.zeros((6, 2))}, ValueError, r"states: expected \[5, state_size\]"),
    ],
)
def test_demonstration_checks_its_fields(change, error, message):
    with pytest.raises(error, match=message):
        make_demo(**change)


def test_set_compares_its_demonstrations():
    with pytest.raises(ValueError, match=r"demos\[1\].actions: expected 4 numbers as in the first, got 2"):
        DemonstrationSet((make_demo(), make_demo(actions=np.zeros((5, 2)))))
    whole = DemonstrationSet((make_demo(0), make_demo(1)))
    assert (whole[1].seed, [demo.seed for demo in whole[:1]], len(list(whole))) == (1001, [1000], 2)
    assert whole.observation_space["state"] == ObsSpec((7,))
