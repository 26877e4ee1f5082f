"""Behaviour cloning learns, augments, repeats itself, and keeps the weights that succeed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ibrl_fast.agents import BCConfig, train_bc
from ibrl_fast.agents.bc import DemonstrationSampler
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Demonstration
from ibrl_fast.nn import ActorConfig, BCNetworkConfig, BCPolicy, ResNet18Config, build_bc_policy


def make_demos(lengths: tuple[int, ...] = (20, 30, 25)) -> list[Demonstration]:
    """The action is tanh of the first two state entries of the step before the last one seen."""
    rng = np.random.default_rng(0)
    demos = []
    for steps in lengths:
        state = rng.normal(size=(steps + 1, 4)).astype(np.float32)
        previous = state[np.maximum(np.arange(steps) - 1, 0)]
        demos.append(
            Demonstration(
                observations={
                    "state": state,
                    "camera": rng.integers(0, 256, (steps + 1, 3, 40, 40)).astype(np.uint8),
                },
                actions=np.tanh(previous[:, :2]),
                rewards=np.zeros(steps, np.float32),
                terminated=np.zeros(steps, bool),
                truncated=np.zeros(steps, bool),
            )
        )
    return demos


def state_policy(stack: int = 2, dropout: float = 0.0) -> BCPolicy:
    torch.manual_seed(0)
    config = BCNetworkConfig(actor=ActorConfig(hidden=(64, 64), dropout=dropout))
    return build_bc_policy(config, {"state": (4 * stack,)}, 2)


def pixel_policy() -> BCPolicy:
    torch.manual_seed(0)
    config = BCNetworkConfig(
        actor=ActorConfig(hidden=(32,), dropout=0.0, compress_dim=None),
        encoder=ResNet18Config(base_channels=4),
    )
    return build_bc_policy(config, {"camera": (6, 40, 40), "state": (4,)}, 2)


def test_learns_from_stacked_states() -> None:
    """The action hangs on the previous step: it can be learned with a stack of two, not with one."""
    config = BCConfig(updates=400, batch_size=64, learning_rate=3e-3)
    seen = train_bc(state_policy(2), make_demos(), config, stacks={"state": 2}).loss
    # without it the noise can only be learned by heart
    assert seen < 0.003 and train_bc(state_policy(1), make_demos(), config).loss > 5 * seen


def test_pixels_learn_with_augmentation_and_proprioception() -> None:
    config = BCConfig(updates=60, batch_size=16, learning_rate=1e-3)
    losses: list[float] = []
    train_bc(
        pixel_policy(),
        make_demos((3,)),
        config,
        stacks={"camera": 2},
        progress=lambda update, loss: losses.append(loss),
    )
    assert len(losses) == 2 and losses[-1] < 0.1


def test_same_seed_same_policy() -> None:
    config = BCConfig(updates=20, batch_size=16)
    weights = []
    for seed in (1, 1, 2):
        policy = state_policy(dropout=0.5)
        train_bc(policy, make_demos(), config, stacks={"state": 2}, seed=seed)
        weights.append(policy.actor.mlp.output.weight.detach().clone())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_dropout_is_on_while_training_and_off_in_the_policy() -> None:
    policy = state_policy(dropout=0.5)
    masks: list[torch.Tensor] = []
    policy.actor.register_forward_pre_hook(lambda module, args: masks.append(args[1]))
    train_bc(policy, make_demos(), BCConfig(updates=3, batch_size=8), stacks={"state": 2})
    assert all(mask.shape == (8, 128) and set(mask.unique().tolist()) == {0.0, 2.0} for mask in masks)
    assert not torch.equal(masks[0], masks[1])
    obs = {"state": torch.randn(5, 8)}
    assert torch.equal(policy(obs), policy(obs)) and masks[-1] is None


def test_keeps_the_most_successful_weights_the_latest_among_equals() -> None:
    policy, rates, seen = state_policy(), iter([0.2, 0.9, 0.5, 0.9, 0.1]), []

    def evaluate(candidate: BCPolicy) -> float:
        seen.append(candidate.actor.mlp.output.weight.detach().clone())
        return next(rates)

    config = BCConfig(updates=45, batch_size=8, evaluate_every=10)
    result = train_bc(policy, make_demos(), config, stacks={"state": 2}, evaluate=evaluate)
    assert result.success_rates == ((10, 0.2), (20, 0.9), (30, 0.5), (40, 0.9), (45, 0.1))
    assert result.kept_update == 40
    assert torch.equal(policy.actor.mlp.output.weight, seen[3])


def test_progress_may_stop_the_training() -> None:
    calls: list[int] = []

    def progress(update: int, loss: float) -> None:
        calls.append(update)
        if update == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_bc(state_policy(), make_demos(), BCConfig(updates=500), stacks={"state": 2}, progress=progress)
    assert calls == [50, 100]


def test_sampler_stacks_within_episodes_and_pairs_actions() -> None:
    demos = make_demos((3, 5))
    random = RandomSource(0, torch.device("cpu"), torch.float32)
    shapes = {"state": (8,), "camera": (3, 40, 40)}
    sampler = DemonstrationSampler(demos, shapes, {"state": 2}, 0, random, torch.device("cpu"))
    # what each (newest state, previous state) has to come with
    expected = {}
    for demo in demos:
        for t in range(len(demo)):
            state = demo.observations["state"]
            key = (*state[t].tolist(), *state[max(t - 1, 0)].tolist())
            expected[key] = (demo.actions[t], demo.observations["camera"][t])
    obs, actions = sampler.sample(200)
    seen = set()
    for state, image, action in zip(obs["state"], obs["camera"], actions, strict=True):
        seen.add(tuple(state.tolist()))
        wanted_action, wanted_image = expected[tuple(state.tolist())]
        assert np.array_equal(action.numpy(), wanted_action)
        assert np.allclose(image.numpy(), wanted_image / 255 - 0.5, atol=1e-6)
    assert seen == set(expected)


def test_images_are_shifted_at_random() -> None:
    demo = make_demos((1,))
    random = RandomSource(0, torch.device("cpu"), torch.float32)
    sampler = DemonstrationSampler(demo, {"camera": (3, 40, 40)}, {}, 4, random, torch.device("cpu"))
    first, second = sampler.sample(200)[0]["camera"], sampler.sample(200)[0]["camera"]
    # 9 x 9 shifts of the one image; a new draw for every batch
    assert 60 < len(first.flatten(1).unique(dim=0)) <= 81
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_bc(state_policy(), [], BCConfig()), "demos: expected at least one"),
        (
            lambda: train_bc(state_policy(), make_demos(), BCConfig()),
            r"demos\[state\]: expected \[8\] after stacking, got \[4\]",
        ),
        (
            lambda: train_bc(
                build_bc_policy(BCNetworkConfig(), {"joints": (4,)}, 2), make_demos(), BCConfig()
            ),
            r"demos: expected observations \['joints'\], missing \['joints'\]",
        ),
        (
            lambda: train_bc(
                build_bc_policy(BCNetworkConfig(), {"state": (4,)}, 3), make_demos(), BCConfig()
            ),
            r"actions: expected \[\*, 3\], got \[75, 2\]",
        ),
        (
            lambda: train_bc(state_policy(1), make_demos(), BCConfig(evaluate_every=5)),
            "evaluate: expected a function",
        ),
        (lambda: BCConfig(updates=0), "updates: expected >= 1, got 0"),
        (lambda: BCConfig(learning_rate=-1.0), "learning_rate: expected > 0"),
        (lambda: BCConfig(evaluate_every=-1), "evaluate_every: expected >= 0"),
    ],
)
def test_bad_input_gets_one_clear_error(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
