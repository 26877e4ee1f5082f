"""The native pool against the published Meta-World environments: same seeds, same actions, same numbers.

The published environments compute norms here without BLAS, whose last bit depends on the processor;
`test_what_a_processor_can_change` shows what stays equal whatever that bit is.
"""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from norms import norm_with_moved_bits

pytest.importorskip("ibrl_fast.envs.env_pool")
metaworld_envs = pytest.importorskip("metaworld.env_dict")

from ibrl_fast.envs import make_expert, make_pool  # noqa: E402
from ibrl_fast.envs.env_pool import list_native_tasks  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_blas")

PAPER_TASKS = [f"metaworld/{name}" for name in ("assembly", "box-close", "coffee-push", "stick-pull")]
OTHER_TASKS = [
    name for name in list_native_tasks() if name.startswith("metaworld/") and name not in PAPER_TASKS
]
TASKS = [*PAPER_TASKS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHER_TASKS)]
ORIGINAL = {
    "reward": "dense", "terminate_on_success": False, "action_repeat": 1, "autoreset": "disabled"
}  # fmt: skip


def make_published(task: str):
    """The published environment as it comes, with visible goals drawn from its own seeded generator."""
    env = metaworld_envs.ALL_V3_ENVIRONMENTS[f"{task.split('/')[1]}-v3"]()
    env._partially_observable = False
    env.__dict__.pop("sawyer_observation_space", None)
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env._set_task_called = True
    return env


def make_actions(kind: str, rng: np.random.Generator, expert, observation) -> np.ndarray:
    """One action float32 [4]."""
    if kind == "random":
        return rng.uniform(-1, 1, 4).astype(np.float32)
    if kind == "extreme":
        return rng.choice([-1.0, 1.0], 4).astype(np.float32)
    return np.clip(np.asarray(expert(observation), dtype=np.float32), -1, 1)


def compare_episode(task: str, kind: str, seed: int, steps: int) -> tuple[int, float]:
    """Asserts equality over one episode; returns the successful steps and the return."""
    env, expert = make_published(task), make_expert(task)
    pool = make_pool(task, backend="native", num_threads=1, max_episode_steps=500, **ORIGINAL)
    env.seed(seed)
    expected, _ = env.reset()
    pool.reset(seed=[seed])
    np.testing.assert_array_equal(pool.get_state()["observation"][0], expected)
    rng = np.random.default_rng(seed)
    successes, total = 0, 0.0
    for _ in range(steps):
        action = make_actions(kind, rng, expert, expected)
        expected, reward, _, _, info = env.step(action)
        _, got_reward, _, _, got_info = pool.step(action[None])
        state = pool.get_state()
        total += float(reward)
        successes += int(info["success"])
        np.testing.assert_array_equal(state["observation"][0], expected)
        # equal, but for NumPy's logarithm: its last bit depends on the processor
        np.testing.assert_allclose(state["episode_return"][0], total, rtol=1e-14)
        assert got_reward[0] == np.float32(reward)
        assert bool(got_info["success"][0]) == bool(info["success"])
    np.testing.assert_array_equal(state["physics"][0], physics_of(env))
    pool.close()
    return successes, total


@pytest.mark.parametrize("task", [*PAPER_TASKS, "metaworld/soccer", "metaworld/door-open"])
def test_what_a_processor_can_change(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms whose last bit is wrong change rewards by some units in the last place, and nothing else."""
    monkeypatch.setattr(np.linalg, "norm", norm_with_moved_bits(np.random.default_rng(0)))
    common = {"num_envs": 1, "action_repeat": 2, "max_episode_steps": 60}
    pools = {
        (backend, reward): make_pool(task, backend=backend, reward=reward, **common)
        for backend in ("reference", "native")
        for reward in ("dense", "sparse")
    }
    seen = {key: [pool.reset(seed=3)[0]["state"]] for key, pool in pools.items()}
    expert = make_expert(task)
    for step in range(120):
        action = expert(seen["reference", "sparse"][-1][0]) if step % 3 else np.full(4, (-1.0) ** step)
        got = {key: pool.step(action[None]) for key, pool in pools.items()}
        for key, (obs, *_) in got.items():
            seen[key].append(obs["state"])
            np.testing.assert_array_equal(obs["state"], got["reference", "sparse"][0]["state"])
        for reward in ("dense", "sparse"):
            reference, native = got["reference", reward], got["native", reward]
            # dense rewards are float32 of a sum of two: a last bit of a double shows once in many million
            np.testing.assert_allclose(native[1], reference[1], rtol=3e-7 if reward == "dense" else 0)
            for position in (2, 3):
                np.testing.assert_array_equal(native[position], reference[position])
            np.testing.assert_array_equal(native[4]["success"], reference[4]["success"])

    # float64 values: physics to the bit, returns and the task's distances to a few units in the last place
    for reward in ("dense", "sparse"):
        reference, native = (pools[backend, reward].get_state() for backend in ("reference", "native"))
        for key, value in reference.items():
            if key.startswith("task/") or key == "episode_return":
                np.testing.assert_allclose(native[key], value, rtol=1e-13, atol=1e-15, err_msg=key)
            else:
                np.testing.assert_array_equal(native[key], value, err_msg=key)


def physics_of(env) -> np.ndarray:
    spec = mujoco.mjtState.mjSTATE_INTEGRATION
    physics = np.empty(mujoco.mj_stateSize(env.model, spec))
    mujoco.mj_getState(env.model, env.data, physics, spec)
    return physics


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["random", "expert", "extreme"])
def test_episodes_equal_the_published_environment(task: str, kind: str) -> None:
    results = [compare_episode(task, kind, seed, steps=150) for seed in range(2)]
    # the comparison covers what matters: experts reach the goal, rewards move
    if kind == "expert":
        assert len({total for _, total in results}) > 1
        assert any(successes for successes, _ in results)


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_further_tasks_equal_the_published_environment(task: str) -> None:
    """A short form for the tasks beyond the paper's; all comparisons run with `-m slow`."""
    compare_episode(task, "expert", 0, steps=90)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["random", "expert", "extreme"])
def test_fifty_seeds_equal_the_published_environment(task: str, kind: str) -> None:
    for seed in range(50):
        compare_episode(task, kind, 1000 + seed, steps=200)


@pytest.mark.parametrize("task", TASKS)
def test_given_random_vectors_start_as_published(task: str) -> None:
    env = make_published(task)
    pool = make_pool(task, backend="native", num_threads=1, num_envs=2, **ORIGINAL)
    env.seed(7)
    for _ in range(3):
        env.reset()
        env._freeze_rand_vec = True
        expected, _ = env.reset()
        env._freeze_rand_vec = False
        vector = np.stack([env._last_rand_vec] * 2)
        pool.reset(options={"rand_vec": vector})
        state = pool.get_state()
        np.testing.assert_array_equal(state["observation"], [expected, expected])
        np.testing.assert_array_equal(state["physics"][1], physics_of(env))
        np.testing.assert_array_equal(state["rand_vec"], vector)


@pytest.mark.parametrize("task", TASKS)
def test_settling_does_not_depend_on_the_draw_where_it_is_cached(task: str) -> None:
    """The reset cache against full resets at the corners of the draw and at random places, bit for bit."""
    env = make_published(task)
    pool = make_pool(task, backend="native", num_threads=1, **ORIGINAL)
    low, high = env._random_reset_space.low, env._random_reset_space.high
    rng = np.random.default_rng(0)
    corners = [low, high, *(np.where(rng.random(low.size) < 0.5, low, high) for _ in range(6))]
    env._freeze_rand_vec = True
    for vector in [*corners, *rng.uniform(low, high, (6, low.size))]:
        if vector.size == 6 and np.linalg.norm(vector[:2] - vector[3:5]) < 0.26:
            continue
        env._last_rand_vec = vector
        expected, _ = env.reset()
        pool.reset(options={"rand_vec": vector[None]})
        state = pool.get_state()
        np.testing.assert_array_equal(state["observation"][0], expected)
        np.testing.assert_array_equal(state["physics"][0], physics_of(env))


def test_vectors_outside_the_draw_settle_anew() -> None:
    """A box where the hand starts: given vectors may put objects where no draw does."""
    env = make_published("metaworld/button-press")
    pool = make_pool("metaworld/button-press", backend="native", num_threads=1, **ORIGINAL)
    env._freeze_rand_vec, env._last_rand_vec = True, np.array([0.0, 0.5, 0.115])
    expected, _ = env.reset()
    pool.reset(options={"rand_vec": env._last_rand_vec[None]})
    np.testing.assert_array_equal(pool.get_state()["observation"][0], expected)
    np.testing.assert_array_equal(pool.get_state()["physics"][0], physics_of(env))


@pytest.mark.parametrize("task", TASKS)
def test_draws_follow_the_published_distribution(task: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    env = make_published(task)
    env.seed(0)

    def skip_settling() -> None:
        """The draw alone; positions are those of the untouched scene."""
        mujoco.mj_forward(env.model, env.data)
        env.init_tcp = env.tcp_center

    env._reset_hand = skip_settling
    pool = make_pool(task, backend="native", num_threads=1, num_envs=20, **ORIGINAL)
    published, drawn = [], []
    for _ in range(300):
        env.reset()
        published.append(env._last_rand_vec)
    for seed in range(15):
        pool.reset(seed=seed)
        drawn.extend(pool.get_state()["rand_vec"])
    published, drawn = np.array(published), np.array(drawn)
    assert len(np.unique(drawn, axis=0)) == 300, "every reset of every environment differs"
    for column in range(drawn.shape[1]):
        if np.ptp(published[:, column]) > 0:
            assert stats.ks_2samp(published[:, column], drawn[:, column]).pvalue > 1e-3
        else:
            assert np.ptp(drawn[:, column]) == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "options", [{}, {"fixed_goals": True}, {"autoreset": "next_step", "reward": "dense"}]
)
def test_seeded_runs_equal_the_reference_pool(task: str, options: dict) -> None:
    """Whole runs with several episodes, action repeat and autoreset: every array and the final states."""
    common = {"num_envs": 2, "seed": 5, "max_episode_steps": 15, **options}
    reference = make_pool(task, backend="reference", **common)
    native = make_pool(task, backend="native", num_threads=2, **common)
    np.testing.assert_array_equal(reference.reset()[0]["state"], native.reset()[0]["state"])
    rng = np.random.default_rng(1)
    for _ in range(40):
        actions = rng.uniform(-1.2, 1.2, (2, 4))
        assert_same_step(reference.step(actions), native.step(actions))
    assert_same_state(reference.get_state(), native.get_state())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("direction", ["reference to native", "native to reference"])
def test_states_continue_on_the_other_backend(task: str, direction: str) -> None:
    backends = direction.split(" to ")
    common = {"num_envs": 1, "reward": "dense", "max_episode_steps": 30}
    first, second = (make_pool(task, backend=backend, **common) for backend in backends)
    rng = np.random.default_rng(2)
    first.reset(seed=3)
    for _ in range(7):
        first.step(rng.uniform(-1, 1, (1, 4)))
    second.reset(seed=99)
    observation = second.set_state(first.get_state())
    np.testing.assert_array_equal(observation["state"][0], first.get_state()["observation"][0].astype("f4"))
    for _ in range(40):
        actions = rng.uniform(-1, 1, (1, 4))
        assert_same_step(first.step(actions), second.step(actions))
    assert_same_state(first.get_state(), second.get_state())


@pytest.mark.parametrize("task", TASKS)
def test_steps_equal_wherever_objects_lie(task: str) -> None:
    """Places that neither experts nor random hands reach: objects anywhere, the hand around them."""
    reference = make_pool(task, backend="reference", num_envs=1, max_episode_steps=500, **ORIGINAL)
    native = make_pool(task, backend="native", num_envs=1, max_episode_steps=500, **ORIGINAL)
    reference.reset(seed=11), native.reset(seed=12)
    env, rng, rewards = reference._episodes[0].env.published, np.random.default_rng(0), set()
    for _ in range(15):
        scatter(env, rng)
        native.set_state(reference.get_state())
        grip = rng.choice([-1.0, 1.0])
        for _ in range(5):
            actions = np.append(rng.uniform(-1, 1, 3), grip)[None]
            expected = reference.step(actions)
            assert_same_step(expected, native.step(actions))
            rewards.add(float(expected[1][0]))
    assert len(rewards) > 1  # some tasks reward nothing before a grasp


def scatter(env, rng: np.random.Generator) -> None:
    """Moves what is not the arm, upright, and the hand near the first object; all settle for a moment."""
    model, qpos = env.model, env.data.qpos.copy()
    low, high = (-0.3, 0.5, 0.0), (0.3, 0.9, 0.3)
    for joint in range(model.njnt):
        name, start = model.joint(joint).name, model.jnt_qposadr[joint]
        if name.startswith("right_j") or name in ("r_close", "l_close"):
            continue
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            near_goal = env._get_pos_goal() + rng.normal(size=3) * 0.1
            qpos[start : start + 3] = near_goal if rng.random() < 0.5 else rng.uniform(low, high)
            qpos[start + 3 : start + 7] = env.init_qpos[start + 3 : start + 7]
        else:
            qpos[start] = rng.uniform(*model.jnt_range[joint])
    env.set_state(qpos, np.zeros(model.nv))
    hand = env._get_pos_objects()[:3] + rng.normal(size=3) * 0.05 + (0, 0, 0.06)
    env.data.mocap_pos[0] = np.clip(hand, env.mocap_low, env.mocap_high)
    mujoco.mj_step(env.model, env.data, nstep=40)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_experts_succeed_as_often_as_on_the_published_environments(task: str) -> None:
    """The same 40 seeds on both: equal counts, since episodes are equal (far inside the 95% interval)."""
    counts = []
    for backend in ("reference", "native"):
        pool, expert = make_pool(task, backend=backend, num_envs=8, max_episode_steps=250), make_expert(task)
        successes = 0
        for seed in range(5):
            obs, _ = pool.reset(seed=seed)
            alive = np.ones(8, dtype=bool)
            while alive.any():
                actions = np.stack([expert(row) for row in obs["state"].astype(np.float64)])
                obs, _, terminated, truncated, info = pool.step(actions)
                successes += int((info["success"] & alive).sum())
                alive &= ~(terminated | truncated)
        counts.append(successes)
    assert counts[0] == counts[1] > 20, counts


def assert_same_step(expected: tuple, got: tuple) -> None:
    np.testing.assert_array_equal(got[0]["state"], expected[0]["state"])
    for position in (1, 2, 3):
        np.testing.assert_array_equal(got[position], expected[position])
        assert got[position].dtype == expected[position].dtype
    assert set(got[4]) == set(expected[4])
    for key, value in expected[4].items():
        if isinstance(value, dict):
            assert set(value) == set(got[4][key])
            for name, entry in value.items():
                np.testing.assert_allclose(got[4][key][name], entry, rtol=0, atol=1e-9)
                assert got[4][key][name].dtype == entry.dtype
        else:
            np.testing.assert_array_equal(got[4][key], value)


def assert_same_state(expected: dict, got: dict) -> None:
    assert set(got) == set(expected)
    for key, value in expected.items():
        assert got[key].dtype == value.dtype, key
        np.testing.assert_array_equal(got[key], value, err_msg=key)
