"""Ensembles against one critic at a time, TorchScript, scaling, initialisation, wrong input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    DrQConfig,
    NetworkConfig,
    ObservationScaler,
    ResNet18Config,
    StateEncoder,
    ViTConfig,
    build_bc_policy,
    build_networks,
    critics,
    layers,
)
from ibrl_fast.nn.ensemble_mlp import mlp_in_batches
from ibrl_fast.nn.reduce_tokens import reduce_at_once, reduce_tokens_reference
from ibrl_fast.ops.mlp import mlp_reference

ACTOR = ActorConfig(hidden=(24, 16), layer_norm=True, compress_dim=10)
SPATIAL = CriticConfig(num_critics=3, hidden=(24, 16), embed_dim=20)
TRUNK = CriticConfig(num_critics=3, hidden=(24, 16), embed_dim=20, head="trunk", layer_norm=False)
CASES: dict[str, tuple[NetworkConfig, dict[str, tuple[int, ...]]]] = {
    "state": (NetworkConfig(ActorConfig((24, 16)), SPATIAL), {"state": (9,)}),
    "state+proprio": (NetworkConfig(ActorConfig((24,)), TRUNK), {"state": (9,), "proprio": (4,)}),
    "no hidden layer": (NetworkConfig(ActorConfig(()), CriticConfig(3, ())), {"state": (9,)}),
    "vit": (NetworkConfig(ACTOR, SPATIAL, ViTConfig(16, mlp_dim=20)), {"a": (3, 32, 32), "proprio": (4,)}),
    "vit deep relu": (
        NetworkConfig(ACTOR, SPATIAL, ViTConfig(16, num_layers=2, activation="relu")),
        {"a": (9, 40, 40)},
    ),
    "vit two cameras, trunk": (
        NetworkConfig(ACTOR, TRUNK, ViTConfig(16, mlp_dim=20)),
        {"a": (3, 32, 32), "b": (6, 32, 32), "proprio": (4,)},
    ),
    "drq": (NetworkConfig(ACTOR, TRUNK, DrQConfig(8)), {"a": (3, 21, 21)}),
    "drq spatial": (NetworkConfig(ACTOR, SPATIAL, DrQConfig(8)), {"a": (3, 21, 21), "proprio": (4,)}),
    "resnet": (NetworkConfig(ACTOR, SPATIAL, ResNet18Config(4)), {"a": (3, 33, 33)}),
}


def make(name: str, dtype: torch.dtype = torch.float64) -> tuple[Any, dict[str, Tensor], Tensor]:
    """Networks, observations and proposals of a case."""
    torch.manual_seed(0)
    config, shapes = CASES[name]
    networks = build_networks(config, shapes, 2)
    for module in (networks.encoder, networks.actor, networks.critic):
        module.to(dtype)
    obs = {key: torch.rand(5, *shape, dtype=dtype) - 0.5 for key, shape in shapes.items()}
    return networks, obs, torch.rand(2, 5, 2, dtype=dtype) * 2 - 1


def one_critic(critic: nn.Module, index: int, features: Any, action: Tensor) -> Tensor:
    """The value of a single critic, with its own slice of every weight."""
    w = {name: value[index] for name, value in critic.named_parameters()}

    def norm(x: Tensor, name: str) -> Tensor:
        if f"{name}.weight" not in w:
            return x
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    # reduce the tokens
    if isinstance(features, Tensor):
        x = torch.cat([features, action], 1)
    else:
        tokens, proprio = features
        extra = torch.cat([proprio, action], 1)
        if "reduce.channel_weight" in w:
            channels = tokens.transpose(1, 2)
            x = torch.cat([channels, extra.unsqueeze(1).expand(-1, channels.shape[1], -1)], 2)
            x = F.relu(norm(F.linear(x, w["reduce.input.weight"], w["reduce.input.bias"]), "reduce.norm"))
            x = (x * w["reduce.channel_weight"]).sum(1)
        else:
            x = torch.tanh(
                norm(
                    F.linear(tokens.flatten(1), w["reduce.linear.weight"], w["reduce.linear.bias"]),
                    "reduce.norm",
                )
            )
        x = torch.cat([x, extra], 1)
    # the Q-MLP
    layer = 0
    while f"mlp.hidden.{layer}.weight" in w:
        x = F.linear(x, w[f"mlp.hidden.{layer}.weight"], w[f"mlp.hidden.{layer}.bias"])
        x = F.relu(norm(x, f"mlp.norms.{layer}"))
        layer += 1
    return F.linear(x, w["mlp.output.weight"], w["mlp.output.bias"])[:, 0]


@pytest.mark.parametrize("name", CASES)
def test_ensemble_equals_one_critic_at_a_time(name: str) -> None:
    networks, obs, actions = make(name)
    features = networks.encoder(obs)
    q = networks.critic(features, actions)
    assert q.shape == (2, 3, 5)
    for proposal in range(2):
        for index in range(3):
            expected = one_critic(networks.critic, index, features, actions[proposal])
            torch.testing.assert_close(q[proposal, index], expected, rtol=0, atol=1e-10)
    # every member has its own weights
    assert len({round(float(q[0, index, 0].detach()), 9) for index in range(3)}) == 3


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_the_ensemble_equal_one_critic_at_a_time(name: str) -> None:
    networks, obs, actions = make(name)
    weights = torch.rand(2, 3, 5, dtype=torch.float64)
    parameters = list(networks.critic.parameters())
    leaf = actions.clone().requires_grad_(True)
    features = networks.encoder(obs)
    loss = (networks.critic(features, leaf) * weights).sum()
    got = torch.autograd.grad(loss, [leaf, *parameters], allow_unused=True, retain_graph=True)
    loss = sum(
        (one_critic(networks.critic, i, features, leaf[p]) * weights[p, i]).sum()
        for p in range(2)
        for i in range(3)
    )
    expected = torch.autograd.grad(loss, [leaf, *parameters])
    for value, wanted in zip(got, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("learn", ["weights", "action", "nothing"])
@pytest.mark.parametrize("subset", [None, [2, 0]])
@pytest.mark.parametrize("name", ["state", "vit", "drq spatial"])
def test_the_ways_on_cuda_equal_the_formulas(
    name: str, subset: list[int] | None, learn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks, obs, actions = make(name)
    features = networks.encoder(obs)
    chosen = None if subset is None else torch.tensor(subset)
    networks.critic.requires_grad_(learn == "weights")
    if learn != "weights":
        features = tuple(x.detach() for x in features) if isinstance(features, tuple) else features.detach()
    actions.requires_grad_(learn == "action")
    learned = {"weights": [*networks.critic.parameters()], "action": [actions], "nothing": []}[learn]
    if learn == "weights" and name != "state":
        learned = [*learned, *networks.encoder.trunk.parameters()]
    results = []
    monkeypatch.setattr(layers, "prefers_fused_mlp", lambda *sizes: False)
    for embedding, mlp in (
        (reduce_tokens_reference, mlp_reference),
        (reduce_at_once, mlp_in_batches),
    ):
        monkeypatch.setattr(critics, "reduce_tokens", embedding)
        monkeypatch.setattr(layers, "ensemble_mlp", mlp)
        q = networks.critic(features, actions, chosen)
        grads = torch.autograd.grad(q.square().sum(), learned, retain_graph=True) if learned else ()
        results.append([q, *grads])
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("subset", [[2], [2, 0], [1, 2, 0]])
def test_subset_computes_just_those_critics(name: str, subset: list[int]) -> None:
    networks, obs, actions = make(name)
    features = networks.encoder(obs)
    q = networks.critic(features, actions)
    picked = networks.critic(features, actions, torch.tensor(subset))
    torch.testing.assert_close(picked, q[:, subset], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_scripts_saves_and_loads(name: str, tmp_path: Path) -> None:
    networks, obs, actions = make(name, torch.float32)

    def through_file(module: nn.Module) -> Any:
        path = tmp_path / "module.pt"
        torch.jit.script(module).save(str(path))
        return torch.jit.load(str(path))

    features = networks.encoder(obs)
    mask = torch.rand(5, networks.actor.dropout_width)
    with torch.no_grad():
        loaded = through_file(networks.encoder)(obs)
        torch.testing.assert_close(loaded, features, rtol=1e-5, atol=1e-5)
        actor = through_file(networks.actor)
        torch.testing.assert_close(actor(features), networks.actor(features), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            actor(features, mask), networks.actor(features, mask), rtol=1e-5, atol=1e-6
        )
        critic, subset = through_file(networks.critic), torch.tensor([1, 2])
        q = networks.critic(features, actions)
        torch.testing.assert_close(critic(features, actions), q, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(critic(features, actions, subset), q[:, 1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["state+proprio", "resnet"])
def test_imitation_policy_scripts_and_freezes(name: str) -> None:
    config, shapes = CASES[name]
    policy = build_bc_policy(BCNetworkConfig(config.actor, config.encoder), shapes, 2).eval()
    obs = make(name, torch.float32)[1]
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(policy)), file)
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(obs), policy(obs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["state", "vit", "drq"])
def test_dropout_mask_reaches_every_hidden_layer(name: str) -> None:
    networks, obs, _ = make(name)
    features, actor = networks.encoder(obs), networks.actor
    full = torch.ones(5, actor.dropout_width, dtype=torch.float64)
    torch.testing.assert_close(actor(features, full), actor(features))
    # one layer dropped as a whole: the action no longer depends on the observation
    widths, start = [*([actor.compress_dim] if name != "state" else []), *CASES[name][0].actor.hidden], 0
    for layer, width in enumerate(widths):
        mask = full.clone()
        mask[:, start : start + width] = 0
        start += width
        action = actor(features, mask)
        if name == "vit" and layer == 0:
            # proprioception still passes
            assert not torch.allclose(action, actor(features))
        else:
            torch.testing.assert_close(action, action[:1].expand(5, -1))
    assert start == actor.dropout_width


def test_scaler_scales_masks_and_clips() -> None:
    scaler = ObservationScaler(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 0.0, 2.0]), clip=5.0)
    got = scaler(torch.tensor([[1.2, 100.0, 3.5], [9.0, -1.0, -9.0]]))
    torch.testing.assert_close(got, torch.tensor([[2.0, 0.0, 1.0], [5.0, 0.0, -5.0]]))
    x = torch.randn(4, 3) * 1e6
    assert torch.equal(ObservationScaler.identity(3)(x), x)
    # saved with the weights
    other = ObservationScaler.identity(3)
    other.load_state_dict(scaler.state_dict())
    assert torch.equal(other.mean, scaler.mean) and torch.equal(other.inv_scale, scaler.inv_scale)


def test_state_encoder_keeps_the_order_and_scales_its_keys() -> None:
    scaler = ObservationScaler(torch.ones(2), torch.full((2,), 2.0))
    encoder = StateEncoder({"b": 2, "a": 1}, {"b": scaler})
    got = encoder({"a": torch.tensor([[7.0]]), "b": torch.tensor([[1.0, 2.0]]), "other": torch.zeros(1, 9)})
    assert got.tolist() == [[0.0, 2.0, 7.0]]


def test_images_as_uint8_equal_scaled_ones_and_cameras_are_channels() -> None:
    networks, _, _ = make("vit two cameras, trunk", torch.float32)
    raw = {
        "a": (torch.rand(2, 3, 32, 32) * 255).to(torch.uint8),
        "b": (torch.rand(2, 6, 32, 32) * 255).to(torch.uint8),
        "proprio": torch.rand(2, 4),
    }
    scaled = {key: value.float() / 255 - 0.5 if value.dim() == 4 else value for key, value in raw.items()}
    tokens, proprio = networks.encoder(raw)
    assert torch.equal(tokens, networks.encoder(scaled)[0]) and torch.equal(proprio, raw["proprio"])
    joined = torch.cat([scaled["a"], scaled["b"]], 1)
    assert torch.equal(tokens, networks.encoder.trunk(joined))


def test_pixel_initialisation() -> None:
    torch.manual_seed(0)
    networks = build_networks(NetworkConfig.pixel_vit(), {"camera": (3, 96, 96), "proprio": (27,)}, 7)
    # orthogonal with gain 1, member by member; small last layers
    for weight in (networks.actor.mlp.hidden[1].weight, *networks.critic.mlp.hidden[1].weight):
        torch.testing.assert_close(weight @ weight.T, torch.eye(1024), atol=1e-4, rtol=0)
    last = networks.actor.mlp.output.weight
    torch.testing.assert_close(last @ last.T, 1e-4 * torch.eye(7), atol=1e-8, rtol=0)
    assert all(
        abs(float(member.detach().norm()) - 0.01) < 1e-6 for member in networks.critic.mlp.output.weight
    )
    assert not networks.actor.mlp.output.bias.any() and not networks.critic.mlp.hidden[0].bias.any()
    spatial = networks.critic.reduce.channel_weight
    assert abs(float(spatial.mean())) < 0.01 and abs(float(spatial.std()) - 1) < 0.01
    assert not torch.equal(spatial[0], spatial[1])


def test_state_initialisation_is_pytorchs() -> None:
    torch.manual_seed(0)
    networks = build_networks(NetworkConfig.state(), {"state": (69,)}, 7)
    for weight, inputs in (
        (networks.critic.mlp.hidden[0].weight, 76),
        (networks.critic.mlp.hidden[1].bias, 1024),
    ):
        bound = inputs**-0.5
        assert 0.99 * bound < float(weight.abs().max()) <= bound
        assert abs(float(weight.std()) - bound / 3**0.5) < 0.03 * bound


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ViTConfig(token_dim=30), "num_heads: expected a divisor of 30, got 4"),
        (lambda: ViTConfig(activation="tanh"), "activation: expected gelu or relu, got tanh"),
        (lambda: DrQConfig(0), "channels: expected at least 1, got 0"),
        (lambda: ResNet18Config(-4), "base_channels: expected at least 1, got -4"),
        (lambda: ActorConfig(dropout=1.0), r"dropout: expected a probability in \[0, 1\), got 1.0"),
        (lambda: ActorConfig(hidden=(8, 0)), "hidden: expected at least 1, got 0"),
        (lambda: ActorConfig(compress_dim=0), "compress_dim: expected at least 1, got 0"),
        (lambda: CriticConfig(num_critics=0), "num_critics: expected at least 1, got 0"),
        (lambda: CriticConfig(head="flat"), "head: expected spatial or trunk, got flat"),
        (lambda: ObservationScaler(torch.zeros(3), torch.ones(2)), r"inv_scale: expected \[3\] like mean"),
        (lambda: ObservationScaler(torch.zeros(1), torch.tensor([torch.inf])), "expected finite"),
        (lambda: ObservationScaler(torch.zeros(1), torch.ones(1), clip=0.0), "clip: expected > 0"),
        (
            lambda: StateEncoder({"a": 2}, {"b": ObservationScaler.identity(2)}),
            "scalers: expected keys among",
        ),
        (
            lambda: StateEncoder({"a": 2}, {"a": ObservationScaler.identity(3)}),
            r"scalers\[a\]: expected \[2\]",
        ),
        (
            lambda: build_networks(NetworkConfig(), {"a": (3, 8, 8)}, 2),
            r"encoder: expected one for images \['a'\]",
        ),
        (lambda: build_networks(NetworkConfig(), {}, 2), "encoder: expected one for images"),
        (
            lambda: build_networks(NetworkConfig.pixel_vit(), {"state": (3,)}, 2),
            "shapes: expected square images",
        ),
        (
            lambda: build_networks(NetworkConfig.pixel_vit(), {"a": (3, 32, 32), "b": (3, 40, 40)}, 2),
            "shapes: expected square images of one size",
        ),
        (lambda: build_networks(NetworkConfig(), {"a": (2, 2)}, 2), "shapes: expected"),
        (lambda: build_networks(NetworkConfig(), {"a": (2,)}, 0), "action_dim: expected at least 1, got 0"),
        (lambda: build_networks(NetworkConfig.pixel_vit(), {"a": (3, 15, 15)}, 2), "at least 16 pixels"),
        (lambda: build_networks(NetworkConfig.pixel_drq(), {"a": (3, 14, 14)}, 2), "at least 15 pixels"),
        (
            lambda: build_bc_policy(BCNetworkConfig.pixel_resnet18(), {"a": (3, 32, 32)}, 2),
            "at least 33 pixels",
        ),
    ],
)
def test_wrong_input_gets_one_clear_error(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
