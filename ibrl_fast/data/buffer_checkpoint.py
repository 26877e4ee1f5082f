"""A replay buffer as tensors, numbers and strings (which `torch.load(weights_only=True)` accepts)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.data.row_storage import ColumnShapes, RowStorage
from ibrl_fast.errors import ArgumentError

FORMAT = 1
# Columns that the index restores, or that are not one entry per row.
_NOT_ROWS = ("table", "counts", "counter")


def _used_rows(plan: BufferPlan, used: list[int]) -> list[slice]:
    """The rows of each region that were ever written."""
    layout = plan.layout
    begins = [0] + [layout.demo_rows + env * layout.segment_rows for env in range(layout.num_envs)]
    return [slice(begin, begin + count) for begin, count in zip(begins, used)]


def save_state(plan: BufferPlan, storage: RowStorage, index: EpisodeIndex, seed: int) -> dict[str, Any]:
    """Copies of everything that the buffer's future depends on; rows never written are left out."""
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
    """Raises ValueError unless `state` was saved by a buffer of the same plan and is complete."""
    missing = sorted({"format", "buffer", "columns", "index", "seed", "counter"} - set(state))
    if missing:
        raise ArgumentError(f"state: expected a replay buffer's state, got one without {missing}")
    if state["format"] != FORMAT:
        raise ArgumentError(f"state['format']: expected {FORMAT}, got {state['format']}")
    if state["buffer"] != plan.fingerprint():
        raise ArgumentError(
            f"state: expected a buffer with {plan.fingerprint()}, got one with {state['buffer']}"
        )
    _check_index(plan, state["index"])
    used = sum(int(count) for count in state["index"]["counts"][1:])
    columns = {
        name: ((used, *shape[1:]), dtype)
        for name, (shape, dtype) in plan.columns.items()
        if name not in _NOT_ROWS
    }
    _check_tensors("state['columns']", state["columns"], columns)
    # A batch that was prepared, if there was one.
    if prefetched := state.get("prefetched"):
        shapes = plan.batch_shapes(prefetched["batch_size"])
        _check_tensors("state['prefetched']['tensors']", prefetched["tensors"], shapes)


def _check_tensors(name: str, tensors: Mapping[str, Any], shapes: ColumnShapes) -> None:
    """Raises ValueError unless all these tensors are there."""
    for key, (shape, dtype) in shapes.items():
        saved = tensors.get(key)
        if not isinstance(saved, Tensor) or saved.dtype != dtype or tuple(saved.shape) != shape:
            got = f"{saved.dtype} {list(saved.shape)}" if isinstance(saved, Tensor) else type(saved).__name__
            raise ArgumentError(f"{name}[{key!r}]: expected {dtype} {list(shape)}, got {got}")


def _check_index(plan: BufferPlan, index: Mapping[str, Any]) -> None:
    """Raises ValueError unless the episode bookkeeping has its arrays, and names rows of the buffer only."""
    layout = plan.layout
    for name, shape in (
        ("table", (None,)),
        ("counts", (2 + layout.num_envs,)),
        ("episodes", (None, 3)),
        ("current", (layout.num_envs, 3)),
    ):
        saved = index.get(name)
        if (
            not isinstance(saved, Tensor)
            or saved.dtype != torch.int64
            or saved.dim() != len(shape)
            or any(want not in (None, size) for size, want in zip(saved.shape, shape))
        ):
            raise ArgumentError(f"state['index'][{name!r}]: expected int64 {list(shape)}, got {saved}")
    table, demo_steps, used = index["table"], int(index["counts"][0]), index["counts"][1:].tolist()
    room = [layout.demo_rows] + [layout.segment_rows] * layout.num_envs
    if (
        not 0 <= demo_steps <= len(table) <= layout.table_size
        or any(not 0 <= count <= rows for count, rows in zip(used, room))
        or ((table < 0) | (table >= layout.rows)).any()
    ):
        raise ArgumentError("state['index']: expected counts and rows that fit the buffer, got others")


def load_state(plan: BufferPlan, storage: RowStorage, index: EpisodeIndex, state: Mapping[str, Any]) -> None:
    """Restores what `save_state` returned, after `check_state`."""
    index.load({name: tensor.numpy() for name, tensor in state["index"].items()})
    for name, saved in state["columns"].items():
        first = 0
        for region in _used_rows(plan, index.used):
            count = region.stop - region.start
            storage.tensors[name][region].copy_(saved[first : first + count])
            first += count
    storage.tensors["counter"].copy_(state["counter"])
