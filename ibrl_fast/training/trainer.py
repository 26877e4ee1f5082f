"""Reinforcement learning: Algorithm 1's loop. The only place that knows its schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from ibrl_fast.deploy.export import make_policy_module
from ibrl_fast.errors import expect
from ibrl_fast.nn.policies import enable_rl
from ibrl_fast.training.base_trainer import BaseTrainer
from ibrl_fast.training.build import assemble
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.evaluation.process import EvaluationError
from ibrl_fast.training.finish import conclude, interrupted_result
from ibrl_fast.training.records.profile import StepProfiler
from ibrl_fast.training.records.result import TrainResult
from ibrl_fast.training.run import Run
from ibrl_fast.training.teacher import ILPolicy


class Trainer(BaseTrainer):
    """One run of a method: demonstrations, imitation policy, reinforcement learning, exported policy.

    Arguments and errors: as `BaseTrainer`, and:

    Args:
        il_policy: what proposes instead of a policy fitted to the demonstrations: a module or function that
            maps stacked observations, each `[N, ...]`, to actions `[N, action_dim]` or samples
            `[N, S, action_dim]` in [-1, 1]. A module is copied and frozen. What TorchScript cannot hold is
            needed again to resume (`from_checkpoint(..., il_policy=...)`), and the exported policy lacks it.

    Example:
        result = Trainer(presets.quickstart()).run()
    """

    config_type = TrainConfig
    config: TrainConfig

    def __init__(
        self,
        config: TrainConfig,
        *,
        il_policy: ILPolicy | None = None,
        quiet: bool = False,
        profile: bool = False,
        overwrite: bool = False,
        make_env: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(config, quiet=quiet, profile=profile, overwrite=overwrite, make_env=make_env)
        got = "None" if il_policy is None else type(il_policy).__name__
        both = il_policy is not None and config.il_policy is not None
        expect(not both, "il_policy", f"None beside the configuration's {config.il_policy}", got)
        fits = il_policy is None or config.agent.needs_teacher
        expect(fits, "il_policy", f"None for method {config.method}, which has no teacher", got)
        callable_ = il_policy is None or callable(il_policy)
        expect(callable_, "il_policy", "a module or a function of observations", got)
        self._il_policy = il_policy

    def _work(self, run: Run) -> TrainResult:
        self._run, self._parts = run, assemble(self.config, run, self._il_policy)
        self._profiler = self._start_profiler()
        module = make_policy_module(self._parts.learner, self._parts.contract)
        self._parts.evaluations.watch(module)
        try:
            self._train()
            if run.stop.is_set():
                return self._stopped()
            self._parts.evaluations.settle()
            self._save()
            policy_env_steps, rl_acts = self._parts.evaluations.choose()
            if self._parts.gate is not None:
                enable_rl(module, rl_acts)
            return conclude(run, self._exported(module), self._parts.evaluations, policy_env_steps)
        except EvaluationError:
            self._save()
            run.say(f"saved; ibrl-fast resume {self.run_dir} goes on without this evaluation")
            raise

    def _exported(self, module: nn.Module) -> nn.Module | None:
        """Return what the run's file holds: the policy, without a teacher that cannot be scripted."""
        if self._parts.teacher != "program":
            return module
        alone = self._parts.learner.policy_alone()
        return None if alone is None else make_policy_module(alone, self._parts.contract)

    # ---- Algorithm 1

    def _train(self) -> None:
        """Lines 5 to 23, to the last step, to success or to a wish to stop."""
        run, total = self._run, self.config.total_env_steps
        self._parts.interval.mark(run.env_steps, run.counters.rounds)
        with run.progress.bar("training", total) as show:
            while run.env_steps < total and not self._parts.evaluations.solved and not run.stop.is_set():
                self._step()
                show(run.env_steps)

    def _step(self) -> None:
        """One agent step in every environment (lines 6 to 10), the rounds that it owes, and what is due."""
        run, parts = self._run, self._parts
        acting = self._who_acts()
        with run.timer("collect"):
            parts.collector.begin(acting)
        # while environments step, or after it: what the steps so far owe
        if self.config.overlap_collection:
            self._update_owed()
        self._finish_step(acting)
        if not self.config.overlap_collection:
            self._update_owed()
        if self._profiler is not None and run.counters.rounds:
            self._profiler.step()

        # what the schedule asks for
        parts.evaluations.step()
        if run.env_steps >= run.counters.next_checkpoint:
            run.counters.next_checkpoint += self.config.checkpoint_every_env_steps
            self._save()

    def _who_acts(self) -> Literal["agent", "teacher", "random"]:
        """Return the agent, after the warm-up episodes of its method."""
        warm = self._run.counters.episodes < self.config.warmup_episodes
        return self.config.agent.warmup if warm else "agent"

    def _finish_step(self, acting: str) -> None:
        """Store what the environments answered, and count."""
        run, parts, config = self._run, self._parts, self.config
        counters = run.counters
        with run.timer("collect"):
            ended = parts.collector.finish()
        counters.agent_steps += config.env.num_envs
        if acting != "agent":
            counters.warmup_steps = counters.agent_steps
        for episode in ended:
            counters.episodes += 1
            parts.interval.episode(run.env_steps, episode)
            if parts.gate is not None:
                parts.gate.record(episode.success, from_il=acting == "teacher")
        # after the warm-up every step counts towards the next round
        if counters.episodes >= config.warmup_episodes:
            counters.steps_owed += config.env.num_envs

    def _update_owed(self) -> None:
        """Lines 14 to 22: one round for every U agent steps, and once those that the warm-up owes."""
        counters, config = self._run.counters, self.config
        if counters.steps_owed and counters.rounds == 0:
            for _ in range(config.warmup_updates):
                self._update(warmup=True)
        while counters.steps_owed >= config.update_frequency:
            counters.steps_owed -= config.update_frequency
            self._update()

    def _update(self, *, warmup: bool = False) -> None:
        """One round, and its record when that is due."""
        run, parts = self._run, self._parts
        parts.update_round(warmup=warmup)
        run.counters.rounds += 1
        if run.counters.rounds % self.config.log_every_updates == 0:
            metrics: dict[str, Any] = parts.update_round.pop()
            metrics["buffer_steps"] = len(parts.buffer)
            metrics["wall_seconds"] = run.wall_seconds
            parts.interval.train(run.env_steps, run.counters.rounds, metrics, run.timer.seconds)

    # ---- records

    def _save(self) -> None:
        """Write the checkpoint."""
        with self._run.timer("checkpoint"):
            self._run.save(self._parts.state_dict())

    def _stopped(self) -> TrainResult:
        """Save, for `from_checkpoint` to go on."""
        self._save()
        self._run.say(
            f"stopped at {self._run.env_steps} environment steps; the checkpoint is in {self.run_dir}"
        )
        return interrupted_result(self._run, self._parts.evaluations.bc_success_rate)

    def _start_profiler(self) -> StepProfiler | None:
        """Return what `--profile` asks for; a trace that cannot be written fails no run."""
        run = self._run
        if not run.profiled:
            return None
        profiler = StepProfiler(self.run_dir, self.config.device, run.say)

        def finish() -> None:
            with run.decorating("profile"):
                profiler.finish()

        run.closers.callback(finish)
        return profiler
