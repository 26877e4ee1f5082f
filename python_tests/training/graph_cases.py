"""Small agents and filled buffers for the tests of graph capture."""

from __future__ import annotations

import pkgutil
from typing import Any

import numpy as np
import torch

from ibrl_fast.agents import (
    IBRLConfig,
    IBRLRPLConfig,
    ProposalRule,
    ResFiTConfig,
    RFTConfig,
    RLPDConfig,
    RPLConfig,
    TD3Config,
)
from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    DrQConfig,
    NetworkConfig,
    ResNet18Config,
    ViTConfig,
    build_bc_policy,
    build_networks,
)

ACTION_DIM, BATCH = 3, 8
STATE = {"state": ObsSpec((6,))}
PIXELS = {"camera": ObsSpec((3, 36, 36), torch.uint8), "proprio": ObsSpec((4,))}


def networks(kind: str, num_critics: int) -> NetworkConfig:
    """Narrow networks of the paper's kinds: `state`, `vit` and `drq`."""
    if kind == "state":
        return NetworkConfig(
            actor=ActorConfig(hidden=(16, 16), dropout=0.5),
            critic=CriticConfig(num_critics=num_critics, hidden=(16, 16)),
        )
    drq = kind == "drq"
    return NetworkConfig(
        actor=ActorConfig(hidden=(12, 12), layer_norm=True, compress_dim=10, dropout=0.5),
        critic=CriticConfig(
            num_critics=num_critics, hidden=(12, 12), head="trunk" if drq else "spatial", embed_dim=16
        ),
        encoder=DrQConfig(channels=4) if drq else ViTConfig(token_dim=16, mlp_dim=32),
    )


def specs(kind: str) -> dict[str, ObsSpec]:
    return STATE if kind == "state" else PIXELS


# name -> (kind of network, critics, critic updates a round, configuration)
CASES: dict[str, tuple[str, int, int, TD3Config]] = {
    "ibrl-state-E5-G5": ("state", 5, 5, IBRLConfig()),
    "ibrl-soft-state": ("state", 5, 2, IBRLConfig(beta=5.0)),
    "ibrl-paired-rule": (
        "state",
        5,
        1,
        IBRLConfig(acting_rule=ProposalRule("paired"), bootstrap_rule=ProposalRule("lcb")),
    ),
    "td3-state": ("state", 3, 2, TD3Config()),
    "ibrl-vit": ("vit", 3, 1, IBRLConfig()),
    "ibrl-soft-drq": ("drq", 2, 2, IBRLConfig(beta=1.0)),
    "rlpd-state": ("state", 3, 2, RLPDConfig(demo_fraction=0.25)),
    "rlpd-drq": ("drq", 2, 1, RLPDConfig()),
    "resfit-state": ("state", 3, 2, ResFiTConfig()),
    "rft-state": ("state", 3, 2, RFTConfig()),
    "rft-drq": ("drq", 2, 1, RFTConfig()),
    "rpl-state": ("state", 3, 2, RPLConfig()),
    "rpl-vit": ("vit", 2, 1, RPLConfig()),
    "ibrl_rpl-state": ("state", 5, 1, IBRLRPLConfig()),
    "ibrl_rpl-soft-vit": ("vit", 3, 1, IBRLRPLConfig(beta=2.0)),
}


def make_agent(
    kind: str, num_critics: int, config: TD3Config, device: torch.device | str = "cpu", agent: Any = None
) -> Any:
    """An agent with weights from a fixed seed; `agent` is a class to use instead of the configuration's."""
    torch.manual_seed(1)
    shapes = {key: spec.shape for key, spec in specs(kind).items()}
    parts = build_networks(
        networks(kind, num_critics), shapes, ACTION_DIM, residual_scale=config.residual_scale
    )
    bc = None
    if config.starts_from_teacher:
        bc = build_bc_policy(networks(kind, num_critics).imitation(), shapes, ACTION_DIM)
    elif config.needs_teacher:
        encoder = None if kind == "state" else ResNet18Config(base_channels=2)
        actor = ActorConfig(hidden=(8,), dropout=0.0, compress_dim=None)
        bc = build_bc_policy(BCNetworkConfig(actor=actor, encoder=encoder), shapes, ACTION_DIM)
    return (agent or pkgutil.resolve_name(config.learner))(parts, config, bc, seed=7, device=device)


def observations(kind: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Random ones, unstacked."""
    rng = np.random.default_rng(seed)
    return {
        key: rng.integers(0, 256, (count, *spec.shape), dtype=np.uint8)
        if spec.is_image
        else rng.normal(size=(count, *spec.shape)).astype(np.float32)
        for key, spec in specs(kind).items()
    }


DEMO_STEPS = 6


class Feeder:
    """A buffer with demonstrations and the random steps that it is given, the same in every instance."""

    def __init__(
        self,
        kind: str,
        device: torch.device | str = "cpu",
        *,
        steps: int = 30,
        demos: int = 1,
        **options: Any,
    ) -> None:
        self.kind, self.steps = kind, 0
        options = {"storage": "device", **options}
        self.buffer = ReplayBuffer(
            BufferPlan(
                specs(kind),
                ACTION_DIM,
                capacity=200,
                max_episode_steps=10,
                demo_capacity=DEMO_STEPS * demos,
                num_demos=demos,
                device=device,
                seed=5,
                **options,
            )
        )
        for number in range(demos):
            self._add_demonstration(np.random.default_rng(number))
        self.feed(steps)

    def _add_demonstration(self, rng: np.random.Generator) -> None:
        demo = Demonstration(
            observations=observations(self.kind, DEMO_STEPS + 1, int(rng.integers(1000))),
            actions=rng.uniform(-1, 1, (DEMO_STEPS, ACTION_DIM)),
            rewards=np.zeros(DEMO_STEPS),
            terminated=np.arange(DEMO_STEPS) == DEMO_STEPS - 1,
            truncated=np.zeros(DEMO_STEPS, bool),
        )
        self.buffer.add_demonstrations([demo], [rng.uniform(-1, 1, (DEMO_STEPS + 1, 1, ACTION_DIM))])

    def feed(self, steps: int) -> None:
        for _ in range(steps):
            rng = np.random.default_rng(self.steps)
            if self.steps % 10 == 0:
                self.buffer.start_episode(
                    None, observations(self.kind, 1, self.steps), rng.uniform(-1, 1, (1, 1, ACTION_DIM))
                )
            self.buffer.append(
                rng.uniform(-1, 1, (1, ACTION_DIM)),
                rng.uniform(size=1),
                np.array([self.steps % 20 == 9]),
                np.array([self.steps % 20 == 19]),
                observations(self.kind, 1, self.steps + 10_000),
                rng.uniform(-1, 1, (1, 1, ACTION_DIM)),
            )
            self.steps += 1
