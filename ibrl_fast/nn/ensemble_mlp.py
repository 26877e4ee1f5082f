"""An ensemble of MLPs.

On the CPU one critic after the other, forward and backward written out: batching saves no launches there,
a subset needs no copy of its weights, LayerNorm is one pass with its weights, and the hand-written backward
skips most of autograd's bookkeeping. On CUDA batched products, with bias, LayerNorm and ReLU in one pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn.fast_layers import linear, product_dtype
from ibrl_fast.ops.checks import MAX_CUDA_WIDTH, check_list, check_tensor
from ibrl_fast.ops.ensemble_norm_relu import ensemble_norm_relu
from ibrl_fast.ops.mlp import mlp_reference

_EPS = 1e-5
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def prefers_ensemble_mlp(x: Tensor) -> bool:
    """Return whether `ensemble_mlp` beats `mlp_reference`: wherever it runs, unless it is traced."""
    return x.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling()


def ensemble_mlp(
    x: Tensor, parameters: list[Tensor], *, layer_norm: bool, subset: Tensor | None = None
) -> Tensor:
    """Compute every critic's MLP: linear, (LayerNorm), ReLU per hidden layer, a last linear layer.

    Differentiable once.

    Args:
        x: `[K or num_critics or 1, batch, in_dim]`, one input for all critics or one for each.
        parameters: per hidden layer weight `[num_critics, out, in]`, bias `[num_critics, out]` and, with
            layer_norm, LayerNorm's weight and bias `[num_critics, out]`; then the last layer's two.
        layer_norm: whether the hidden layers have LayerNorms.
        subset: `[K]` int64, the critics to compute, one several times where wanted; None computes all.

    Returns:
        `[K or num_critics, batch, out_dim]`; bfloat16 under autocast.

    Raises:
        ValueError: x has neither one nor as many inputs as critics are computed, or parameters do not fit.
        TypeError: something that is no tensor.
        IndexError: on the CPU, where subset names no critic (on CUDA a device assertion).
    """
    check_tensor("x", x, getattr(x, "shape", ()), _DTYPES)
    if not isinstance(layer_norm, bool):
        raise TypeError(f"layer_norm: expected a bool, got {type(layer_norm).__name__}")
    num_critics = _check_parameters(parameters, x, layer_norm)
    if subset is not None:
        check_tensor("subset", subset, ("K",), (torch.int64,), x.device)
    count = num_critics if subset is None else subset.shape[0]
    if x.dim() != 3 or x.shape[0] not in (1, count):
        raise ArgumentError(f"x: expected [1 or {count}, batch, in_dim], got {list(x.shape)}")
    if x.device.type != "cpu":
        return mlp_in_batches(x, parameters, layer_norm=layer_norm, subset=subset)
    critics = list(range(count)) if subset is None else subset.tolist()
    wrong = [critic for critic in critics if not 0 <= critic < num_critics]
    if wrong:
        raise IndexError(f"subset: expected critics 0 to {num_critics - 1}, got {wrong[0]}")
    dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
    return _EnsembleMLP.apply(x, layer_norm, critics, dtype, *parameters)


def _check_parameters(parameters: list[Tensor], x: Tensor, layer_norm: bool) -> int:
    """Check that the parameters fit x and each other; return the number of critics."""
    parameters, step = check_list("parameters", parameters), 4 if layer_norm else 2
    if len(parameters) < 2 or (len(parameters) - 2) % step:
        raise ArgumentError(
            f"parameters: expected 2 and {step} for each hidden layer, got {len(parameters)} tensors"
        )
    num_critics, width = (*getattr(parameters[0], "shape", ()), 0)[0], x.shape[-1] if x.dim() else 0
    for i, parameter in enumerate(parameters):
        is_weight = i % step == 0 or i == len(parameters) - 2
        shape = (num_critics, "out", width) if is_weight else (num_critics, width)
        check_tensor(f"parameters[{i}]", parameter, shape, _DTYPES, x.device)
        width = parameter.shape[1]
    return num_critics


def mlp_in_batches(
    x: Tensor, parameters: list[Tensor], *, layer_norm: bool, subset: Tensor | None = None
) -> Tensor:
    """Compute an ensemble as on CUDA, by two launches for a hidden layer; arguments are not checked."""
    hidden = parameters[:-2:4]
    if not layer_norm or any(weight.shape[1] > MAX_CUDA_WIDTH for weight in hidden):
        return mlp_reference(x, parameters, layer_norm=layer_norm, subset=subset)
    if subset is not None:
        parameters = [parameter.index_select(0, subset) for parameter in parameters]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    for start in range(0, len(parameters) - 2, 4):
        weight, *affine = parameters[start : start + 4]
        products = _BatchedProduct.apply(x, weight, product_dtype(x))
        x = ensemble_norm_relu(products, *(parameter.to(dtype) for parameter in affine))
    x = x.expand(parameters[0].shape[0], -1, -1)
    return torch.baddbmm(parameters[-1].unsqueeze(1), x, parameters[-2].transpose(1, 2))


class _BatchedProduct(torch.autograd.Function):
    """x `[num_critics or 1, batch, in]` times each weight of `[num_critics, out, in]` transposed, in `dtype`.

    The weight's gradient comes as the weight lies in memory: autograd's is transposed, and is copied.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtypes = x.dtype, weight.dtype
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        return torch.bmm(x.expand(weight.shape[0], -1, -1), weight.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.bmm(grad, weight)
            grad_x = (grad_x if x.shape[0] > 1 else grad_x.sum(0, keepdim=True)).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            factors = grad.transpose(1, 2), x.expand(weight.shape[0], -1, -1)
            if grad.device.type == "cuda" and grad.dtype == torch.bfloat16:
                # cuBLAS writes float32 sums as they are
                grad_weight = torch.bmm(*factors, out_dtype=torch.float32).to(ctx.dtypes[1])
            else:
                grad_weight = torch.bmm(*factors).to(ctx.dtypes[1])
        return grad_x, grad_weight, None


class _EnsembleMLP(torch.autograd.Function):
    """Saves, per critic and hidden layer, what its backward reads."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layer_norm: bool, critics: list[int], dtype: torch.dtype, *parameters: Tensor
    ) -> Tensor:
        inputs = x.to(dtype).unbind(0)
        step = 4 if layer_norm else 2
        saved, values = [], []
        for position, critic in enumerate(critics):
            hidden = inputs[position if len(inputs) > 1 else 0]
            layers = []
            for start in range(0, len(parameters) - 2, step):
                weight = parameters[start][critic].to(dtype)
                before = hidden
                linear_out = linear(before, weight, parameters[start + 1][critic].to(dtype))
                mean = rstd = None
                hidden = linear_out
                if layer_norm:
                    norm_weight, norm_bias = parameters[start + 2][critic], parameters[start + 3][critic]
                    hidden, mean, rstd = torch.native_layer_norm(
                        linear_out, linear_out.shape[-1:], norm_weight, norm_bias, _EPS
                    )
                hidden = hidden.relu_()
                layers.append((before, weight, linear_out, mean, rstd, hidden))
            weight = parameters[-2][critic].to(dtype)
            values.append(linear(hidden, weight, parameters[-1][critic].to(dtype)))
            saved.append((layers, hidden, weight))
        ctx.save_for_backward(*parameters)
        ctx.layers, ctx.critics, ctx.layer_norm, ctx.x_shape = saved, critics, layer_norm, x.shape
        return torch.stack(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        parameters = ctx.saved_tensors
        need_x, need_parameters = ctx.needs_input_grad[0], any(ctx.needs_input_grad[4:])
        # critics that were not computed get zeros, those computed several times the sum
        once = len(set(ctx.critics)) == len(ctx.critics)
        make = torch.empty_like if once and len(ctx.critics) == len(parameters[0]) else torch.zeros_like
        put = Tensor.copy_ if once else Tensor.add_
        grads = [make(parameter) for parameter in parameters] if need_parameters else []
        step = 4 if ctx.layer_norm else 2
        grad_inputs = []
        for (layers, last_hidden, last_weight), critic, error in zip(
            ctx.layers, ctx.critics, grad.unbind(0), strict=True
        ):
            if need_parameters:
                put(grads[-2][critic], linear(error.t(), last_hidden.t()))
                put(grads[-1][critic], error.sum(0))
            error = linear(error, last_weight.t())
            for index in reversed(range(len(layers))):
                before, weight, linear_out, mean, rstd, hidden = layers[index]
                start = index * step
                error = torch.ops.aten.threshold_backward(error, hidden, 0)
                if ctx.layer_norm:
                    norm_weight, norm_bias = parameters[start + 2][critic], parameters[start + 3][critic]
                    mask = [True, need_parameters, need_parameters]
                    error, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
                        error, linear_out, linear_out.shape[-1:], mean, rstd, norm_weight, norm_bias, mask
                    )
                    if need_parameters:
                        put(grads[start + 2][critic], grad_weight)
                        put(grads[start + 3][critic], grad_bias)
                if need_parameters:
                    put(grads[start][critic], linear(error.t(), before.t()))
                    put(grads[start + 1][critic], error.sum(0))
                error = linear(error, weight.t()) if index > 0 or need_x else error
            grad_inputs.append(error)
        grad_x = None
        if need_x:
            grad_x = torch.stack(grad_inputs) if ctx.x_shape[0] > 1 else sum(grad_inputs[1:], grad_inputs[0])
            grad_x = grad_x.view(ctx.x_shape).to(parameters[0].dtype)
        return (grad_x, None, None, None, *(grads if need_parameters else [None] * len(parameters)))
