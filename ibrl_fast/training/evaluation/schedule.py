"""The evaluations of a run: when they are due, what they are of, what is logged, and when it is enough."""

from __future__ import annotations

import time
from typing import Any

from torch import nn

from ibrl_fast.agents.gate import DeploymentGate
from ibrl_fast.deploy.export import script_policy
from ibrl_fast.envs.registry import is_known_everywhere, resolve_task
from ibrl_fast.seeding import episode_seeds
from ibrl_fast.training.config import ImitationConfig, TrainConfig
from ibrl_fast.training.evaluation.evaluator import EvaluationResult, EvaluationSpec, Evaluator
from ibrl_fast.training.observation_plan import ObservationPlan
from ibrl_fast.training.records.result import describe
from ibrl_fast.training.records.run_folder import VIDEO_NAME
from ibrl_fast.training.run import Run


class Evaluations:
    """Evaluates on fixed seeds: the first half of them during training, the others at the end.

    On the seeds of the end nothing was selected or stopped.

    Args:
        config: of the run.
        run: gets the records.
        plan: what the policies see.
        scripted: whether policies can be scripted; others are evaluated in this process, in between.

    Attributes:
        gate: decides whether RL acts in the deployed policy; None: it always does.
        bc_result: of the imitation policy, on all seeds; None without one.
    """

    def __init__(
        self, config: ImitationConfig, run: Run, plan: ObservationPlan, *, scripted: bool = True
    ) -> None:
        self._config = config
        self._run = run
        self.gate: DeploymentGate | None = None
        number = config.evaluation.episodes
        self._during, self._at_the_end = range(number), range(number, 2 * number)
        seeds = tuple(episode_seeds(config.evaluation.seed, 2 * number))
        spec = EvaluationSpec(config.env.pool_kwargs(), plan.stacks, seeds, config.evaluation.video_episodes)
        workers = config.evaluation.workers if scripted else 0
        if workers and not is_known_everywhere(resolve_task(config.env.task)):
            run.say(f"no other process knows {config.env.task}: it is evaluated in this one, in between")
            workers = 0
        self._evaluator = Evaluator(spec, workers)
        self._scripted = scripted
        run.closers.callback(self._evaluator.close)
        self._policy: nn.Module | None = None
        self._gate_was_open = True
        self._next = config.evaluation.every_env_steps if isinstance(config, TrainConfig) else 0
        self._good_in_a_row = 0
        self.bc_result: EvaluationResult | None = None

    # ---- the imitation policy

    def submit_imitation(self, module: nn.Module) -> None:
        """Start the evaluation of the imitation policy on all seeds."""
        with self._run.timer("evaluate"):
            self._evaluator.submit(self._runnable(module), 0)

    def receive_imitation(self) -> None:
        """Wait for it."""
        with self._run.timer("evaluate"):
            ((_, self.bc_result),) = self._evaluator.finished(wait=True)

    def log_imitation(self) -> None:
        """Record what imitation alone can do, where it was evaluated."""
        if self.bc_result is not None:
            during = self._part(self.bc_result, self._during)
            self._run.log("bc", 0, during.metrics())
            self._run.say(describe("imitation policy", during))

    @property
    def bc_success_rate(self) -> float | None:
        """Of the imitation policy on the seeds of the end; None without one."""
        if self.bc_result is None:
            return None
        return self._part(self.bc_result, self._at_the_end).success_rate

    @staticmethod
    def _part(result: EvaluationResult, episodes: range) -> EvaluationResult:
        return result.part(slice(episodes.start, episodes.stop))

    # ---- during training

    def watch(self, module: nn.Module) -> None:
        """Set the policy that is evaluated from here on; it follows training."""
        self._policy = self._runnable(module)

    def _runnable(self, module: nn.Module) -> nn.Module:
        return script_policy(module) if self._scripted else module

    @property
    def solved(self) -> bool:
        """Two evaluations in a row reached the success rate that ends the run."""
        return self._good_in_a_row >= 2

    def step(self) -> None:
        """Evaluate if that is due, and record what has come in."""
        assert isinstance(self._config, TrainConfig) and self._policy is not None
        if self._run.env_steps >= self._next:
            self._next += self._config.evaluation.every_env_steps
            with self._run.timer("evaluate"):
                # earlier results are waited for, so that runs repeat
                self.collect(wait=True)
                self._gate_was_open = self.gate is None or self.gate.is_open
                self._evaluator.submit(self._policy, self._run.env_steps, episodes=self._during)
                if self._config.stop_at_success_rate is not None:
                    self.collect(wait=True)
        self.collect(wait=False)

    def collect(self, *, wait: bool) -> None:
        """Record what is finished; with `wait`, everything submitted."""
        for env_steps, result in self._evaluator.finished(wait=wait):
            self._record(env_steps, result)

    def _record(self, env_steps: int, hybrid: EvaluationResult) -> None:
        assert isinstance(self._config, TrainConfig)
        run = self._run
        metrics = {"wall_seconds": run.wall_seconds, "cpu_seconds": time.process_time()}
        # behind a closed gate the imitation policy is deployed, whose episodes are known already
        deployed = hybrid
        if self.gate is not None:
            assert self.bc_result is not None
            deployed = hybrid if self._gate_was_open else self._part(self.bc_result, self._during)
            metrics |= {"gate_open": float(self._gate_was_open), "hybrid_success_rate": hybrid.success_rate}
        run.log("eval", env_steps, {**deployed.metrics(), **metrics})
        run.say(describe(f"{env_steps:>7} steps", deployed))
        enough = self._config.stop_at_success_rate
        if enough is not None:
            self._good_in_a_row = self._good_in_a_row + 1 if deployed.success_rate >= enough else 0

    # ---- the end

    def last(self, *, filmed: bool) -> EvaluationResult:
        """Evaluate the result of the run, with a video of the first episodes if asked for."""
        assert self._policy is not None
        with self._run.timer("evaluate"):
            self.collect(wait=True)
            video = self._run.run_dir / VIDEO_NAME if filmed else None
            self._evaluator.submit(self._policy, self._run.env_steps, episodes=self._at_the_end, video=video)
            ((_, result),) = self._evaluator.finished(wait=True)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return what is known so far; nothing may be under way."""
        return {
            "bc_result": None if self.bc_result is None else self.bc_result.to_plain(),
            "next": self._next,
            "good_in_a_row": self._good_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict()."""
        saved = state["bc_result"]
        self.bc_result = None if saved is None else EvaluationResult(**saved)
        self._next, self._good_in_a_row = state["next"], state["good_in_a_row"]
