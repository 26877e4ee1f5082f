"""The facts of demonstrations as tables for a person."""

from __future__ import annotations

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ibrl_fast.data.demonstration_facts import DemoFacts


def episode_table(facts: DemoFacts, title: str) -> Table:
    """Return one row per demonstration, and the totals."""
    table = _new_table(title)
    columns = ("episode", "steps", "success", "return", "actions", "at bounds", "start off")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for episode in facts.episodes:
        table.add_row(
            str(episode.episode),
            str(episode.steps),
            {True: "yes", False: "no", None: "-"}[episode.success],
            _number(episode.episode_return),
            f"{min(episode.action_min):.2f} to {max(episode.action_max):.2f}",
            f"{100 * episode.saturated:.1f}%",
            _number(episode.start_distance),
        )
    table.add_section()
    count = len(facts.episodes)
    distances = [episode.start_distance for episode in facts.episodes if episode.start_distance is not None]
    table.add_row(
        f"all {count}",
        str(facts.steps),
        "-" if facts.successes is None else f"{facts.successes} ({100 * facts.successes / count:.0f}%)",
        _number(facts.mean_return, "mean "),
        f"{min(facts.action_min):.2f} to {max(facts.action_max):.2f}",
        f"{100 * facts.saturated:.1f}%",
        _number(float(np.mean(distances)) if distances else None, "mean "),
    )
    return table


def action_table(facts: DemoFacts) -> Table:
    """Return one row per action component, over all demonstrations."""
    table = _new_table("actions, in [-1, 1]")
    for column in ("component", "min", "max", "mean", "at bounds"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = zip(facts.action_min, facts.action_max, facts.action_mean, facts.action_saturated)
    for component, (low, high, mean, saturated) in enumerate(rows):
        values = (f"{value:.3f}" for value in (low, high, mean))
        table.add_row(str(component), *values, f"{100 * saturated:.1f}%")
    return table


def initial_lines(facts: DemoFacts) -> list[str]:
    """Return one line per vector: how far its first values differ between demonstrations."""
    lines = []
    for key, deviations in facts.initial_std.items():
        different = sum(deviation > 1e-6 for deviation in deviations)
        entry = int(np.argmax(deviations))
        lines.append(
            f"{key} starts differ in {different} of {len(deviations)} entries, most in entry {entry} "
            f"(standard deviation {deviations[entry]:.3g})"
        )
    return lines


def _new_table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _number(value: float | None, before: str = "") -> str:
    return "-" if value is None else f"{before}{value:.4g}"
