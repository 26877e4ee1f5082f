"""From a configuration to the parts of a run of reinforcement learning, new or resumed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ibrl_fast.agents import DeploymentGate, Learner
from ibrl_fast.agents.precision import Precision
from ibrl_fast.data import BufferPlan, ReplayBuffer, observation_specs
from ibrl_fast.data.demonstrations import DemonstrationSet
from ibrl_fast.deploy.export import make_policy_module
from ibrl_fast.deploy.policy import ObservationContract
from ibrl_fast.envs import make_pool
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.errors import ArgumentError
from ibrl_fast.seeding import stream_seed
from ibrl_fast.training.acting import Acting
from ibrl_fast.training.collector import Collector
from ibrl_fast.training.config import ImitationConfig, TrainConfig
from ibrl_fast.training.evaluation.schedule import Evaluations
from ibrl_fast.training.graph_capture import resolve_capture
from ibrl_fast.training.imitation import (
    imitate,
    load_demos,
    make_bc_policy,
)
from ibrl_fast.training.learners import build_learner, load_imitation_policy
from ibrl_fast.training.observation_plan import (
    ObservationPlan,
    make_scalers,
    plan_observation,
    stack_episode,
)
from ibrl_fast.training.records.checkpoint import fitting
from ibrl_fast.training.records.interval_log import IntervalLog
from ibrl_fast.training.run import Run
from ibrl_fast.training.teacher import ILPolicy, TeacherPlace, give_teacher
from ibrl_fast.training.update_round import UpdateRound


@dataclass
class Parts:
    """Everything that one run of reinforcement learning works with; each part saves itself.

    Attributes:
        contract: what the policy sees and does, for the exported file.
        learner: the method at work.
        buffer: its transitions.
        collector: fills the buffer.
        update_round: trains the learner on the buffer.
        evaluations: of the imitation policy and the learner's.
        interval: records of episodes and updates.
        gate: decides whether RL acts in the deployed policy; None: it always does.
        num_demos: demonstrations in the buffer.
        teacher: where a resumed run finds the teacher, if the method has one.
    """

    contract: ObservationContract
    learner: Learner
    buffer: ReplayBuffer
    collector: Collector
    update_round: UpdateRound
    evaluations: Evaluations
    interval: IntervalLog
    gate: DeploymentGate | None
    num_demos: int
    teacher: TeacherPlace

    def _saving(self) -> dict[str, Any]:
        """Return the parts that have a state, by their names in a checkpoint."""
        names = ("learner", "buffer", "collector", "update_round", "evaluations", "interval")
        parts = {name: getattr(self, name) for name in names}
        return parts if self.gate is None else {**parts, "gate": self.gate}

    def state_dict(self) -> dict[str, Any]:
        """All that training changes, and what the parts' sizes follow from."""
        sizes = {"num_demos": self.num_demos, "num_demo_steps": self.buffer.num_demo_steps}
        states = {name: part.state_dict() for name, part in self._saving().items()}
        return {"contract": self.contract.to_json(), "teacher": self.teacher, **sizes, **states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from state_dict()."""
        for name, part in self._saving().items():
            part.load_state_dict(state[name])


def assemble(config: TrainConfig, run: Run, il_policy: ILPolicy | None = None) -> Parts:
    """Make the parts of a run and bring them to where it stands: its beginning, or its checkpoint.

    Args:
        config: of the run.
        run: where it stands.
        il_policy: the user's own teacher, instead of a fitted one.

    Raises:
        KeyboardInterrupt: the run should stop before there is anything to resume.
        CheckpointError: a checkpoint that is not of this run.
    """
    with nullcontext() if run.content is None else fitting(run.run_dir):
        pool = open_pool(config)
        run.closers.callback(pool.close)
        plan = plan_observation(config, pool)
        wanted = _configured_teacher(config, run) if il_policy is None else il_policy
        given, place = give_teacher(run, plan, wanted)
        evaluations = Evaluations(config, run, plan, scripted=place != "program")

        # Imitation first; a checkpoint has its results, so that only their sizes are needed
        demos, teacher = prepare(config, run, plan, given)
        if teacher is not None and demos is not None:
            module = make_policy_module(teacher, plan.contract, may_ignore=given is not None)
            evaluations.submit_imitation(module)

        # The learner, and what feeds it
        learner = build_learner(config, plan, make_scalers(config, plan, demos), teacher)
        gate = evaluations.gate = learner.gate()
        sizes = run.content or {}
        num_demos = sizes["num_demos"] if demos is None else len(demos)
        num_demo_steps = sizes["num_demo_steps"] if demos is None else demos.num_steps
        rows = plan_buffer(config, pool, plan, learner.num_il_samples, num_demo_steps, num_demos)
        run.say(f"replay buffer: {rows.capacity} steps, {rows.required_bytes} bytes of {rows.storage} memory")
        buffer = ReplayBuffer(rows)
        capture = resolve_capture(config.capture, config.device)
        collector = Collector(
            pool,
            Acting(learner, capture=capture),
            buffer,
            stacks=plan.stacks,
            seed=stream_seed(config.seed, "collector"),
            overlap=config.overlap_collection,
        )
        run.closers.callback(collector.close)
        update_round = UpdateRound(
            learner,
            buffer,
            batch_size=config.batch_size,
            critic_updates=config.critic_updates,
            capture=capture,
            timer=run.timer,
        )
        interval = IntervalLog(run.log, config.critic_updates)
        parts = Parts(
            plan.contract,
            learner,
            buffer,
            collector,
            update_round,
            evaluations,
            interval,
            gate,
            num_demos,
            place,
        )

        # Where the run stands
        if demos is None:
            assert run.content is not None
            parts.load_state_dict(run.content)
            torch.set_rng_state(run.content["torch_rng"].cpu())
            run.begin()
            report_broken_off(run, collector.broken_off)
            return parts
    buffer.add_demonstrations(demos.demos, propose_for_demos(learner, demos, plan.stacks))
    if teacher is not None:
        evaluations.receive_imitation()
    run.begin()
    evaluations.log_imitation()
    collector.start(config.seed)
    run.counters.next_checkpoint = config.checkpoint_every_env_steps
    with run.timer("checkpoint"):
        run.save(parts.state_dict())
    return parts


# ---- the parts


def check_device(config: ImitationConfig) -> None:
    """Check that the learner's device is there, and can do what the run asks of it.

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
    precisions = [config.bc.precision]
    if isinstance(config, TrainConfig):
        precisions.append(config.agent.precision)
    for precision in precisions:
        Precision(precision, torch.device(device))


def open_pool(config: ImitationConfig) -> BasePool:
    """Return the environments of a run: those that train, or one to look at."""
    num_envs = config.env.num_envs if isinstance(config, TrainConfig) else 1
    return make_pool(num_envs=num_envs, seed=stream_seed(config.seed, "pool"), **config.env.pool_kwargs())


def report_broken_off(run: Run, lengths: list[int] | None) -> None:
    """Say and record once that a resumed run's environments began anew; None: they went on."""
    if lengths is None:
        return
    run.say(
        f"environments of {run.config.env.task} cannot save their state: fresh episodes begin; "
        f"{len(lengths)} unfinished ones end in the replay buffer where they stood ({sum(lengths)} steps)"
    )
    run.log("resume", run.env_steps, {"broken_off_episodes": len(lengths), "broken_off_steps": sum(lengths)})


def _configured_teacher(config: TrainConfig, run: Run) -> nn.Module | Path | None:
    """Return what the configuration names as teacher: a file, or the policy of another run's folder."""
    path = config.il_policy
    if path is None or run.content is not None or not path.is_dir():
        return path
    return load_imitation_policy(path)


def prepare(
    config: TrainConfig, run: Run, plan: ObservationPlan, given: nn.Module | None
) -> tuple[DemonstrationSet | None, nn.Module | None]:
    """Return the demonstrations of a new run (else None), and the teacher of a method that has one."""
    if run.content is not None:
        return None, given or (make_bc_policy(config, plan, None) if config.agent.needs_teacher else None)
    if given is not None or not config.agent.needs_teacher:
        return load_demos(config, run, plan), given
    imitation = imitate(config, run, plan)
    return imitation.demos, imitation.policy


def plan_buffer(
    config: TrainConfig,
    pool: BasePool,
    plan: ObservationPlan,
    num_il_samples: int,
    num_demo_steps: int,
    num_demos: int,
) -> BufferPlan:
    """Return the replay buffer's sizes, with room for the demonstrations beside its capacity."""
    return BufferPlan(
        observation_specs(pool.single_observation_space),
        pool.task.action_dim,
        capacity=config.replay.capacity,
        num_envs=config.env.num_envs,
        max_episode_steps=config.env.max_episode_steps,
        demo_capacity=num_demo_steps,
        num_demos=num_demos,
        storage=config.replay.storage,
        device=config.device,
        num_il_samples=num_il_samples,
        nstep=config.replay.nstep,
        gamma=config.replay.gamma,
        bootstrap_on_truncation=config.replay.bootstrap_on_truncation,
        stacks=plan.stacks,
        random_shift_pad=config.replay.random_shift_pad,
        seed=stream_seed(config.seed, "buffer"),
    )


@torch.no_grad()
def propose_for_demos(
    learner: Learner, demos: DemonstrationSet, stacks: Mapping[str, int]
) -> list[torch.Tensor] | None:
    """Return the teacher's proposals `[T + 1, S, action_dim]` at every observation of every demonstration."""
    if learner.num_il_samples == 0:
        return None
    proposals = []
    for demo in demos:
        stacked = stack_episode(demo.observations, stacks)
        obs = {key: value.to(learner.device) for key, value in stacked.items()}
        chunks = []
        for start in range(0, len(demo) + 1, 256):
            chunk = learner.propose({key: value[start : start + 256] for key, value in obs.items()})
            assert chunk is not None
            chunks.append(chunk.cpu())
        proposals.append(torch.cat(chunks))
    return proposals
