"""Train an IBRL policy from Python; every field of the configuration is a plain value.

    python examples/01_train.py --task metaworld/coffee-push --seed 1

Demonstrations are collected with the task's scripted expert, an imitation policy is fitted to them, and
reinforcement learning goes on from there. Ctrl-C saves; `Trainer.from_checkpoint(run_dir).run()` goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ibrl_fast import Trainer, preset


def main() -> None:
    """Trains one run and prints what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="metaworld/assembly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/{task}_{method}_seed{seed}"))
    parser.add_argument("--env-steps", type=int, default=60_000)
    parser.add_argument("--eval-episodes", type=int, default=50)
    arguments = parser.parse_args()

    # A preset, and what differs from it
    config = preset("quickstart")
    config = replace(
        config,
        seed=arguments.seed,
        run_dir=arguments.run_dir,
        total_env_steps=arguments.env_steps,
        env=replace(config.env, task=arguments.task),
        evaluation=replace(config.evaluation, episodes=arguments.eval_episodes),
    )

    # Everything else: demonstrations, imitation, training, evaluation, export, pictures
    result = Trainer(config).run()
    if result.interrupted:
        print(f"stopped at {result.env_steps} environment steps; saved in {result.run_dir}")
        return
    print(f"imitation {result.bc_success_rate:.0%}, final policy {result.success_rate:.0%}")
    print(f"{result.env_steps} environment steps in {result.wall_seconds:.0f} s: {result.policy_path}")


if __name__ == "__main__":
    main()
