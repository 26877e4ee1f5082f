"""What bench_update times: sizes, filled buffers, and the update rounds of every candidate."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from baselines.plain_update import PlainIBRL
from costs import RoundCost, pixel_cost, state_cost

from ibrl_fast.agents import IBRLAgent, IBRLConfig
from ibrl_fast.data import BufferPlan, ObsSpec, ReplayBuffer
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    NetworkConfig,
    build_bc_policy,
    build_networks,
)
from ibrl_fast.training.update_round import UpdateRound

Call = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """A round's networks and data; vector is 0 without one, image is (channels, size, size) or None."""

    network: NetworkConfig
    bc: BCNetworkConfig
    vector: int
    stack: int
    action_dim: int
    batch: int
    critic_updates: int
    image: tuple[int, int, int] | None = None

    def cost(self, width: int) -> RoundCost:
        """Count necessary operations and bytes, with activations of `width` bytes."""
        features = self.vector * self.stack
        if self.image is None:
            return state_cost(self.network, self.batch, features, self.action_dim, width=width)
        sizes = (self.batch, *self.image[:2], features, self.action_dim)
        return pixel_cost(self.network, *sizes, width=width)

    @property
    def vector_key(self) -> str:
        """What the vector is called."""
        return "state" if self.image is None else "proprio"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What the networks read."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.vector:
            shapes[self.vector_key] = (self.vector * self.stack,)
        if self.image is not None:
            shapes["camera"] = self.image
        return shapes


def _small(num_critics: int) -> NetworkConfig:
    """Networks of 2 x 256, as the small presets have."""
    critic = CriticConfig(num_critics=num_critics, hidden=(256, 256))
    return NetworkConfig(actor=ActorConfig(hidden=(256, 256)), critic=critic)


_SMALL_BC = BCNetworkConfig(actor=ActorConfig(hidden=(256, 256, 256), dropout=0.0))
_RESNET = BCNetworkConfig.pixel_resnet18()
SIZES = {
    "state": Size(NetworkConfig.state(), BCNetworkConfig(), 23, 3, 7, 256, 5),
    "pixel": Size(NetworkConfig.pixel_vit(), _RESNET, 9, 3, 7, 256, 1, image=(3, 96, 96)),
    "drq": Size(NetworkConfig.pixel_drq(), _RESNET, 0, 1, 4, 256, 1, image=(3, 84, 84)),
    "quickstart": Size(_small(2), _SMALL_BC, 39, 1, 4, 128, 2),
    "small, 5 critics": Size(_small(5), _SMALL_BC, 39, 1, 4, 256, 2),
    "small, 10 critics": Size(_small(10), _SMALL_BC, 39, 1, 4, 256, 4),
}


def transitions(size: Size, count: int, device: torch.device) -> dict[str, Any]:
    """Make random transitions for the baseline, as arrays of stacked observations."""

    def side() -> dict[str, torch.Tensor]:
        return {
            key: torch.rand(count, *shape, device=device) * 2 - 1
            if len(shape) == 1
            else torch.randint(0, 256, (count, *shape), dtype=torch.uint8, device=device)
            for key, shape in size.shapes.items()
        }

    return {
        "obs": side(),
        "next_obs": side(),
        "action": torch.rand(count, size.action_dim, device=device) * 2 - 1,
        "reward": torch.rand(count, device=device),
        "discount": torch.full((count,), 0.97, device=device),
    }


def filled_buffer(size: Size, count: int, device: torch.device) -> ReplayBuffer:
    """Make a replay buffer of `count` random steps in episodes of 100."""
    space = {size.vector_key: ObsSpec((size.vector,))} if size.vector else {}
    if size.image is not None:
        space["camera"] = ObsSpec(size.image, torch.uint8)
    envs = 10
    buffer = ReplayBuffer(
        BufferPlan(
            space,
            size.action_dim,
            capacity=count,
            max_episode_steps=100,
            num_envs=envs,
            storage="device",
            device=device,
            stacks={size.vector_key: size.stack} if size.vector else {},
        )
    )

    def observe() -> dict[str, torch.Tensor]:
        return {
            name: torch.rand(envs, *spec.shape)
            if spec.dtype == torch.float32
            else torch.randint(0, 256, (envs, *spec.shape), dtype=torch.uint8)
            for name, spec in space.items()
        }

    def propose() -> torch.Tensor:
        return torch.rand(envs, 1, size.action_dim) * 2 - 1

    no = torch.zeros(envs, dtype=torch.bool)
    for step in range(count // envs):
        if step % 100 == 0:
            buffer.start_episode(None, observe(), propose())
        truncated = ~no if step % 100 == 99 else no
        buffer.append(propose()[:, 0], torch.rand(envs), no, truncated, observe(), propose())
    return buffer


def make_agent(size: Size, device: torch.device, precision: str, seed: int = 0) -> IBRLAgent:
    """Make an agent with new networks."""
    torch.manual_seed(seed)
    networks = build_networks(size.network, size.shapes, size.action_dim)
    bc_policy = build_bc_policy(size.bc, size.shapes, size.action_dim)
    config = dataclasses.replace(IBRLConfig(), precision=precision)
    return IBRLAgent(networks, config, bc_policy, seed=seed, device=device)


def our_round(
    size: Size, buffer: ReplayBuffer, device: torch.device, precision: str, *, capture: bool, seed: int = 0
) -> Call:
    """Return our whole round, sampling included."""
    agent = make_agent(size, device, precision, seed)
    return UpdateRound(
        agent, buffer, batch_size=size.batch, critic_updates=size.critic_updates, capture=capture
    )


def fixed_batch_round(
    size: Size, buffer: ReplayBuffer, device: torch.device, precision: str, *, compiled: bool = False
) -> Call:
    """Return our round without sampling, from the same batch each time; `compiled` by torch.compile."""
    agent, batch = make_agent(size, device, precision), buffer.sample(size.batch)
    if compiled:
        agent.update_critic = torch.compile(agent.update_critic)  # type: ignore[method-assign]
        agent.update_actor = torch.compile(agent.update_actor)  # type: ignore[method-assign]

    def one_round() -> None:
        for _ in range(size.critic_updates):
            agent.update_critic(batch)
        agent.update_actor(batch)

    return one_round


def phase_seconds(
    size: Size, buffer: ReplayBuffer, precision: str, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the medians of a CPU round's parts: sampling, all critic updates, the actor update."""
    agent = make_agent(size, torch.device("cpu"), precision)
    taken: dict[str, list[float]] = {"sampling": [], "critic": [], "actor": []}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        begin = clock()
        yield
        taken[name][-1] += clock() - begin

    for _ in range(rounds + 1):
        for times in taken.values():
            times.append(0.0)
        with phase("sampling"):
            batches = [buffer.sample(size.batch) for _ in range(size.critic_updates)]
        agent.update(batches, phase)
    # the first round is a warm-up
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def many_seeds(size: Size, count: int, seeds: int, device: torch.device, precision: str) -> Call:
    """Return one captured round of each of several independent learners, every one on a stream of its own."""
    streams = [torch.cuda.Stream(device) for _ in range(seeds)]
    rounds = []
    for seed, stream in enumerate(streams):
        with torch.cuda.stream(stream):
            buffer = filled_buffer(size, count, device)
            rounds.append(our_round(size, buffer, device, precision, capture=True, seed=seed))

    def one_round_of_each() -> None:
        main = torch.cuda.current_stream(device)
        for stream, update in zip(streams, rounds):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                update()
        for stream in streams:
            main.wait_stream(stream)

    return one_round_of_each


def plain_round(size: Size, count: int, device: torch.device) -> Call:
    """Return the baseline's round, with its sampling."""
    bc_policy = build_bc_policy(size.bc, size.shapes, size.action_dim).requires_grad_(False).eval().to(device)
    plain = PlainIBRL(
        size.network,
        size.shapes,
        size.action_dim,
        bc_policy,
        transitions(size, count, device),
        batch_size=size.batch,
        critic_updates=size.critic_updates,
        device=device,
    )
    return plain.round


def candidates(
    size: Size,
    device: torch.device,
    count: int,
    *,
    plain: bool,
    compiled: bool,
    captured: bool,
    seeds: tuple[int, ...],
) -> tuple[dict[str, Call], dict[str, str]]:
    """Make everything that is timed at one size, by name, and say why something could not be."""
    calls: dict[str, Call] = {}
    failed: dict[str, str] = {}
    buffer = filled_buffer(size, count, device)

    def add(name: str, make: Callable[[], Call]) -> None:
        try:
            call = make()
            # warm-up rounds and the capture itself
            for _ in range(5 if device.type == "cuda" else 1):
                call()
            calls[name] = call
        except Exception as error:  # a candidate that fails leaves the others their time
            failed[name] = f"{type(error).__name__}: {error}"[:500]

    if plain:
        add("plain fp32 + sampling", partial(plain_round, size, count, device))
    for precision in ("fp32", "bf16"):
        if device.type == "cpu":
            add(f"ours {precision}", partial(fixed_batch_round, size, buffer, device, precision))
        eager = partial(our_round, size, buffer, device, precision, capture=False)
        add(f"ours {precision} + sampling", eager)
    if compiled:
        by_compiler = partial(fixed_batch_round, size, buffer, device, "fp32", compiled=True)
        add("ours fp32, torch.compile", by_compiler)
    if device.type == "cuda" and captured:
        for precision in ("fp32", "tf32", "bf16"):
            as_graph = partial(our_round, size, buffer, device, precision, capture=True)
            add(f"captured {precision} + sampling", as_graph)
        for number in seeds:
            several = partial(many_seeds, size, count, number, device, "bf16")
            add(f"captured bf16 + sampling, {number} seeds", several)
    return calls, failed
