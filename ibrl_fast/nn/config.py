"""What a set of networks looks like: frozen, validated, plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ibrl_fast.errors import expect
from ibrl_fast.fields import check_fields


def _check_positive(name: str, *values: int) -> None:
    for value in values:
        expect(value >= 1, name, "at least 1", value)


@dataclass(frozen=True)
class ViTConfig:
    """The small vision transformer of paper Fig. 17.

    Attributes:
        token_dim: features of a patch.
        num_heads: attention heads; divides token_dim.
        num_layers: transformer layers.
        mlp_dim: width of a layer's feed-forward part.
        activation: of the feed-forward part.
    """

    token_dim: int = 128
    num_heads: int = 4
    num_layers: int = 1
    mlp_dim: int = 512
    activation: Literal["gelu", "relu"] = "gelu"

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive("vit sizes", self.token_dim, self.num_heads, self.num_layers, self.mlp_dim)
        expect(
            self.token_dim % self.num_heads == 0,
            "num_heads",
            f"a divisor of {self.token_dim}",
            self.num_heads,
        )


@dataclass(frozen=True)
class DrQConfig:
    """The four-convolution encoder of DrQ.

    Attributes:
        channels: of every convolution.
    """

    channels: int = 32

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive("channels", self.channels)


@dataclass(frozen=True)
class ResNet18Config:
    """ResNet-18 with GroupNorm.

    Attributes:
        base_channels: of the first stage; the later ones double it three times.
    """

    base_channels: int = 64

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive("base_channels", self.base_channels)


@dataclass(frozen=True)
class ActorConfig:
    """The actor: an MLP, from pixels behind a compressing layer (paper Fig. 20 and 19).

    Attributes:
        hidden: widths of the MLP's hidden layers.
        dropout: probability p in the hidden layers; each use decides whether dropout is on.
        layer_norm: LayerNorm in the hidden layers.
        compress_dim: pixels only: features that the flattened tokens are first mapped to; None feeds them
            to the MLP.
    """

    hidden: tuple[int, ...] = (1024, 1024, 1024)
    dropout: float = 0.5
    layer_norm: bool = False
    compress_dim: int | None = 128

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive("hidden", *self.hidden)
        expect(0.0 <= self.dropout < 1.0, "dropout", "a probability in [0, 1)", self.dropout)
        if self.compress_dim is not None:
            _check_positive("compress_dim", self.compress_dim)


@dataclass(frozen=True)
class CriticConfig:
    """The critics: MLPs, from pixels behind a reduction of the tokens (paper Fig. 20 and 18).

    Attributes:
        num_critics: E, the size of the ensemble.
        hidden: widths of the Q-MLP's hidden layers.
        layer_norm: LayerNorm in the hidden layers.
        head: pixels only: `spatial` embeds every channel and sums them by learned weights (Fig. 18), `trunk`
            maps the flattened tokens through linear, LayerNorm, tanh (DrQ).
        embed_dim: pixels only: features that the head hands to the Q-MLP (1024 spatial, 50 trunk).
    """

    num_critics: int = 5
    hidden: tuple[int, ...] = (1024, 1024, 1024)
    layer_norm: bool = True
    head: Literal["spatial", "trunk"] = "spatial"
    embed_dim: int = 1024

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive("num_critics", self.num_critics)
        _check_positive("hidden", *self.hidden)
        _check_positive("embed_dim", self.embed_dim)


@dataclass(frozen=True)
class NetworkConfig:
    """The networks of one reinforcement learning agent; the defaults are the paper's state networks.

    Attributes:
        actor: the policy network.
        critic: the ensemble of critics.
        encoder: the image encoder that actor and critics share; None reads vectors only.
    """

    actor: ActorConfig = field(default_factory=ActorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    encoder: ViTConfig | DrQConfig | ResNet18Config | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @staticmethod
    def state() -> NetworkConfig:
        """Return the paper's state networks (Fig. 20): five critics."""
        return NetworkConfig()

    @staticmethod
    def pixel_vit() -> NetworkConfig:
        """Return the paper's pixel networks (Figs. 17 to 19): ViT, two critics."""
        return NetworkConfig(
            actor=ActorConfig(hidden=(1024, 1024), layer_norm=True),
            critic=CriticConfig(num_critics=2, hidden=(1024, 1024)),
            encoder=ViTConfig(),
        )

    @staticmethod
    def pixel_drq() -> NetworkConfig:
        """Return the DrQ networks of the paper's Meta-World experiments: no dropout, 50 trunk features."""
        return NetworkConfig(
            actor=ActorConfig(hidden=(1024, 1024), layer_norm=False, dropout=0.0, compress_dim=50),
            critic=CriticConfig(
                num_critics=2, hidden=(1024, 1024), layer_norm=False, head="trunk", embed_dim=50
            ),
            encoder=DrQConfig(),
        )

    def imitation(self) -> BCNetworkConfig:
        """Return the imitation policy with this actor and encoder."""
        return BCNetworkConfig(actor=self.actor, encoder=self.encoder)


@dataclass(frozen=True)
class BCNetworkConfig:
    """The imitation policy's network; the defaults are the paper's state policy.

    Attributes:
        actor: hidden layers and dropout.
        encoder: None for vectors, ResNet-18 in the paper for pixels.
    """

    actor: ActorConfig = field(default_factory=ActorConfig)
    encoder: ViTConfig | DrQConfig | ResNet18Config | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @staticmethod
    def pixel_resnet18() -> BCNetworkConfig:
        """Return the paper's pixel imitation policy: ResNet-18, flattened, an MLP without dropout."""
        return BCNetworkConfig(
            actor=ActorConfig(hidden=(1024, 1024), dropout=0.0, compress_dim=None), encoder=ResNet18Config()
        )
