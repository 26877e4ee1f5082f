"""Whether a saved buffer state is one that `save_state` could have written: checked whole, nothing changed.

A state may be damaged or forged. Rows that a state names are read by kernels, so each of them must lie in the
buffer, and what the columns say about episodes must be what the bookkeeping says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ibrl_fast.data.checks import check_integer
from ibrl_fast.data.episode_index import IntArray, RowLayout
from ibrl_fast.data.row_storage import ColumnShapes
from ibrl_fast.errors import ArgumentError, expect

# Columns in [-1, 1].
_ACTIONS = ("action", "il_action")


def check_tensors(name: str, tensors: Any, shapes: ColumnShapes) -> None:
    """Raise ValueError unless exactly these tensors are there, with values that a buffer holds."""
    check_keys(name, tensors, set(shapes))
    for key, (shape, dtype) in shapes.items():
        saved, field = tensors[key], f"{name}[{key!r}]"
        check_tensor(field, saved, shape, dtype)
        if saved.is_floating_point() and saved.numel():
            largest = float(saved.detach().abs().amax())
            expect(np.isfinite(largest), field, "finite values", "NaN or infinity")
            if key in _ACTIONS:
                expect(largest <= 1.0, field, "values in [-1, 1]", f"an absolute value of {largest}")
        if dtype == torch.bool and saved.numel():
            expect(int(saved.view(torch.uint8).max()) <= 1, field, "false or true", "another byte")


def check_tensor(name: str, saved: Any, shape: Sequence[int | None], dtype: torch.dtype) -> None:
    """Raise ValueError unless it is a dense tensor of this dtype and shape (None matches any size)."""
    wanted = ["any" if size is None else size for size in shape]
    if not isinstance(saved, Tensor):
        raise ArgumentError(f"{name}: expected {dtype} {wanted}, got {type(saved).__name__}")
    fits = saved.dim() == len(shape) and all(want in (None, got) for got, want in zip(saved.shape, shape))
    if saved.dtype != dtype or not fits:
        raise ArgumentError(f"{name}: expected {dtype} {wanted}, got {saved.dtype} {list(saved.shape)}")
    if saved.layout is not torch.strided or saved.is_meta:
        raise ArgumentError(f"{name}: expected a dense tensor, got one of {saved.layout} on {saved.device}")


def check_keys(name: str, mapping: Any, expected: set[str]) -> None:
    """Raise ValueError unless it is a dict with exactly these keys."""
    expect(isinstance(mapping, Mapping), name, "a dict", type(mapping).__name__)
    if set(mapping) != expected:
        missing, unknown = sorted(expected - set(mapping)), sorted(map(str, set(mapping) - expected))
        raise ArgumentError(f"{name}: expected {sorted(expected)}, got missing {missing}, unknown {unknown}")


def check_index(layout: RowLayout, index: Any) -> dict[str, IntArray]:
    """Raise ValueError unless the bookkeeping is that of a buffer; returns its arrays."""
    envs = layout.num_envs
    shapes = {"table": (None,), "counts": (2 + envs,), "episodes": (None, 3), "current": (envs, 3)}
    check_keys("state['index']", index, set(shapes))
    arrays: dict[str, IntArray] = {}
    for name, shape in shapes.items():
        field = f"state['index'][{name!r}]"
        check_tensor(field, index[name], shape, torch.int64)
        expect(len(index[name]) <= 2 + layout.rows, field, f"at most {layout.rows} entries", len(index[name]))
        arrays[name] = index[name].detach().cpu().numpy()

    # how many rows of each region were ever written
    demo_steps, *used = (int(count) for count in arrays["counts"])
    room = [layout.demo_rows] + [layout.segment_rows] * envs
    fits = 0 <= demo_steps <= layout.demo_capacity and all(0 <= n <= most for n, most in zip(used, room))
    expect(fits, "state['index']['counts']", f"at most {layout.demo_capacity}, {room}", [demo_steps, *used])

    # episodes, region by region
    regions = [arrays["episodes"][arrays["episodes"][:, 0] == region, 1:] for region in range(envs + 1)]
    known = sum(len(region) for region in regions) == len(arrays["episodes"])
    expect(known, "state['index']['episodes']", f"regions 0 to {envs}", "others")
    _check_demos(layout, regions[0], demo_steps, used[0])
    for env in range(envs):
        _check_env(layout, env, regions[env + 1], arrays["current"][env], used[env + 1])

    # the table holds every step once, demonstrations first
    demos = _rows_of(regions[0])
    running = arrays["current"][arrays["current"][:, 2] == 1, :2]
    online = _rows_of(np.concatenate([*regions[1:], running]))
    table = arrays["table"]
    whole = np.array_equal(np.sort(table[:demo_steps]), np.sort(demos)) and np.array_equal(
        np.sort(table[demo_steps:]), np.sort(online)
    )
    expect(whole, "state['index']['table']", "the row of every step once, demonstrations first", "others")
    return arrays


def check_episode_columns(
    layout: RowLayout, arrays: Mapping[str, IntArray], columns: Mapping[str, Tensor]
) -> None:
    """Raise ValueError unless the columns tell of the same episodes as the bookkeeping of `check_index`."""
    # which row each saved entry is of, and how far into its region
    used = arrays["counts"][1:]
    begins = [0] + [layout.demo_rows + env * layout.segment_rows for env in range(layout.num_envs)]
    ahead = np.concatenate([np.arange(count) for count in used])
    place = np.full(layout.rows, -1, dtype=np.int64)
    place[np.concatenate([begin + np.arange(count) for begin, count in zip(begins, used)])] = np.arange(
        len(ahead)
    )

    def values(name: str) -> IntArray:
        return columns[name].detach().cpu().numpy().astype(np.int64)

    # rows of evicted episodes may hold anything that leads nowhere outside
    step, is_tail = values("episode_step"), values("is_tail")
    inside = bool(((step >= 0) & (step <= ahead)).all())
    expect(inside, "state['columns']['episode_step']", "steps back into the region", "others")
    expect(bool((is_tail <= 1).all()), "state['columns']['is_tail']", "0 or 1", f"{is_tail.max(initial=0)}")

    # episodes, those under way included
    running = arrays["current"][arrays["current"][:, 2] == 1, :2]
    episodes = np.concatenate([arrays["episodes"][:, 1:], running])
    rows, lengths = _rows_of(episodes, tails=1), episodes[:, 1] + 1
    into = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    last = into == np.repeat(lengths, lengths) - 1
    at = place[rows]
    for name, got, want in (("episode_step", step, into), ("is_tail", is_tail, last)):
        expect(
            np.array_equal(got[at], want), f"state['columns'][{name!r}]", "that of the episodes", "another"
        )
    may_end = np.repeat(np.arange(len(episodes)) < len(arrays["episodes"]), lengths)
    may_end &= into == np.repeat(lengths, lengths) - 2
    for name in ("terminated", "truncated"):
        ends = values(name)[at][~(may_end | last)]
        expect(not ends.any(), f"state['columns'][{name!r}]", "an end at last steps alone", "one elsewhere")


def _rows_of(episodes: npt.NDArray[np.int64], tails: int = 0) -> IntArray:
    """List the rows of all steps of episodes `[n, (start, steps)]`, and of their tails where wanted."""
    return np.concatenate(
        [np.zeros(0, dtype=np.int64), *(np.arange(start, start + steps + tails) for start, steps in episodes)]
    )


def _check_demos(layout: RowLayout, episodes: IntArray, demo_steps: int, used: int) -> None:
    """Raise ValueError unless the demonstrations lie one behind the other from the first row on."""
    steps = episodes[:, 1]
    fits = bool((steps >= 1).all() and (steps <= demo_steps).all()) and int(steps.sum()) == demo_steps
    starts = np.cumsum(steps + 1) - steps - 1
    fits = fits and np.array_equal(episodes[:, 0], starts) and used == demo_steps + len(steps)
    expect(
        fits and len(steps) <= layout.num_demos,
        "state['index']['episodes']",
        f"demonstrations of {demo_steps} steps in {used} rows",
        "others",
    )


def _check_env(layout: RowLayout, env: int, episodes: IntArray, current: IntArray, used: int) -> None:
    """Raise ValueError unless an environment's episodes go once round its ring, and the newest one fits."""
    begin, longest = layout.demo_rows + env * layout.segment_rows, layout.max_episode_steps
    start, steps, running = (int(number) for number in current)
    field = f"state['index']['current'][{env}]"
    last_start = begin + layout.segment_rows - longest - 1
    untouched = used == 0 and (start, steps, running) == (begin, 0, 0)
    fits = begin <= start <= last_start and 0 <= steps <= longest and running in (0, 1)
    fits = fits and (untouched or start + steps + 1 <= begin + used)
    # an episode that is over is the newest one, unless it never had a step
    if fits and not running and steps:
        fits = len(episodes) > 0 and episodes[-1].tolist() == [start, steps]
    expect(fits, field, f"an episode in rows {begin} to {begin + used - 1}", current.tolist())

    # oldest first, round the ring at most once; each begins behind the one before
    field = "state['index']['episodes']"
    inside = (episodes[:, 0] >= begin) & (episodes[:, 0] <= last_start) & (episodes[:, 1] >= 1)
    inside &= episodes[:, 1] <= longest
    expect(bool(inside.all()), field, f"1 to {longest} steps in the ring of environment {env}", "others")
    newest = [] if untouched or (not running and steps) else [(start, steps)]
    ring = np.asarray([*map(tuple, episodes.tolist()), *newest], dtype=np.int64).reshape(-1, 2)
    after = np.roll(ring[:, 0], -1)
    behind = ring.sum(1) < after
    # where the ring wraps, and from the newest round to the oldest, nothing need lie between
    wraps = ~behind
    ends = ring.sum(1) < begin + used
    held = int(episodes[:, 1].sum()) + (steps if running else 0)
    whole = (len(ring) < 2 or int(wraps.sum()) == 1) and bool(ends.all()) and _are_apart(ring)
    expect(
        whole and held <= layout.steps_per_env,
        field,
        f"episodes behind each other, of at most {layout.steps_per_env} steps in environment {env}",
        "others",
    )


def _are_apart(episodes: IntArray) -> bool:
    """Say whether no two episodes share a row, tails included."""
    ordered = episodes[np.argsort(episodes[:, 0])]
    return bool((ordered[:-1].sum(1) < ordered[1:, 0]).all())


def check_seed(seed: Any) -> None:
    """Raise ValueError unless it can be a buffer's seed."""
    _check_number("state['seed']", seed, 0)


def _check_number(name: str, value: Any, minimum: int) -> None:
    """Raise ValueError unless it is an integer of at least `minimum`."""
    try:
        check_integer(name, value, minimum)
    except TypeError as error:
        raise ArgumentError(str(error)) from error
