"""Run an exported policy step by step, as a robot would; here the simulator plays the robot.

    ibrl-fast train --run-dir runs/assembly
    python examples/03_load_exported_policy.py runs/assembly/policy.pt --episodes 3

The policy needs torch and NumPy alone; the simulator is only this example's stand-in for sensors and motors.
"""

from __future__ import annotations

import argparse

import numpy as np

from ibrl_fast import load_policy, make_pool


def main() -> None:
    """Prints what the policy expects, then one line per episode."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("policy", help="a file that `ibrl-fast export` or a training run wrote")
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--max-steps", type=int, default=100, help="agent steps until an episode is given up")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    # The file says what the policy was made for: names, shapes, dtypes, ranges, stacks
    policy = load_policy(arguments.policy)
    contract = policy.contract
    print(f"{policy.format} policy for {contract.metadata['task']}, action [{contract.action_dim}]")
    for name, field in contract.observations.items():
        print(f"  {name}: {field.dtype} {list(field.shape)}, {field.stack} frame(s) stacked by the policy")

    # The stand-in for a robot: one environment that measures what the policy wants
    cameras = {name: field for name, field in contract.observations.items() if field.kind == "image"}
    vectors = len(contract.observations) > len(cameras)
    size = next(iter(cameras.values())).shape[1] if cameras else 84
    robot = make_pool(
        str(contract.metadata["task"]),
        observation="both" if cameras and vectors else "pixels" if cameras else "state",
        cameras=tuple(cameras) or ("corner2",),
        image_size=size,
        action_repeat=contract.action_repeat or 1,
        max_episode_steps=arguments.max_steps,
        seed=arguments.seed,
    )

    # The control loop: measure, choose, act
    observation, _ = robot.reset(seed=arguments.seed)
    for episode in range(arguments.episodes):
        policy.reset()
        sources = []
        while True:
            frame = {name: observation[name][0] for name in contract.observations}
            action = policy.step(frame)
            sources.append(policy.source)
            observation, _, terminated, truncated, info = robot.step(action[None])
            if terminated[0] or truncated[0]:
                break
        outcome = "success" if info["success"][0] else "no success"
        print(
            f"episode {episode}: {outcome} after {len(sources)} steps, "
            f"{100 * np.mean(sources):.0f}% of them by the imitation policy"
        )
    robot.close()


if __name__ == "__main__":
    main()
