"""The evaluations of a run: when they are due, what they are of, what is logged, and when they count.

Training goes on while a policy is evaluated. A result is recorded when it comes in and counts, for the end of
the run, half an interval after the policy was handed over: at a step that depends on the seed alone. Only
where it is not there by then is it waited for.
"""

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
from ibrl_fast.training.evaluation.process import EvaluationError
from ibrl_fast.training.evaluation.stop_rule import Candidate, StopRule, copied_weights, holding
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
        self._module: nn.Module | None = None
        self._policy: nn.Module | None = None
        self._next = config.evaluation.every_env_steps if isinstance(config, TrainConfig) else 0
        self._stop_rule = StopRule(config.stop_at_success_rate if isinstance(config, TrainConfig) else None)
        self._candidate: Candidate | None = None
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
        self._module, self._policy = module, self._runnable(module)
        # a resumed run: what was under way when it was saved
        if self._candidate is not None and self._candidate.result is None:
            with self._run.timer("evaluate"), holding(module, self._candidate.weights):
                self._evaluator.submit(self._policy, self._candidate.env_steps, episodes=self._during)

    def _runnable(self, module: nn.Module) -> nn.Module:
        return script_policy(module) if self._scripted else module

    @property
    def solved(self) -> bool:
        """Two evaluations in a row reached the success rate that ends the run."""
        return self._stop_rule.deployed is not None

    def step(self) -> None:
        """Take in what is finished, let it count, and hand over the policy, each when it is due."""
        assert isinstance(self._config, TrainConfig)
        steps, candidate = self._run.env_steps, self._candidate
        if candidate is not None:
            self._receive(wait=False)
            if steps >= min(candidate.counts_at, self._next):
                self.settle()
        if steps >= self._next and not self.solved:
            self._next += self._config.evaluation.every_env_steps
            with self._run.timer("evaluate"):
                self._hand_over(self._config.evaluation.every_env_steps)

    def _hand_over(self, interval: int) -> None:
        """Start the evaluation of the policy as it is now."""
        assert self._module is not None and self._policy is not None
        steps = self._run.env_steps
        self._evaluator.submit(self._policy, steps, episodes=self._during)
        is_open = self.gate is None or self.gate.is_open
        self._candidate = Candidate(steps, steps + interval // 2, is_open, copied_weights(self._module))

    def settle(self) -> None:
        """Let the result of the policy that was handed over count, waiting for it if need be."""
        if self._candidate is None:
            return
        with self._run.timer("evaluate"):
            self._receive(wait=True)
        candidate, self._candidate = self._candidate, None
        assert candidate.result is not None
        self._stop_rule.count(candidate, self._deployed(candidate).success_rate)
        if self.solved:
            self._run.say(f"solved: the policy after {candidate.env_steps} steps is deployed")

    def _receive(self, *, wait: bool) -> None:
        """Record the candidate's result if it is new and there, or once it is."""
        candidate = self._candidate
        if candidate is None or candidate.result is not None:
            return
        try:
            finished = self._evaluator.finished(wait=wait)
        except EvaluationError:
            # the run goes on without it
            self._candidate = None
            raise
        for _, candidate.result in finished:
            self._record(candidate)

    def _deployed(self, candidate: Candidate) -> EvaluationResult:
        """Return the result of what would be deployed: behind a closed gate, of the imitation policy."""
        assert candidate.result is not None
        if candidate.gate_was_open:
            return candidate.result
        assert self.bc_result is not None
        return self._part(self.bc_result, self._during)

    def _record(self, candidate: Candidate) -> None:
        assert candidate.result is not None
        run, deployed = self._run, self._deployed(candidate)
        metrics = {"wall_seconds": run.wall_seconds, "cpu_seconds": time.process_time()}
        if self.gate is not None:
            hybrid_rate = candidate.result.success_rate
            metrics |= {"gate_open": float(candidate.gate_was_open), "hybrid_success_rate": hybrid_rate}
        run.log("eval", candidate.env_steps, {**deployed.metrics(), **metrics})
        run.say(describe(f"{candidate.env_steps:>7} steps", deployed))

    # ---- the end

    def choose(self) -> tuple[int, bool]:
        """Give the policy the weights that are deployed: of the end, or of the evaluation that ended the run.

        Nothing may be under way.

        Returns:
            The environment steps after which it was so, and whether its RL actions may be taken.
        """
        chosen = self._stop_rule.deployed
        if chosen is None:
            return self._run.env_steps, self.gate is None or self.gate.is_open
        assert self._module is not None
        self._module.load_state_dict(chosen.weights)
        return chosen.env_steps, chosen.gate_was_open

    def last(self, *, filmed: bool) -> EvaluationResult:
        """Evaluate the result of the run, with a video of the first episodes if asked for."""
        assert self._policy is not None
        with self._run.timer("evaluate"):
            video = self._run.run_dir / VIDEO_NAME if filmed else None
            self._evaluator.submit(self._policy, self._run.env_steps, episodes=self._at_the_end, video=video)
            ((_, result),) = self._evaluator.finished(wait=True)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return what is known so far, and the policy whose result has yet to count."""
        return {
            "bc_result": None if self.bc_result is None else self.bc_result.to_plain(),
            "next": self._next,
            "candidate": None if self._candidate is None else self._candidate.to_plain(),
            "stop_rule": self._stop_rule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict(); `watch` evaluates again what was under way."""
        saved, candidate = state["bc_result"], state["candidate"]
        self.bc_result = None if saved is None else EvaluationResult(**saved)
        self._next = state["next"]
        self._candidate = None if candidate is None else Candidate.from_plain(**candidate)
        self._stop_rule.load_state_dict(state["stop_rule"])
