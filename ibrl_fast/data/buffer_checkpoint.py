"""A replay buffer as tensors, numbers and strings (which `torch.load(weights_only=True)` accepts)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.buffer_state_checks import (
    check_episode_columns,
    check_index,
    check_seed,
    check_tensor,
    check_tensors,
)
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.data.row_storage import RowStorage
from ibrl_fast.errors import ArgumentError, expect

FORMAT = 1
# Columns that the index restores, or that are not one entry per row.
_NOT_ROWS = ("table", "counts", "counter")


def _used_rows(plan: BufferPlan, used: list[int]) -> list[slice]:
    """List the rows of each region that were ever written."""
    layout = plan.layout
    begins = [0] + [layout.demo_rows + env * layout.segment_rows for env in range(layout.num_envs)]
    return [slice(begin, begin + count) for begin, count in zip(begins, used)]


def save_state(plan: BufferPlan, storage: RowStorage, index: EpisodeIndex, seed: int) -> dict[str, Any]:
    """Copy everything that the buffer's future depends on; rows never written are left out."""
    regions = _used_rows(plan, index.used)
    columns = {
        name: torch.cat([column[region] for region in regions]).cpu()
        for name, column in storage.tensors.items()
        if name not in _NOT_ROWS
    }
    return {
        "format": FORMAT,
        "buffer": plan.fingerprint(),
        "columns": columns,
        "index": {name: torch.from_numpy(array) for name, array in index.state().items()},
        "seed": seed,
        "counter": storage.tensors["counter"].cpu().clone(),
    }


def check_state(plan: BufferPlan, state: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the field, unless a buffer of the same plan could have saved `state`."""
    expect(isinstance(state, Mapping), "state", "a replay buffer's state", type(state).__name__)
    missing = sorted({"format", "buffer", "columns", "index", "seed", "counter"} - set(state))
    if missing:
        raise ArgumentError(f"state: expected a replay buffer's state, got one without {missing}")
    if type(state["format"]) is not int or state["format"] != FORMAT:
        raise ArgumentError(f"state['format']: expected {FORMAT}, got {state['format']!r}")
    if not isinstance(state["buffer"], str) or state["buffer"] != plan.fingerprint():
        raise ArgumentError(
            f"state['buffer']: expected a buffer with {plan.fingerprint()}, got one with {state['buffer']}"
        )
    check_seed(state["seed"])
    check_tensor("state['counter']", state["counter"], (1,), torch.int64)
    expect(int(state["counter"]) >= 0, "state['counter']", "at least 0", int(state["counter"]))

    # The bookkeeping by itself, the columns by themselves, then both together.
    index = check_index(plan.layout, state["index"])
    used = int(index["counts"][1:].sum())
    columns = {
        name: ((used, *shape[1:]), dtype)
        for name, (shape, dtype) in plan.columns.items()
        if name not in _NOT_ROWS
    }
    check_tensors("state['columns']", state["columns"], columns)
    check_episode_columns(plan.layout, index, state["columns"])


def load_state(plan: BufferPlan, storage: RowStorage, index: EpisodeIndex, state: Mapping[str, Any]) -> None:
    """Restore from `save_state`, after `check_state`."""
    index.load({name: tensor.detach().cpu().numpy() for name, tensor in state["index"].items()})
    for name, saved in state["columns"].items():
        first = 0
        for region in _used_rows(plan, index.used):
            count = region.stop - region.start
            storage.tensors[name][region].copy_(saved[first : first + count].detach())
            first += count
    storage.tensors["counter"].copy_(state["counter"].detach())
