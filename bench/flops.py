"""The floating point operations that one update round needs, counted by hand: a multiply and an add are two.

Counted are matrix products and convolutions: forward, gradients of weights, and gradients of inputs where
something before needs them. Not counted: elementwise work, norms, optimiser, and whatever an implementation
computes twice.

- Target: K of the E target critics on P proposals; the image part of their first layer once for all of them.
- Critic: all E online critics, forward and backward; the encoder's backward without its input's gradient.
- Actor: all E critics forward and back to the action, without gradients of their weights and without the
  image part's backward; no gradient enters the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ibrl_fast.nn import NetworkConfig, ViTConfig


@dataclass(frozen=True)
class RoundFlops:
    """Operations of one critic update and of one actor update."""

    critic: float
    actor: float

    def of_round(self, critic_updates: int) -> float:
        """Operations of a round of G critic updates and one actor update."""
        return critic_updates * self.critic + self.actor


def _product(rows: int, inner: int, columns: int) -> float:
    return 2.0 * rows * inner * columns


def _mlp(batch: int, widths: Sequence[int]) -> float:
    """Forward through linear layers; the gradient of the weights costs the same."""
    return sum(_product(batch, i, o) for i, o in pairwise(widths))


def _mlp_inputs(batch: int, widths: Sequence[int], wanted: int) -> float:
    """Backward to the first `wanted` inputs."""
    return _mlp(batch, widths[1:]) + _product(batch, wanted, widths[1])


def state_flops(
    network: NetworkConfig, batch: int, features: int, action_dim: int, *, subset: int = 2, proposals: int = 2
) -> RoundFlops:
    """State networks: MLPs on features and action."""
    critic = [features + action_dim, *network.critic.hidden, 1]
    actor = [features, *network.actor.hidden, action_dim]
    members, forward = network.critic.num_critics, _mlp(batch, critic)
    target = _mlp(batch, actor) + subset * proposals * forward
    online = members * (2 * forward + _mlp_inputs(batch, critic, 0))
    actor_update = 2 * _mlp(batch, actor) + _mlp_inputs(batch, actor, 0)
    through_critics = members * (forward + _mlp_inputs(batch, critic, action_dim))
    return RoundFlops(target + online, actor_update + through_critics)


def pixel_flops(
    network: NetworkConfig,
    batch: int,
    image_channels: int,
    image_size: int,
    proprio: int,
    action_dim: int,
    *,
    subset: int = 2,
    proposals: int = 2,
) -> RoundFlops:
    """ViT encoder, spatial-embedding critics, compressing actor (paper Figs. 17 to 19)."""
    vit = network.encoder
    assert isinstance(vit, ViTConfig) and network.critic.head == "spatial"
    dim, members, embed = vit.token_dim, network.critic.num_critics, network.critic.embed_dim
    first = (image_size - 8) // 4 + 1
    side = (first - 3) // 2 + 1
    tokens = side * side
    # the encoder, and all of it twice more for its backward, except the gradient of the image
    conv1 = _product(batch * first * first, image_channels * 64, dim)
    conv2 = _product(batch * tokens, dim * 9, dim)
    linear = _product(batch * tokens, dim, 4 * dim + 2 * vit.mlp_dim)
    attention = 2 * _product(batch * tokens, dim, tokens)
    encoder = conv1 + conv2 + vit.num_layers * (linear + attention)
    encoder_backward = 2 * encoder - conv1
    # a critic: image part of its first layer, the rest of that layer, the Q-MLP
    extra = proprio + action_dim
    image_part, extra_part = _product(batch * dim, tokens, embed), _product(batch, extra, embed)
    q_mlp = [embed + extra, *network.critic.hidden, 1]
    critic = image_part + extra_part + _mlp(batch, q_mlp)
    critic_backward = 2 * image_part + extra_part + _mlp(batch, q_mlp) + _mlp_inputs(batch, q_mlp, embed)
    # the actor reads the flattened tokens
    compress = network.actor.compress_dim
    assert compress is not None
    compressed = _product(batch, tokens * dim, compress)
    widths = [compress + proprio, *network.actor.hidden, action_dim]
    actor = compressed + _mlp(batch, widths)
    actor_backward = compressed + _mlp(batch, widths) + _mlp_inputs(batch, widths, compress)
    # the updates
    target = encoder + actor + subset * (image_part + proposals * (critic - image_part))
    online = encoder + encoder_backward + members * (critic + critic_backward)
    to_action = _mlp_inputs(batch, q_mlp, embed + action_dim) + _product(batch, embed, action_dim)
    return RoundFlops(target + online, encoder + actor + actor_backward + members * (critic + to_action))
