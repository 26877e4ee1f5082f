"""Image batches for s and s' straight from stored frames: stack, random shift, conversion in one pass.

Source of the augmentation: Kostrikov et al., "Image augmentation is all you need" (DrQ), 2020: pad by
replication, crop at a random integer offset.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops import _philox as philox
from ibrl_fast.ops._registry import DTYPE_CODES, address_of, register
from ibrl_fast.ops.checks import (
    MAX_COUNT,
    MIN_INT64,
    as_counter,
    check_apart,
    check_integer,
    check_list,
    check_number,
    check_out,
    check_rows,
    check_stored,
    check_tensor,
)
from ibrl_fast.ops.replay_gather import bad_step, check_episode_step, stacked_rows_reference

_MAX_FLOAT = torch.finfo(torch.float32).max
MAX_WIDTH = 16384  # kBandPixels in csrc/kernels/random_shift_gather_cpu.cpp


def random_shifts_reference(batch: int, pad: int, *, seed: int, counter: int) -> Tensor:
    """Return int64 `[batch, 2, 2]`: the shifts (dy, dx) in -pad .. pad of each entry's s and s'."""
    words = philox.random4(seed, counter, philox.RANDOM_SHIFT, batch * 2)
    shifts = torch.stack([words[0] * (2 * pad + 1) >> 32, words[1] * (2 * pad + 1) >> 32], dim=-1) - pad
    return shifts.view(batch, 2, 2)


def random_shift_gather_reference(
    frames: Tensor,
    rows: Tensor,
    next_rows: Tensor | None,
    episode_step: Tensor | None,
    *,
    stack: int = 1,
    pad: int = 4,
    out_dtype: torch.dtype = torch.float32,
    scale: float = 1.0 / 255.0,
    offset: float = -0.5,
    seed: int,
    counter: int,
) -> tuple[Tensor, Tensor | None]:
    """Reference implementation: index the stack, index pixels at clamped positions, scale."""
    height, width = frames.shape[2:]
    shifts = random_shifts_reference(rows.shape[0], pad, seed=seed, counter=counter).to(frames.device)

    def one_side(rows: Tensor, shift: Tensor) -> Tensor:
        images = frames[stacked_rows_reference(rows, episode_step, stack)].flatten(1, 2)
        y = (torch.arange(height, device=frames.device) + shift[:, :1]).clamp(0, height - 1)
        x = (torch.arange(width, device=frames.device) + shift[:, 1:]).clamp(0, width - 1)
        entry = torch.arange(rows.shape[0], device=frames.device)
        moved = images[entry[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
        return (moved.float() * scale + offset).to(out_dtype)

    obs = one_side(rows, shifts[:, 0])
    return obs, None if next_rows is None else one_side(next_rows, shifts[:, 1])


def random_shift_gather(
    frames: Tensor,
    rows: Tensor,
    next_rows: Tensor | None = None,
    episode_step: Tensor | None = None,
    *,
    stack: int = 1,
    pad: int = 4,
    out_dtype: torch.dtype = torch.float32,
    scale: float = 1.0 / 255.0,
    offset: float = -0.5,
    seed: int = 0,
    counter: Tensor | int = 0,
    out: tuple[Tensor, Tensor | None] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Read stored frames as augmented image batches of s and s'.

    Each entry's s and s' get independent integer shifts of -pad .. pad pixels in y and x (edges replicated),
    shared by all frames of the stack; then `pixel * scale + offset`.

    Args:
        frames: uint8 `[num_rows, channels, height, width]`, each frame contiguous, at most 16384 wide. With
            rows on CUDA it may also lie in pinned host memory, which the kernel reads directly.
        rows: int64 `[batch]`, rows of s.
        next_rows: int64 `[batch]`, rows of s', or None for s alone.
        episode_step: int32 `[num_rows]`, contiguous, steps since the episode's first row, which lies in the
            storage; needed for a stack above 1.
        stack: frames per observation, newest first, an episode's first frame repeated.
        pad: largest shift in pixels; 0 turns the augmentation off.
        out_dtype: float32 or bfloat16.
        scale: factor on the pixel value.
        offset: added after scaling.
        seed: key of the random stream.
        counter: position in the random stream, an int or int64 `[1]` on the device of rows; not modified.
        out: (obs, next_obs) to write into, contiguous and apart from everything else; next_obs None without
            next_rows.

    Returns:
        (obs `[batch, stack * channels, height, width]`, next_obs of the same shape or None).

    Raises:
        ValueError: a wrong shape, dtype, device or value.
        TypeError: something that is no tensor or number.
        IndexError: on the CPU, where rows are out of range, or go back past the first one by their
            episode_step (on CUDA a device assertion, before anything is read).
    """
    check_rows("rows", rows)
    device, batch = rows.device, rows.shape[0]
    check_stored("frames", frames, (torch.uint8,), device, ("num_rows", "channels", "height", "width"))
    num_rows, channels, height, width = frames.shape
    if next_rows is not None:
        check_tensor("next_rows", next_rows, (batch,), (torch.int64,), device)
    stack, pad = check_integer("stack", stack, 1), check_integer("pad", pad, 0, 2**15 - 1)
    seed, counter = check_integer("seed", seed, MIN_INT64), as_counter(counter, device)
    if stack > 1:
        check_episode_step(episode_step, num_rows, device, f"stack = {stack}")
    elif episode_step is not None:
        check_episode_step(episode_step, num_rows, device, "stacks")
    if out_dtype not in (torch.float32, torch.bfloat16):
        raise ArgumentError(f"out_dtype: expected float32 or bfloat16, got {out_dtype}")
    scale, offset = check_number("scale", scale), check_number("offset", offset)
    if not (abs(scale) <= _MAX_FLOAT and abs(offset) <= _MAX_FLOAT):
        raise ArgumentError(f"scale, offset: expected finite numbers, got {scale}, {offset}")
    if width > MAX_WIDTH:
        raise ArgumentError(f"frames: expected a width of at most {MAX_WIDTH}, got {width}")
    if max(2 * batch * stack * channels, height * width) > MAX_COUNT:
        raise ArgumentError(
            "frames: expected fewer than 2**31 pixels and, in s and s' of a batch, fewer than 2**31 "
            f"channels, got {height} x {width} and {2 * batch * stack * channels}"
        )

    shape = (batch, stack * channels, height, width)
    if next_rows is not None:
        next_rows = next_rows.contiguous()
    if out is None:
        obs = torch.empty(shape, dtype=out_dtype, device=device)
        out = (obs, None if next_rows is None else torch.empty_like(obs))
    else:
        check_list("out", out, 2)
        check_out("out obs", out[0], shape, out_dtype, device)
        if (out[1] is None) != (next_rows is None):
            expected, got = ("None without", "a tensor") if next_rows is None else ("a tensor beside", None)
            raise ArgumentError(f"out next_obs: expected {expected} next_rows, got {got}")
        if out[1] is not None:
            check_out("out next_obs", out[1], shape, out_dtype, device)
        check_apart("out", out, (frames, rows, next_rows, episode_step, counter))
    _random_shift_gather(
        frames,
        rows.contiguous(),
        next_rows,
        episode_step,
        counter,
        seed,
        stack,
        pad,
        scale,
        offset,
        *out,
    )
    return out


def _explain(
    bad: int,
    frames: Tensor,
    rows: Tensor,
    next_rows: Tensor | None,
    episode_step: Tensor | None,
    counter: Tensor,
    seed: int,
    stack: int,
    *_: Any,
) -> Exception | None:
    step = episode_step if stack > 1 else None
    sides = [side for side in (rows, next_rows) if side is not None]
    errors = [bad_step("random_shift_gather", int(side[bad]), step, frames.shape[0]) for side in sides]
    return next((error for error in errors if error is not None), None)


def _fields(
    frames: Tensor,
    rows: Tensor,
    next_rows: Tensor | None,
    episode_step: Tensor | None,
    counter: Tensor,
    seed: int,
    stack: int,
    pad: int,
    scale: float,
    offset: float,
    obs: Tensor,
    next_obs: Tensor | None,
) -> _core.RandomShiftGatherFields:
    return {
        "frames": frames.data_ptr(),
        "rows": rows.data_ptr(),
        "next_rows": address_of(next_rows),
        "episode_step": address_of(episode_step),
        "counter": counter.data_ptr(),
        "obs": obs.data_ptr(),
        "next_obs": address_of(next_obs),
        "seed": seed,
        "num_rows": frames.shape[0],
        "frame_stride": frames.stride(0),
        "channels": frames.shape[1],
        "height": frames.shape[2],
        "width": frames.shape[3],
        "batch": rows.shape[0],
        "stack": stack,
        "pad": pad,
        "scale": scale,
        "offset": offset,
        "out_dtype": DTYPE_CODES[obs.dtype],
    }


_random_shift_gather = register(
    "random_shift_gather",
    "Tensor frames, Tensor rows, Tensor? next_rows, Tensor? episode_step, Tensor counter, int seed, "
    "int stack, int pad, float scale, float offset, Tensor(a!) obs, Tensor(b!)? next_obs",
    _fields,
    device_of=1,
    explain=_explain,
)
