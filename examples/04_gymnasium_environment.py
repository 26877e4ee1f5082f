"""Train on a Gymnasium environment by its id: FetchPickAndPlace, demonstrated by a scripted controller.

    pip install 'ibrl_fast[robotics]' && python examples/04_gymnasium_environment.py

The environment is as its authors made it: parts of its Dict observation are joined to `state`, success, which
`info["is_success"]` reports, is a reward of 1, and its own time limit of 50 steps holds. On the command line:
`ibrl-fast train --env.task gym:gymnasium_robotics:FetchPickAndPlace-v4 --demos FILE`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ibrl_fast import Trainer, collect_demonstrations, preset, write_demonstrations

# The module whose import registers the id stands before it, so that every process can resolve it
TASK = "gym:gymnasium_robotics:FetchPickAndPlace-v4"
KEYS = ("observation", "desired_goal")


def pick_and_place(state: np.ndarray) -> np.ndarray:
    """A controller: above the block, down, grip, to the goal. state [28] -> action [4] in [-1, 1].

    The state joins `KEYS`: gripper 3, block 3, block from gripper 3, fingers 2, ..., goal 3.
    """
    block, offset, opening, goal = state[3:6], state[6:9], state[9] + state[10], state[-3:]
    action = np.zeros(4, np.float32)
    if np.abs(offset).max() < 0.015:
        action[3] = -1.0
        if opening < 0.058:
            action[:3] = 10.0 * (goal - block)
    else:
        action[3] = 1.0
        is_above = np.hypot(*offset[:2]) < 0.02
        action[:3] = 12.0 * (offset + (0.0 if is_above else np.array([0.0, 0.0, 0.08])))
    return np.clip(action, -1.0, 1.0)


def main() -> None:
    """Collects demonstrations and trains on them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demos", type=int, default=20)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/fetch_seed{seed}"))
    parser.add_argument("--env-steps", type=int, default=24_000)
    parser.add_argument("--eval-episodes", type=int, default=50)
    arguments = parser.parse_args()

    # A preset, and what differs from it: every step is acted on, `state` is these two entries, the actor
    # climbs the mean of five critics, and half of every batch are demonstrations
    config = preset("quickstart")
    agent = replace(config.agent, actor_objective="mean", demo_fraction=0.5)
    network = replace(config.network, critic=replace(config.network.critic, num_critics=5))
    env = replace(config.env, task=TASK, action_repeat=1, max_episode_steps=50, state_keys=KEYS)
    config = replace(
        config,
        seed=arguments.seed,
        run_dir=arguments.run_dir,
        total_env_steps=arguments.env_steps,
        env=env,
        agent=agent,
        network=network,
        bc=replace(config.bc, updates=1_000),
        evaluation=replace(config.evaluation, episodes=arguments.eval_episodes, every_env_steps=4_000),
    )

    # Demonstrations lie beside the run; `ibrl-fast demos TASK --expert MODULE:FUNCTION` makes them, too
    demos = collect_demonstrations(
        episodes=arguments.demos, expert=pick_and_place, seed=arguments.seed, **env.pool_kwargs()
    )
    file = config.resolved_run_dir().with_suffix(".hdf5")
    write_demonstrations(file, demos)
    config = replace(config, demos=replace(config.demos, path=file, episodes=None))

    result = Trainer(config).run()
    if not result.interrupted:
        print(f"imitation {result.bc_success_rate:.0%}, final policy {result.success_rate:.0%}")


if __name__ == "__main__":
    main()
