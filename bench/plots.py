"""Pictures of results, made where `--plot` asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OURS, OTHER, THIRD = "#0072B2", "#999999", "#D55E00"


@contextmanager
def figure(
    path: Path, rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any
) -> Iterator[Any]:
    """Yield axes `[rows, columns]` of a new figure of `size` inches, and save it to `path` at the end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    yield axes
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def bars(
    axis: Any, values: Mapping[str, float], label: str, *, texts: Mapping[str, str] | None = None
) -> None:
    """Draw horizontal bars by name from top to bottom, ours in colour, each with its text (or its value)."""
    names = list(values)
    colors = [OURS if name.startswith(("ours", "captured", "native")) else OTHER for name in names]
    drawn = axis.barh(names, list(values.values()), color=colors)
    labels = [texts[name] if texts else f"{values[name]:.3g}" for name in names]
    axis.bar_label(drawn, labels, padding=3, fontsize=8)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlim(0, 1.3 * max(values.values()))
    axis.invert_yaxis()
    axis.set_xlabel(label)
