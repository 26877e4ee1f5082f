"""Figures of one's own: neither matplotlib's backend nor its list of open figures is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ibrl_fast.files import replacing


def new_figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float]) -> tuple[Figure, Any]:
    """Return a figure and its axes, an array [rows, columns].

    Args:
        rows, columns: of the grid of panels.
        size: width and height, inches.
    """
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Figure, out: Path, *, dpi: int) -> Path:
    """Write the figure as PNG; folders above it are made."""
    figure.tight_layout()
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")
    return out
