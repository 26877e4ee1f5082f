"""Gymnasium environments behind `make_pool`: the bare environments, mapped by the stated rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from own_envs import HIGH, LOW, CameraEnv, ReachEnv, SpacesEnv, make_reach, towards

from ibrl_fast import make_pool, register_env
from ibrl_fast.envs import (
    AbilityError,
    episode_seeds,
    evaluate_policy,
    list_tasks,
    make_expert,
    registry,
    resolve_task,
)
from ibrl_fast.errors import ArgumentError

REACH = "gym:own_envs:ibrl-tests/Reach-v0"


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_REGISTERED", {})
    yield


def joined(observation: dict[str, Any]) -> np.ndarray:
    """The state of ReachEnv: its entries in the order of its space, which is alphabetical."""
    parts = [observation["arm"]["angle"], observation["goal"], observation["position"], observation["steps"]]
    return np.concatenate(parts).astype(np.float32)


def test_facts_of_a_task() -> None:
    info = resolve_task(REACH)
    assert info.name == REACH and info.suite == "gym" and info.short_name == "own_envs:ibrl-tests/Reach-v0"
    assert info.joined == {"state": ("arm.angle", "goal", "position", "steps")}
    assert len(info.observations["state"]) == 6 and np.isnan(info.scale_of("state")).all()
    assert info.action_dim == 2 and info.control_period == 0.05 and info.cameras == ()
    assert info.control_low == tuple(LOW) and info.control_high == tuple(HIGH)
    assert not info.abilities.saves_state and REACH not in list_tasks()
    # an environment of MuJoCo or the like says how long a step takes
    assert resolve_task("gym:Pendulum-v1").control_period == gymnasium.make("Pendulum-v1").unwrapped.dt


@pytest.mark.parametrize("task", ["gym:Pendulum-v1", "gym:MountainCarContinuous-v0"])
def test_gymnasiums_own_environments_are_stepped_as_they_are(task: str) -> None:
    pool = make_pool(task, num_envs=2, backend="reference", reward="dense", action_repeat=1,
                     max_episode_steps=1000, autoreset="disabled", success="terminated")  # fmt: skip
    seeds = [5, 2**40 + 3]
    observations, _ = pool.reset(seed=seeds)
    bare = [gymnasium.make(task.removeprefix("gym:")) for _ in seeds]
    for row, env in enumerate(bare):
        start, _ = env.reset(seed=seeds[row] % 2**31)
        np.testing.assert_array_equal(observations["state"][row], start)
    random = np.random.default_rng(0)
    for _ in range(210):
        actions = random.uniform(-1, 1, (2, 1)).astype(np.float32)
        observations, reward, terminated, truncated, info = pool.step(actions)
        for row, env in enumerate(bare):
            high = float(env.action_space.high[0])
            expected = env.step(np.array([high * actions[row, 0]], np.float32))
            np.testing.assert_array_equal(observations["state"][row], expected[0].astype(np.float32))
            assert reward[row] == np.float32(expected[1])
            assert (terminated[row], truncated[row]) == expected[2:4]
            assert info["success"][row] == expected[2]
        if (terminated | truncated).any():
            break
    # Pendulum's own limit of 200 steps is a truncation
    assert truncated.all() == (task == "gym:Pendulum-v1")


def test_actions_are_mapped_to_the_bounds() -> None:
    made: list[ReachEnv] = []

    def make() -> ReachEnv:
        made.append(ReachEnv())
        return made[-1]

    register_env("own/reach", make)
    pool = make_pool("own/reach", action_repeat=1, autoreset="disabled")
    pool.reset(seed=0)
    actions = [[-1, -1], [1, 1], [0, 0], [0.5, -0.5], [3, -3]]
    for action in actions:
        pool.step(np.array([action], np.float32))
    expected = [[-2, 0], [2, 10], [0, 5], [1, 2.5], [2, 0]]
    np.testing.assert_array_equal(made[-1].controls, np.array(expected, np.float32))
    assert made[-1].controls[0].dtype == np.float32
    contains = [made[-1].action_space.contains(control) for control in made[-1].controls]
    assert all(contains)


def test_observations_are_joined_as_asked() -> None:
    pool = make_pool(REACH, state_keys=("steps", "goal"), proprio_keys=("position",), action_repeat=1)
    assert pool.single_observation_space["state"].shape == (3,)
    assert pool.task.joined == {"state": ("steps", "goal"), "proprio": ("position",)}
    observations, _ = pool.reset(seed=[4])
    bare, _ = ReachEnv().reset(seed=4)
    expected = np.concatenate([[0.0], bare["goal"]]).astype(np.float32)
    np.testing.assert_array_equal(observations["state"][0], expected)
    assert make_pool(REACH, state_keys="steps,goal").task.joined["state"] == ("steps", "goal")

    register_env("own/reach", make_reach, state_keys=("goal", "position"), proprio_keys=("position",))
    assert resolve_task("own/reach").joined == {"state": ("goal", "position"), "proprio": ("position",)}
    assert make_pool("own/reach", state_keys=("goal",)).task.joined["state"] == ("goal",)


def test_an_episode_is_a_function_of_its_seed() -> None:
    pool = make_pool(REACH, action_repeat=1, autoreset="disabled", max_episode_steps=20)
    act = lambda seen: np.stack([towards(state) for state in seen["state"]])  # noqa: E731
    seeds = episode_seeds(3, 6)
    first = evaluate_policy(pool, act, seeds)
    again = evaluate_policy(pool, act, seeds[::-1])
    assert first.lengths == again.lengths[::-1] and first.success_rate == 1.0
    # without a seed the environment's stream goes on
    start, _ = pool.reset()
    assert not np.array_equal(start["state"], pool.reset()[0]["state"])


@pytest.mark.parametrize("reports", ["success", "is_success"])
def test_success_is_what_the_info_reports(reports: str) -> None:
    register_env("own/reach", lambda: ReachEnv(reports=reports))
    pool = make_pool("own/reach", action_repeat=1, autoreset="disabled")
    result = evaluate_policy(pool, lambda seen: towards(seen["state"][0])[None], [0, 1])
    assert result.success_rate == 1.0 and result.returns == (1.0, 1.0)


def test_success_may_be_a_function_or_the_end() -> None:
    seen: list[tuple[Any, ...]] = []

    def rule(reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> bool:
        seen.append((reward, terminated, truncated, dict(info)))
        return reward > -0.5

    register_env("own/reach", lambda: ReachEnv(falls=True), success=rule)
    pool = make_pool("own/reach", action_repeat=1, autoreset="disabled", reward="dense")
    result = evaluate_policy(pool, lambda seen: towards(seen["state"][0])[None], [0])
    assert result.success_rate == 1.0 and seen[-1][0] > -0.5 >= max([-1.0, *[step[0] for step in seen[:-1]]])
    assert set(seen[0][3]) == {"success"} and isinstance(seen[0][1], bool)

    pool = make_pool("own/reach", action_repeat=1, autoreset="disabled", success="terminated")
    pool.reset(seed=0)
    for _ in range(40):
        _, reward, terminated, _, info = pool.step(np.ones((1, 2), np.float32))
        if terminated:
            break
    assert terminated and info["success"] and reward == 1.0


def test_an_end_without_success_ends_the_bootstrap_and_the_repeats() -> None:
    register_env("own/reach", lambda: ReachEnv(falls=True))
    pool = make_pool("own/reach", action_repeat=50, autoreset="disabled")
    bare = ReachEnv(falls=True)
    pool.reset(seed=[3])
    bare.reset(seed=3)
    observations, reward, terminated, truncated, info = pool.step(np.ones((1, 2), np.float32))
    expected, ended = None, False
    while not ended:
        expected, _, ended, _, _ = bare.step(HIGH)
    assert terminated and not truncated and not info["success"] and reward == 0.0
    np.testing.assert_array_equal(observations["state"][0], joined(expected))


def test_time_limits_are_truncations_the_first_one_counts() -> None:
    away = np.array([[0.0, 0.0]], np.float32)  # stays where it is
    for limit, repeat, expected in ((7, 1, 7), (100, 1, 30), (100, 4, 8), (100, 2, 15)):
        pool = make_pool(REACH, action_repeat=repeat, max_episode_steps=limit, autoreset="disabled")
        pool.reset(seed=[1])
        steps, truncated = 0, np.array([False])
        while not truncated:
            _, _, terminated, truncated, _ = pool.step(away)
            steps += 1
        assert steps == expected and not terminated


def test_dense_rewards_are_summed_over_the_repeats() -> None:
    pool = make_pool(REACH, action_repeat=3, reward="dense", terminate_on_success=False)
    pool.reset(seed=[3])
    bare = ReachEnv()
    bare.reset(seed=3)
    _, reward, _, _, _ = pool.step(np.array([[0.5, -1.0]], np.float32))
    total = sum(bare.step(np.array([1.0, 0.0], np.float32))[1] for _ in range(3))
    assert reward == np.float32(total)


# ---- images


def test_images_of_either_layout_are_cameras() -> None:
    register_env("own/cameras", CameraEnv)
    info = resolve_task("own/cameras")
    assert info.cameras == ("front", "wrist") and info.joined == {"state": ("joint",)}
    pool = make_pool("own/cameras", observation="both", image_size=6, action_repeat=1, frame_stack=2)
    observations, _ = pool.reset(seed=[2])
    bare = CameraEnv()
    start, _ = bare.reset(seed=2)
    # the wrist camera has the size asked for: its pixels are handed out as they are
    np.testing.assert_array_equal(observations["wrist"][0], np.concatenate([start["wrist"]] * 2))
    observations, *_ = pool.step(np.zeros((1, 1), np.float32))
    after = bare.step(np.zeros(1, np.float32))[0]
    np.testing.assert_array_equal(observations["wrist"][0], np.concatenate([after["wrist"], start["wrist"]]))
    # the front one is 6 x 8: each pixel is the mean of what it covers, here 4/3 columns
    weights = np.zeros((6, 8))
    for column in range(6):
        for source in range(8):
            covered = min((column + 1) * 8 / 6, source + 1) - max(column * 8 / 6, source)
            weights[column, source] = max(0.0, covered) * 6 / 8
    expected = np.einsum("ij,hjc->chi", weights, after["front"])
    assert np.abs(observations["front"][0, :3] - expected).max() <= 0.5 + 1e-9

    last = make_pool("own/cameras", observation="pixels", cameras="wrist", image_size=3, channels_last=True)
    assert last.reset(seed=[2])[0]["wrist"].shape == (1, 3, 3, 3)
    halves = start["wrist"].reshape(3, 3, 2, 3, 2).mean(axis=(2, 4)).transpose(1, 2, 0)
    assert np.abs(last.reset(seed=[2])[0]["wrist"][0] - halves).max() <= 0.5


def test_an_image_alone_is_a_camera_named_image() -> None:
    space = spaces.Box(0, 255, (3, 9, 7), np.uint8)
    register_env("own/image", lambda: SpacesEnv(space, spaces.Box(-1, 1, (1,))))
    assert resolve_task("own/image").cameras == ("image",)
    with pytest.raises(ArgumentError, match="observation: expected one of pixels for own/image, got 'state'"):
        make_pool("own/image")


def test_videos_are_what_the_environment_renders() -> None:
    pool = make_pool(REACH, action_repeat=1)
    pool.reset(seed=[0])
    pool.step(np.zeros((1, 2), np.float32))
    pool.step(np.zeros((1, 2), np.float32))
    (frame,) = pool.render_frames(image_size=60)
    # 40 x 60 in its proportions, black above and below
    assert frame.shape == (60, 60, 3) and not frame[:10].any() and not frame[50:].any()
    assert (frame[10:50, :30] == [20, 0, 0]).all() and not frame[10:50, 30:].any()
    with pytest.raises(ArgumentError, match=r"cameras: expected none for gym:own_envs.*, got 'top'"):
        pool.render_frames(camera="top")

    register_env("own/blind", ReachEnv)
    blind = make_pool("own/blind")
    blind.reset()
    with pytest.raises(AbilityError, match=r"with render_mode='rgb_array', got .*None"):
        blind.render_frames()


# ---- experts and names


def test_a_registered_expert_is_the_tasks() -> None:
    register_env("own/reach", make_reach, expert=towards)
    assert make_expert("own/reach") is towards and list_tasks()[-1] == "own/reach"
    register_env("own/other", make_reach)
    assert list_tasks()[-2:] == ("own/reach", "own/other")
    with pytest.raises(AbilityError, match="expected a task with a scripted expert, got own/other"):
        make_expert("own/other")
    with pytest.raises(AbilityError, match="expected a suite with scripted experts, got gym"):
        make_expert(REACH)
    # registered again, it is another one
    register_env("own/reach", CameraEnv)
    assert resolve_task("own/reach").action_dim == 1


# ---- what is refused, each in one message

GOOD = spaces.Box(-1, 1, (1,), np.float32)


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (GOOD, spaces.Discrete(3), r"action space: expected a floating Box, got Discrete\(3\)"),
        (GOOD, spaces.Box(0, 3, (1,), np.int64), "action space: expected a floating Box, got Box"),
        (
            GOOD,
            spaces.Box(np.array([-1, -np.inf], np.float32), np.array([1, np.inf], np.float32)),
            r"expected finite bounds, low below high, got \[-inf, inf\] for component 1",
        ),
        (GOOD, spaces.Box(1.0, 1.0, (1,)), r"low below high, got \[1, 1\] for component 0"),
        (
            spaces.Discrete(4),
            GOOD,
            r"observation space: expected a 1-D Box, or a uint8 Box .*got Discrete\(4\)",
        ),
        (spaces.Box(0, 1, (4, 4)), GOOD, r"expected a 1-D Box, or a uint8 Box .*got Box\(0.0, 1.0, \(4, 4\)"),
        (spaces.Box(0, 255, (8, 8, 1), np.uint8), GOOD, r"uint8 Box \[H, W, 3\] or \[3, H, W\] of images"),
        (
            spaces.Dict({"x": GOOD, "inner": spaces.Dict({"mode": spaces.MultiBinary(2)})}),
            GOOD,
            r"observation space: entry 'inner.mode': expected a 1-D Box.*got MultiBinary\(2\)",
        ),
        (spaces.Tuple((GOOD, GOOD)), GOOD, "observation space: expected a 1-D Box"),
        (spaces.Dict({}), GOOD, "observation space: expected at least one entry, got none"),
        (
            spaces.Dict({"state": spaces.Box(0, 255, (8, 8, 3), np.uint8)}),
            GOOD,
            "expected images named other than state, proprio and without /, got 'state'",
        ),
    ],
)
def test_spaces_that_are_no_task(observation: spaces.Space, action: spaces.Space, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^own/bad: .*{message}"):
        register_env("own/bad", lambda: SpacesEnv(observation, action))
    assert "own/bad" not in list_tasks()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reach", "name: expected SUITE/TASK, got reach"),
        ("a/b/c", "name: expected SUITE/TASK, got a/b/c"),
        ("gym:x/y", "name: expected SUITE/TASK, got gym:x/y"),
        ("gym/reach", "name: expected a suite of one's own, other than .*gym.*, got gym/reach"),
    ],
)
def test_names_that_cannot_be_registered(name: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        register_env(name, make_reach)


def test_functions_that_make_no_environment() -> None:
    with pytest.raises(ArgumentError, match="make: expected a function, got int"):
        register_env("own/x", 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="success: expected a function, got str"):
        register_env("own/x", make_reach, success="info")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"own/x: expected a gymnasium.Env, got dict"):
        register_env("own/x", dict)
    with pytest.raises(ArgumentError, match="own/x: expected an environment, got ZeroDivisionError"):
        register_env("own/x", lambda: 1 / 0)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("gym:NoSuch-v0", "got 'NoSuch-v0' .*doesn't exist"),
        ("gym:no_such_module:Env-v0", "got 'no_such_module:Env-v0' .*No module named 'no_such_module'"),
        ("gym:", "expected gym: and an id that Gymnasium knows"),
        ("gym:CartPole-v1", r"gym:CartPole-v1: action space: expected a floating Box, got Discrete\(2\)"),
        ("own/unknown", "a task of register_env is known once this process has registered it"),
    ],
)
def test_tasks_that_are_not_there(task: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make_pool(task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_keys": ("speed",)}, "state_keys: expected names among arm.angle, goal, .*, got speed"),
        ({"state_keys": ("goal", "goal")}, "state_keys: expected different names of entries"),
        ({"state_keys": (3,)}, "state_keys: expected names of entries"),
        ({"observation": "pixels"}, "observation: expected one of state for gym:own_envs"),
        ({"backend": "native"}, "backend: expected 'reference' for the tasks of gym, got 'native'"),
        ({"fixed_goals": True}, "fixed_goals: expected False for gym:own_envs"),
        ({"shadows": True}, "shadows: expected the default for gym:own_envs.*, whose pictures are its own"),
        ({"camera_positions": {"top": (0.0, 0.0, 0.0)}}, "camera_positions: expected the default for gym:"),
        ({"success": "info"}, "success: expected one of task, terminated, got 'info'"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make_pool(REACH, **options)


def test_what_only_such_tasks_have_is_refused_elsewhere() -> None:
    with pytest.raises(ArgumentError, match="state_keys: expected none for metaworld/reach, got goal"):
        make_pool("metaworld/reach", state_keys=("goal",))
    with pytest.raises(ArgumentError, match="success: expected 'task' for metaworld/reach, got 'terminated'"):
        make_pool("metaworld/reach", success="terminated")


def test_an_environment_that_never_reports_success_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    register_env("own/silent", lambda: ReachEnv(reports="distance"))
    pool = make_pool("own/silent")
    pool.reset(seed=0)
    for _ in range(3):
        pool.step(np.zeros((1, 2), np.float32))
    (record,) = caplog.records
    assert "own/silent: the first step's info has neither success nor is_success" in record.getMessage()
    dense = make_pool("own/silent", reward="dense")
    dense.reset(seed=0)
    dense.step(np.zeros((1, 2), np.float32))
    assert len(caplog.records) == 1
