"""What a run expects of a demonstration file: one error that names both sides, or a remark."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from demonstration_files import make_demo

from ibrl_fast.data import DemonstrationError, ExpectedDemos, read_demonstrations, write_demonstrations

STEPS = 4
RUN = ExpectedDemos(
    task="metaworld/assembly",
    action_repeat=2,
    control_period=0.0125,
    cameras=("corner2",),
    image_size=84,
)
OURS = {
    "env_name": "metaworld/assembly",
    "type": 2,
    "env_kwargs": {"action_repeat": 2, "control_period": 0.0125, "cameras": ["corner", "corner2"]},
}


def write_other(
    path, *, demos=2, rewards=True, dones=True, actions=None, obs=None, env_args=None, ends=(0, 1)
):
    """A file as another program writes it: no checksums, no terminated, float64 throughout."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({} if env_args is None else env_args)
        for number in range(demos):
            group = data.create_group(f"demo_{number}")
            group.attrs["num_samples"] = STEPS
            sizes = {"object": 14, "robot0_eef_pos": 3, "robot0_gripper_qpos": 2} if obs is None else obs
            for name, size in sizes.items():
                whole = rng.normal(size=(STEPS + 1, size))
                group[f"obs/{name}"], group[f"next_obs/{name}"] = whole[:-1], whole[1:]
            group["obs/agentview_image"] = np.zeros((STEPS, 6, 6, 3), np.uint8)
            group["next_obs/agentview_image"] = np.zeros((STEPS, 6, 6, 3), np.uint8)
            given = rng.uniform(-1, 1, (STEPS, 7)) if actions is None else actions
            group["actions"] = np.asarray(given)
            if rewards:
                group["rewards"] = np.array([0.0] * (STEPS - 1) + [float(ends[number % len(ends)])])
            if dones:
                group["dones"] = np.ones(STEPS, np.int64)
        for name, members in {"train": [b"demo_1"], "valid": [b"demo_0"]}.items():
            file[f"mask/{name}"] = members
    return path


# The environment.


def env_args(name="metaworld/assembly", **kwargs):
    return {"env_name": name, "type": 1, "env_kwargs": kwargs}


@pytest.mark.parametrize(
    ("recorded", "expected", "got"),
    [
        (env_args("metaworld/reach"), "task metaworld/assembly", "task metaworld/reach"),
        (env_args("reach"), "task metaworld/assembly", "task reach"),
        (env_args("robosuite/assembly"), "task metaworld/assembly", "task robosuite/assembly"),
        (env_args(action_repeat=1), "action_repeat 2", "action_repeat 1"),
        (env_args(control_period=0.02), "control_period 0.0125 s", "control_period 0.02 s"),
        (env_args(control_freq=20), "control_period 0.0125 s", "control_period 0.05 s"),
        (env_args(cameras=["corner"]), "cameras corner2", "cameras corner"),
        (env_args(camera_names="agentview"), "cameras corner2", "cameras agentview"),
        (env_args(image_size=96), "image_size 84", "image_size 96 x 96"),
        (env_args(camera_heights=84, camera_widths=128), "image_size 84", "image_size 84 x 128"),
        (
            env_args(camera_names=["corner", "corner2"], camera_heights=[84, 64], camera_widths=84),
            "image_size 84",
            "image_size 64 x 84",
        ),
        (
            env_args("reach", action_repeat=1, cameras=["corner"], image_size=96, control_freq=20),
            "task metaworld/assembly, action_repeat 2, control_period 0.0125 s, cameras corner2, "
            "image_size 84",
            "task reach, action_repeat 1, control_period 0.05 s, cameras corner, image_size 96 x 96",
        ),
    ],
)
def test_another_environment_is_one_error_or_one_remark(tmp_path, recorded, expected, got):
    path = tmp_path / "demos.hdf5"
    write_demonstrations(path, [make_demo()], recorded)
    with pytest.raises(DemonstrationError) as caught:
        read_demonstrations(path, expected=RUN)
    differs = f"env_args: expected {expected} as in the run, got {got}"
    assert str(caught.value) == (
        f"{path}: data: {differs} (demos.allow_mismatch True reads them all the same)"
    )
    read = read_demonstrations(path, expected=RUN, allow_mismatch=True)
    assert read.remarks == (f"{differs}; allowed by demos.allow_mismatch",)
    assert read_demonstrations(path).remarks == ()


@pytest.mark.parametrize(
    "recorded",
    [
        OURS,
        {},
        {"env_name": "", "env_kwargs": None},
        {"env_name": None, "env_kwargs": [1]},
        env_args("assembly", control_freq=80, camera_names="corner2", camera_heights=84, camera_widths=84),
        env_args(camera_names=["corner", "corner2"], camera_heights=[64, 84], camera_widths=[64, 84]),
        # what is no number is not recorded
        env_args(action_repeat="1", control_period=-1, control_freq=True, image_size=None, cameras=[3]),
        env_args(action_repeat=[1], control_freq=10**400, camera_heights={}, camera_widths={}),
    ],
)
def test_what_is_equal_or_not_recorded_is_no_mismatch(tmp_path, recorded):
    path = tmp_path / "demos.hdf5"
    write_demonstrations(path, [make_demo()], recorded)
    assert read_demonstrations(path, expected=RUN).remarks == ()


def test_cameras_are_compared_only_where_the_run_looks_through_them(tmp_path):
    path = tmp_path / "demos.hdf5"
    write_demonstrations(path, [make_demo()], env_args(cameras=["corner"], image_size=96))
    read_demonstrations(path, expected=ExpectedDemos(task="metaworld/assembly", image_size=84))


# Sizes.


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"shapes": {"state": (39,)}}, "demo_1: obs: state: expected 39 numbers, got 7"),
        (
            {"shapes": {"corner2": (3, 84, 84)}},
            "obs: corner2: expected images [3, 84, 84], got images [3, 6, 8]",
        ),
        ({"action_dim": 7}, "demo_1: actions: expected 7 numbers, got 4"),
    ],
)
def test_other_sizes_name_file_demo_key_expected_and_got(tmp_path, monkeypatch, expected, message):
    path = tmp_path / "demos.hdf5"
    write_demonstrations(path, [make_demo(0), make_demo(1)], {}, masks={"second": [1]})
    monkeypatch.setattr("ibrl_fast.data.demonstrations._read_demo", None)  # no value is read
    with pytest.raises(DemonstrationError) as caught:
        read_demonstrations(
            path, filter_key="second", expected=ExpectedDemos(**expected), allow_mismatch=True
        )
    assert str(caught.value).startswith(f"{path}: demo_1: ") and message in str(caught.value)


def test_sizes_of_a_joined_state(tmp_path):
    path = write_other(tmp_path / "demos.hdf5")
    keys = ("object", "robot0_eef_pos")
    expected = ExpectedDemos(shapes={"state": (17,)}, action_dim=7)
    read_demonstrations(path, keys=["state"], state_keys=keys, expected=expected)
    with pytest.raises(DemonstrationError, match=r"demo_0: obs: state: expected 17 numbers, got 14"):
        read_demonstrations(path, keys=["state"], state_keys=keys[:1], expected=expected)


# Actions.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beyond", [1e-7, 1e-5, 1e-4])
def test_rounding_is_clipped_and_counted(tmp_path, dtype, beyond):
    actions = np.full((STEPS, 7), 0.5, dtype)
    actions[1, 2], actions[3, 0], actions[0, 0] = 1 + beyond, -1 - beyond, 1.0
    path = write_other(tmp_path / "demos.hdf5", actions=actions)
    read = read_demonstrations(path)
    assert read[1].actions[1, 2] == 1.0 and read[1].actions[3, 0] == -1.0
    assert (np.delete(read[0].actions.ravel(), [0, 9, 21]) == 0.5).all()
    size = float(np.abs(actions).max())
    assert read.remarks == (f"clipped action values beyond [-1, 1]: 4, up to {size:.9g} in size",)


def test_more_than_rounding_is_clipped_on_request_alone(tmp_path):
    actions = np.full((STEPS, 7), 0.5)
    actions[2, 3] = -1.00011
    path = write_other(tmp_path / "demos.hdf5", actions=actions, demos=1)
    with pytest.raises(DemonstrationError) as caught:
        read_demonstrations(path)
    assert str(caught.value) == (
        f"{path}: demo_0: actions: expected values in [-1, 1], got an absolute value of 1.00011 "
        "(demos.clip_actions True clips them)"
    )
    read = read_demonstrations(path, clip_actions=True)
    assert read[0].actions[2, 3] == -1.0
    assert read.remarks == ("clipped action values beyond [-1, 1]: 1, up to 1.00011 in size",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_never_clipped(tmp_path, value):
    path = write_other(tmp_path / "demos.hdf5", actions=np.full((STEPS, 7), value))
    with pytest.raises(DemonstrationError, match=rf"actions: expected values in \[-1, 1\], got .* {value}$"):
        read_demonstrations(path, clip_actions=True)


# Rewards.


@pytest.mark.parametrize("missing", ["rewards", "dones"])
def test_files_without_rewards(tmp_path, missing):
    path = write_other(tmp_path / "demos.hdf5", **{missing: False})
    with pytest.raises(DemonstrationError) as caught:
        read_demonstrations(path)
    assert f"{path}: demo_0: {missing}: expected a dataset, got none (demos.reward last" in str(caught.value)

    # imitation alone
    read = read_demonstrations(path, needs_rewards=False)
    assert not read.has_rewards and not any(demo.success for demo in read)
    assert not read[1].rewards.any() and read[1].truncated.tolist() == [False] * (STEPS - 1) + [True]
    assert read.remarks == ("rewards or dones are missing, so they serve imitation alone",)

    # what was not there is not there in a copy either
    write_demonstrations(tmp_path / "copy.hdf5", read)
    with pytest.raises(DemonstrationError, match="demo_0: rewards: expected a dataset, got none"):
        read_demonstrations(tmp_path / "copy.hdf5")
    copy = read_demonstrations(tmp_path / "copy.hdf5", needs_rewards=False)
    np.testing.assert_array_equal(copy[0].actions, read[0].actions)


@pytest.mark.parametrize("recorded", [True, False])
def test_reward_at_the_end(tmp_path, recorded):
    path = write_other(tmp_path / "demos.hdf5", rewards=recorded, dones=recorded, ends=(0, 5))
    read = read_demonstrations(path, reward="last")
    for demo in read:
        assert demo.rewards.tolist() == [0.0] * (STEPS - 1) + [1.0]
        assert demo.success and demo.terminated[-1] and not demo.truncated.any()
    assert read.has_rewards
    assert read.remarks == ("reward 1 and terminated at the end of each of 2 (demos.reward last)",)


# Keys.


def test_a_missing_state_offers_what_can_be_joined(tmp_path):
    path = write_other(tmp_path / "demos.hdf5")
    offer = (
        "expected a dataset, got none; there are object (14), robot0_eef_pos (3), robot0_gripper_qpos (2); "
        "--demos.{}-keys object,robot0_eef_pos,robot0_gripper_qpos joins them, in that order"
    )
    for key in ("state", "proprio"):
        with pytest.raises(DemonstrationError) as caught:
            read_demonstrations(path, keys=[key])
        assert str(caught.value) == f"{path}: demo_0: obs: {key}: {offer.format(key)}"
    with pytest.raises(DemonstrationError) as caught:
        read_demonstrations(path, keys=["state"], state_keys=["object", "robot0_joint_pos"])
    assert str(caught.value) == f"{path}: demo_0: obs: robot0_joint_pos: {offer.format('state')}"


def test_images_are_not_joined_to_a_state(tmp_path):
    path = write_other(tmp_path / "demos.hdf5")
    with pytest.raises(
        DemonstrationError, match="agentview_image: expected a vector to join to state, got a"
    ):
        read_demonstrations(path, keys=["state"], state_keys=["agentview_image", "object"])


def test_filter_keys(tmp_path):
    path = write_other(tmp_path / "demos.hdf5")
    whole = read_demonstrations(path, keys=["object"])
    train = read_demonstrations(path, keys=["object"], filter_key="train")
    assert len(train) == 1
    np.testing.assert_array_equal(train[0].actions, whole[1].actions)
    with pytest.raises(DemonstrationError, match=r"mask: expected one of .*\['train', 'valid'\], got 'test'"):
        read_demonstrations(path, filter_key="test")
    with h5py.File(path, "r+") as file:
        del file["mask"]
    with pytest.raises(DemonstrationError, match="mask: expected no filter key, as the file has none, got"):
        read_demonstrations(path, filter_key="test")


def test_arguments_that_would_do_nothing_are_refused(tmp_path):
    path = write_other(tmp_path / "demos.hdf5")
    with pytest.raises(ValueError, match=r"^reward: expected recorded, last or success, got first$"):
        read_demonstrations(path, reward="first")
    with pytest.raises(ValueError, match=r"^state_keys: expected none without state among keys, got"):
        read_demonstrations(path, keys=["agentview"], state_keys=["object"])
