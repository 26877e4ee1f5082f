"""Train on an environment that a function of one's own makes, with one's own success and scripted expert.

    python examples/05_own_environment.py

Here the environment is Gymnasium's pendulum: its reward is a cost, its torque is in [-2, 2] Nm, and it
knows no success. It is to be swung up: to be upright and slow once is success, which ends the episode.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ibrl_fast import Trainer, load_policy, preset, register_env

TASK = "own/pendulum"


def make() -> gymnasium.Env:
    """The environment, without its time limit: the run has one."""
    return gymnasium.make("Pendulum-v1").unwrapped


def is_upright(reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> bool:
    """Success of a step: the cost, angle^2 + 0.1 speed^2 + 0.001 torque^2, is small."""
    return reward > -0.02


def swing_up(state: np.ndarray) -> np.ndarray:
    """A controller: pump energy, then balance. State (cos, sin, rad/s) [3] -> action [1] in [-1, 1]."""
    cos, sin, speed = state
    lacking = 5.0 - (speed**2 / 6.0 + 5.0 * cos)
    torque = -8.0 * sin - 1.5 * speed if cos > 0.85 else 1.5 * lacking * (speed if speed else 1.0)
    return np.array([np.clip(torque / 2.0, -1.0, 1.0)], np.float32)


def main() -> None:
    """Registers the task and trains on it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/pendulum_seed{seed}"))
    parser.add_argument("--env-steps", type=int, default=20_000)
    parser.add_argument("--eval-episodes", type=int, default=50)
    arguments = parser.parse_args()

    # The task of this name is known to this process: the run evaluates here, and says so
    register_env(TASK, make, success=is_upright, expert=swing_up)

    # Demonstrations are the registered expert's
    config = preset("quickstart")
    config = replace(
        config,
        seed=arguments.seed,
        run_dir=arguments.run_dir,
        total_env_steps=arguments.env_steps,
        env=replace(config.env, task=TASK, max_episode_steps=60),
        demos=replace(config.demos, episodes=2),
        evaluation=replace(config.evaluation, episodes=arguments.eval_episodes, every_env_steps=2_000),
    )
    result = Trainer(config).run()
    if result.interrupted:
        return
    print(f"imitation {result.bc_success_rate:.0%}, final policy {result.success_rate:.0%}")

    # The exported policy acts in [-1, 1] and says what that is in the environment's own units
    policy = load_policy(result.policy_path)
    state, _ = make().reset(seed=1)
    torque = policy.contract.to_controls(policy.step({"state": state}))
    print(
        f"first torque: {torque[0]:.2f} of {policy.contract.control_low} to {policy.contract.control_high} Nm"
    )


if __name__ == "__main__":
    main()
