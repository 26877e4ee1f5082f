"""Image batches as DrQ makes them: torch indexing, then a random shift by `grid_sample`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ibrl_fast.ops.replay_gather import stacked_rows_reference


def drq_augment(images: Tensor, pad: int = 4) -> Tensor:
    """Shift images `[batch, channels, size, size]` at random as published.

    Source: DrQ (Kostrikov et al. 2020), replicate padding and bilinear sampling of a shifted grid.
    """
    batch, _, size, _ = images.shape
    full = size + 2 * pad
    line = torch.linspace(-1 + 1 / full, 1 - 1 / full, full, device=images.device)[:size]
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    shift = torch.randint(0, 2 * pad + 1, (batch, 1, 1, 2), device=images.device) * 2.0 / full
    padded = F.pad(images, (pad,) * 4, mode="replicate")
    return F.grid_sample(padded, grid + shift, padding_mode="zeros", align_corners=False)


def image_batch(
    frames: Tensor, rows: Tensor, next_rows: Tensor, step: Tensor, stack: int
) -> tuple[Tensor, Tensor]:
    """Stack, shift and scale the images at `rows` and `next_rows` `[batch]`.

    Args:
        frames: `[N, channels, size, size]` uint8.
        rows: `[batch]`, of the first side.
        next_rows: `[batch]`, of the second.
        step: `[N]`, how far each row is into its episode.
        stack: frames joined, newest first.

    Returns:
        Both sides `[batch, stack * channels, size, size]`, in [-0.5, 0.5].
    """
    sides = []
    for side in (rows, next_rows):
        images = frames[stacked_rows_reference(side, step, stack)].flatten(1, 2).float()
        sides.append(drq_augment(images) / 255.0 - 0.5)
    return sides[0], sides[1]
