"""Imitation alone: demonstrations, a policy fitted to them, its evaluation and its file."""

from __future__ import annotations

from contextlib import closing

from ibrl_fast.deploy.export import make_policy_module
from ibrl_fast.training.base_trainer import BaseTrainer
from ibrl_fast.training.build import open_pool
from ibrl_fast.training.config import ImitationConfig
from ibrl_fast.training.evaluation.process import EvaluationError
from ibrl_fast.training.evaluation.schedule import Evaluations
from ibrl_fast.training.finish import conclude, interrupted_result
from ibrl_fast.training.imitation import imitate, restore_bc_policy
from ibrl_fast.training.observation_plan import plan_observation
from ibrl_fast.training.records.checkpoint import fitting
from ibrl_fast.training.records.result import TrainResult
from ibrl_fast.training.run import Run


class ImitationTrainer(BaseTrainer):
    """One run of behaviour cloning.

    Arguments and errors: as `BaseTrainer`.

    Example:
        result = ImitationTrainer(presets.quickstart().imitation()).run()
    """

    config_type = ImitationConfig
    config: ImitationConfig

    def _work(self, run: Run) -> TrainResult:
        with closing(open_pool(self.config)) as pool:
            plan = plan_observation(self.config, pool)
        evaluations = Evaluations(self.config, run, plan)

        # The policy, which is all that a checkpoint holds
        if run.content is None:
            policy = imitate(self.config, run, plan).policy
            run.begin()
            run.save({"contract": plan.contract.to_json(), "bc_policy": policy.state_dict()})
        else:
            with fitting(self.run_dir):
                policy = restore_bc_policy(self.config, plan, run.content)
            run.begin()
        if run.stop.is_set():
            run.say(f"stopped after imitation; the checkpoint is in {self.run_dir}")
            return interrupted_result(run)

        module = make_policy_module(policy, plan.contract)
        evaluations.watch(module)
        try:
            return conclude(run, module, evaluations, run.env_steps)
        except EvaluationError:
            run.say(f"saved; ibrl-fast resume {self.run_dir} evaluates again")
            raise
