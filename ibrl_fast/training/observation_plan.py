"""What the policy sees in a run: names, stacks, shapes, fixed scaling, and the exported policy's contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ibrl_fast import __version__
from ibrl_fast.data import observation_specs
from ibrl_fast.data.demonstrations import DemonstrationSet
from ibrl_fast.deploy.export import contract_from_space
from ibrl_fast.deploy.policy import ObservationContract
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.nn import ObservationScaler
from ibrl_fast.training.config import ImitationConfig


@dataclass(frozen=True)
class ObservationPlan:
    """Names, stacks and shapes of what the policy sees.

    Attributes:
        stacks: frames per key, newest first.
        shapes: per key after stacking.
        contract: for the exported policy.
        state_scale: unit of each entry of one frame of `state`, 0 = masked, NaN = unknown; None without a
            state.
        joined: which entries of the environment a vector joins, in order, where it has such.
    """

    stacks: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    contract: ObservationContract
    state_scale: np.ndarray | None
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def plan_observation(config: ImitationConfig, pool: BasePool) -> ObservationPlan:
    """Return the plan for a pool's observations."""
    specs = observation_specs(pool.single_observation_space)
    stacks = {key: config.image_stack if spec.is_image else config.state_stack for key, spec in specs.items()}
    task = pool.task
    joined = {key: task.joined[key] for key in specs if key in task.joined}
    facts = {"task": config.env.task, "method": config.method, "ibrl_fast": __version__}
    contract = contract_from_space(
        {key: pool.entry_spaces[key] for key in specs},
        stacks,
        task.action_dim,
        control_period=task.control_period,
        action_repeat=config.env.action_repeat,
        control_low=task.control_low,
        control_high=task.control_high,
        metadata=facts | {f"{key}_keys": ",".join(names) for key, names in joined.items()},
    )
    shapes = {key: spec.stacked_shape(stacks[key]) for key, spec in specs.items()}
    scale = pool.state_scale if "state" in specs else None
    return ObservationPlan(stacks, shapes, contract, scale, joined)


def plan_from_contract(contract: ObservationContract) -> ObservationPlan:
    """Return the plan of a saved policy, without its environment."""
    fields = contract.observations
    stacks = {key: field.stack for key, field in fields.items()}
    shapes = {key: (field.stack * field.shape[0], *field.shape[1:]) for key, field in fields.items()}
    scale = np.zeros(fields["state"].shape, dtype=np.float32) if "state" in fields else None
    return ObservationPlan(stacks, shapes, contract, scale)


def make_scalers(
    config: ImitationConfig, plan: ObservationPlan, demos: DemonstrationSet | None
) -> dict[str, ObservationScaler]:
    """Return the fixed transform of `state`: centred on the demonstrations' mean, in the task's units.

    Entries that never change in the demonstrations, or whose unit is 0, are masked; where no unit is known,
    the demonstrations' standard deviation is it. Without demonstrations the scaler has the right sizes only,
    to be filled from a checkpoint.
    """
    if config.observation_scaling == "none" or plan.state_scale is None:
        return {}
    stack = plan.stacks["state"]
    mean = np.zeros_like(plan.state_scale)
    inv_scale = np.zeros_like(plan.state_scale)
    if demos is not None:
        states = np.concatenate([demo.observations["state"] for demo in demos])
        mean = states.mean(axis=0)
        deviation = states.std(axis=0)
        scale = np.where(np.isnan(plan.state_scale), deviation, plan.state_scale)
        used = (scale > 0) & (deviation > 1e-6)
        inv_scale = np.where(used, 1.0 / np.where(used, scale, 1.0), 0.0)
    tiled = [torch.from_numpy(np.tile(values, stack)).float() for values in (mean, inv_scale)]
    return {"state": ObservationScaler(tiled[0], tiled[1])}


def stack_episode(
    observations: Mapping[str, np.ndarray], stacks: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    """Stack an episode's observations `[T, ...]`, newest first: `[T, k * features]` or `[T, k * C, H, W]`."""
    stacked = {}
    for key, stack in stacks.items():
        frames = torch.from_numpy(np.ascontiguousarray(observations[key]))
        rows = torch.arange(len(frames)).unsqueeze(1) - torch.arange(stack)
        stacked[key] = frames[rows.clamp(min=0)].flatten(1, 2)
    return stacked
