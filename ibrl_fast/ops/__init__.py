"""Fused operations, one file each: a reference in torch, argument checks, a CPU kernel and a CUDA kernel.

All write into tensors of the caller where asked to, are usable under `torch.compile` and, on CUDA, inside a
captured graph. `ensemble_norm_relu` is for CUDA: its CPU kernel is what tests run, and no layer calls it.
`mlp` is for the CPU: on CUDA it is its reference.
"""

from ibrl_fast.ops.adam_update import adam_update
from ibrl_fast.ops.ensemble_norm_relu import ensemble_norm_relu
from ibrl_fast.ops.ibrl_select import ibrl_select
from ibrl_fast.ops.ibrl_target import ibrl_target
from ibrl_fast.ops.mlp import mlp
from ibrl_fast.ops.nstep_return import nstep_return
from ibrl_fast.ops.random_shift_gather import random_shift_gather
from ibrl_fast.ops.replay_gather import replay_gather
from ibrl_fast.ops.sample_rows import sample_rows
from ibrl_fast.ops.scatter_rows import scatter_rows
from ibrl_fast.ops.spatial_embed import spatial_embed

__all__ = [
    "adam_update",
    "ensemble_norm_relu",
    "ibrl_select",
    "ibrl_target",
    "mlp",
    "nstep_return",
    "random_shift_gather",
    "replay_gather",
    "sample_rows",
    "scatter_rows",
    "spatial_embed",
]
