"""The baseline of bench_update: Algorithm 1 as one would first write it in PyTorch, from the paper alone.

Critics in a Python list, each evaluated for each proposal; all target critics before the subset's minimum;
DrQ shifts by grid_sample; the imitation policy runs in the update; the moving average is a loop; losses are
logged with `.item()`. Critic, actor and encoder compute what the package's networks do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.drq import drq_augment
from ibrl_fast.nn import BCPolicy, NetworkConfig


def mlp(widths: list[int], *, norm: bool, dropout: float = 0.0) -> nn.Sequential:
    """Make linear, (LayerNorm), (dropout), ReLU, and a last linear layer."""
    layers: list[nn.Module] = []
    for i, o in pairwise(widths[:-1]):
        layers += [nn.Linear(i, o)] + norm * [nn.LayerNorm(o)] + (dropout > 0) * [nn.Dropout(dropout)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class StateHead(nn.Module):
    """A critic on state and action."""

    def __init__(self, network: NetworkConfig, features: int, action_dim: int) -> None:
        super().__init__()
        self.q = mlp([features + action_dim, *network.critic.hidden, 1], norm=network.critic.layer_norm)

    def forward(self, features: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        return self.q(torch.cat([features[1], action], 1))[:, 0]


class PixelHead(nn.Module):
    """A critic on image tokens (paper Fig. 18)."""

    def __init__(self, network: NetworkConfig, tokens: int, dim: int, extra: int) -> None:
        super().__init__()
        embed = network.critic.embed_dim
        self.embed = nn.Sequential(nn.Linear(tokens + extra, embed), nn.LayerNorm(embed), nn.ReLU())
        self.weight = nn.Parameter(torch.randn(dim, embed))
        self.q = mlp([embed + extra, *network.critic.hidden, 1], norm=True)

    def forward(self, features: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        tokens, proprio = features
        extra = torch.cat([proprio, action], 1)
        channels = tokens.transpose(1, 2)
        repeated = extra.unsqueeze(1).expand(-1, channels.shape[1], -1)
        reduced = (self.embed(torch.cat([channels, repeated], 2)) * self.weight).sum(1)
        return self.q(torch.cat([reduced, extra], 1))[:, 0]


class TrunkHead(nn.Module):
    """A critic on image tokens as DrQ has it: flattened, linear, LayerNorm, tanh, then the Q-MLP."""

    def __init__(self, network: NetworkConfig, tokens: int, dim: int, extra: int) -> None:
        super().__init__()
        embed = network.critic.embed_dim
        self.trunk = nn.Sequential(nn.Linear(tokens * dim, embed), nn.LayerNorm(embed), nn.Tanh())
        self.q = mlp([embed + extra, *network.critic.hidden, 1], norm=network.critic.layer_norm)

    def forward(self, features: tuple[Tensor, Tensor], action: Tensor) -> Tensor:
        tokens, proprio = features
        return self.q(torch.cat([self.trunk(tokens.flatten(1)), proprio, action], 1))[:, 0]


class DrQ(nn.Module):
    """DrQ's four convolutions."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(4):
            layers += [nn.Conv2d(32 if number else channels, 32, 3, 1 if number else 2), nn.ReLU()]
        self.convs = nn.Sequential(*layers)
        self.num_tokens, self.dim = ((size - 3) // 2 + 1 - 6) ** 2, 32

    def forward(self, image: Tensor) -> Tensor:
        return self.convs(image).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    """The paper's small vision transformer (Fig. 17) from PyTorch's own layers."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(channels, 128, 8, 4), nn.ReLU(), nn.Conv2d(128, 128, 3, 2))
        side = ((size - 8) // 4 + 1 - 3) // 2 + 1
        self.num_tokens, self.dim = side * side, 128
        self.position = nn.Parameter(0.02 * torch.randn(1, self.num_tokens, self.dim))
        self.layer = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(128)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.layer(self.convs(image).flatten(2).transpose(1, 2) + self.position))


class PlainIBRL:
    """IBRL's update on arrays of transitions, greedy.

    Args:
        network: sizes.
        shapes: `proprio` (or `state`) and perhaps an image, as the package's networks read them.
        action_dim: action components.
        bc_policy: the imitation policy, run at every update.
        data: obs and next_obs (dicts of `[N, ...]`, images uint8), action, reward, discount.
        batch_size, critic_updates: of a round.
        learning_rate: of both optimisers.
        device: where everything is.
    """

    def __init__(
        self,
        network: NetworkConfig,
        shapes: dict[str, tuple[int, ...]],
        action_dim: int,
        bc_policy: BCPolicy,
        data: dict,
        *,
        batch_size: int,
        critic_updates: int,
        learning_rate: float = 1e-4,
        device: torch.device,
    ) -> None:
        self.bc, self.data, self.batch_size, self.critic_updates = bc_policy, data, batch_size, critic_updates
        self.vector = next((key for key, shape in shapes.items() if len(shape) == 1), None)
        self.image = next((key for key, shape in shapes.items() if len(shape) == 3), None)
        proprio, members = shapes[self.vector][0] if self.vector else 0, network.critic.num_critics
        hidden, dropout, norm = list(network.actor.hidden), network.actor.dropout, network.actor.layer_norm
        self.encoder: nn.Module = nn.Identity()
        self.compress: nn.Module = nn.Identity()
        make: Callable[[], nn.Module]
        if self.image is not None:
            channels, size, _ = shapes[self.image]
            spatial, compress = network.critic.head == "spatial", network.actor.compress_dim
            self.encoder = (ViT if spatial else DrQ)(channels, size).to(device)
            tokens, dim = self.encoder.num_tokens, self.encoder.dim
            self.compress = nn.Sequential(
                nn.Linear(tokens * dim, compress), nn.LayerNorm(compress), nn.Dropout(dropout), nn.ReLU()
            )
            head = PixelHead if spatial else TrunkHead
            actor_in, make = compress + proprio, lambda: head(network, tokens, dim, proprio + action_dim)
        else:
            actor_in, make = proprio, lambda: StateHead(network, proprio, action_dim)
        body = mlp([actor_in, *hidden, action_dim], norm=norm, dropout=dropout)
        self.actor = nn.ModuleList([self.compress, body]).to(device)
        self.critics = nn.ModuleList(make() for _ in range(members)).to(device)
        self.target_actor, self.target_critics = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=learning_rate)
        online = [*self.encoder.parameters(), *self.critics.parameters()]
        self.critic_optimizer = torch.optim.Adam(online, lr=learning_rate)
        self.log: dict[str, float] = {}

    def sample(self) -> tuple[dict, Tensor, Tensor, Tensor, dict]:
        """Draw a batch by indexing; images are shifted by grid_sample, s and s' apart."""
        reward = self.data["reward"]
        rows = torch.randint(0, len(reward), (self.batch_size,), device=reward.device)
        sides = []
        for name in ("obs", "next_obs"):
            side = {key: value[rows] for key, value in self.data[name].items()}
            if self.image is not None:
                side["raw"] = side[self.image].float() / 255.0 - 0.5
                side[self.image] = drq_augment(side[self.image].float()) / 255.0 - 0.5
            sides.append(side)
        return sides[0], self.data["action"][rows], reward[rows], self.data["discount"][rows], sides[1]

    def encode(self, obs: dict) -> tuple[Tensor, Tensor]:
        """Return image tokens (nothing without an image) and the vector."""
        vector = obs[self.vector] if self.vector else obs[self.image].new_zeros(self.batch_size, 0)
        return (self.encoder(obs[self.image]) if self.image is not None else vector[:, :0]), vector

    def act(self, actor: nn.ModuleList, features: tuple[Tensor, Tensor]) -> Tensor:
        """Return the actor's action; dropout is on."""
        if self.image is None:
            return torch.tanh(actor[1](features[1]))
        return torch.tanh(actor[1](torch.cat([actor[0](features[0].flatten(1)), features[1]], 1)))

    def round(self) -> None:
        """Do critic updates, each on a fresh batch, and one actor update on the last."""
        for _ in range(self.critic_updates):
            batch = self.sample()
            self.update_critic(*batch)
        self.update_actor(batch[0])

    def update_critic(
        self, obs: dict, action: Tensor, reward: Tensor, discount: Tensor, next_obs: dict
    ) -> None:
        """Update critics and encoder (Alg. 1, lines 16 to 19)."""
        with torch.no_grad():
            features = self.encode(next_obs)
            rl = self.act(self.target_actor, features)
            rl = (rl + (0.1 * torch.randn_like(rl)).clamp(-0.3, 0.3)).clamp(-1, 1)
            unshifted = {**next_obs, self.image: next_obs["raw"]} if self.image else next_obs
            il = self.bc({key: value for key, value in unshifted.items() if key != "raw"})
            subset = torch.randperm(len(self.target_critics))[:2].tolist()
            values = []
            for proposal in (rl, il):
                q = torch.stack([critic(features, proposal) for critic in self.target_critics])
                values.append(q[subset].min(0).values)
            target = reward + discount * torch.maximum(*values)
        features = self.encode(obs)
        loss = sum(F.mse_loss(critic(features, action), target) for critic in self.critics)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target_critics.parameters(), self.critics.parameters()):
                slow.data.copy_(0.99 * slow.data + 0.01 * fast.data)
        self.log["critic_loss"], self.log["target_mean"] = loss.item(), target.mean().item()

    def update_actor(self, obs: dict) -> None:
        """Update the actor (Alg. 1, lines 21 and 22)."""
        with torch.no_grad():
            features = self.encode(obs)
        action = self.act(self.actor, features)
        loss = -torch.stack([critic(features, action) for critic in self.critics]).min(0).values.mean()
        self.actor_optimizer.zero_grad()
        loss.backward()
        self.actor_optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target_actor.parameters(), self.actor.parameters()):
                slow.data.copy_(0.99 * slow.data + 0.01 * fast.data)
        self.log["actor_loss"] = loss.item()
