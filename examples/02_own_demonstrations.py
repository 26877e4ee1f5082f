"""Write own demonstrations as robomimic-format HDF5, then train on them.

    python examples/02_own_demonstrations.py --out my_demos.hdf5

Here a hand-written controller demonstrates `reach`: replace `demonstrate` by teleoperation, another simulator
or a log of a robot. A demonstration holds T actions in [-1, 1] and T + 1 observations, the final one too.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ibrl_fast import Trainer, make_pool, preset, write_demonstrations
from ibrl_fast.data import Demonstration
from ibrl_fast.envs import BasePool

TASK = "metaworld/reach"


def demonstrate(pool: BasePool, seed: int) -> Demonstration:
    """One episode, controlled by hand: towards the goal, the last 3 entries of the state."""
    observation, _ = pool.reset(seed=seed)
    states = [observation["state"][0].copy()]
    actions, rewards, terminated, truncated = [], [], [], []
    while not terminated or not (terminated[-1] or truncated[-1]):
        action = np.zeros(4, dtype=np.float32)
        action[:3] = np.clip(10.0 * (states[-1][-3:] - states[-1][:3]), -1.0, 1.0)
        observation, reward, ended, cut, _ = pool.step(action[None])
        states.append(observation["state"][0].copy())
        actions.append(action)
        rewards.append(reward[0])
        terminated.append(bool(ended[0]))
        truncated.append(bool(cut[0]))
    return Demonstration(
        observations={"state": np.stack(states)},
        actions=np.stack(actions),
        rewards=np.asarray(rewards, dtype=np.float32),
        terminated=np.asarray(terminated),
        truncated=np.asarray(truncated),
        seed=seed,
    )


def main() -> None:
    """Writes the demonstrations and trains on them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("my_demos.hdf5"))
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/own_demonstrations"))
    parser.add_argument("--env-steps", type=int, default=10_000)
    parser.add_argument("--eval-episodes", type=int, default=50)
    arguments = parser.parse_args()

    # With autoreset off, the observation after the last step is the episode's final one
    pool = make_pool(TASK, autoreset="disabled")
    demos = [demonstrate(pool, seed) for seed in range(arguments.episodes)]
    pool.close()
    write_demonstrations(arguments.out, demos, {"env_name": TASK, "type": 2})
    print(f"{len(demos)} demonstrations of {[len(demo) for demo in demos]} steps: {arguments.out}")

    # The same file serves `ibrl-fast train --task metaworld/reach --demos my_demos.hdf5`
    config = preset("quickstart")
    config = replace(
        config,
        run_dir=arguments.run_dir,
        total_env_steps=arguments.env_steps,
        env=replace(config.env, task=TASK),
        demos=replace(config.demos, path=arguments.out, episodes=arguments.episodes),
        evaluation=replace(config.evaluation, episodes=arguments.eval_episodes),
    )
    result = Trainer(config).run()
    if not result.interrupted:
        print(f"imitation {result.bc_success_rate:.0%}, final policy {result.success_rate:.0%}")


if __name__ == "__main__":
    main()
