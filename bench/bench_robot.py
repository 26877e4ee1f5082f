"""A soak of the control loop: episodes of a policy at 10 Hz through the socket to the mock robot's server.

    python bench/bench_robot.py [--sizes state pixel] [--minutes 30] [--threads 1] [--priority 50] [--core 1]

The server runs in a process of its own. Policies are untrained hybrid policies of the paper's sizes (state:
36 numbers; pixel: 96 x 96 wrist camera, ViT with a ResNet-18 proposal, proprioception 27); the safety filter
clips what would leave the box. Counts missed deadlines and holds, quantiles of every stage and of the jitter
between commands, and the memory of client and server at the start and at the end. Writes
results/bench_robot.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from record import Results, bench_parser

import ibrl_fast
from ibrl_fast.agents import IBRLConfig
from ibrl_fast.agents.ibrl import IBRLAgent
from ibrl_fast.deploy import ObservationContract, ObservationField, load_policy
from ibrl_fast.deploy.export import export_policy
from ibrl_fast.nn import BCNetworkConfig, NetworkConfig, ResNet18Config, build_bc_policy, build_networks
from ibrl_fast.robot import (
    MockRobot,
    RemoteRobot,
    RobotClient,
    SafetyLimits,
    read_limits,
    real_time,
    write_limits,
)
from ibrl_fast.robot.timing import summarise, table

RATE_HZ = 10.0
ACTION_DIM = 7
STEPS = 150
LIMITS = SafetyLimits((0.2, -0.2, 0.045), (0.6, 0.2, 0.5), on_boundary="clip")

SERVER = """
import sys
from ibrl_fast.cli import main
main(["robot", "serve", "--limits", sys.argv[1], "--address", "tcp://127.0.0.1:0", *sys.argv[2:]])
"""


def export(size: str, folder: Path) -> Path:
    """Write an untrained hybrid policy."""
    torch.manual_seed(0)
    sensors = MockRobot().connect().sensors
    if size == "state":
        fields = {"state": ObservationField(sensors["state"].shape, stack=3)}
        network, bc_network = NetworkConfig.state(), BCNetworkConfig()
    else:
        fields = {
            "wrist": sensors["wrist"],
            "proprio": ObservationField(sensors["proprio"].shape, stack=3),
        }
        network, bc_network = NetworkConfig.pixel_vit(), BCNetworkConfig(encoder=ResNet18Config())
    shapes = {name: field.stacked_shape for name, field in fields.items()}
    networks = build_networks(network, shapes, ACTION_DIM)
    agent = IBRLAgent(networks, IBRLConfig(), build_bc_policy(bc_network, shapes, ACTION_DIM), seed=0)
    contract = ObservationContract(fields, ACTION_DIM, control_period=1.0 / RATE_HZ)
    return export_policy(agent, folder / f"{size}.pt", contract=contract)


def resident_mb(process: int | str) -> float:
    """Return the memory of a process that is in RAM, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def soak(size: str, args: Any, folder: Path) -> dict[str, Any]:
    """Run episodes of 150 steps, the paper's longest; return what they were like together."""
    limits = folder / "limits.json"
    write_limits(limits, LIMITS)
    command = [sys.executable, "-c", SERVER, str(limits)]
    if args.priority is not None:
        command += ["--priority", str(args.priority)]
    root = Path(ibrl_fast.__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        assert server.stdout is not None
        address = next(line.split()[-1] for line in server.stdout if line.startswith("listening"))
        client = RobotClient(
            RemoteRobot(address),
            load_policy(export(size, folder)),
            RATE_HZ,
            safety=read_limits(limits),
            max_steps=STEPS,
        )
        try:
            # threads inherit the priority, those of the socket too
            with real_time(args.priority, args.core) as wishes:
                client.arm()
                episodes = [client.run_episode()]
                before = {"client_mb": resident_mb("self"), "server_mb": resident_mb(server.pid)}
                while client.is_armed and len(episodes) * STEPS < 60.0 * args.minutes * RATE_HZ:
                    episodes.append(client.run_episode())
                    # what was seen is not what is measured here
                    episodes[-1].steps.clear()
            after = {"client_mb": resident_mb("self"), "server_mb": resident_mb(server.pid)}
        finally:
            client.close()
            server.terminate()
    timing = summarise([times for episode in episodes for times in episode.times], client.period)
    outcomes = Counter(episode.outcome for episode in episodes)
    held: Counter[str] = Counter()
    for episode in episodes:
        held.update(episode.held)
    ticks, missed = sum(len(episode.times) for episode in episodes), sum(e.missed for e in episodes)
    print(f"\n{size}: {dict(outcomes)} {episodes[-1].detail}\n{table(timing)}")
    print(f"missed {missed} of {ticks}, held {dict(held)}, wishes {wishes}")
    print(f"memory {before} to {after}")
    return {
        "outcomes": dict(outcomes),
        "last_detail": episodes[-1].detail,
        "ticks": ticks,
        "missed_deadlines": missed,
        "held": dict(held),
        "quantiles_ms": timing,
        "memory_before": before,
        "memory_after": after,
        "wishes": wishes,
    }


def main() -> None:
    """Soak every size, print tables, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=("state", "pixel"), default=["state", "pixel"])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--priority", type=int)
    parser.add_argument("--core", type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    written = Results(args)
    with tempfile.TemporaryDirectory() as folder:
        soaks = {size: soak(size, args, Path(folder)) for size in args.sizes}
    written.write({"rate_hz": RATE_HZ, "threads": args.threads, "sizes": soaks})


if __name__ == "__main__":
    main()
