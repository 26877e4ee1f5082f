"""Learners of runs: a new one from its configuration, a saved one with its policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ibrl_fast.agents import Learner, LearnerSetup, make_learner
from ibrl_fast.deploy.export import make_policy_module
from ibrl_fast.deploy.policy import ObservationContract
from ibrl_fast.errors import expect
from ibrl_fast.nn import ObservationScaler, enable_rl
from ibrl_fast.seeding import stream_seed
from ibrl_fast.training.config import ImitationConfig, TrainConfig
from ibrl_fast.training.evaluation.stop_rule import StopRule
from ibrl_fast.training.imitation import make_bc_policy, restore_bc_policy
from ibrl_fast.training.observation_plan import ObservationPlan, make_scalers, plan_from_contract
from ibrl_fast.training.records.checkpoint import fitting
from ibrl_fast.training.run import SavedRun
from ibrl_fast.training.teacher import restore_teacher


def build_learner(
    config: TrainConfig,
    plan: ObservationPlan,
    scalers: Mapping[str, ObservationScaler],
    teacher: nn.Module | None,
) -> Learner:
    """Return the method's learner, untrained."""
    torch.manual_seed(stream_seed(config.seed, "networks"))
    setup = LearnerSetup(
        config.network,
        plan.shapes,
        plan.contract.action_dim,
        seed=stream_seed(config.seed, "agent"),
        teacher=teacher,
        scalers=scalers,
        device=config.device,
    )
    return make_learner(config.agent, setup)


def restore_learner(config: TrainConfig, plan: ObservationPlan, saved: SavedRun) -> Learner:
    """Return the learner of a saved run; it cannot train on, as its buffer is left out."""
    teacher, _ = restore_teacher(saved.run_dir, saved.content, plan)
    if teacher is None and config.agent.needs_teacher:
        teacher = make_bc_policy(config, plan, None)
    learner = build_learner(config, plan, make_scalers(config, plan, None), teacher)
    learner.load_state_dict(saved.content["learner"])
    return learner


def load_imitation_policy(path: Path) -> nn.Module:
    """Return the imitation policy of a run folder, of imitation alone or of a method with a teacher.

    Raises:
        CheckpointError: no readable checkpoint there.
        ArgumentError: a run of a method without a teacher.
    """
    saved = SavedRun(path)
    with fitting(saved.run_dir):
        config, plan = _on_the_cpu(saved)
        if not isinstance(config, TrainConfig):
            return restore_bc_policy(config, plan, saved.content)
        has_one = config.agent.needs_teacher
        expect(has_one, "il_policy", "a run with an imitation policy", f"{path} of method {config.method}")
        teacher = restore_learner(config, plan, saved).bc_policy
        assert teacher is not None
        return teacher


def load_policy_module(path: Path) -> nn.Module:
    """Return the policy that a run folder's checkpoint would deploy, ready to be scripted or exported.

    Raises:
        CheckpointError: no readable checkpoint there.
    """
    saved = SavedRun(path)
    content = saved.content
    with fitting(saved.run_dir):
        config, plan = _on_the_cpu(saved)
        if not isinstance(config, TrainConfig):
            return make_policy_module(restore_bc_policy(config, plan, content), plan.contract)
        module = make_policy_module(restore_learner(config, plan, saved), plan.contract)
        rule = StopRule(config.stop_at_success_rate)
        rule.load_state_dict(content["evaluations"]["stop_rule"])
        if rule.deployed is not None:
            module.load_state_dict(rule.deployed.weights)
        if "gate" in content:
            is_open = content["gate"]["is_open"]
            enable_rl(module, is_open if rule.deployed is None else rule.deployed.gate_was_open)
        return module


def _on_the_cpu(saved: SavedRun) -> tuple[ImitationConfig, ObservationPlan]:
    """Return a saved run's configuration and plan for weights on the CPU, in full precision."""
    config = replace(saved.config(), device="cpu", capture=None)
    if isinstance(config, TrainConfig):
        config = replace(config, agent=replace(config.agent, precision="fp32"))
    return config, plan_from_contract(ObservationContract.from_json(saved.content["contract"]))
