"""From a configuration to the parts of a run: demonstrations, imitation policy, agent, buffer, pool."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ibrl_fast import __version__
from ibrl_fast.agents import IBRLAgent, TD3Agent, TD3Config, train_bc
from ibrl_fast.data import ReplayBuffer, observation_specs
from ibrl_fast.data.demonstrations import DemonstrationSet, read_demonstrations, write_demonstrations
from ibrl_fast.deploy.export import contract_from_space, make_policy_module, script_policy
from ibrl_fast.deploy.policy import ObservationContract
from ibrl_fast.deploy.policy_module import enable_rl
from ibrl_fast.envs import make_pool
from ibrl_fast.envs.base_pool import BasePool, derive_env_seed
from ibrl_fast.envs.collect_demos import collect_demonstrations
from ibrl_fast.envs.rollout import episode_seeds
from ibrl_fast.nn import BCPolicy, ObservationScaler, build_bc_policy, build_networks
from ibrl_fast.training.checkpoint import load_checkpoint
from ibrl_fast.training.collector import Collector
from ibrl_fast.training.config import TrainConfig, config_from_dict
from ibrl_fast.training.evaluate import EvaluationResult, EvaluationSpec, Evaluator
from ibrl_fast.training.logging import PhaseTimer
from ibrl_fast.training.progress import RunProgress

DEMOS_NAME = "demos.hdf5"
BC_SELECTION_EPISODES = 20

# Independent random streams of one run, derived from its seed
STREAMS = {
    name: index
    for index, name in enumerate(("demos", "bc", "networks", "agent", "buffer", "collector", "pool"))
}


def stream_seed(seed: int, stream: str) -> int:
    """The seed of one of a run's random streams; streams and seeds are unrelated to one another."""
    return derive_env_seed(seed, STREAMS[stream]) % 2**31


@dataclass
class RunParts:
    """Everything that one run works with.

    Attributes:
        agent: the learner; for method `bc` the imitation policy itself.
        contract: what the policy sees and does, for the exported file.
        evaluator: evaluates exported policies.
        buffer, collector: None for method `bc`.
        bc_policy: the imitation policy; None for method `td3`.
        bc_result: its evaluation, on the seeds for training and those of the end; None where there is none.
        num_demos: demonstrations in the buffer.
    """

    agent: Any
    contract: ObservationContract
    evaluator: Evaluator
    buffer: ReplayBuffer | None
    collector: Collector | None
    bc_policy: nn.Module | None
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


# ---- the observation, as every part sees it


@dataclass(frozen=True)
class ObservationPlan:
    """Names, stacks and shapes of what the policy sees.

    Attributes:
        stacks: frames per key, newest first.
        shapes: per key after stacking.
        contract: for the exported policy.
        state_scale: unit of each entry of one frame of `state`, 0 = masked; None without a state.
    """

    stacks: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    contract: ObservationContract
    state_scale: np.ndarray | None


def plan_observation(config: TrainConfig, pool: BasePool) -> ObservationPlan:
    """The plan for a pool's observations."""
    specs = observation_specs(pool.single_observation_space)
    stacks = {
        key: config.replay.image_stack if spec.is_image else config.replay.state_stack
        for key, spec in specs.items()
    }
    contract = contract_from_space(
        {key: pool.entry_spaces[key] for key in specs},
        stacks,
        pool.task.action_dim,
        control_period=pool.task.control_period,
        action_repeat=config.env.action_repeat,
        metadata={"task": config.env.task, "method": config.method, "ibrl_fast": __version__},
    )
    shapes = {key: spec.stacked_shape(stacks[key]) for key, spec in specs.items()}
    return ObservationPlan(stacks, shapes, contract, pool.state_scale if "state" in specs else None)


def plan_from_contract(contract: ObservationContract) -> ObservationPlan:
    """The plan of a saved policy, without its environment."""
    fields = contract.observations
    stacks = {key: field.stack for key, field in fields.items()}
    shapes = {key: (field.stack * field.shape[0], *field.shape[1:]) for key, field in fields.items()}
    scale = np.zeros(fields["state"].shape, dtype=np.float32) if "state" in fields else None
    return ObservationPlan(stacks, shapes, contract, scale)


def make_scalers(
    config: TrainConfig, plan: ObservationPlan, demos: DemonstrationSet | None
) -> dict[str, ObservationScaler]:
    """The fixed transform of `state`: centred on the demonstrations' mean, in the task's units.

    Entries that never change in the demonstrations, or whose unit is 0, are masked. Without demonstrations
    the scaler has the right sizes only, to be filled from a checkpoint.
    """
    if config.observation_scaling == "none" or plan.state_scale is None:
        return {}
    stack = plan.stacks["state"]
    mean = np.zeros_like(plan.state_scale)
    inv_scale = np.zeros_like(plan.state_scale)
    if demos is not None:
        states = np.concatenate([demo.observations["state"] for demo in demos])
        mean = states.mean(axis=0)
        used = (plan.state_scale > 0) & (states.std(axis=0) > 1e-6)
        inv_scale = np.where(used, 1.0 / np.where(used, plan.state_scale, 1.0), 0.0)
    tiled = [torch.from_numpy(np.tile(values, stack)).float() for values in (mean, inv_scale)]
    return {"state": ObservationScaler(tiled[0], tiled[1])}


# ---- the parts


def check_device(device: str) -> None:
    """Checks that the learner's device is there.

    Raises:
        ValueError: no device of that name, or none on this machine.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device: expected one that torch can use here, got {device} ({str(error).splitlines()[0]})"
        ) from error


def load_demos(
    config: TrainConfig, run_dir: Path, progress: RunProgress, should_stop: Callable[[], bool]
) -> DemonstrationSet:
    """Reads or collects the demonstrations and keeps a copy in the run folder.

    Raises:
        KeyboardInterrupt: `should_stop` became true while collecting.
    """
    env = config.env
    if config.demos.path is not None:
        keys = [] if env.observation == "pixels" else ["state"]
        keys += [] if env.observation == "state" else list(env.cameras)
        demos = read_demonstrations(config.demos.path, keys=keys, max_demos=config.demos.episodes)
        if len(demos) < config.demos.episodes:
            raise ValueError(
                f"demos {config.demos.path}: expected {config.demos.episodes} demonstrations, "
                f"got {len(demos)}"
            )
    else:
        with progress.bar("demonstrations", config.demos.episodes) as update:

            def report(done: int, attempts: int) -> None:
                update(done)
                if should_stop():
                    raise KeyboardInterrupt

            demos = collect_demonstrations(
                episodes=config.demos.episodes,
                seed=stream_seed(config.seed, "demos"),
                action_noise=config.demos.action_noise,
                progress=report,
                **env.pool_kwargs(),
            )
    write_demonstrations(run_dir / DEMOS_NAME, demos, demos.env_args)
    return demos


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


def make_bc_policy(
    config: TrainConfig, plan: ObservationPlan, action_dim: int, scalers: dict[str, ObservationScaler]
) -> BCPolicy:
    """The untrained imitation policy."""
    torch.manual_seed(stream_seed(config.seed, "bc"))
    return build_bc_policy(config.bc_network, plan.shapes, action_dim, scalers=scalers).to(config.device)


def fit_bc(
    config: TrainConfig,
    policy: BCPolicy,
    demos: DemonstrationSet,
    plan: ObservationPlan,
    progress: RunProgress,
    should_stop: Callable[[], bool],
) -> None:
    """Trains the imitation policy in place; selection by success has seeds apart from those of evaluation.

    Raises:
        KeyboardInterrupt: `should_stop` became true.
    """
    selection: Evaluator | None = None
    if config.bc.evaluate_every:
        seeds = tuple(episode_seeds(config.evaluation.seed + 1, BC_SELECTION_EPISODES))
        spec = EvaluationSpec(config.env.pool_kwargs(), plan.stacks, seeds)
        selection = Evaluator(spec, config.evaluation.workers)

    def evaluate(candidate: BCPolicy) -> float:
        assert selection is not None
        selection.submit(script_policy(make_policy_module(candidate, plan.contract)), 0)
        ((_, result),) = selection.finished(wait=True)
        return result.success_rate

    with progress.bar("imitation", config.bc.updates) as update:

        def report(updates: int, loss: float) -> None:
            update(updates)
            if should_stop():
                raise KeyboardInterrupt

        try:
            train_bc(
                policy,
                demos.demos,
                config.bc,
                stacks=plan.stacks,
                seed=stream_seed(config.seed, "bc"),
                progress=report,
                evaluate=evaluate if selection is not None else None,
            )
        finally:
            if selection is not None:
                selection.close()


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
    config: TrainConfig, pool: BasePool, plan: ObservationPlan, num_demo_steps: int, num_demos: int
) -> ReplayBuffer:
    """The replay buffer, with room for the demonstrations beside its capacity."""
    return ReplayBuffer(
        observation_specs(pool.single_observation_space),
        pool.task.action_dim,
        capacity=config.replay.capacity,
        num_envs=config.env.num_envs,
        max_episode_steps=config.env.max_episode_steps,
        demo_capacity=num_demo_steps,
        num_demos=num_demos,
        storage=config.replay.storage,
        device=config.device,
        num_il_samples=1 if config.method == "ibrl" else 0,
        nstep=config.replay.nstep,
        gamma=config.replay.gamma,
        bootstrap_on_truncation=config.replay.bootstrap_on_truncation,
        stacks=plan.stacks,
        random_shift_pad=config.replay.random_shift_pad,
        seed=stream_seed(config.seed, "buffer"),
    )


def stack_episode(
    observations: Mapping[str, np.ndarray], stacks: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    """An episode's observations [T, ...], stacked newest first: [T, k * features] or [T, k * C, H, W]."""
    stacked = {}
    for key, stack in stacks.items():
        frames = torch.from_numpy(np.ascontiguousarray(observations[key]))
        rows = torch.arange(len(frames)).unsqueeze(1) - torch.arange(stack)
        stacked[key] = frames[rows.clamp(min=0)].flatten(1, 2)
    return stacked


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
    should_stop: Callable[[], bool],
    closers: ExitStack,
) -> RunParts:
    """Builds a new run: demonstrations, imitation policy and its evaluation, agent, filled buffer, pool.

    `closers` receives what ends environments and workers, also when this function fails.

    Raises:
        KeyboardInterrupt: `should_stop` became true before there was anything to resume.
    """
    pool = open_pool(config, closers)
    plan = plan_observation(config, pool)
    evaluator = make_evaluator(config, plan, closers)
    demos = load_demos(config, run_dir, progress, should_stop)
    action_dim = demos.action_dim
    scalers = make_scalers(config, plan, demos)

    # Imitation first: it is frozen from here on
    bc_policy, bc_result = None, None
    if config.method != "td3":
        bc_policy = make_bc_policy(config, plan, action_dim, scalers)
        with timer("bc"):
            fit_bc(config, bc_policy, demos, plan, progress, should_stop)
    if config.method == "bc":
        return RunParts(bc_policy, plan.contract, evaluator, None, None, bc_policy)
    if bc_policy is not None:
        with timer("evaluate"):
            evaluator.submit(script_policy(make_policy_module(bc_policy, plan.contract)), 0)

    # The learner, and the demonstrations with their proposals in its buffer
    agent = make_rl_agent(config, plan, action_dim, make_scalers(config, plan, demos), bc_policy)
    buffer = make_buffer(config, pool, plan, demos.num_steps, len(demos))
    progress.say(f"replay buffer: {buffer.nbytes / 2**20:.1f} MiB ({config.replay.storage})")
    proposals = propose_for_demos(agent, demos, plan.stacks) if isinstance(agent, IBRLAgent) else None
    buffer.add_demonstrations(demos.demos, proposals)
    collector = Collector(
        pool,
        agent,
        buffer,
        stacks=plan.stacks,
        device=config.device,
        seed=stream_seed(config.seed, "collector"),
    )
    if bc_policy is not None:
        with timer("evaluate"):
            ((_, bc_result),) = evaluator.finished(wait=True)
    return RunParts(agent, plan.contract, evaluator, buffer, collector, bc_policy, bc_result, len(demos))


def restore_run(config: TrainConfig, content: dict[str, Any], closers: ExitStack) -> RunParts:
    """Rebuilds a run from a checkpoint's content; everything random goes on where it stood."""
    pool = open_pool(config, closers)
    plan = plan_observation(config, pool)
    if config.method == "bc":
        policy = restore_bc_policy(config, plan, content)
        return RunParts(policy, plan.contract, make_evaluator(config, plan, closers), None, None, policy)
    agent = restore_agent(config, plan, content)
    buffer = make_buffer(config, pool, plan, content["num_demo_steps"], content["num_demos"])
    buffer.load_state_dict(content["buffer"])
    collector = Collector(
        pool,
        agent,
        buffer,
        stacks=plan.stacks,
        device=config.device,
        seed=stream_seed(config.seed, "collector"),
    )
    collector.load_state_dict(content["collector"])
    evaluator = make_evaluator(config, plan, closers)
    torch.set_rng_state(content["torch_rng"].cpu())
    bc_policy = agent.bc_policy if isinstance(agent, IBRLAgent) else None
    num_demos = content["num_demos"]
    saved = content["bc_result"]
    bc_result = None if saved is None else EvaluationResult(**saved)
    return RunParts(agent, plan.contract, evaluator, buffer, collector, bc_policy, bc_result, num_demos)


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
    content = load_checkpoint(run)
    config = config_from_dict(json.loads(content["config"]))
    config = dataclasses.replace(config, device="cpu")
    plan = plan_from_contract(ObservationContract.from_json(content["contract"]))
    if config.method == "bc":
        return make_policy_module(restore_bc_policy(config, plan, content), plan.contract)
    module = make_policy_module(restore_agent(config, plan, content), plan.contract)
    if content["gate"] is not None:
        enable_rl(module, content["gate"]["is_open"])
    return module
