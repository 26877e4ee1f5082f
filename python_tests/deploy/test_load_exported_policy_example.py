"""examples/03_load_exported_policy.py runs as its own text says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ibrl_fast
from ibrl_fast.agents import IBRLAgent, IBRLConfig
from ibrl_fast.deploy import ObservationContract, ObservationField
from ibrl_fast.deploy.export import export_policy
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    NetworkConfig,
    build_bc_policy,
    build_networks,
)

ROOT = Path(__file__).parents[2]
PACKAGE = Path(ibrl_fast.__file__).parents[1]


@pytest.fixture
def policy_path(tmp_path: Path) -> Path:
    """An untrained policy for a Meta-World task."""
    contract = ObservationContract(
        {"state": ObservationField((39,), stack=3)},
        4,
        action_repeat=2,
        metadata={"task": "metaworld/assembly"},
    )
    shapes = {"state": (117,)}
    torch.manual_seed(0)
    actor = ActorConfig(hidden=(8,))
    networks = build_networks(NetworkConfig(actor, CriticConfig(2, (8,))), shapes, 4)
    bc_policy = build_bc_policy(BCNetworkConfig(actor), shapes, 4)
    agent = IBRLAgent(networks, IBRLConfig(), bc_policy, seed=0)
    return export_policy(agent, tmp_path / "policy.pt", contract=contract)


def test_example_runs_the_exported_policy(policy_path: Path) -> None:
    script = ROOT / "examples" / "03_load_exported_policy.py"
    command = [sys.executable, "-W", "ignore", script, policy_path, "--episodes", "2", "--max-steps", "5"]
    result = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "torchscript policy for metaworld/assembly, action [4]"
    assert lines[1] == "  state: float32 [39], 3 frame(s) stacked by the policy"
    assert [line.split(",")[0] for line in lines[2:]] == [
        f"episode {episode}: no success after 5 steps" for episode in range(2)
    ]
    assert len(script.read_text().splitlines()) < 100
