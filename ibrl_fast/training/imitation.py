"""Before reinforcement learning: the demonstrations and the imitation policy of a run."""

from __future__ import annotations

from pathlib import Path

import torch

from ibrl_fast.agents import train_bc
from ibrl_fast.data.demonstrations import (
    DemonstrationSet,
    read_demonstrations,
    warn_without_success,
    write_demonstrations,
)
from ibrl_fast.deploy.export import make_policy_module, script_policy
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import BCPolicy, ObservationScaler, build_bc_policy
from ibrl_fast.seeding import derive_env_seed, episode_seeds
from ibrl_fast.training.collect_demos import collect_demonstrations
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.evaluate import EvaluationSpec, Evaluator
from ibrl_fast.training.graph_capture import step_capture
from ibrl_fast.training.interruption import StopWish
from ibrl_fast.training.observation_plan import ObservationPlan
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


def load_demos(config: TrainConfig, run_dir: Path, progress: RunProgress, stop: StopWish) -> DemonstrationSet:
    """Reads or collects the demonstrations and keeps a copy in the run folder.

    Raises:
        KeyboardInterrupt: `stop` was set while collecting.
    """
    env = config.env
    if config.demos.path is not None:
        demos = read_demonstrations(
            config.demos.path,
            keys=env.observation_keys(),
            max_demos=config.demos.episodes,
            state_keys=config.demos.state_keys,
            proprio_keys=config.demos.proprio_keys,
        )
        if len(demos) < (config.demos.episodes or 1):
            raise ArgumentError(
                f"demos {config.demos.path}: expected {config.demos.episodes} demonstrations, "
                f"got {len(demos)}"
            )
        warn_without_success(demos, config.demos.path, progress.say)
    else:
        assert config.demos.episodes is not None
        with progress.bar("demonstrations", config.demos.episodes) as update:

            def report(done: int, attempts: int) -> None:
                update(done)
                if stop.is_set():
                    raise stop.error()

            demos = collect_demonstrations(
                episodes=config.demos.episodes,
                seed=stream_seed(config.seed, "demos"),
                action_noise=config.demos.action_noise,
                progress=report,
                **env.pool_kwargs(),
            )
    write_demonstrations(run_dir / DEMOS_NAME, demos, demos.env_args)
    return demos


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
    stop: StopWish,
) -> None:
    """Trains the imitation policy in place; selection by success has seeds apart from those of evaluation.

    Raises:
        KeyboardInterrupt: `stop` was set.
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
            if stop.is_set():
                raise stop.error()

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
