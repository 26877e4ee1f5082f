"""From a network config and the observation's shapes to modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.nn.actors import PixelActor, StateActor
from ibrl_fast.nn.bases import Actor, CriticEnsemble
from ibrl_fast.nn.config import (
    ActorConfig,
    BCNetworkConfig,
    DrQConfig,
    NetworkConfig,
    ResNet18Config,
    ViTConfig,
)
from ibrl_fast.nn.critics import PixelCriticEnsemble, StateCriticEnsemble
from ibrl_fast.nn.encoders import DrQEncoder, ResNet18Encoder, ViTEncoder
from ibrl_fast.nn.observations import ObservationScaler, PixelEncoder, StateEncoder
from ibrl_fast.nn.policies import IL_SOURCE, SinglePolicy
from ibrl_fast.nn.residual_actors import PixelResidualActor, StateResidualActor

EncoderConfig = ViTConfig | DrQConfig | ResNet18Config
Shapes = Mapping[str, tuple[int, ...]]
Scalers = Mapping[str, ObservationScaler]


@dataclass
class Networks:
    """One agent's modules.

    Attributes:
        encoder: obs dict to features; shared by actor and critics.
        actor: features (and a base action, where it is residual) to action.
        critic: features and proposals to values.
        shapes: per key what the encoder reads, after stacking.
    """

    encoder: nn.Module
    actor: Actor
    critic: CriticEnsemble
    shapes: dict[str, tuple[int, ...]]


class BCPolicy(nn.Module):
    """The imitation policy: obs dict to action, deterministic.

    Args:
        encoder: obs dict to features.
        actor: features to action.
        shapes: per key what the encoder reads, after stacking.
    """

    def __init__(self, encoder: nn.Module, actor: Actor, shapes: Shapes) -> None:
        super().__init__()
        self.shapes = {key: list(shape) for key, shape in shapes.items()}
        self.action_dim = actor.action_dim
        self.encoder = encoder
        self.actor = actor
        self.dropout = actor.dropout
        self.dropout_width = actor.dropout_width

    def forward(self, obs: dict[str, Tensor], dropout_mask: Tensor | None = None) -> Tensor:
        """Map obs, each `[batch, ...]`, to actions `[batch, action_dim]` in [-1, 1]; no mask, no dropout."""
        return self.actor(self.encoder(obs), dropout_mask)

    def policy(self) -> SinglePolicy:
        """Return what evaluation, export and robots run."""
        return SinglePolicy(self, IL_SOURCE)


def build_encoder(config: EncoderConfig | None, shapes: Shapes, scalers: Scalers | None = None) -> nn.Module:
    """Make the encoder for observations of these stacked shapes.

    Args:
        config: the image trunk; None for vectors only.
        shapes: per key `(features,)` or `(channels, height, width)`, after stacking; the order is kept.
        scalers: for some of the vector keys.

    Raises:
        ValueError: images without a trunk, a trunk without images, or images that cannot be concatenated.
    """
    # vectors are concatenated, images go to the trunk
    vectors = {key: shape[0] for key, shape in shapes.items() if len(shape) == 1}
    images = {key: shape for key, shape in shapes.items() if len(shape) == 3}
    odd = {key: shape for key, shape in shapes.items() if len(shape) not in (1, 3)}
    if odd:
        raise ArgumentError(f"shapes: expected (features,) or (channels, height, width), got {odd}")

    # vectors alone need no trunk
    if config is None:
        if images or not vectors:
            raise ArgumentError(
                f"encoder: expected one for images {sorted(images)}, vectors {sorted(vectors)}, got None"
            )
        return StateEncoder(vectors, scalers)

    # images: concatenated along channels, so all of one size
    sizes = {shape[1:] for shape in images.values()}
    if len(sizes) != 1 or any(height != width for height, width in sizes):
        raise ArgumentError(f"shapes: expected square images of one size, got {images}")
    channels = sum(shape[0] for shape in images.values())
    size = next(iter(sizes))[0]

    # the trunk that the configuration's type names, and the vectors beside it
    trunk: nn.Module
    if isinstance(config, ViTConfig):
        trunk = ViTEncoder(channels, size, config)
    elif isinstance(config, DrQConfig):
        trunk = DrQEncoder(channels, size, config)
    else:
        trunk = ResNet18Encoder(channels, size, config)
    proprio = StateEncoder(vectors, scalers) if vectors else None
    if proprio is None and scalers:
        raise ArgumentError(
            f"scalers: expected vector observations, got scalers {sorted(scalers)} for images only"
        )
    return PixelEncoder(trunk, list(images), proprio)


def build_actor(
    encoder: nn.Module, action_dim: int, config: ActorConfig, *, residual_scale: float | None = None
) -> Actor:
    """Make the actor that reads an encoder's features, and a base action where it is residual."""
    if isinstance(encoder, PixelEncoder):
        sizes = (encoder.num_tokens, encoder.token_dim, encoder.proprio_dim, action_dim)
        if residual_scale is None:
            return PixelActor(*sizes, config)
        return PixelResidualActor(*sizes, config, residual_scale)
    assert isinstance(encoder, StateEncoder)
    if residual_scale is None:
        return StateActor(encoder.feature_dim, action_dim, config)
    return StateResidualActor(encoder.feature_dim, action_dim, config, residual_scale)


def build_networks(
    config: NetworkConfig,
    shapes: Shapes,
    action_dim: int,
    *,
    scalers: Scalers | None = None,
    residual_scale: float | None = None,
) -> Networks:
    """Make encoder, actor and critics for observations of these stacked shapes.

    Args:
        config: sizes.
        shapes: per key `(features,)` or `(channels, height, width)`, after stacking, in the order wanted.
        action_dim: action components.
        scalers: fixed transforms of some of the vector keys.
        residual_scale: the actor corrects a base action by at most this (nn.residual_actors); None: it acts
            by itself.

    Raises:
        ValueError: no action components, or observations and encoder that do not fit.
    """
    expect(action_dim >= 1, "action_dim", "at least 1", action_dim)
    encoder = build_encoder(config.encoder, shapes, scalers)
    actor = build_actor(encoder, action_dim, config.actor, residual_scale=residual_scale)
    critic: CriticEnsemble
    if isinstance(encoder, PixelEncoder):
        critic = PixelCriticEnsemble(
            encoder.num_tokens, encoder.token_dim, encoder.proprio_dim, action_dim, config.critic
        )
    else:
        assert isinstance(encoder, StateEncoder)
        critic = StateCriticEnsemble(encoder.feature_dim, action_dim, config.critic)
    return Networks(encoder, actor, critic, dict(shapes))


def build_bc_policy(
    config: BCNetworkConfig, shapes: Shapes, action_dim: int, *, scalers: Scalers | None = None
) -> BCPolicy:
    """Make an imitation policy for observations of these stacked shapes; arguments as in build_networks."""
    expect(action_dim >= 1, "action_dim", "at least 1", action_dim)
    encoder = build_encoder(config.encoder, shapes, scalers)
    return BCPolicy(encoder, build_actor(encoder, action_dim, config.actor), shapes)
