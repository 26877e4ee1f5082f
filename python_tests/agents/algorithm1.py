"""Algorithm 1 of the paper written out plainly in float64: loops over critics, own return, Adam and EMA.

Shares nothing with ibrl_fast but the numbers that it is given: initial weights, episodes and random draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over the last dimension, then the affine part."""
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias


def relu(x: Tensor) -> Tensor:
    """max(x, 0), whose slope at 0 is 0: a row of which dropout left nothing stands exactly there."""
    return x * (x > 0)


def mlp(x: Tensor, weights: Weights, layers: int, norm: bool, mask: Tensor | None = None) -> Tensor:
    """Linear, LayerNorm, dropout, ReLU per hidden layer; a last linear layer."""
    start = 0
    for i in range(layers):
        x = F.linear(x, weights[f"mlp.hidden.{i}.weight"], weights[f"mlp.hidden.{i}.bias"])
        if norm:
            x = layer_norm(x, weights[f"mlp.norms.{i}.weight"], weights[f"mlp.norms.{i}.bias"])
        if mask is not None:
            x = x * mask[:, start : start + x.shape[1]]
            start += x.shape[1]
        x = relu(x)
    return F.linear(x, weights["mlp.output.weight"], weights["mlp.output.bias"])


@dataclass
class StateNets:
    """Fig. 20: MLPs on the state; features are the state itself."""

    layers: int

    def encode(self, weights: Weights, obs: dict[str, Tensor]) -> Any:
        return obs["state"]

    def actor(self, weights: Weights, features: Tensor, base: Tensor | None, mask: Tensor | None) -> Tensor:
        return torch.tanh(mlp(features, weights, self.layers, norm=False, mask=mask))

    def critic(self, weights: Weights, features: Tensor, action: Tensor) -> Tensor:
        return mlp(torch.cat([features, action], 1), weights, self.layers, norm=True)[:, 0]


@dataclass
class PixelNets:
    """Figs. 17 to 19: ViT with one layer, spatial embedding, compressing actor."""

    layers: int
    heads: int
    compress: int

    def encode(self, weights: Weights, obs: dict[str, Tensor]) -> Any:
        w = {name.removeprefix("trunk."): value for name, value in weights.items()}
        patches = relu(F.conv2d(obs["camera"], w["conv1.weight"], w["conv1.bias"], stride=4))
        patches = F.conv2d(patches, w["conv2.weight"], w["conv2.bias"], stride=2)
        x = patches.flatten(2).transpose(1, 2) + w["position"]
        # one transformer layer, one head after the other
        y = layer_norm(x, w["layers.0.norm_attention.weight"], w["layers.0.norm_attention.bias"])
        q, k, v = F.linear(y, w["layers.0.qkv.weight"], w["layers.0.qkv.bias"]).chunk(3, dim=-1)
        size = q.shape[-1] // self.heads
        outputs = []
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)
            scores = torch.exp(scores - scores.amax(-1, keepdim=True))
            outputs.append(scores / scores.sum(-1, keepdim=True) @ v[..., part])
        x = x + F.linear(
            torch.cat(outputs, -1), w["layers.0.projection.weight"], w["layers.0.projection.bias"]
        )
        y = layer_norm(x, w["layers.0.norm_mlp.weight"], w["layers.0.norm_mlp.bias"])
        y = F.linear(y, w["layers.0.expand.weight"], w["layers.0.expand.bias"])
        y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
        x = x + F.linear(y, w["layers.0.contract.weight"], w["layers.0.contract.bias"])
        return layer_norm(x, w["norm.weight"], w["norm.bias"]), obs["proprio"]

    def actor(self, weights: Weights, features: Any, base: Tensor | None, mask: Tensor | None) -> Tensor:
        tokens, proprio = features
        hidden = F.linear(
            tokens.reshape(len(tokens), -1), weights["compress.0.weight"], weights["compress.0.bias"]
        )
        hidden = layer_norm(hidden, weights["compress.1.weight"], weights["compress.1.bias"])
        if mask is not None:
            hidden, mask = hidden * mask[:, : self.compress], mask[:, self.compress :]
        hidden = torch.cat([relu(hidden), proprio], 1)
        return torch.tanh(mlp(hidden, weights, self.layers, norm=True, mask=mask))

    def critic(self, weights: Weights, features: Any, action: Tensor) -> Tensor:
        tokens, proprio = features
        # every channel: its patches, proprioception, action
        extra = torch.cat([proprio, action], 1)
        total = 0
        for channel in range(tokens.shape[2]):
            x = torch.cat([tokens[:, :, channel], extra], 1)
            x = F.linear(x, weights["reduce.input.weight"], weights["reduce.input.bias"])
            x = relu(layer_norm(x, weights["reduce.norm.weight"], weights["reduce.norm.bias"]))
            total = total + x * weights["reduce.channel_weight"][channel]
        return mlp(torch.cat([total, extra], 1), weights, self.layers, norm=True)[:, 0]


@dataclass
class ResidualNets:
    """Sec. XIV: clip(mu + scale pi(s, mu)), pi the plain actor with mu behind the state or proprioception.

    Counts the components of actions that were clipped, and all.
    """

    plain: StateNets | PixelNets
    scale: float = 1.0
    clipped: int = 0
    components: int = 0

    def encode(self, weights: Weights, obs: dict[str, Tensor]) -> Any:
        return self.plain.encode(weights, obs)

    def actor(self, weights: Weights, features: Any, base: Tensor, mask: Tensor | None) -> Tensor:
        w = {name.removeprefix("residual."): value for name, value in weights.items()}
        if isinstance(features, tuple):
            seen = features[0], torch.cat([features[1], base], 1)
        else:
            seen = torch.cat([features, base], 1)
        total = base + self.scale * self.plain.actor(w, seen, None, mask)
        outside = total.detach().abs() > 1
        self.clipped += int(outside.sum())
        self.components += outside.numel()
        # a clipped component is a constant: it hands no gradient back
        return torch.where(outside, torch.sign(total.detach()), total)

    def critic(self, weights: Weights, features: Any, action: Tensor) -> Tensor:
        return self.plain.critic(weights, features, action)


class Adam:
    """Kingma and Ba 2015, one tensor after the other."""

    def __init__(self, parameters: list[Tensor], lr: float) -> None:
        self.parameters, self.lr, self.step = parameters, lr, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def update(self, gradients: tuple[Tensor, ...]) -> None:
        self.step += 1
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m.copy_(0.9 * m + 0.1 * g)
            v.copy_(0.999 * v + 0.001 * g * g)
            m_hat, v_hat = m / (1 - 0.9**self.step), v / (1 - 0.999**self.step)
            with torch.no_grad():
                p -= self.lr * m_hat / (torch.sqrt(v_hat) + 1e-8)


def first(actions: list[Tensor]) -> Tensor | None:
    """The first of mu's samples; None without mu."""
    return actions[0] if actions else None


def nstep_return(episode: Any, t: int, nstep: int, gamma: float) -> tuple[float, float, int]:
    """Return, discount of what follows, and the step that follows, from one raw episode."""
    total, factor = 0.0, 1.0
    for k in range(t, min(t + nstep, len(episode.actions))):
        total += factor * float(episode.rewards[k])
        factor *= gamma
        if episode.terminated[k]:
            return total, 0.0, k + 1
    return total, factor, min(t + nstep, len(episode.actions))


class Algorithm1:
    """Lines 3 to 22, fed with recorded random numbers; without mu's proposals it is TD3.

    `draws` has a list per kind: normal, mask, subset, and uniform for the softmax. `config` says with
    `actor_proposal` and `bootstrap_proposal` where mu proposes. `il_actions` are mu's samples, the first of
    which a residual actor corrects; none for a method without mu.
    """

    def __init__(
        self, nets: Any, weights: dict[str, Any], draws: dict[str, list[Tensor]], **config: Any
    ) -> None:
        self.nets, self.draws, self.config = nets, draws, config

        def leaf(part: Weights) -> Weights:
            return {name: value.detach().clone().requires_grad_(True) for name, value in part.items()}

        def copy(part: Weights) -> Weights:
            return {name: value.detach().clone() for name, value in part.items()}

        self.encoder, self.actor = leaf(weights["encoder"]), leaf(weights["actor"])
        self.critics = [leaf(one) for one in weights["critics"]]
        self.target_actor = copy(weights["actor"])
        self.target_critics = [copy(one) for one in weights["critics"]]
        self.actor_adam = Adam(list(self.actor.values()), config["lr"])
        critic_parameters = [*self.encoder.values(), *(p for one in self.critics for p in one.values())]
        self.critic_adam = Adam(critic_parameters, config["lr"])

    def draw(self, kind: str) -> Tensor:
        return self.draws[kind].pop(0)

    def draw_subset(self) -> list[int]:
        if self.config["subset_size"] == len(self.critics):
            return list(range(len(self.critics)))
        return self.draw("subset").tolist()

    def choose(self, q: list[Tensor]) -> list[int]:
        """Per row: the index of the larger value, or a draw from softmax(beta q)."""
        beta, choices = self.config["beta"], []
        uniform = self.draw("uniform") if beta is not None else None
        for row in range(len(q[0])):
            values = [float(value[row]) for value in q]
            if beta is None:
                choices.append(values.index(max(values)))
                continue
            weights = [math.exp(beta * (value - max(values))) for value in values]
            threshold, total, choice = float(uniform[row]) * sum(weights), 0.0, 0
            for choice, weight in enumerate(weights):  # noqa: B007
                total += weight
                if threshold < total:
                    break
            choices.append(choice)
        return choices

    def value(self, features: Any, proposals: list[Tensor]) -> list[Tensor]:
        """Each proposal's smallest value among a random subset of target critics."""
        subset, values = self.draw_subset(), []
        for action in proposals:
            q = [self.nets.critic(self.target_critics[i], features, action) for i in subset]
            values.append(torch.stack(q).amin(0))
        return values

    @torch.no_grad()
    def act(self, obs: dict[str, Tensor], il_actions: list[Tensor]) -> tuple[Tensor, list[int], list[Tensor]]:
        """Lines 7 to 9: actions, choices and the proposals' values."""
        features = self.nets.encode(self.encoder, obs)
        noise = self.config["sigma"] * self.draw("normal")
        rl_action = self.nets.actor(self.actor, features, first(il_actions), None)
        proposals = [torch.clamp(rl_action + noise, -1, 1)]
        proposals += il_actions if self.config["actor_proposal"] else []
        values = self.value(features, proposals)
        choice = self.choose(values)
        return torch.stack([proposals[c][row] for row, c in enumerate(choice)]), choice, values

    @torch.no_grad()
    def target(
        self, reward: Tensor, discount: Tensor, next_obs: dict[str, Tensor], il_actions: list[Tensor]
    ) -> Tensor:
        """Lines 16 and 17."""
        features = self.nets.encode(self.encoder, next_obs)
        rl_action = self.nets.actor(self.target_actor, features, first(il_actions), self.draw("mask"))
        noise = torch.clamp(
            self.config["sigma"] * self.draw("normal"), -self.config["clip"], self.config["clip"]
        )
        proposals = [torch.clamp(rl_action + noise, -1, 1)]
        proposals += il_actions if self.config["bootstrap_proposal"] else []
        values = self.value(features, proposals)
        choice = self.choose(values)
        value = torch.stack([values[c][row] for row, c in enumerate(choice)])
        return reward + discount * value

    def update_critic(self, obs: dict[str, Tensor], action: Tensor, target: Tensor) -> float:
        """Lines 18 and 19."""
        features = self.nets.encode(self.encoder, obs)
        loss = torch.zeros((), dtype=torch.float64)
        for critic in self.critics:
            error = target - self.nets.critic(critic, features, action)
            loss = loss + (error**2).sum() / len(error)
        self.critic_adam.update(torch.autograd.grad(loss, self.critic_adam.parameters))
        for online, target_weights in zip(self.critics, self.target_critics, strict=True):
            self.ema(online, target_weights)
        return float(loss.detach())

    def update_actor(
        self,
        obs: dict[str, Tensor],
        il_actions: list[Tensor],
        demos: tuple[dict[str, Tensor], Tensor, Tensor] | None = None,
    ) -> float:
        """Lines 21 and 22; `demos` are RFT's observations, actions and actions of pi_0."""
        features = self.nets.encode(self.encoder, obs)
        action = self.nets.actor(self.actor, features, first(il_actions), self.draw("mask"))
        values = [self.nets.critic(critic, features, action) for critic in self.critics]
        score = values[0]
        for value in values[1:]:
            score = torch.minimum(score, value) if self.config["objective"] == "min" else score + value
        loss = -score.sum() / len(score)
        if self.config["objective"] == "mean":
            loss = loss / len(values)
        if demos is not None:
            distance, self.share = self.imitation(*demos)
            loss = loss + self.config["alpha"] * self.share * distance
        self.actor_adam.update(torch.autograd.grad(loss, self.actor_adam.parameters))
        self.ema(self.actor, self.target_actor)
        return float(loss.detach())

    def imitation(self, obs: dict[str, Tensor], actions: Tensor, first: Tensor) -> tuple[Tensor, float]:
        """RFT: the mean of |a - pi(s)|^2, and the share of states where pi_0's action is worth more."""
        features = self.nets.encode(self.encoder, obs)
        distance = self.nets.actor(self.actor, features, None, self.draw("mask")) - actions
        policy = self.nets.actor(self.actor, features, None, None)
        better = 0
        for row in range(len(actions)):
            one = tuple(part[row : row + 1] for part in features) if isinstance(features, tuple) else None
            here = features[row : row + 1] if one is None else one
            now, before = (
                min(
                    float(self.nets.critic(critic, here, action[row : row + 1]).detach())
                    for critic in self.critics
                )
                for action in (policy, first)
            )
            # what differs by rounding alone is equal: pi is pi_0 at the start
            better += before - now > 1e-12
        return (distance**2).sum() / len(actions), better / len(actions)

    def ema(self, online: Weights, target: Weights) -> None:
        rho = self.config["rho"]
        with torch.no_grad():
            for name in online:
                target[name].copy_(rho * target[name] + (1 - rho) * online[name])
