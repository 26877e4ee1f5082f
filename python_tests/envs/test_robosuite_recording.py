"""Files of demonstrations: what we write is robosuite's and robomimic's, and rows of states come back."""

import json
import re

import h5py
import numpy as np
import pytest
from robosuite_helpers import join_state, make_plain, need_robosuite, reset_plain

from ibrl_fast.cli import main
from ibrl_fast.data.demonstration_masks import read_masks
from ibrl_fast.data.demonstration_set import Demonstration, DemonstrationSet
from ibrl_fast.data.demonstrations import read_demonstrations, write_demonstrations
from ibrl_fast.data.expected_demos import ExpectedDemos
from ibrl_fast.envs import PoolOptions, make_pool, resolve_task
from ibrl_fast.envs.rendering import RenderingUnavailableError, check_rendering
from ibrl_fast.envs.robosuite.package import import_robosuite, quiet
from ibrl_fast.envs.robosuite.poses import pose_in_hand
from ibrl_fast.envs.robosuite.recording import RobosuiteRecording
from ibrl_fast.training.collect_demos import collect_demonstrations
from ibrl_fast.training.convert_demos import convert_demonstrations

need_robosuite()

KWARGS = {"backend": "reference", "action_repeat": 1, "max_episode_steps": 100}


@pytest.fixture(scope="module")
def lift_file(tmp_path_factory):
    """Two demonstrations of Lift by the scripted expert, as a file, with masks."""
    path = tmp_path_factory.mktemp("demos") / "lift.hdf5"
    demos = collect_demonstrations("lift", 2, num_envs=2, **KWARGS)
    write_demonstrations(path, demos, masks={"train": [1], "better": [0, 1]})
    return path


def remade(path):
    """robosuite's environment from what the file says."""
    with h5py.File(path) as file:
        env_args = json.loads(file["data"].attrs["env_args"])
    assert (env_args["type"], env_args["env_version"]) == (1, "1.5.2")
    with quiet():
        return import_robosuite().make(env_args["env_name"], **env_args["env_kwargs"])


def load(env, model_file, row):
    """Put a recorded state into an environment as robosuite's playback does; return the observation."""
    if model_file is not None:
        with quiet():
            env.reset()
            env.reset_from_xml_string(env.edit_model_xml(model_file))
            env.sim.reset()
    env.sim.set_state_from_flattened(row)
    env.sim.forward()
    return join_state(env._get_observations(force_update=True))


def test_files_replay_in_robosuite(lift_file):
    env = remade(lift_file)
    for demo in read_demonstrations(lift_file):
        assert demo.success and demo.states is not None
        # states: poses of a running environment are one physics step older than its positions
        observed = [load(env, demo.model_file if t == 0 else None, row) for t, row in enumerate(demo.states)]
        np.testing.assert_allclose(demo.observations["state"][:-1], observed, rtol=0, atol=5e-3)
        np.testing.assert_allclose(demo.observations["state"][0], observed[0], rtol=0, atol=1e-6)

        # actions: from the first state to success
        load(env, demo.model_file, demo.states[0])
        successes = [env.step(action.astype(np.float64))[1] > 0 for action in demo.actions]
        assert successes[-1] or env._check_success()


def test_files_load_in_robomimic(lift_file):
    pytest.importorskip("robomimic", reason="robomimic is not installed")
    import robomimic.utils.obs_utils as obs_utils
    from robomimic.utils.dataset import SequenceDataset

    keys = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object")
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(keys), "rgb": []}})
    dataset = SequenceDataset(
        hdf5_path=str(lift_file),
        obs_keys=keys,
        dataset_keys=("actions", "rewards", "dones"),
        hdf5_cache_mode=None,
        filter_by_attribute="train",
    )
    demo = read_demonstrations(lift_file, filter_key="train").demos[0]
    assert (dataset.n_demos, len(dataset)) == (1, len(demo))
    entry = dataset[3]
    joined = np.concatenate([entry["obs"][key][0] for key in keys])
    np.testing.assert_array_equal(joined, demo.observations["state"][3])


@pytest.mark.parametrize("task", ["lift", "can", "square"])
def test_a_row_is_observed_as_robosuite_observes_it(task):
    recording, pool = RobosuiteRecording(resolve_task(task)), make_pool(task, **KWARGS)
    pool.reset(seed=2)
    env, previous = make_plain(task, seed=0), None
    reset_plain(env)
    env._obs_cache = {}
    for action in np.random.default_rng(0).uniform(-1, 1, (6, 1, 7)):
        state = {key: value[0] for key, value in pool.get_state().items()}
        row, model_file = recording.row(state), recording.model_file(state)
        previous = recording.restore(row, model_file, previous)
        np.testing.assert_allclose(previous["observation"], load(env, None, row), rtol=0, atol=2e-6)
        if task == "lift":
            np.testing.assert_array_equal(previous["cube_size"], state["cube_size"])
        pool.step(action)


def test_the_first_row_of_an_episode_is_its_reset():
    pool, recording = make_pool("lift", **KWARGS), RobosuiteRecording(resolve_task("lift"))
    pool.reset(seed=2)
    state = pool.get_state()
    first = {key: value[0] for key, value in state.items()}
    restored = recording.restore(recording.row(first), recording.model_file(first), None)
    expected = pool.step(np.full((1, 7), 0.3, np.float32))[0]
    state.update({key: value[None] for key, value in restored.items()})
    pool.set_state(state)
    observed = pool.step(np.full((1, 7), 0.3, np.float32))[0]
    np.testing.assert_allclose(observed["state"], expected["state"], rtol=0, atol=1e-6)


def test_poses_relative_to_the_hand_are_robosuites():
    import_robosuite()
    import robosuite.utils.transform_utils as utils

    random = np.random.default_rng(0)
    for _ in range(200):
        quaternions = random.standard_normal((2, 4))
        quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
        hand, thing = zip(random.uniform(-1, 1, (2, 3)), quaternions)
        inverse = utils.pose_inv(utils.pose2mat(hand))
        expected = utils.mat2pose(utils.pose_in_A_to_pose_in_B(utils.pose2mat(thing), inverse))
        for got, wanted in zip(pose_in_hand(hand, thing), expected):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6)


def test_observations_are_made_anew_from_states(lift_file):
    demos = read_demonstrations(lift_file)
    counts = []
    # more environments than demonstrations, and fewer
    results = [
        convert_demonstrations(
            demos, lift_file, options=PoolOptions(backend="reference", num_envs=n), progress=counts.append
        )
        for n in (1, 3)
    ]
    assert counts[-1] == demos.num_steps
    for first, second, demo in zip(*results, demos):
        for key in ("state", "object", "robot0_eef_pos"):
            np.testing.assert_array_equal(first.observations[key], second.observations[key])
            expected = demo.observations[key]
            np.testing.assert_allclose(first.observations[key], expected, rtol=0, atol=5e-3)
        np.testing.assert_array_equal(first.actions, demo.actions)
        np.testing.assert_array_equal(first.states, demo.states)
        assert first.seed == demo.seed and first.success


def test_the_command_keeps_masks_and_chooses_by_them(lift_file, tmp_path, capsys):
    command = ["demos", "convert", str(lift_file), "--observation", "state", "--backend", "reference"]
    main([*command, "--out", str(tmp_path / "all.hdf5")])
    assert read_masks(tmp_path / "all.hdf5") == {"better": [0, 1], "train": [1]}
    main([*command, "--out", str(tmp_path / "one.hdf5"), "--filter-key", "train"])
    assert read_masks(tmp_path / "one.hdf5") == {"better": [0], "train": [0]}
    (one,) = read_demonstrations(tmp_path / "one.hdf5")
    chosen = read_demonstrations(tmp_path / "all.hdf5", filter_key="train")[0]
    np.testing.assert_array_equal(one.observations["state"], chosen.observations["state"])
    assert "1 demonstrations, " in capsys.readouterr().out


def test_proprioception_and_pictures_are_collected_without_the_state():
    try:
        check_rendering()
    except RenderingUnavailableError as error:
        pytest.skip(f"no rendering here: {error}")
    options = {**KWARGS, "observation": "proprio_pixels", "cameras": ("agentview",), "image_size": 16}
    (demo,) = collect_demonstrations("lift", 1, **options)
    (plain,) = collect_demonstrations("lift", 1, **KWARGS)
    proprio = demo.observations["proprio"]
    np.testing.assert_array_equal(proprio, plain.observations["state"][:, :9])
    assert set(demo.observations) == {"proprio", "agentview", *resolve_task("lift").parts["proprio"]}
    assert demo.observations["agentview"].shape == (len(demo) + 1, 3, 16, 16)


def test_states_of_another_task_are_refused(lift_file):
    demos = read_demonstrations(lift_file)
    with pytest.raises(ValueError, match=r"demo 0: states: expected \[71\], got \[32\]"):
        convert_demonstrations(demos, lift_file, task="can", options=PoolOptions(backend="reference"))
    bare = DemonstrationSet(
        tuple(Demonstration(d.observations, d.actions, d.rewards, d.terminated, d.truncated) for d in demos),
        demos.env_args,
    )
    with pytest.raises(ValueError, match="states: expected a dataset, got none"):
        convert_demonstrations(bare, lift_file)


def test_a_file_of_robomimic_is_read_by_its_own_entries(lift_file, tmp_path):
    # without this package's own entries, as robomimic writes them
    demos = read_demonstrations(lift_file)
    path = tmp_path / "theirs.hdf5"
    with h5py.File(lift_file) as ours, h5py.File(path, "w") as theirs:
        data = theirs.create_group("data")
        env_args = json.loads(ours["data"].attrs["env_args"])
        del env_args["ibrl_fast"]
        data.attrs["env_args"] = json.dumps(env_args)
        for name, group in ours["data"].items():
            demo = data.create_group(name)
            demo.attrs["num_samples"] = group.attrs["num_samples"]
            for key in ("actions", "rewards", "dones", "states"):
                demo[key] = group[key][()]
            for part in ("obs", "next_obs"):
                for key in group[part]:
                    if key != "state":
                        demo[f"{part}/{key}"] = group[part][key][()]
    info = resolve_task("lift")
    expected = ExpectedDemos(
        parts={key: tuple(parts) for key, parts in info.parts.items()},
        task=info.name,
        aliases=info.aliases,
        control_period=0.05,
    )
    read = read_demonstrations(path, keys=("state", "proprio"), expected=expected)
    np.testing.assert_array_equal(read[0].observations["state"], demos[0].observations["state"])
    np.testing.assert_array_equal(read[0].observations["proprio"], demos[0].observations["state"][:, :9])


def test_older_files_are_remarked_on():
    recording = RobosuiteRecording(resolve_task("can"))
    assert recording.remarks({"env_version": "1.5.1"}) == ()
    drift, order = recording.remarks({"env_version": "1.4.1"})
    assert "1.4.1" in drift and re.search("convert", order)
    assert len(RobosuiteRecording(resolve_task("lift")).remarks({"env_version": "1.4.1"})) == 1


def test_a_model_without_its_cube_is_refused():
    recording = RobosuiteRecording(resolve_task("lift"))
    with pytest.raises(ValueError, match="model_file: expected a geom cube_g0"):
        recording.restore(np.zeros(32), "<mujoco/>", None)
