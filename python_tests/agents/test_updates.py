"""What moves, what does not, and where random numbers go in the updates of TD3 and IBRL."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from agent_helpers import (
    ACTION_DIM,
    RecordingRandom,
    make_agent,
    pixel_networks,
    random_batch,
    state_networks,
)
from torch import Tensor

from ibrl_fast.agents import IBRLConfig, ProposalRule, TD3Config

NETWORKS = {"state": state_networks, "pixels": pixel_networks}


def snapshot(agent: Any) -> dict[str, dict[str, Tensor]]:
    """Copies of all weights, by part."""
    return copy.deepcopy(agent.state_dict()["modules"])


def moved(agent: Any, before: dict[str, dict[str, Tensor]]) -> set[str]:
    """Parts whose weights changed."""
    after = agent.state_dict()["modules"]
    return {
        part
        for part, weights in before.items()
        if any(not torch.equal(value, after[part][name]) for name, value in weights.items())
    }


@pytest.mark.parametrize("kind", ["state", "pixels"])
def test_each_update_moves_only_its_parts(kind: str) -> None:
    agent = make_agent(IBRLConfig(), NETWORKS[kind]())
    batch = random_batch(agent)
    encoder = {"encoder"} if kind == "pixels" else set()
    before = snapshot(agent)
    agent.update_critic(batch)
    assert moved(agent, before) == {"critic", "target_critic"} | encoder
    before = snapshot(agent)
    agent.update_actor(batch)
    assert moved(agent, before) == {"actor", "target_actor"}


def test_encoder_and_critics_get_no_gradient_from_the_actor() -> None:
    agent = make_agent(IBRLConfig(), pixel_networks())
    batch = random_batch(agent)
    agent.update_actor(batch)
    assert all(p.grad is None for p in [*agent.encoder.parameters(), *agent.critic.parameters()])
    assert all(p.requires_grad for p in agent.critic.parameters())
    assert all(p.grad is not None for p in agent.actor.parameters())
    agent.update_critic(batch)
    assert all(p.grad is not None for p in agent.encoder.parameters())


def test_targets_follow_by_their_factor() -> None:
    agent = make_agent(IBRLConfig(polyak=0.75), state_networks())
    before = snapshot(agent)
    batch = random_batch(agent)
    agent.update_critic(batch)
    agent.update_actor(batch)
    after = snapshot(agent)
    for part in ("actor", "critic"):
        for name, value in before[f"target_{part}"].items():
            expected = 0.75 * value + 0.25 * after[part][name]
            torch.testing.assert_close(after[f"target_{part}"][name], expected, rtol=0, atol=1e-12)


def test_dropout_is_on_in_both_updates_and_off_when_acting() -> None:
    agent = make_agent(IBRLConfig(), state_networks())
    random = agent.random = RecordingRandom(0)
    batch = random_batch(agent)
    agent.act(batch.obs, explore=True)
    agent.act(batch.obs, explore=False)
    assert random.draws["mask"] == []
    # a mask each, fresh, with the documented values
    agent.update_critic(batch)
    agent.update_actor(batch)
    first, second = random.draws["mask"]
    assert first.shape == (32, agent.actor.dropout_width) and not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < float((first == 0).double().mean()) < 0.6


def test_dropout_masks_reach_actor_and_target_actor() -> None:
    """Everything dropped: the proposals no longer depend on the observation."""
    agent = make_agent(TD3Config(exploration_std=0.0, subset_size=5), state_networks())
    batch = random_batch(agent)
    agent.random.dropout_mask = lambda size, width, p: torch.zeros(size, width, dtype=agent.dtype)
    seen: list[Tensor] = []
    agent.target_critic.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    agent.update_critic(batch)
    agent.critic.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    agent.update_actor(batch)
    assert all(torch.equal(actions[0], actions[0, :1].expand(32, -1)) for actions in (seen[0], seen[-1]))


def test_without_dropout_no_mask_is_drawn() -> None:
    agent = make_agent(IBRLConfig(), state_networks(dropout=0.0))
    random = agent.random = RecordingRandom(0)
    agent.update_critic(random_batch(agent))
    agent.update_actor(random_batch(agent))
    assert random.draws["mask"] == []


def test_a_fresh_subset_for_every_use() -> None:
    agent = make_agent(IBRLConfig(subset_size=2), state_networks(num_critics=5))
    random = agent.random = RecordingRandom(0)
    batch = random_batch(agent)
    for _ in range(100):
        agent.update_critic(batch)
        agent.act(batch.obs, explore=True)
    subsets = random.draws["subset"]
    assert len(subsets) == 200
    # always two different critics, every pair equally often
    pairs = {tuple(sorted(subset.tolist())) for subset in subsets}
    assert all(a != b for a, b in pairs) and len(pairs) == 10


def test_subset_covers_all_critics_without_a_draw() -> None:
    agent = make_agent(IBRLConfig(subset_size=2), state_networks(num_critics=2))
    random = agent.random = RecordingRandom(0)
    agent.update_critic(random_batch(agent))
    assert random.draws["subset"] == []


def test_target_computes_the_subset_only() -> None:
    agent = make_agent(IBRLConfig(subset_size=2), state_networks(num_critics=5))
    shapes: list[torch.Size] = []
    agent.target_critic.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    agent.update_critic(random_batch(agent))
    agent.act(random_batch(agent).obs, explore=True)
    assert shapes == [(2, 2, 32), (2, 2, 32)]


def test_bootstrap_proposal_off_never_bootstraps_from_imitation() -> None:
    agent = make_agent(IBRLConfig(bootstrap_proposal=False), state_networks())
    shapes: list[torch.Size] = []
    agent.target_critic.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    batch = random_batch(agent)
    metrics = agent.update_critic(batch)
    assert shapes == [(1, 2, 32)] and float(metrics["il_share_bootstrap"]) == 0
    # the same update as plain TD3's
    other = make_agent(TD3Config(), state_networks())
    other.random.load_state_dict(make_agent(IBRLConfig(), state_networks()).random.state_dict())
    expected = other.update_critic(batch)
    assert float(metrics["critic_loss"]) == float(expected["critic_loss"])


def test_several_samples_of_the_imitation_policy_all_propose() -> None:
    """S = 3 samples: the target is the best of four proposals."""
    config = IBRLConfig(subset_size=5, exploration_std=0.0)
    agent = make_agent(config, state_networks(dropout=0.0))
    batch = random_batch(agent, samples=3)
    rl_action = agent.target_actor(batch.next_obs["state"])
    actions = torch.cat([rl_action.unsqueeze(0), batch.il_action_next.transpose(0, 1)])
    best = agent.target_critic(batch.next_obs["state"], actions).amin(1).amax(0)
    expected = (batch.reward + batch.discount * best).mean()
    assert abs(float(agent.update_critic(batch)["target_mean"]) - float(expected)) < 1e-12


@pytest.mark.parametrize("kind", ["lcb", "paired"])
def test_bootstrap_rule_chooses_but_the_subset_values(kind: Any) -> None:
    rule = ProposalRule(kind=kind, std_factor=0.5, margin=0.01)
    config = IBRLConfig(subset_size=2, exploration_std=0.0, bootstrap_rule=rule)
    agent = make_agent(config, state_networks(dropout=0.0))
    random = agent.random = RecordingRandom(0)
    batch = random_batch(agent)
    rl_action = agent.target_actor(batch.next_obs["state"])
    actions = torch.stack([rl_action, batch.il_action_next[:, 0]])
    q = agent.target_critic(batch.next_obs["state"], actions).detach()
    metrics = agent.update_critic(batch)
    values, share = [], 0
    for row in range(32):
        rl, il = q[0, :, row], q[1, :, row]
        doubt = (rl - il) if kind == "paired" else rl
        spread = ((doubt - doubt.mean()) ** 2).mean().sqrt()
        use_rl = float(rl.mean() - 0.5 * spread - 0.01) >= float(il.mean())
        share += not use_rl
        values.append((rl if use_rl else il)[random.draws["subset"][0]].min())
    expected = (batch.reward + batch.discount * torch.stack(values)).mean()
    assert abs(float(metrics["target_mean"]) - float(expected)) < 1e-12
    assert float(metrics["il_share_bootstrap"]) == share / 32 and 0 < share < 32


@pytest.mark.parametrize("kind", ["state", "pixels"])
def test_bf16_update_is_close_and_keeps_full_precision_weights(kind: str) -> None:
    results = {}
    for precision in ("fp32", "bf16"):
        agent = make_agent(IBRLConfig(precision=precision), NETWORKS[kind](), dtype=torch.float32)
        batch = random_batch(agent)
        matmul_dtypes: set[torch.dtype] = set()
        agent.critic.register_forward_hook(
            lambda module, args, output, seen=matmul_dtypes: seen.add(output.dtype)
        )
        metrics = [{**agent.update_critic(batch), **agent.update_actor(batch)} for _ in range(3)][-1]
        assert matmul_dtypes == {torch.bfloat16 if precision == "bf16" else torch.float32}
        assert all(value.dtype == torch.float32 for value in metrics.values())
        assert all(p.dtype == torch.float32 for p in agent.critic.parameters())
        assert agent.act(batch.obs, explore=False).action.dtype == torch.float32
        results[precision] = metrics
        moved_weights = snapshot(agent)
    assert all(torch.isfinite(value).all() for part in moved_weights.values() for value in part.values())
    for name in ("critic_loss", "actor_loss", "q_mean"):
        a, b = float(results["fp32"][name]), float(results["bf16"][name])
        assert abs(a - b) < 0.03 * max(1.0, abs(a)), name


def test_metrics_are_device_scalars_without_gradient() -> None:
    agent = make_agent(IBRLConfig(), state_networks())
    batch = random_batch(agent)
    metrics = {**agent.update_critic(batch), **agent.update_actor(batch)}
    assert set(metrics) == {"critic_loss", "q_mean", "target_mean", "il_share_bootstrap", "actor_loss"}
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("action", torch.zeros(32, ACTION_DIM + 1), r"action: expected \[32, 3\], got \[32, 4\]"),
        ("reward", torch.zeros(31), r"reward: expected \[32\], got \[31\]"),
        ("discount", torch.zeros(32, 1), r"discount: expected \[32\], got \[32, 1\]"),
        ("obs", {"stat": torch.zeros(32, 6)}, r"obs: expected keys \['state'\], got \['stat'\]"),
        ("obs", {"state": torch.zeros(32, 7)}, r"obs\[state\]: expected \[32, 6\], got \[32, 7\]"),
        ("next_obs", {"state": torch.zeros(30, 6)}, r"next_obs: expected 32 rows, got 30"),
        ("il_action_next", torch.zeros(32, 0, ACTION_DIM), r"il_action_next: expected \[32, 'S', 3\]"),
    ],
)
def test_bad_batches_get_one_clear_error(field: str, value: Any, message: str) -> None:
    agent = make_agent(IBRLConfig(), state_networks())
    batch = random_batch(agent)
    setattr(batch, field, value)
    before = snapshot(agent)
    with pytest.raises(ValueError, match=message):
        agent.update_critic(batch)
    assert moved(agent, before) == set()


def test_bad_settings_get_one_clear_error() -> None:
    with pytest.raises(ValueError, match="subset_size: expected <= 5 critics, got 6"):
        make_agent(IBRLConfig(subset_size=6), state_networks())
    for wrong in (
        {"learning_rate": 0.0},
        {"polyak": 1.0},
        {"exploration_std": -0.1},
        {"noise_clip": -1.0},
        {"subset_size": 0},
        {"precision": "fp16"},
        {"beta": float("nan")},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            IBRLConfig(**wrong)
    for wrong in ({"kind": "max"}, {"std_factor": -1.0}, {"margin": float("inf")}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            ProposalRule(**wrong)
