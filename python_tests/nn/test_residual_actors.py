"""Residual actors and the policies that hold one, against the formula in float64 and in TorchScript."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibrl_fast.nn import ActorConfig, CriticConfig, DrQConfig, NetworkConfig, ViTConfig, build_networks
from ibrl_fast.nn.policies import IL_SOURCE, RL_SOURCE, HybridPolicy, ResidualPolicy, SinglePolicy
from ibrl_fast.nn.residual_actors import StateResidualActor

ACTION_DIM, BATCH, SCALE = 2, 6, 0.8
PLAIN = ActorConfig(hidden=(24, 16))
COMPRESSING = ActorConfig(hidden=(24, 16), layer_norm=True, compress_dim=10)
CRITIC = CriticConfig(num_critics=3, hidden=(16,), embed_dim=12)
CASES: dict[str, tuple[NetworkConfig, dict[str, tuple[int, ...]]]] = {
    "state": (NetworkConfig(PLAIN, CRITIC), {"state": (9,)}),
    "no hidden layer": (NetworkConfig(ActorConfig(()), CRITIC), {"state": (9,)}),
    "vit": (NetworkConfig(COMPRESSING, CRITIC, ViTConfig(16, mlp_dim=20)), {"a": (3, 32, 32), "p": (4,)}),
    "drq, no compression": (
        NetworkConfig(ActorConfig((16,), compress_dim=None), CRITIC, DrQConfig(4)),
        {"a": (3, 21, 21)},
    ),
}


def make(
    name: str, *, learned: bool, dtype: torch.dtype = torch.float64
) -> tuple[Any, dict[str, Tensor], Tensor]:
    """Networks with a residual actor, observations, and base actions; `learned` away from the first zero."""
    torch.manual_seed(0)
    config, shapes = CASES[name]
    networks = build_networks(config, shapes, ACTION_DIM, residual_scale=SCALE)
    for module in (networks.encoder, networks.actor, networks.critic):
        module.to(dtype)
    if learned:
        nn.init.normal_(networks.actor.residual.mlp.output.weight)
    obs = {key: torch.rand(BATCH, *shape, dtype=dtype) - 0.5 for key, shape in shapes.items()}
    return networks, obs, torch.rand(BATCH, ACTION_DIM, dtype=dtype) * 1.8 - 0.9


def formula(actor: nn.Module, features: Any, base: Tensor, mask: Tensor | None = None) -> Tensor:
    """clip(mu + scale pi(s, mu)) from the weights alone."""
    w = {name.removeprefix("residual."): value for name, value in actor.named_parameters()}

    def norm(x: Tensor, name: str) -> Tensor:
        if f"{name}.weight" not in w:
            return x
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def dropped(x: Tensor) -> Tensor:
        nonlocal mask
        if mask is not None:
            x, mask = x * mask[:, : x.shape[1]], mask[:, x.shape[1] :]
        return x

    if isinstance(features, Tensor):
        x = torch.cat([features, base], 1)
    else:
        tokens, proprio = features
        x = tokens.flatten(1)
        if "compress.0.weight" in w:
            x = norm(F.linear(x, w["compress.0.weight"], w["compress.0.bias"]), "compress.1")
            x = F.relu(dropped(x))
        x = torch.cat([x, proprio, base], 1)
    layer = 0
    while f"mlp.hidden.{layer}.weight" in w:
        x = F.linear(x, w[f"mlp.hidden.{layer}.weight"], w[f"mlp.hidden.{layer}.bias"])
        x = F.relu(dropped(norm(x, f"mlp.norms.{layer}")))
        layer += 1
    residual = SCALE * torch.tanh(F.linear(x, w["mlp.output.weight"], w["mlp.output.bias"]))
    return torch.minimum(torch.maximum(base + residual, -torch.ones_like(base)), torch.ones_like(base))


@pytest.mark.parametrize("name", CASES)
def test_first_action_is_the_base_action(name: str) -> None:
    networks, obs, base = make(name, learned=False)
    actor = networks.actor
    features = networks.encoder(obs)
    assert torch.equal(actor(features, base), base)
    # whatever is dropped
    assert torch.equal(actor(features, base, torch.zeros(BATCH, actor.dropout_width).double()), base)
    # bases outside the range are brought into it
    assert torch.equal(actor(features, 3 * base), (3 * base).clamp(-1, 1))
    # its last layer learns from the first step on
    actor(features, base).sum().backward()
    assert actor.residual.mlp.output.weight.grad.abs().amax(1).min() > 0
    assert actor.residual.mlp.output.bias.grad.abs().min() > 0


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_actions_and_gradients_equal_the_formula(name: str, masked: bool) -> None:
    networks, obs, base = make(name, learned=True)
    actor = networks.actor
    base.requires_grad_(True)
    mask = (torch.rand(BATCH, actor.dropout_width) < 0.5).double() * 2 if masked else None
    weights = torch.rand(BATCH, ACTION_DIM, dtype=torch.float64) + 0.5
    parameters = [base, *actor.parameters(), *networks.encoder.parameters()]
    results = []
    for compute in (actor, lambda *args: formula(actor, *args)):
        action = compute(networks.encoder(obs), base, mask)
        results.append([action, *torch.autograd.grad((action * weights).sum(), parameters)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    # clipped components and others, or the test says little
    clipped = results[0][0].abs() == 1
    assert 0 < int(clipped.sum()) < clipped.numel()
    # what is clipped hands nothing back to the base
    only = clipped.all(1)
    assert not results[0][1][only].any()


@pytest.mark.parametrize("name", ["state", "vit"])
def test_correction_depends_on_base_and_observation(name: str) -> None:
    networks, obs, _ = make(name, learned=True)
    features = networks.encoder(obs)
    zero = torch.zeros(BATCH, ACTION_DIM, dtype=torch.float64)
    first, second = networks.actor(features, zero), networks.actor(features, zero + 0.1) - 0.1
    assert (first - second).abs().max() > 1e-3 * SCALE
    assert (first - first[:1]).abs().max() > 1e-3


def test_sizes_are_those_of_the_plain_actor() -> None:
    for name in CASES:
        networks, _, _ = make(name, learned=False)
        plain = build_networks(*CASES[name], ACTION_DIM).actor
        for attribute in ("action_dim", "dropout", "dropout_width"):
            assert getattr(networks.actor, attribute) == getattr(plain, attribute)


def test_inputs_that_do_not_fit_are_refused() -> None:
    actor = StateResidualActor(9, ACTION_DIM, PLAIN)
    state, base = torch.zeros(4, 9), torch.zeros(4, ACTION_DIM)
    for features, action in ((state, base[:, :1]), (state, base[:3]), (state[:, 1:], base)):
        with pytest.raises(RuntimeError, match=r"shape|[Ss]izes|match"):
            actor(features, action)


# ---- policies


class Teacher(nn.Module):
    """The first features of the first observation, `samples` of them around it where that is not 0."""

    def __init__(self, key: str, samples: int) -> None:
        super().__init__()
        self.key = key
        self.register_buffer("offset", torch.linspace(0.0, 0.6, max(1, samples)).view(1, -1, 1))
        self.samples = samples

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        action = (obs[self.key].flatten(1)[:, :2] * 1.5).clamp(-1.0, 1.0)
        return action if self.samples == 0 else (action.unsqueeze(1) + self.offset).clamp(-1.0, 1.0)


def through_file(module: nn.Module) -> Any:
    """Scripted, saved and loaded."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), file)
    file.seek(0)
    return torch.jit.load(file)


@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("name", ["state", "vit"])
def test_residual_policy_corrects_the_first_proposal(name: str, samples: int) -> None:
    networks, obs, _ = make(name, learned=True, dtype=torch.float32)
    teacher = Teacher(next(iter(obs)), samples)
    policy = SinglePolicy(ResidualPolicy(networks.encoder, networks.actor, teacher), RL_SOURCE)
    base = Teacher(teacher.key, 0)(obs)
    expected = formula(networks.actor, networks.encoder(obs), base).detach()
    for module in (policy, through_file(policy)):
        action, source = module.act(obs)
        torch.testing.assert_close(action, expected, rtol=0, atol=1e-5)
        assert source.tolist() == [RL_SOURCE] * BATCH
        torch.testing.assert_close(module(obs), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 3])
@pytest.mark.parametrize("name", ["state", "vit"])
def test_hybrid_policy_chooses_between_correction_and_proposals(name: str, samples: int) -> None:
    networks, _, _ = make(name, learned=True)
    obs = {
        key: torch.rand(40, *shape, generator=torch.Generator().manual_seed(3)) - 0.5
        for key, shape in CASES[name][1].items()
    }
    for module in (networks.encoder, networks.actor, networks.critic):
        module.float()
    # the critics' last layers start small from pixels: values of many sizes, for every action
    with torch.no_grad():
        for parameter in networks.critic.parameters():
            parameter += 0.5 * torch.randn(parameter.shape)
    teacher = Teacher(next(iter(obs)), samples)
    policy = HybridPolicy(networks.encoder, networks.actor, networks.critic, teacher, residual=True)

    features = networks.encoder(obs)
    proposals = teacher(obs).unsqueeze(0) if samples == 0 else teacher(obs).transpose(0, 1)
    rl_action = formula(networks.actor, features, proposals[0])
    proposals = torch.cat([rl_action.unsqueeze(0), proposals]).detach()
    q = networks.critic(features, proposals).detach()
    for module in (policy, through_file(policy)):
        action, source = module.act(obs)
        for row in range(40):
            values = [float(q[p, :, row].min()) for p in range(len(proposals))]
            choice = values.index(max(values))
            assert int(source[row]) == (RL_SOURCE if choice == 0 else IL_SOURCE)
            torch.testing.assert_close(action[row], proposals[choice, row], rtol=0, atol=1e-5)
        assert 0 < int(source.sum()) < 40


@pytest.mark.parametrize("name", ["state", "vit"])
@pytest.mark.parametrize("kind", ["residual", "hybrid"])
def test_policies_export_for_any_batch(kind: str, name: str) -> None:
    """What AOTInductor compiles (deploy/export.py): one graph for every number of observations."""
    networks, obs, _ = make(name, learned=True, dtype=torch.float32)
    teacher = Teacher(next(iter(obs)), 0)
    policy: nn.Module
    if kind == "hybrid":
        policy = HybridPolicy(networks.encoder, networks.actor, networks.critic, teacher, residual=True)
    else:
        policy = SinglePolicy(ResidualPolicy(networks.encoder, networks.actor, teacher), RL_SOURCE)

    class Act(nn.Module):
        """`act` as a module's forward."""

        def __init__(self) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            return self.policy.act(obs)

    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Act().eval(), (obs,), dynamic_shapes=({key: {0: batch} for key in obs},))
    for size in (1, BATCH):
        some = {key: value[:size] for key, value in obs.items()}
        for ours, expected in zip(program.module()(some), policy.act(some), strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
