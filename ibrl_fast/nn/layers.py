"""The layers of actors and critics: an MLP, and its ensemble form with one set of weights per critic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibrl_fast.nn.ensemble_mlp import ensemble_mlp, prefers_ensemble_mlp
from ibrl_fast.nn.fast_layers import linear
from ibrl_fast.nn.fused_mlp import fused_mlp, prefers_fused_mlp


def pick(parameter: Tensor, subset: Tensor | None) -> Tensor:
    """Return the rows of `parameter` `[num_critics, ...]` that `subset` `[K]` names; without one, all."""
    return parameter if subset is None else parameter.index_select(0, subset)


class Linear(nn.Linear):
    """PyTorch's linear layer by the fastest product at hand; a scripted module uses PyTorch's."""

    def forward(self, input: Tensor) -> Tensor:
        """Map `input` `[..., in_features]` to `[..., out_features]`."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.linear(input, self.weight, self.bias)
        return linear(input, self.weight, self.bias)


class MLP(nn.Module):
    """Linear, (LayerNorm), (dropout), ReLU per hidden layer, a last linear layer, (tanh).

    Dropout is an argument, not a mode: the caller draws the mask, so that every random number has one owner.

    Args:
        in_dim: input features.
        hidden: widths of the hidden layers, possibly none.
        out_dim: output features.
        layer_norm: whether every hidden layer has a LayerNorm.
        tanh: whether tanh follows the last layer.
    """

    def __init__(
        self, in_dim: int, hidden: Sequence[int], out_dim: int, *, layer_norm: bool, tanh: bool = False
    ) -> None:
        super().__init__()
        widths = [in_dim, *hidden]
        self.widths, self.tanh = [*widths, out_dim], tanh
        self.hidden = nn.ModuleList(Linear(i, o) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(o) if layer_norm else nn.Identity() for o in hidden)
        self.output = Linear(widths[-1], out_dim)

    def forward(self, x: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        """Map `x` `[batch, in_dim]` to `[batch, out_dim]`; `dropout_mask` `[batch, sum(hidden)]` or None."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            fused = self._fused(x, dropout_mask)
            if fused is not None:
                return fused
        start = 0
        for layer, norm in zip(self.hidden, self.norms):
            x = norm(layer(x))
            if dropout_mask is not None:
                x = x * dropout_mask[:, start : start + x.shape[1]]
                start += x.shape[1]
            x = F.relu(x)
        y = self.output(x)
        return torch.tanh(y) if self.tanh else y

    @torch.jit.unused
    def _fused(self, x: Tensor, dropout_mask: Tensor | None) -> Tensor | None:
        """Compute the same as one op; None where that is not faster, or where PyTorch says what is wrong."""
        if x.dim() != 2 or x.shape[1] != self.widths[0]:
            return None
        if not prefers_fused_mlp(x, x.shape[0], self.widths):
            return None
        y = fused_mlp(x.unsqueeze(0), self.hidden, self.norms, self.output, mask=dropout_mask, tanh=self.tanh)
        return y.squeeze(0)


class EnsembleLinear(nn.Module):
    """One linear layer per critic, computed together.

    Args:
        num_critics: how many, each with its own weights and PyTorch's default initialisation.
        in_dim: input features.
        out_dim: output features.
    """

    def __init__(self, num_critics: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(in_dim)
        self.weight = nn.Parameter(torch.empty(num_critics, out_dim, in_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_critics, out_dim).uniform_(-bound, bound))

    def forward(self, x: Tensor, subset: Tensor | None = None) -> Tensor:
        """Map `x` `[K or num_critics or 1, batch, in_dim]` to `[K or num_critics, batch, out_dim]`.

        Args:
            x: one input for all critics, or one for each that is computed.
            subset: `[K]` int64, the critics to compute; None computes all.
        """
        weight, bias = pick(self.weight, subset), pick(self.bias, subset)
        x = x.expand(weight.shape[0], -1, -1)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


class EnsembleLayerNorm(nn.Module):
    """One LayerNorm per critic over the last dimension.

    Args:
        num_critics: how many.
        dim: normalised features.
    """

    def __init__(self, num_critics: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_critics, dim))
        self.bias = nn.Parameter(torch.zeros(num_critics, dim))

    def forward(self, x: Tensor, subset: Tensor | None = None) -> Tensor:
        """Normalise `x` `[K or num_critics, batch, dim]`; `subset` `[K]` says which critics these are."""
        weight, bias = pick(self.weight, subset), pick(self.bias, subset)
        normalised = F.layer_norm(x, (x.shape[-1],))
        # the affine part in the activations' dtype: float32 weights would promote a bfloat16 pass
        weight, bias = weight.to(normalised.dtype), bias.to(normalised.dtype)
        return torch.addcmul(bias.unsqueeze(1), normalised, weight.unsqueeze(1))


class EnsembleIdentity(nn.Module):
    """A layer that changes nothing, where an ensemble's LayerNorm is switched off."""

    def forward(self, x: Tensor, subset: Tensor | None = None) -> Tensor:
        """Return `x` `[K or num_critics, batch, dim]` as it is."""
        return x


class EnsembleMLP(nn.Module):
    """One MLP per critic: linear, (LayerNorm), ReLU per hidden layer, and a last linear layer.

    Args:
        num_critics: how many, each with its own weights, biases and LayerNorms.
        in_dim: input features.
        hidden: widths of the hidden layers, possibly none.
        out_dim: output features.
        layer_norm: whether every hidden layer has a LayerNorm.
    """

    def __init__(
        self, num_critics: int, in_dim: int, hidden: Sequence[int], out_dim: int, *, layer_norm: bool
    ) -> None:
        super().__init__()
        widths = [in_dim, *hidden]
        self.layer_norm = layer_norm
        self.widths = [*widths, out_dim]
        self.hidden = nn.ModuleList(EnsembleLinear(num_critics, i, o) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(
            EnsembleLayerNorm(num_critics, o) if layer_norm else EnsembleIdentity() for o in hidden
        )
        self.output = EnsembleLinear(num_critics, widths[-1], out_dim)

    def forward(self, x: Tensor, subset: Tensor | None = None, extra: Tensor | None = None) -> Tensor:
        """Map `x` `[K or num_critics or 1, batch, x_dim]` to `[K or num_critics, rows, out_dim]`.

        Rows are `proposals * batch`.

        Args:
            x: one input for all critics, or one for each that is computed.
            subset: `[K]` int64, the critics to compute; None computes all.
            extra: `[proposals, batch, in_dim - x_dim]`, further features for a shared x, which every proposal
                has in front of its own; None where x has all of them (proposals is 1).
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            fused = self._fused(x, subset, extra)
            if fused is not None:
                return fused
        if extra is not None:
            x = torch.cat([x.expand(extra.shape[0], -1, -1), extra], dim=2)
            x = x.reshape(1, x.shape[0] * x.shape[1], x.shape[2])
        if not torch.jit.is_scripting() and prefers_ensemble_mlp(x):  # type: ignore[attr-defined]
            return self._one_by_one(x, subset)
        for layer, norm in zip(self.hidden, self.norms):
            x = F.relu(norm(layer(x, subset), subset))
        return self.output(x, subset)

    @torch.jit.unused
    def _fused(self, x: Tensor, subset: Tensor | None, extra: Tensor | None) -> Tensor | None:
        """Compute the same as one op, which gives no gradients of a subset; None where that is not faster."""
        rows = x.shape[1] * (1 if extra is None else extra.shape[0])
        if subset is not None and torch.is_grad_enabled():
            return None
        if not prefers_fused_mlp(x, rows, self.widths):
            return None
        return fused_mlp(x, self.hidden, self.norms, self.output, extra=extra, subset=subset)

    @torch.jit.unused
    def _one_by_one(self, x: Tensor, subset: Tensor | None) -> Tensor:
        """Compute the same by `ensemble_mlp`, which knows the fastest way on this device."""
        parameters: list[Tensor] = []
        for layer, norm in zip(self.hidden, self.norms):
            parameters.extend(layer.parameters())
            parameters.extend(norm.parameters())
        parameters.extend(self.output.parameters())
        return ensemble_mlp(x, parameters, layer_norm=self.layer_norm, subset=subset)


def orthogonal_(module: nn.Module, *, last_gain: float | None = None) -> None:
    """Give every linear layer, critic by critic, orthogonal weights of gain 1 and zero biases.

    Args:
        module: what to initialise in place.
        last_gain: gain of the layer named `output` instead of 1.
    """
    for name, layer in module.named_modules():
        gain = last_gain if last_gain is not None and name.endswith("output") else 1.0
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, EnsembleLinear):
            for weight in layer.weight:
                nn.init.orthogonal_(weight, gain)
            nn.init.zeros_(layer.bias)
