"""One valid call of every op with its reference, and what can be wrong with an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.nn.ensemble_mlp import ensemble_mlp
from ibrl_fast.nn.fast_layers import attention, attention_reference, image_layout, linear, linear_reference
from ibrl_fast.nn.reduce_tokens import reduce_tokens, reduce_tokens_reference
from ibrl_fast.ops.adam_update import adam_update_reference
from ibrl_fast.ops.ensemble_norm_relu import ensemble_norm_relu_reference
from ibrl_fast.ops.ibrl_select import ibrl_select_reference
from ibrl_fast.ops.ibrl_target import ibrl_target_reference
from ibrl_fast.ops.mlp import mlp_reference
from ibrl_fast.ops.nstep_return import nstep_return_reference
from ibrl_fast.ops.random_shift_gather import random_shift_gather_reference
from ibrl_fast.ops.replay_gather import replay_gather_reference
from ibrl_fast.ops.sample_rows import sample_rows_reference
from ibrl_fast.ops.scatter_rows import Scatter, scatter_rows_reference
from ibrl_fast.ops.spatial_embed import spatial_embed_reference

ROWS, BATCH = 20, 4


class Op(NamedTuple):
    """An op, its reference on the same arguments, and a valid call of both.

    Attributes:
        function: the op.
        reference: returns what the op returns or, for an op in place, what its `written` arguments become.
        arguments: makes the arguments of a valid call.
        written: the arguments that an op in place changes.
        named: whether its errors name an argument; the others are PyTorch's.
    """

    function: Callable[..., Any]
    reference: Callable[..., Any]
    arguments: Callable[[], dict[str, Any]]
    written: tuple[str, ...] = ()
    named: bool = True


def random(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that are the same in every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def whole(*values: int) -> Tensor:
    """int64 [len(values)]."""
    return torch.tensor(values)


def step_column() -> Tensor:
    """episode_step of episodes of five rows."""
    return (torch.arange(ROWS) % 5).int()


# --- valid calls


def replay_gather_call() -> dict[str, Any]:
    sources = [random(ROWS, 3), random(ROWS, 2, 2), random(ROWS)]
    out = [torch.zeros(BATCH, 6), torch.zeros(BATCH, 2, 2), torch.zeros(BATCH, 3)]
    rows = [whole(0, 6, 19, 3), whole(1, 7, 18, 4), whole(4, 4, 0, 19)]
    return {"sources": sources, "rows": rows, "episode_step": step_column(), "stacks": [2, 1, 3], "out": out}


def replay_gather_plain(
    sources: Any,
    rows: Any,
    episode_step: Any = None,
    *,
    stacks: Any = 1,
    out_dtype: Any = torch.float32,
    out: Any = None,
) -> Any:
    all_rows = [rows] * len(sources) if isinstance(rows, Tensor) else rows
    all_stacks = stacks if isinstance(stacks, list) else [stacks] * len(sources)
    return [
        replay_gather_reference(source, each, episode_step, stack=int(stack), out_dtype=out_dtype)
        for source, each, stack in zip(sources, all_rows, all_stacks, strict=True)
    ]


def random_shift_gather_call() -> dict[str, Any]:
    frames = (torch.arange(ROWS * 2 * 5 * 6) * 7 % 256).to(torch.uint8).view(ROWS, 2, 5, 6)
    return {
        "frames": frames,
        "rows": whole(0, 6, 18, 3),
        "next_rows": whole(1, 7, 19, 4),
        "episode_step": step_column(),
        "stack": 2,
        "pad": 2,
        "scale": 0.5,
        "offset": -1.0,
        "seed": 3,
        "counter": whole(5),
        "out": (torch.zeros(BATCH, 4, 5, 6), torch.zeros(BATCH, 4, 5, 6)),
    }


def random_shift_gather_plain(*, out: Any = None, counter: Any = 0, seed: Any = 0, **given: Any) -> Any:
    given["stack"], given["pad"] = int(given["stack"]), int(given["pad"])
    return random_shift_gather_reference(**given, counter=int(counter), seed=int(seed))


def sample_rows_call() -> dict[str, Any]:
    return {
        "table": torch.arange(50) * 3,
        "size": whole(30),
        "batch_size": BATCH,
        "seed": 3,
        "counter": whole(5),
        "begin": whole(7),
        "out": torch.zeros(BATCH, dtype=torch.int64),
    }


def sample_rows_plain(
    table: Any, size: Any, batch_size: Any, *, seed: Any, counter: Any, begin: Any = None, out: Any = None
) -> Any:
    first = 0 if begin is None else int(begin)
    return sample_rows_reference(
        table[first:], int(size), int(batch_size), seed=int(seed), counter=int(counter)
    )


def scatter_rows_call() -> dict[str, Any]:
    packed = torch.zeros(96, dtype=torch.uint8)
    packed[:24] = whole(1, 8, 0).view(torch.uint8)
    packed[32:92] = random(15).view(torch.uint8)
    return {"packed": packed, "scatters": [Scatter(random(9, 5), 0, 32, 3), Scatter(random(9, 2), 0, 64, 2)]}


def scatter_rows_plain(packed: Any, scatters: Any) -> None:
    scatter_rows_reference(packed, [(each[0], *map(int, each[1:])) for each in scatters])


def nstep_return_call() -> dict[str, Any]:
    flags = torch.arange(ROWS) % 5
    out = (torch.zeros(BATCH), torch.zeros(BATCH), torch.zeros(BATCH, dtype=torch.int64))
    return {
        "reward": random(ROWS),
        "terminated": flags == 3,
        "truncated": torch.arange(ROWS) == 7,
        "is_tail": flags == 4,
        "rows": whole(0, 6, 18, 3),
        "nstep": 3,
        "gamma": 0.9,
        "bootstrap_on_truncation": True,
        "out": out,
    }


def nstep_return_plain(*, out: Any = None, **given: Any) -> Any:
    # the sum in double, and one rounding at its end
    reward = given["reward"]
    given["nstep"] = min(given["nstep"], ROWS)
    total, discount, rows = nstep_return_reference(**(given | {"reward": reward.double()}))
    return total.to(reward.dtype), discount.to(reward.dtype), rows


def ibrl_call(**more: Any) -> dict[str, Any]:
    choice = torch.zeros(BATCH, dtype=torch.int64)
    first, *rest = more.pop("out")
    return {
        "q": random(3, 5, BATCH),
        **more,
        "subset": whole(1, 4),
        "beta": 2.0,
        "seed": 3,
        "counter": whole(5),
        "out": (first, *rest, choice),
    }


def ibrl_target_call() -> dict[str, Any]:
    return ibrl_call(reward=random(BATCH), discount=random(BATCH).sigmoid(), out=(torch.zeros(BATCH),))


def ibrl_select_call() -> dict[str, Any]:
    return ibrl_call(actions=random(3, BATCH, 2), out=(torch.zeros(BATCH, 2),))


def drawn(reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that wants its seed and counter as ints and has no out."""

    def plain(*, out: Any = None, counter: Any = 0, seed: Any = 0, **given: Any) -> Any:
        return reference(**given, counter=int(counter), seed=int(seed))

    return plain


def spatial_embed_call() -> dict[str, Any]:
    return {
        "patches": random(BATCH, 5, 2, 20),
        "extra": random(2, 3, BATCH, 20),
        "norm_weight": random(2, 20),
        "norm_bias": random(2, 20, seed=1),
        "channel_weight": random(2, 5, 20),
        "out": torch.zeros(2, 3, BATCH, 20),
    }


def reduce_tokens_call() -> dict[str, Any]:
    given = spatial_embed_call()
    del given["patches"], given["out"]
    return {"tokens": random(BATCH, 7, 5), "patch_weight": random(2, 20, 7), **given}


def in_dtype_of(leading: str, reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference on tensors of one dtype, that of the leading argument, as the op brings them to it."""

    def converted(value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, (list, tuple)):
            return [converted(each, dtype) for each in value]
        return value.to(dtype) if isinstance(value, Tensor) else value

    def plain(*, subset: Any = None, **given: Any) -> Any:
        if given[leading].numel() == 0 and leading == "extra":
            return given[leading]
        others = {name: converted(value, given[leading].dtype) for name, value in given.items()}
        return reference(**others) if subset is None else reference(**others, subset=subset)

    return plain


def ensemble_norm_relu_call() -> dict[str, Any]:
    bias, weight, shift = (random(2, 20, seed=seed) for seed in range(3))
    x = random(2, BATCH, 20)
    return {"x": x, "bias": bias, "norm_weight": weight, "norm_bias": shift, "out": torch.zeros(2, BATCH, 20)}


def ensemble_mlp_call() -> dict[str, Any]:
    shapes = [(3, 8, 6), (3, 8), (3, 8), (3, 8), (3, 1, 8), (3, 1)]
    parameters = [random(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    return {"x": random(2, BATCH, 6), "parameters": parameters, "layer_norm": True, "subset": whole(2, 0)}


def mlp_call() -> dict[str, Any]:
    shapes = [(3, 8, 6), (3, 8), (3, 8), (3, 8), (3, 1, 8), (3, 1)]
    return {
        "x": random(1, BATCH, 4),
        "parameters": [random(*shape, seed=seed) for seed, shape in enumerate(shapes)],
        "layer_norm": True,
        "extra": random(2, BATCH, 2),
        "mask": random(2 * BATCH, 8).sign() + 1,
        "subset": whole(2, 0),
        "tanh": True,
        "out": torch.zeros(2, 2 * BATCH, 1),
    }


def without_out(reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that has no out."""
    return lambda *, out=None, **given: reference(**given)


def adam_update_call() -> dict[str, Any]:
    return {
        "values": random(32),
        "gradients": [random(3, 5), random(4)],
        "offsets": [0, 20],
        "exp_avg": random(32, seed=1),
        "exp_avg_sq": random(32, seed=2).square(),
        "step": whole(7),
        "learning_rate": 0.01,
        "betas": (0.9, 0.99),
        "eps": 1e-8,
        "target": random(12),
        "rho": 0.9,
    }


OPS = {
    "replay_gather": Op(ops.replay_gather, replay_gather_plain, replay_gather_call),
    "random_shift_gather": Op(ops.random_shift_gather, random_shift_gather_plain, random_shift_gather_call),
    "sample_rows": Op(ops.sample_rows, sample_rows_plain, sample_rows_call),
    "scatter_rows": Op(ops.scatter_rows, scatter_rows_plain, scatter_rows_call, ("scatters",)),
    "nstep_return": Op(ops.nstep_return, nstep_return_plain, nstep_return_call),
    "ibrl_target": Op(ops.ibrl_target, drawn(ibrl_target_reference), ibrl_target_call),
    "ibrl_select": Op(ops.ibrl_select, drawn(ibrl_select_reference), ibrl_select_call),
    "spatial_embed": Op(ops.spatial_embed, without_out(spatial_embed_reference), spatial_embed_call),
    "ensemble_norm_relu": Op(
        ops.ensemble_norm_relu, without_out(ensemble_norm_relu_reference), ensemble_norm_relu_call
    ),
    "adam_update": Op(
        ops.adam_update,
        adam_update_reference,
        adam_update_call,
        ("values", "exp_avg", "exp_avg_sq", "step", "target"),
    ),
    "reduce_tokens": Op(reduce_tokens, in_dtype_of("extra", reduce_tokens_reference), reduce_tokens_call),
    "ensemble_mlp": Op(ensemble_mlp, in_dtype_of("x", mlp_reference), ensemble_mlp_call),
    "mlp": Op(ops.mlp, without_out(mlp_reference), mlp_call),
    "linear": Op(
        linear,
        linear_reference,
        lambda: {"x": random(64, 256), "weight": random(512, 256), "bias": random(512)},
        named=False,
    ),
    "attention": Op(
        attention,
        attention_reference,
        lambda: {name: random(2, 2, 5, 4, seed=i) for i, name in enumerate(("query", "key", "value"))},
    ),
    "image_layout": Op(image_layout, lambda image: image, lambda: {"image": random(2, 3, 4, 4)}, named=False),
}


# --- what can be wrong: (kind, value) for a tensor, a number or a list

NO_TENSORS = (None, 3, [1.0])
ALIENS = ("x", np.zeros(4), object())
NUMBERS = (
    *(
        None,
        "x",
        [1],
        -1,
        0,
        1,
        2,
        1.5,
        -1.5,
        True,
        np.int64(2),
        np.float32(0.5),
        math.nan,
        math.inf,
        -math.inf,
    ),
    *(1e39, 1000, 2**15, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, -(2**31), -(2**63) - 1, torch.zeros(2)),
)
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
    *(torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64),
)
WHOLE_VALUES = (
    -(2**63),
    -(2**40),
    -(2**31),
    -7,
    -1,
    19,
    20,
    1000,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
)


def bad_tensors(tensor: Tensor) -> Iterator[tuple[str, Any]]:
    """Every kind of wrong, odd or dangerous tensor that can stand in the place of this one."""
    for value in NO_TENSORS:
        yield "type", value
    for value in ALIENS:
        yield "alien", value
    yield "layout", tensor.to_sparse() if tensor.dim() else tensor
    yield "device", tensor.to("meta")
    for dtype in DTYPES:
        if dtype != tensor.dtype:
            yield "dtype", tensor.to(dtype)

    # other shapes
    for dim in range(tensor.dim()):
        size = tensor.shape[dim]
        yield "shape", tensor.narrow(dim, 0, 0)
        yield "shape", tensor.narrow(dim, 0, size - 1)
        yield "shape", torch.cat([tensor, tensor.narrow(dim, 0, 1)], dim)
        yield "shape", tensor.narrow(dim, 0, 1)
        yield "shape", tensor.select(dim, 0)
        yield "shape", tensor.new_zeros([0 if d == dim else n for d, n in enumerate(tensor.shape)])
        yield (
            "shape",
            tensor.new_zeros(1).expand([2**40 if d == dim else n for d, n in enumerate(tensor.shape)]),
        )
    yield "shape", tensor.unsqueeze(0)
    yield "shape", tensor.unsqueeze(-1)
    yield "shape", tensor.new_zeros(())

    # the same values elsewhere in memory
    yield "strides", torch.stack([tensor, torch.zeros_like(tensor)], -1)[..., 0]
    yield (
        "strides",
        torch.cat([torch.zeros_like(tensor), tensor], 0)[len(tensor) :] if tensor.dim() else tensor,
    )
    yield "strides", tensor.repeat_interleave(2, 0)[::2] if tensor.dim() else tensor
    if tensor.dim() > 1:
        yield "strides", tensor.transpose(0, -1).contiguous().transpose(0, -1)
        yield "strides", tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if tensor.is_floating_point():
        yield "strides", torch.complex(torch.zeros_like(tensor), -tensor).conj().imag
        yield "strides", tensor.clone().requires_grad_(True)

    # other values
    for dim in range(tensor.dim()):
        yield "value", tensor.narrow(dim, 0, 1).expand_as(tensor)
    if tensor.is_floating_point():
        for number in (math.nan, math.inf, -math.inf, 1e-45, -0.0):
            yield "value", torch.full_like(tensor, number)
            yield "value", _with(tensor, -1, number)
    elif tensor.dtype != torch.bool and tensor.numel():
        limits = torch.iinfo(tensor.dtype)
        for number in WHOLE_VALUES:
            if limits.min <= number <= limits.max:
                for value in (
                    torch.full_like(tensor, number),
                    _with(tensor, 0, number),
                    _with(tensor, -1, number),
                ):
                    yield "value", value
    else:
        yield "value", torch.ones_like(tensor)
        yield "value", torch.zeros_like(tensor)


def _with(tensor: Tensor, place: int, value: float) -> Tensor:
    """A copy with another number in one place of its elements."""
    changed = tensor.clone()
    changed.view(-1)[place] = value
    return changed


def bad_lists(values: Any) -> Iterator[tuple[str, Any]]:
    """Every kind of wrong list that can stand in the place of this one, entry by entry too."""
    kind = list if isinstance(values, list) else tuple
    for value in (None, 3, torch.zeros(3), kind(), {}):
        yield "type", value
    for value in ALIENS:
        yield "alien", value
    yield "length", kind([*values, *values[-1:]])
    yield "length", kind(values[:-1])
    for place, entry in enumerate(values):
        for name, value in bad_values(entry):
            yield name, kind([*values[:place], value, *values[place + 1 :]])


def bad_values(value: Any) -> Iterator[tuple[str, Any]]:
    """What can be wrong with any argument."""
    if isinstance(value, Tensor):
        yield from bad_tensors(value)
    elif isinstance(value, Scatter):
        for field in Scatter._fields:
            for kind, bad in bad_values(getattr(value, field)):
                yield kind, value._replace(**{field: bad})
        yield "type", tuple(value)
        yield "type", None
    elif isinstance(value, (list, tuple)):
        yield from bad_lists(value)
    else:
        for number in NUMBERS:
            yield "number", number
