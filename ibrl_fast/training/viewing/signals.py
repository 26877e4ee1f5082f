"""Plots of demonstrations over time: every action component, and every vector that is observed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ibrl_fast.data.demonstration_set import DemonstrationSet
from ibrl_fast.training.records.pictures import save_figure
from ibrl_fast.training.records.report import COLORS

MAX_ACTIONS = 24
COLUMNS = 4


def plot_signals(demos: DemonstrationSet, numbers: Sequence[int], out: Path) -> Path:
    """Draw actions as lines, one colour per demonstration, and vectors as maps of their entries.

    A vector's entries are centred and divided by their standard deviation over these demonstrations; those
    that never change are blank.

    Args:
        demos: all of them.
        numbers: of those that are drawn.
        out: the PNG to write.
    """
    vectors = [key for key, spec in demos.observation_space.items() if not spec.is_image]
    shown = min(demos.action_dim, MAX_ACTIONS)
    lines = -(-shown // COLUMNS)
    sizes = {key: demos.observation_space[key].shape[0] for key in vectors}
    heights = [1.9] * lines + [min(4.5, 1.0 + 0.07 * sizes[key]) for key in vectors]
    figure = Figure(figsize=(12, sum(heights) + 0.4))
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)

    # Actions
    for component in range(shown):
        axis = figure.add_subplot(grid[component // COLUMNS, component % COLUMNS])
        for place, number in enumerate(numbers):
            color = COLORS[place % len(COLORS)]
            axis.plot(demos[number].actions[:, component], color=color, linewidth=0.9, label=f"{number}")
        axis.set_title(f"action {component}", fontsize=9)
        axis.set_ylim(-1.08, 1.08)
        axis.grid(alpha=0.3)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
    if len(numbers) <= len(COLORS):
        figure.axes[0].legend(title="episode", fontsize=6, title_fontsize=6, loc="best")

    # Vectors, the demonstrations one after the other
    for row, key in enumerate(vectors, start=lines):
        axis = figure.add_subplot(grid[row, :])
        parts = [demos[number].observations[key] for number in numbers]
        together = np.concatenate(parts)
        deviation = together.std(axis=0)
        changes = deviation > 1e-6
        values = np.where(
            changes, (together - together.mean(axis=0)) / np.where(changes, deviation, 1.0), 0.0
        )
        axis.imshow(values.T, aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3, interpolation="nearest")
        ends = np.cumsum([len(part) for part in parts])
        for end in ends[:-1]:
            axis.axvline(end - 0.5, color="black", linewidth=0.8)
        middles = ends - np.array([len(part) for part in parts]) / 2
        axis.set_xticks(middles, [f"{number}" for number in numbers])
        axis.set_xlabel("episode", fontsize=8)
        axis.set_title(f"{key}, standardised (blue: below its mean, red: above)", fontsize=9)
        axis.set_ylabel("entry", fontsize=8)
        axis.tick_params(labelsize=7)
    return save_figure(figure, out, dpi=110)
