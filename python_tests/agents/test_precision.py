"""A precision holds for an update, backward included, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agent_helpers import make_agent, pixel_networks, random_batch, random_obs, state_networks

from ibrl_fast.agents import BCConfig, IBRLConfig, TD3Config
from ibrl_fast.agents.precision import Precision

CPU = torch.device("cpu")


def settings() -> tuple[str, str]:
    """What PyTorch would do now, for products and for convolutions."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.mark.parametrize(("name", "expected"), [("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")])
def test_products_scope_both_settings_and_put_them_back(name: Any, expected: str) -> None:
    before = settings()
    precision = Precision(name, torch.device("cuda"))
    with precision.products():
        assert settings() == (expected, expected)
        with Precision("tf32", torch.device("cuda")).products():
            assert settings() == ("tf32", "tf32")
        assert settings() == (expected, expected)
    assert settings() == before
    with pytest.raises(KeyError), precision.products():
        raise KeyError
    assert settings() == before


@pytest.mark.parametrize(("name", "expected"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_updates_and_acting_run_in_their_precision(name: str, expected: str) -> None:
    """Seen from a forward hook and from within the backward pass."""
    before = settings()
    assert before[1] == "tf32", "PyTorch lets convolutions round by default: the test has to see that end"
    agent = make_agent(IBRLConfig(), pixel_networks(), dtype=torch.float32)
    agent.precision.name = name
    seen: list[tuple[str, str]] = []

    def forward(module: Any, inputs: Any, output: Any) -> None:
        seen.append(settings())
        if output[0].requires_grad:
            output[0].register_hook(lambda grad: seen.append(settings()))

    agent.encoder.register_forward_hook(forward)
    agent.bc_policy.encoder.register_forward_hook(forward)
    batch, obs = random_batch(agent), random_obs(agent, 2, 0)
    for call, times in (
        (lambda: agent.update_critic(batch), 3),  # next features, features, their gradient
        (lambda: agent.update_actor(batch), 1),
        (lambda: agent.act(obs, True), 2),
        (lambda: agent.act(obs, explore=False).action, 2),
        (lambda: agent.propose(obs), 1),
    ):
        seen.clear()
        call()
        assert seen == [(expected, expected)] * times
        assert settings() == before


def test_bf16_keeps_no_casts_of_weights() -> None:
    """A cast made outside a graph must not be read inside one."""
    with Precision("bf16", CPU).autocast():
        assert torch.is_autocast_enabled("cpu") and not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled()
    with Precision("fp32", CPU).autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_wrong_precisions_are_refused() -> None:
    for config in (IBRLConfig, TD3Config, BCConfig):
        with pytest.raises(ValueError, match="precision: expected fp32, tf32 or bf16, got fp16"):
            config(precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision: expected fp32 or bf16 on cpu, got tf32"):
        make_agent(TD3Config(precision="tf32"), state_networks())


def test_known_proposals_change_nothing() -> None:
    """Acting on proposals computed before is acting, bit for bit; wrong ones are refused."""
    first, second = (make_agent(IBRLConfig(beta=2.0), state_networks()) for _ in range(2))
    for seed in range(3):
        obs = random_obs(first, 5, seed)
        computed, given = first.act(obs, True), second.act(obs, True, il_action=second.propose(obs))
        for name in ("action", "source", "q", "il_action"):
            assert torch.equal(getattr(computed, name), getattr(given, name))
    with pytest.raises(ValueError, match=r"il_action: expected \[5, 'S', 3\], got \[4, 1, 3\]"):
        first.act(obs, True, il_action=torch.zeros(4, 1, 3, dtype=first.dtype))
