"""From a configuration to the parts of a run: demonstrations, imitation policy, agent, buffer, pool."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ibrl_fast.agents import IBRLAgent, TD3Agent, TD3Config
from ibrl_fast.agents.precision import Precision
from ibrl_fast.data import ReplayBuffer, observation_specs
from ibrl_fast.data.demonstrations import DemonstrationSet
from ibrl_fast.deploy.export import make_policy_module, script_policy
from ibrl_fast.deploy.policy import ObservationContract
from ibrl_fast.deploy.policy_module import enable_rl
from ibrl_fast.envs import make_pool
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import BCPolicy, ObservationScaler, build_networks
from ibrl_fast.seeding import episode_seeds
from ibrl_fast.training.acting import Acting
from ibrl_fast.training.checkpoint import fitting, load_run
from ibrl_fast.training.collector import Collector
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.config_file import config_from_dict
from ibrl_fast.training.evaluate import EvaluationResult, EvaluationSpec, Evaluator
from ibrl_fast.training.graph_capture import UpdateRound, resolve_capture
from ibrl_fast.training.imitation import fit_bc, load_demos, make_bc_policy, stream_seed
from ibrl_fast.training.interruption import StopWish
from ibrl_fast.training.logging import PhaseTimer
from ibrl_fast.training.observation_plan import (
    ObservationPlan,
    make_scalers,
    plan_from_contract,
    plan_observation,
    stack_episode,
)
from ibrl_fast.training.progress import RunProgress


@dataclass
class RunParts:
    """Everything that one run works with.

    Attributes:
        agent: the learner; for method `bc` the imitation policy itself.
        contract: what the policy sees and does, for the exported file.
        evaluator: evaluates exported policies.
        buffer, collector: None for method `bc`.
        bc_result: its evaluation, on the seeds for training and those of the end; None where there is none.
        num_demos: demonstrations in the buffer.
    """

    agent: Any
    contract: ObservationContract
    evaluator: Evaluator
    buffer: ReplayBuffer | None
    collector: Collector | None
    bc_result: EvaluationResult | None = None
    num_demos: int = 0

    def state_dict(self) -> dict[str, Any]:
        """All that training changes; for method `bc` the trained policy."""
        if self.buffer is None or self.collector is None:
            return {"contract": self.contract.to_json(), "bc_policy": self.agent.state_dict()}
        return {
            "contract": self.contract.to_json(),
            "num_demo_steps": self.buffer.num_demo_steps,
            "num_demos": self.num_demos,
            "bc_result": None if self.bc_result is None else self.bc_result.to_plain(),
            "agent": self.agent.state_dict(),
            "buffer": self.buffer.state_dict(),
            "collector": self.collector.state_dict(),
        }


# ---- the parts


def check_device(config: TrainConfig) -> None:
    """Checks that the learner's device is there, and can do what the run asks of it.

    Raises:
        ValueError: no device of that name, none on this machine, or none for this precision or for capture.
    """
    device = config.device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ArgumentError(
            f"device: expected one that torch can use here, got {device} ({str(error).splitlines()[0]})"
        ) from error
    resolve_capture(config.capture, device)
    for part in (config.agent, config.bc):
        Precision(part.precision, torch.device(device))


def make_rl_agent(
    config: TrainConfig,
    plan: ObservationPlan,
    action_dim: int,
    scalers: dict[str, ObservationScaler],
    bc: BCPolicy | None,
) -> TD3Agent:
    """The learner of methods `ibrl` and `td3`."""
    torch.manual_seed(stream_seed(config.seed, "networks"))
    networks = build_networks(config.network, plan.shapes, action_dim, scalers=scalers)
    seed = stream_seed(config.seed, "agent")
    if config.method == "ibrl":
        assert bc is not None
        return IBRLAgent(networks, config.agent, bc, seed=seed, device=config.device)
    shared = {entry.name: getattr(config.agent, entry.name) for entry in dataclasses.fields(TD3Config)}
    return TD3Agent(networks, TD3Config(**shared), seed=seed, device=config.device)


def open_pool(config: TrainConfig, closers: ExitStack) -> BasePool:
    """The training environments."""
    pool = make_pool(
        num_envs=config.env.num_envs, seed=stream_seed(config.seed, "pool"), **config.env.pool_kwargs()
    )
    closers.callback(pool.close)
    return pool


def make_evaluator(config: TrainConfig, plan: ObservationPlan, closers: ExitStack) -> Evaluator:
    """Evaluates on the run's fixed evaluation seeds: those for use during training, then those of the end."""
    seeds = tuple(episode_seeds(config.evaluation.seed, 2 * config.evaluation.episodes))
    spec = EvaluationSpec(config.env.pool_kwargs(), plan.stacks, seeds, config.evaluation.video_episodes)
    evaluator = Evaluator(spec, config.evaluation.workers)
    closers.callback(evaluator.close)
    return evaluator


def make_buffer(
    config: TrainConfig,
    pool: BasePool,
    plan: ObservationPlan,
    num_demo_steps: int,
    num_demos: int,
    say: Callable[[str], None],
) -> ReplayBuffer:
    """The replay buffer, with room for the demonstrations beside its capacity; says first what it takes."""
    specs = observation_specs(pool.single_observation_space)
    parameters: dict[str, Any] = {
        "capacity": config.replay.capacity,
        "num_envs": config.env.num_envs,
        "max_episode_steps": config.env.max_episode_steps,
        "demo_capacity": num_demo_steps,
        "num_demos": num_demos,
        "storage": config.replay.storage,
        "device": config.device,
        "num_il_samples": 1 if config.method == "ibrl" else 0,
        "nstep": config.replay.nstep,
        "gamma": config.replay.gamma,
        "bootstrap_on_truncation": config.replay.bootstrap_on_truncation,
        "stacks": plan.stacks,
        "random_shift_pad": config.replay.random_shift_pad,
        "seed": stream_seed(config.seed, "buffer"),
    }
    needed = ReplayBuffer.required_bytes(specs, pool.task.action_dim, **parameters)
    say(f"replay buffer: {config.replay.capacity} steps, {needed} bytes of {config.replay.storage} memory")
    return ReplayBuffer(specs, pool.task.action_dim, **parameters)


def make_collector(
    config: TrainConfig,
    pool: BasePool,
    plan: ObservationPlan,
    agent: TD3Agent,
    buffer: ReplayBuffer,
    closers: ExitStack,
) -> Collector:
    """What acts in the pool and fills the buffer."""
    collector = Collector(
        pool,
        Acting(agent, capture=resolve_capture(config.capture, config.device)),
        buffer,
        stacks=plan.stacks,
        seed=stream_seed(config.seed, "collector"),
        overlap=config.overlap_collection,
    )
    closers.callback(collector.close)
    return collector


def make_update_round(
    config: TrainConfig, agent: TD3Agent, buffer: ReplayBuffer, timer: PhaseTimer
) -> UpdateRound:
    """What trains the agent on the buffer."""
    return UpdateRound(
        agent,
        buffer,
        batch_size=config.batch_size,
        critic_updates=config.critic_updates,
        capture=resolve_capture(config.capture, config.device),
        timer=timer,
    )


@torch.no_grad()
def propose_for_demos(
    agent: IBRLAgent, demos: DemonstrationSet, stacks: Mapping[str, int]
) -> list[torch.Tensor]:
    """The imitation policy's proposals [T + 1, S, action_dim] at every observation of every demonstration."""
    proposals = []
    for demo in demos:
        obs = {key: value.to(agent.device) for key, value in stack_episode(demo.observations, stacks).items()}
        chunks = [
            agent.il_actions({key: value[start : start + 256] for key, value in obs.items()}).cpu()
            for start in range(0, len(demo) + 1, 256)
        ]
        proposals.append(torch.cat(chunks))
    return proposals


# ---- whole runs


def build_run(
    config: TrainConfig,
    run_dir: Path,
    timer: PhaseTimer,
    progress: RunProgress,
    stop: StopWish,
    closers: ExitStack,
) -> RunParts:
    """Builds a new run: demonstrations, imitation policy and its evaluation, agent, filled buffer, pool.

    `closers` receives what ends environments and workers, also when this function fails.

    Raises:
        KeyboardInterrupt: `stop` was set before there was anything to resume.
    """
    pool = open_pool(config, closers)
    plan = plan_observation(config, pool)
    evaluator = make_evaluator(config, plan, closers)
    demos = load_demos(config, run_dir, progress, stop)
    action_dim = demos.action_dim
    scalers = make_scalers(config, plan, demos)

    # Imitation first: it is frozen from here on
    bc_policy, bc_result = None, None
    if config.method != "td3":
        bc_policy = make_bc_policy(config, plan, action_dim, scalers)
        with timer("bc"):
            fit_bc(config, bc_policy, demos, plan, progress, stop)
    if config.method == "bc":
        return RunParts(bc_policy, plan.contract, evaluator, None, None)
    if bc_policy is not None:
        with timer("evaluate"):
            evaluator.submit(script_policy(make_policy_module(bc_policy, plan.contract)), 0)

    # The learner, and the demonstrations with their proposals in its buffer
    agent = make_rl_agent(config, plan, action_dim, make_scalers(config, plan, demos), bc_policy)
    buffer = make_buffer(config, pool, plan, demos.num_steps, len(demos), progress.say)
    proposals = propose_for_demos(agent, demos, plan.stacks) if isinstance(agent, IBRLAgent) else None
    buffer.add_demonstrations(demos.demos, proposals)
    collector = make_collector(config, pool, plan, agent, buffer, closers)
    if bc_policy is not None:
        with timer("evaluate"):
            ((_, bc_result),) = evaluator.finished(wait=True)
    return RunParts(agent, plan.contract, evaluator, buffer, collector, bc_result, len(demos))


def restore_run(
    config: TrainConfig, content: dict[str, Any], closers: ExitStack, say: Callable[[str], None]
) -> RunParts:
    """Rebuilds a run from a checkpoint's content; everything random goes on where it stood."""
    pool = open_pool(config, closers)
    plan = plan_observation(config, pool)
    if config.method == "bc":
        policy = restore_bc_policy(config, plan, content)
        return RunParts(policy, plan.contract, make_evaluator(config, plan, closers), None, None)
    agent = restore_agent(config, plan, content)
    buffer = make_buffer(config, pool, plan, content["num_demo_steps"], content["num_demos"], say)
    buffer.load_state_dict(content["buffer"])
    collector = make_collector(config, pool, plan, agent, buffer, closers)
    collector.load_state_dict(content["collector"])
    evaluator = make_evaluator(config, plan, closers)
    torch.set_rng_state(content["torch_rng"].cpu())
    num_demos = content["num_demos"]
    saved = content["bc_result"]
    bc_result = None if saved is None else EvaluationResult(**saved)
    return RunParts(agent, plan.contract, evaluator, buffer, collector, bc_result, num_demos)


def restore_bc_policy(config: TrainConfig, plan: ObservationPlan, content: dict[str, Any]) -> BCPolicy:
    """The imitation policy of a checkpoint of method `bc`."""
    policy = make_bc_policy(config, plan, plan.contract.action_dim, make_scalers(config, plan, None))
    policy.load_state_dict(content["bc_policy"])
    return policy


def restore_agent(config: TrainConfig, plan: ObservationPlan, content: dict[str, Any]) -> TD3Agent:
    """The learner of a checkpoint."""
    action_dim = plan.contract.action_dim
    bc_policy = None
    if config.method == "ibrl":
        bc_policy = make_bc_policy(config, plan, action_dim, make_scalers(config, plan, None))
    agent = make_rl_agent(config, plan, action_dim, make_scalers(config, plan, None), bc_policy)
    agent.load_state_dict(content["agent"])
    return agent


def load_policy_module(run: Path) -> nn.Module:
    """The policy of a run folder (its checkpoint), ready to be scripted or exported.

    Raises:
        CheckpointError: no readable checkpoint there.
    """
    content = load_run(run)
    with fitting(run):
        config = config_from_dict(json.loads(content["config"]))
        # the weights are read on the CPU, in full precision
        config = dataclasses.replace(
            config, device="cpu", agent=dataclasses.replace(config.agent, precision="fp32")
        )
        plan = plan_from_contract(ObservationContract.from_json(content["contract"]))
        if config.method == "bc":
            return make_policy_module(restore_bc_policy(config, plan, content), plan.contract)
        module = make_policy_module(restore_agent(config, plan, content), plan.contract)
        if content["gate"] is not None:
            enable_rl(module, content["gate"]["is_open"])
        return module
