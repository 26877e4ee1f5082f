"""Run an exported policy on a robot, here the mock robot behind a server of its own: one script, no hardware.

    python examples/06_run_on_a_robot.py --out runs/robot_day

Without `--policy` a small written policy that lifts the mock's block is exported first. On hardware the
server runs beside the arm (`ibrl-fast robot serve`), and only the address differs. Needs the extra `robot`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict  # noqa: UP035 (the words that TorchScript reads)

import torch
from torch import Tensor, nn

from ibrl_fast import load_policy
from ibrl_fast.deploy import ObservationContract, ObservationField
from ibrl_fast.deploy.export import export_policy
from ibrl_fast.robot import (
    EpisodeRecorder,
    LiftSuccess,
    MockRobot,
    RemoteRobot,
    RobotClient,
    RobotServer,
    SafetyLimits,
    StopFile,
    write_limits,
    write_report,
)


class LiftPolicy(nn.Module):
    """Go to the block, grasp it, go up; `state` [12]: position, quaternion, width, target, block."""

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map `[N, 12]` to actions `[N, 4]`: translation, and the gripper (-1 open, 1 closed)."""
        state = obs["state"]
        way = state[:, 9:] - state[:, :3]
        far = way.square().sum(1, keepdim=True) > 1e-4
        grasped = (state[:, 7:8] < 0.0405) & (state[:, 8:9] < 0.01)
        go = torch.cat([(way / 0.03).clamp(-1.0, 1.0), -torch.ones_like(way[:, :1])], 1)
        lift = torch.zeros_like(go)
        lift[:, 2:3] = 0.5 * grasped.to(way.dtype)
        lift[:, 3] = 1.0
        return torch.where(far, go, lift)


def main() -> None:
    """Serve, run episodes, and write a page about them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", type=Path, help="an exported policy that reads the mock's sensors")
    parser.add_argument("--out", type=Path, required=True, help="folder for episodes, limits and the page")
    parser.add_argument("--episodes", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    # What runs on the robot is one file
    path = arguments.policy
    if path is None:
        contract = ObservationContract({"state": ObservationField((12,))}, 4, control_period=0.1)
        path = export_policy(LiftPolicy(), arguments.out / "lift.pt", contract=contract)

    # Limits: learned from demonstrations by `ibrl-fast robot bounds`, here written down
    limits = SafetyLimits((0.25, -0.15, 0.045), (0.55, 0.15, 0.35))
    write_limits(arguments.out / "limits.json", limits)

    # The server owns the hardware; the client is told where it listens
    with RobotServer(MockRobot(seed=0), limits, address="tcp://127.0.0.1:0", say=print) as server:
        client = RobotClient(
            RemoteRobot(server.address),
            load_policy(path),
            rate_hz=10,
            safety=limits,
            success=LiftSuccess(),
            switches=[StopFile(arguments.out / "STOP")],  # `touch STOP` stops the robot
            max_steps=75,
            recorder=EpisodeRecorder(arguments.out),
        )
        for number in range(arguments.episodes):
            client.arm()
            episode = client.run_episode()
            print(f"episode {number}: {episode.report(client.period)}")
        client.close()
    for file in write_report(arguments.out, arguments.out, limits):
        print(file)


if __name__ == "__main__":
    main()
