"""Behaviour cloning: fits an imitation policy to demonstrations and keeps the weights that succeed best."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ibrl_fast import ops
from ibrl_fast.agents.config import BCConfig
from ibrl_fast.agents.flat_adam import FlatAdam
from ibrl_fast.agents.flat_parameters import FlatParameters
from ibrl_fast.agents.precision import Precision
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Demonstration
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import BCPolicy

# one optimiser step: tensor code alone, the same every time; returns the loss, [], on the device
Step = Callable[[], Tensor]


@dataclass(frozen=True)
class BCResult:
    """What came of the training.

    Attributes:
        loss: mean squared action error over the last updates (up to 100).
        kept_update: after how many updates the kept weights were taken.
        success_rates: (update, success rate) of every evaluation.
    """

    loss: float
    kept_update: int
    success_rates: tuple[tuple[int, float], ...]


class DemonstrationSampler:
    """Random batches of stacked, augmented observations and their actions.

    Args:
        demos: at least one.
        shapes: what the policy reads, per key after stacking.
        stacks: frames per key, newest first; keys not named have one.
        random_shift_pad: largest shift of the images in pixels.
        random: of rows and shifts.
        device: where the data lives.
    """

    def __init__(
        self,
        demos: Sequence[Demonstration],
        shapes: Mapping[str, tuple[int, ...]],
        stacks: Mapping[str, int],
        random_shift_pad: int,
        random: RandomSource,
        device: torch.device,
    ) -> None:
        if not demos:
            raise ArgumentError("demos: expected at least one demonstration, got none")
        missing = sorted(set(shapes) - set(demos[0].observations))
        if missing:
            raise ArgumentError(f"demos: expected observations {sorted(shapes)}, missing {missing}")
        self.random = random
        self.pad = random_shift_pad
        self.stacks = {key: stacks.get(key, 1) for key in shapes}
        # one row per action, episodes behind each other; final observations have no action
        self.frames = {
            key: torch.from_numpy(np.concatenate([demo.observations[key][:-1] for demo in demos])).to(device)
            for key in shapes
        }
        self.actions = torch.from_numpy(np.concatenate([demo.actions for demo in demos])).to(device)
        steps = np.concatenate([np.arange(len(demo), dtype=np.int32) for demo in demos])
        self.episode_step = torch.from_numpy(steps).to(device)
        for key, shape in shapes.items():
            got = (self.stacks[key] * self.frames[key].shape[1], *self.frames[key].shape[2:])
            if got != tuple(shape):
                raise ArgumentError(f"demos[{key}]: expected {list(shape)} after stacking, got {list(got)}")

    def sample(self, batch_size: int) -> tuple[dict[str, Tensor], Tensor]:
        """Observations, each `[batch, ...]`, and actions `[batch, action_dim]`."""
        generator, device = self.random.generator, self.actions.device
        rows = torch.randint(len(self.actions), (batch_size,), generator=generator, device=device)
        obs = {}
        for key, frames in self.frames.items():
            if frames.dim() == 4:
                seed, counter = self.random.seed, self.random.counter
                obs[key], _ = ops.random_shift_gather(
                    frames,
                    rows,
                    episode_step=self.episode_step,
                    stack=self.stacks[key],
                    pad=self.pad,
                    seed=seed,
                    counter=counter,
                )
                self.random.advance()
            else:
                gathered = ops.replay_gather([frames], rows, self.episode_step, stacks=self.stacks[key])
                obs[key] = gathered[0]
        return obs, self.actions[rows]


def train_bc(
    policy: BCPolicy,
    demos: Sequence[Demonstration],
    config: BCConfig,
    *,
    stacks: Mapping[str, int] | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
    evaluate: Callable[[BCPolicy], float] | None = None,
    wrap_step: Callable[[Step, torch.Generator], Step] | None = None,
) -> BCResult:
    """Fit a policy to demonstrations by mean squared error, in place.

    Args:
        policy: float32, on the device where it is to be trained.
        demos: episodes with the observations that the policy reads.
        config: hyper-parameters.
        stacks: frames per observation key, newest first; keys not named have one.
        seed: of batches, augmentation and dropout; the initial weights are the policy's own.
        progress: called with (updates done, loss) every 50 updates and at the end; may raise to stop.
        evaluate: returns the policy's success rate in [0, 1]; called as configured and at the end.
        wrap_step: makes another way to run the step from it and the generator that it draws from; the loss
            that this returns may lie in the same memory every time.

    Raises:
        ValueError: demonstrations that the policy cannot read, or evaluate_every without evaluate.
    """
    if config.evaluate_every and evaluate is None:
        raise ArgumentError(
            f"evaluate: expected a function for evaluate_every {config.evaluate_every}, got None"
        )
    device = next(policy.parameters()).device
    precision = Precision(config.precision, device)
    random = RandomSource(seed, device, torch.float32)
    shapes = {key: tuple(shape) for key, shape in policy.shapes.items()}
    sampler = DemonstrationSampler(demos, shapes, stacks or {}, config.random_shift_pad, random, device)
    if sampler.actions.shape[1] != policy.action_dim:
        raise ArgumentError(f"actions: expected [*, {policy.action_dim}], got {list(sampler.actions.shape)}")
    optimizer = FlatAdam(FlatParameters(policy.parameters()), config.learning_rate)

    def step() -> Tensor:
        # regress the demonstrated actions
        with precision.products():
            obs, action = sampler.sample(config.batch_size)
            mask = None
            if policy.dropout > 0:
                mask = random.dropout_mask(config.batch_size, policy.dropout_width, policy.dropout)
            with precision.autocast():
                predicted = policy(obs, mask)
            loss = F.mse_loss(predicted.float(), action)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.detach()

    run_step = step if wrap_step is None else wrap_step(step, random.generator)
    losses: list[Tensor] = []
    success_rates: list[tuple[int, float]] = []
    best_weights = None
    for update in range(1, config.updates + 1):
        losses = [*losses[-99:], run_step().clone()]
        if progress is not None and (update % 50 == 0 or update == config.updates):
            progress(update, float(losses[-1]))
        # equal losses hide very different policies: keep the one that succeeds most, the latest among equals
        last = update == config.updates
        if config.evaluate_every and evaluate and (last or update % config.evaluate_every == 0):
            success_rates.append((update, float(evaluate(policy))))
            if success_rates[-1][1] >= max(rate for _, rate in success_rates):
                best_weights = copy.deepcopy(policy.state_dict())
    # the gradients are of no more use, and would keep a captured step's memory
    policy.zero_grad(set_to_none=True)
    kept_update = config.updates
    if best_weights is not None:
        policy.load_state_dict(best_weights)
        kept_update = max(success_rates, key=lambda entry: (entry[1], entry[0]))[0]
    return BCResult(float(torch.stack(losses).mean()), kept_update, tuple(success_rates))
