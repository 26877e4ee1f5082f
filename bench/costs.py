"""What one update round needs at least: floating point operations and bytes, counted by hand, layer by layer.

Operations: matrix products and convolutions, a multiply and an add are two: forward, gradients of weights,
and gradients of inputs where something before needs them. Not counted: elementwise work, norms, optimiser,
and whatever an implementation computes twice.

Bytes, as if all elementwise work were fused into the products around it: a layer reads its weights and inputs
and writes its outputs; its backward reads the gradient of the outputs, the inputs and the weights, and writes
the gradients that are wanted. Activations, and weights as products read them, have the round's precision;
gradients of weights, Adam's moments and master weights have 4 bytes. Adam reads four and writes three numbers
a weight, the moving average reads and writes one more. Nothing is assumed to stay in a cache.

- Target: K of the E target critics on P proposals; the image part of their first layer once for all of them.
- Critic: all E online critics, forward and backward; the encoder's backward without its input's gradient.
- Actor: all E critics forward and back to the action, without gradients of their weights and without the
  image part's backward; no gradient enters the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ibrl_fast.nn import DrQConfig, NetworkConfig, ViTConfig

ADAM_BYTES = 28
EMA_BYTES = 8


@dataclass(frozen=True)
class Cost:
    """Operations and bytes."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.flops * times, self.bytes * times)

    def floor_seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The least time on a machine with these peaks: the larger of the two bounds."""
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


@dataclass(frozen=True)
class RoundCost:
    """One critic update and one actor update."""

    critic: Cost
    actor: Cost

    def of_round(self, critic_updates: int) -> Cost:
        """A round of G critic updates and one actor update."""
        return self.critic * critic_updates + self.actor


@dataclass(frozen=True)
class Layer:
    """One product: its forward's operations, numbers held and moved, share of inputs that need a gradient."""

    flops: float
    weights: int
    inputs: float
    outputs: float
    wanted: float = 1.0

    def forward(self, width: int) -> Cost:
        """Reads weights and inputs, writes outputs."""
        return Cost(self.flops, width * (self.weights + self.inputs + self.outputs))

    def backward(self, width: int, *, weights: bool = True) -> Cost:
        """Gradients of the wanted inputs, and of the weights if asked for."""
        cost = Cost()
        if self.wanted:
            moved = self.outputs + self.weights + self.wanted * self.inputs
            cost += Cost(self.flops * self.wanted, width * moved)
        if weights:
            # where the inputs' gradient is computed too, the outputs' was read already
            moved = self.inputs + (0 if self.wanted else self.outputs)
            cost += Cost(self.flops, width * moved + 4 * self.weights)
        return cost


def _sum(costs: Sequence[Cost]) -> Cost:
    return sum(costs, Cost())


def _forward(layers: Sequence[Layer], width: int) -> Cost:
    return _sum([layer.forward(width) for layer in layers])


def _backward(layers: Sequence[Layer], width: int, *, weights: bool = True) -> Cost:
    return _sum([layer.backward(width, weights=weights) for layer in layers])


def _weights(layers: Sequence[Layer]) -> int:
    return sum(layer.weights for layer in layers)


def _linear(rows: int, inner: int, columns: int, wanted: float = 1.0) -> Layer:
    return Layer(2.0 * rows * inner * columns, (inner + 1) * columns, rows * inner, rows * columns, wanted)


def _conv(
    batch: int, channels: int, size: int, kernel: int, stride: int, out: int, wanted: float = 1.0
) -> tuple[Layer, int]:
    """A convolution without padding, and the side of what it makes."""
    side = (size - kernel) // stride + 1
    patch = channels * kernel * kernel
    flops = 2.0 * batch * side * side * patch * out
    moved = batch * channels * size * size, batch * out * side * side
    return Layer(flops, (patch + 1) * out, *moved, wanted), side


def _mlp(rows: int, widths: Sequence[int], first_wanted: int) -> list[Layer]:
    """Linear layers; of the first one's inputs, `first_wanted` need a gradient."""
    layers = [_linear(rows, i, o) for i, o in pairwise(widths)]
    return [replace(layers[0], wanted=first_wanted / widths[0]), *layers[1:]]


def state_cost(
    network: NetworkConfig,
    batch: int,
    features: int,
    action_dim: int,
    *,
    width: int = 4,
    subset: int = 2,
    proposals: int = 2,
) -> RoundCost:
    """State networks: MLPs on features and action, at `width` bytes a number."""
    critic_widths = [features + action_dim, *network.critic.hidden, 1]
    members = network.critic.num_critics
    actor = _mlp(batch, [features, *network.actor.hidden, action_dim], 0)
    critic = _mlp(batch, critic_widths, 0)
    target = _forward(actor, width) + _forward(_mlp(proposals * batch, critic_widths, 0), width) * subset
    online = (_forward(critic, width) + _backward(critic, width)) * members
    updated = Cost(0, (ADAM_BYTES + EMA_BYTES) * members * _weights(critic))
    # the actor's loss goes back through the critics to the action alone
    through = _mlp(batch, critic_widths, action_dim)
    actor_update = _forward(actor, width) + _backward(actor, width)
    actor_update += (_forward(through, width) + _backward(through, width, weights=False)) * members
    actor_update += Cost(0, (ADAM_BYTES + EMA_BYTES) * _weights(actor))
    return RoundCost(target + online + updated, actor_update)


def _encoder(network: NetworkConfig, batch: int, channels: int, size: int) -> tuple[list[Layer], int, int]:
    """The image encoder's layers, its tokens and their features."""
    config = network.encoder
    if isinstance(config, DrQConfig):
        layers, side = [], size
        for number in range(4):
            layer, side = _conv(
                batch,
                channels if number == 0 else config.channels,
                side,
                3,
                2 if number == 0 else 1,
                config.channels,
                float(number > 0),
            )
            layers.append(layer)
        return layers, side * side, config.channels
    assert isinstance(config, ViTConfig)
    dim = config.token_dim
    conv1, side = _conv(batch, channels, size, 8, 4, dim, 0.0)
    conv2, side = _conv(batch, dim, side, 3, 2, dim)
    tokens = side * side
    rows = batch * tokens
    attention = Layer(4.0 * rows * tokens * dim, 0, 3.0 * rows * dim, rows * dim)
    layer = [
        _linear(rows, dim, 3 * dim),
        attention,
        _linear(rows, dim, dim),
        _linear(rows, dim, config.mlp_dim),
        _linear(rows, config.mlp_dim, dim),
    ]
    return [conv1, conv2, *layer * config.num_layers], tokens, dim


def pixel_cost(
    network: NetworkConfig,
    batch: int,
    image_channels: int,
    image_size: int,
    proprio: int,
    action_dim: int,
    *,
    width: int = 4,
    subset: int = 2,
    proposals: int = 2,
) -> RoundCost:
    """Encoder, critics with their image part, compressing actor (paper Figs. 17 to 19, or DrQ's)."""
    encoder, tokens, dim = _encoder(network, batch, image_channels, image_size)
    members, embed = network.critic.num_critics, network.critic.embed_dim
    extra = proprio + action_dim
    q_widths = [embed + extra, *network.critic.hidden, 1]

    def image_part(wanted: float) -> list[Layer]:
        """What a critic computes once for all proposals."""
        if network.critic.head == "trunk":
            return [_linear(batch, tokens * dim, embed, wanted)]
        return [_linear(batch * dim, tokens, embed, wanted)]

    def proposal_part(rows: int, wanted_extra: int) -> list[Layer]:
        """What it computes for each: the rest of the first layer, the reduction over channels, the Q-MLP."""
        layers = _mlp(rows, q_widths, embed + wanted_extra)
        if network.critic.head == "spatial":
            reduction = Layer(0.0, dim * embed, rows * dim * embed, rows * embed)
            layers = [_linear(rows, extra, embed, wanted_extra / extra), reduction, *layers]
        return layers

    compress = network.actor.compress_dim
    assert compress is not None
    actor = [
        _linear(batch, tokens * dim, compress, 0.0),
        *_mlp(batch, [compress + proprio, *network.actor.hidden, action_dim], compress),
    ]
    critic = [*image_part(1.0), *proposal_part(batch, 0)]
    target_critic = [*image_part(0.0), *proposal_part(proposals * batch, 0)]

    # both sides of a batch: uint8 read, the round's precision written
    images = Cost(0, 2 * batch * image_channels * image_size**2 * (1 + width))
    target = _forward(encoder, width) + _forward(actor, width) + _forward(target_critic, width) * subset
    online = _forward(encoder, width) + _backward(encoder, width)
    online += (_forward(critic, width) + _backward(critic, width)) * members
    updated = Cost(0, ADAM_BYTES * _weights(encoder))
    updated += Cost(0, (ADAM_BYTES + EMA_BYTES) * members * _weights(critic))

    through = [*image_part(0.0), *proposal_part(batch, action_dim)]
    actor_update = _forward(encoder, width) + _forward(actor, width) + _backward(actor, width)
    actor_update += (_forward(through, width) + _backward(through, width, weights=False)) * members
    actor_update += Cost(0, (ADAM_BYTES + EMA_BYTES) * _weights(actor))
    return RoundCost(images + target + online + updated, actor_update)
