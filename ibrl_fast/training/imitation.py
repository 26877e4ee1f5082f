"""Imitation: the demonstrations of a run, the transform that they fix, and the policy fitted to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ibrl_fast.agents import train_bc
from ibrl_fast.data.demonstrations import (
    DemonstrationSet,
    ExpectedDemos,
    read_demonstrations,
    warn_without_success,
    write_demonstrations,
)
from ibrl_fast.deploy.export import make_policy_module, script_policy
from ibrl_fast.envs.registry import find_suite, is_known_everywhere, resolve_task
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import BCPolicy, build_bc_policy
from ibrl_fast.seeding import episode_seeds, stream_seed
from ibrl_fast.training.collect_demos import collect_demonstrations
from ibrl_fast.training.config import ImitationConfig, TrainConfig
from ibrl_fast.training.evaluation.evaluator import EvaluationSpec, Evaluator
from ibrl_fast.training.graph_capture import step_capture
from ibrl_fast.training.observation_plan import ObservationPlan, make_scalers
from ibrl_fast.training.run import Run

DEMOS_NAME = "demos.hdf5"
BC_SELECTION_EPISODES = 20


@dataclass(frozen=True)
class Imitation:
    """What a run begins with.

    Attributes:
        demos: the demonstrations.
        policy: fitted to them, and frozen from here on.
    """

    demos: DemonstrationSet
    policy: BCPolicy


def imitate(config: ImitationConfig, run: Run, plan: ObservationPlan) -> Imitation:
    """Read or collect the demonstrations and fit the imitation policy.

    Raises:
        KeyboardInterrupt: the run should stop; there is nothing to resume yet.
    """
    demos = load_demos(config, run, plan)
    policy = make_bc_policy(config, plan, demos)
    with run.timer("bc"):
        fit_bc(config, policy, demos, plan, run)
    return Imitation(demos, policy)


def load_demos(config: ImitationConfig, run: Run, plan: ObservationPlan) -> DemonstrationSet:
    """Read or collect the demonstrations and keep a copy in the run folder.

    Raises:
        DemonstrationError: a file that cannot be read or is not for this run, naming both sides.
        KeyboardInterrupt: the run should stop.
    """
    env, file = config.env, config.demos
    if file.path is not None:
        demos = read_demonstrations(
            file.path,
            keys=env.observation_keys(),
            filter_key=file.filter_key,
            max_demos=file.episodes,
            state_keys=file.state_keys,
            proprio_keys=file.proprio_keys,
            expected=expected_demos(config, plan),
            allow_mismatch=file.allow_mismatch,
            clip_actions=file.clip_actions,
            reward=file.reward,
            needs_rewards=isinstance(config, TrainConfig),
        )
        if len(demos) < (file.episodes or 1):
            raise ArgumentError(
                f"demos {file.path}: expected {file.episodes} demonstrations, got {len(demos)}"
            )
        for remark in (*demos.remarks, *_suite_remarks(env.task, demos)):
            run.say(f"demonstrations {file.path}: {remark}")
        warn_without_success(demos, file.path, run.say)
    else:
        assert config.demos.episodes is not None
        with run.progress.bar("demonstrations", config.demos.episodes) as show:

            def report(done: int, attempts: int) -> None:
                show(done)
                if run.stop.is_set():
                    raise run.stop.error()

            demos = collect_demonstrations(
                episodes=config.demos.episodes,
                seed=stream_seed(config.seed, "demos"),
                action_noise=config.demos.action_noise,
                progress=report,
                **env.pool_kwargs(),
            )
    write_demonstrations(run.run_dir / DEMOS_NAME, demos, demos.env_args)
    return demos


def _suite_remarks(task: str, demos: DemonstrationSet) -> tuple[str, ...]:
    """Return what the task's suite says of the environment that a file was recorded in."""
    info = resolve_task(task)
    make_recording = find_suite(info.suite).make_recording
    return () if make_recording is None else make_recording(info).remarks(demos.env_args)


def expected_demos(config: ImitationConfig, plan: ObservationPlan) -> ExpectedDemos:
    """Return what a run's demonstrations must be: of its environments, seen as its policy sees."""
    env, observations, info = config.env, plan.contract.observations, resolve_task(config.env.task)
    return ExpectedDemos(
        parts={key: tuple(parts) for key, parts in info.parts.items()},
        aliases=info.aliases,
        shapes={key: entry.shape for key, entry in observations.items()},
        action_dim=plan.contract.action_dim,
        task=env.task,
        action_repeat=env.action_repeat,
        control_period=plan.contract.control_period,
        cameras=tuple(key for key, entry in observations.items() if len(entry.shape) == 3),
        image_size=env.image_size,
        reward=env.reward if isinstance(config, TrainConfig) else None,
        joined={key: names for key, names in plan.joined.items() if not getattr(config.demos, f"{key}_keys")},
    )


def make_bc_policy(
    config: ImitationConfig, plan: ObservationPlan, demos: DemonstrationSet | None
) -> BCPolicy:
    """Return the untrained imitation policy; without demonstrations a checkpoint must fill its transform."""
    torch.manual_seed(stream_seed(config.seed, "bc"))
    scalers = make_scalers(config, plan, demos)
    action_dim = plan.contract.action_dim
    return build_bc_policy(config.bc_network, plan.shapes, action_dim, scalers=scalers).to(config.device)


def restore_bc_policy(config: ImitationConfig, plan: ObservationPlan, content: dict[str, Any]) -> BCPolicy:
    """Return the policy of a checkpoint of imitation alone."""
    policy = make_bc_policy(config, plan, None)
    policy.load_state_dict(content["bc_policy"])
    return policy


def fit_bc(
    config: ImitationConfig, policy: BCPolicy, demos: DemonstrationSet, plan: ObservationPlan, run: Run
) -> None:
    """Train the imitation policy in place; selection by success has seeds apart from those of evaluation.

    Raises:
        KeyboardInterrupt: the run should stop.
    """
    selection: Evaluator | None = None
    if config.bc.evaluate_every:
        seeds = tuple(episode_seeds(config.evaluation.seed + 1, BC_SELECTION_EPISODES))
        spec = EvaluationSpec(config.env.pool_kwargs(), plan.stacks, seeds)
        workers = config.evaluation.workers if is_known_everywhere(resolve_task(config.env.task)) else 0
        selection = Evaluator(spec, workers)

    def evaluate(candidate: BCPolicy) -> float:
        assert selection is not None
        selection.submit(script_policy(make_policy_module(candidate, plan.contract)), 0)
        ((_, result),) = selection.finished(wait=True)
        return result.success_rate

    with run.progress.bar("imitation", config.bc.updates) as show:

        def report(updates: int, loss: float) -> None:
            show(updates)
            if run.stop.is_set():
                raise run.stop.error()

        try:
            train_bc(
                policy,
                demos.demos,
                config.bc,
                stacks=plan.stacks,
                seed=stream_seed(config.seed, "bc"),
                progress=report,
                evaluate=evaluate if selection is not None else None,
                wrap_step=step_capture(config.capture, config.device),
            )
        finally:
            if selection is not None:
                selection.close()
