"""Scripted experts."""

import numpy as np
import pytest

from ibrl_fast.envs import episode_seeds, evaluate_policy, list_tasks, make_expert, make_pool


@pytest.mark.filterwarnings("ignore:Constant")
def test_is_the_published_policy_clipped_to_the_action_range(published):
    from metaworld.policies import SawyerBoxCloseV3Policy

    env, expert, plain = published("box-close-v3", 3), make_expert("box-close"), SawyerBoxCloseV3Policy()
    state, _ = env.reset()
    clipped = 0
    for _ in range(60):
        expected = plain.get_action(state)
        action = expert(state)
        assert action.dtype == np.float32 and action.shape == (4,)
        np.testing.assert_array_equal(action, np.clip(expected, -1, 1))
        clipped += int(np.abs(expected).max() > 1)
        state, *_ = env.step(action)
    assert clipped > 0


def test_every_task_has_an_expert():
    for task in list_tasks():
        if not task.startswith("metaworld/"):
            continue
        action = make_expert(task)(np.linspace(0.0, 0.5, 39))
        assert action.shape == (4,) and np.isfinite(action).all() and np.abs(action).max() <= 1


def test_bad_input():
    with pytest.raises(ValueError, match="unknown name"):
        make_expert("nothing")
    with pytest.raises(ValueError, match=r"state: expected \[39\], got \[2, 39\]"):
        make_expert("assembly")(np.zeros((2, 39)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "long_run_rate"),
    [("assembly", 1.0), ("box-close", 0.935), ("coffee-push", 1.0), ("stick-pull", 0.755)],
)
def test_success_rates_over_50_episodes(task, long_run_rate):
    expert = make_expert(task)
    result = evaluate_policy(
        make_pool(task, num_envs=2, autoreset="disabled"),
        lambda observations: np.stack([expert(state) for state in observations["state"]]),
        episode_seeds(2024, 50),
    )
    low, high = result.interval
    print(f"{task}: {result.success_rate:.2f} [{low:.2f}, {high:.2f}], {np.mean(result.lengths):.1f} steps")
    assert low <= long_run_rate <= high
