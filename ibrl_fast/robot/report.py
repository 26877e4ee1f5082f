"""A page about recorded episodes: did the loop keep its time, where did the arm go, who decided."""

from __future__ import annotations

import base64
import html
import io
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from ibrl_fast.data.demonstrations import read_demonstrations
from ibrl_fast.files import check_output_folder, write_bytes
from ibrl_fast.robot.limits import SafetyLimits
from ibrl_fast.robot.recording import EpisodeLog, read_log, recorded_files
from ibrl_fast.robot.regions import Box
from ibrl_fast.robot.robot import Array
from ibrl_fast.robot.timing import STAGES, StepTimes, summarise, table

BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#D55E00", "#009E73", "#666666", "#AA0000"
PAGE, PICTURE = "robot_report.html", "robot_report.png"


def write_report(
    recording: str | os.PathLike[str], out: str | os.PathLike[str], limits: SafetyLimits | None = None
) -> list[Path]:
    """Write the page `robot_report.html` and its picture `robot_report.png`.

    Args:
        recording: a recorder's folder, or one file of it.
        out: folder for the two files.
        limits: drawn around the trajectories; None: not drawn.

    Returns:
        Both paths.

    Raises:
        UserError: nothing was recorded there, or a file cannot be read or written.
    """
    files = recorded_files(recording)
    logs = [read_log(path) for path in files]
    ways = [read_demonstrations(path, keys=["eef_pos"])[0].observations["eef_pos"] for path in files]
    folder = check_output_folder(out, "out")
    picture = _picture(logs, ways, limits)
    page = _page([path.name for path in files], logs, picture)
    paths = [folder / PAGE, folder / PICTURE]
    for path, content in zip(paths, (page.encode(), picture)):
        write_bytes(path, content)
    return paths


def summary_text(logs: Sequence[EpisodeLog]) -> str:
    """Return counts of outcomes, deadlines, holds and interventions, and the table of times."""
    outcomes = Counter(log.facts["outcome"] for log in logs)
    ticks, missed = sum(len(log.tick_times) for log in logs), sum(log.facts["missed"] for log in logs)
    held: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    for log in logs:
        held.update(log.facts["held_ticks"])
        rules.update(rule for step in log.facts["interventions"] for rule, _ in step)
    lines = [
        f"episodes: {len(logs)} ({_counts(outcomes)})",
        f"missed deadlines: {missed} of {ticks}",
        f"held: {_counts(held)}",
        f"interventions of safety: {_counts(rules)}",
        "",
        table(summarise(_times(logs), _period(logs))),
    ]
    return "\n".join(lines)


def _picture(logs: Sequence[EpisodeLog], ways: Sequence[Array], limits: SafetyLimits | None) -> bytes:
    """Return the six panels as PNG."""
    figure = Figure(figsize=(15, 9))
    panels = figure.subplots(2, 3)
    _draw_jitter(panels[0, 0], logs)
    _draw_stages(panels[0, 1], logs)
    _draw_latency(panels[0, 2], logs)
    _draw_ways(panels[1, 0], ways, limits, (0, 1))
    _draw_ways(panels[1, 1], ways, limits, (0, 2))
    _draw_sources(panels[1, 2], logs)
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, dpi=100, format="png")
    return content.getvalue()


def _draw_jitter(axes: Any, logs: Sequence[EpisodeLog]) -> None:
    period = _period(logs)
    values: list[float] = []
    for log in logs:
        sent = [times for times in log.times if times.sent is not None]
        for before, after in itertools.pairwise(sent):
            apart = after.deadline - before.deadline
            if before.sent is not None and after.sent is not None and apart < 1.5 * period:
                values.append(1e3 * (after.sent - before.sent - apart))
    axes.set(xlabel="time between two commands, off by (ms)", ylabel="commands", title="Jitter")
    if values:
        axes.hist(values, bins=60, color=BLUE, log=True)
        p99 = float(np.percentile(np.abs(values), 99))
        for side in (-p99, p99):
            axes.axvline(side, color=ORANGE, linestyle="--")
        axes.text(0.98, 0.95, f"p99 {p99:.2f} ms", transform=axes.transAxes, ha="right", va="top")


def _draw_stages(axes: Any, logs: Sequence[EpisodeLog]) -> None:
    rows: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for times in _times(logs):
        for stage, seconds in times.stages().items():
            # a logarithmic axis has no zero
            rows[stage].append(max(1e3 * seconds, 1e-3))
    named = {stage: values for stage, values in rows.items() if values}
    axes.boxplot(list(named.values()), whis=(1, 99), sym=".", orientation="horizontal")
    axes.set_yticks(range(1, len(named) + 1), list(named))
    axes.set(xscale="log", xlabel="ms (box: quartiles, whiskers: 1st and 99th percentile)", title="Stages")
    axes.invert_yaxis()


def _draw_latency(axes: Any, logs: Sequence[EpisodeLog]) -> None:
    times = _times(logs)
    points = [(n, 1e3 * (t.sent - t.deadline)) for n, t in enumerate(times) if t.sent is not None]
    if points:
        axes.plot(*zip(*points), ".", color=BLUE, markersize=3, label="command sent")
    nothing = [n for n, t in enumerate(times) if t.sent is None]
    axes.plot(nothing, [0.0] * len(nothing), "x", color=RED, label="none sent (held, ended)")
    axes.axhline(1e3 * _period(logs), color=GREY, linestyle="--", label="next deadline")
    axes.set(
        xlabel="tick", ylabel="after its deadline (ms)", title="From deadline to command", yscale="symlog"
    )
    axes.legend(loc="center right", fontsize=8)


def _draw_ways(axes: Any, ways: Sequence[Array], limits: SafetyLimits | None, plane: tuple[int, int]) -> None:
    x, y = plane
    for way in ways:
        axes.plot(way[:, x], way[:, y], color=BLUE, alpha=0.6, linewidth=1)
        axes.plot(way[0, x], way[0, y], "o", color=GREEN, markersize=4)
    names = "xyz"
    axes.set(
        xlabel=f"{names[x]} (m)", ylabel=f"{names[y]} (m)", title="Ways" + (" and limits" if limits else "")
    )
    axes.set_aspect("equal", adjustable="datalim")
    if limits is None:
        return
    low, high = np.array(limits.position_low), np.array(limits.position_high)
    axes.add_patch(_rectangle(low, high, plane, GREY, filled=False))
    for region in limits.forbidden:
        if isinstance(region, Box):
            axes.add_patch(_rectangle(np.array(region.low), np.array(region.high), plane, RED))
        elif plane == (0, 1):
            axes.add_patch(Circle((region.center[0], region.center[1]), region.radius, color=RED, alpha=0.3))
        else:
            middle, radius = np.array([*region.center, 0.0]), np.array([region.radius, region.radius, 0.0])
            ends = np.array([0.0, 0.0, region.low]), np.array([0.0, 0.0, region.high])
            axes.add_patch(_rectangle(middle - radius + ends[0], middle + radius + ends[1], plane, RED))
    axes.autoscale_view()


def _draw_sources(axes: Any, logs: Sequence[EpisodeLog]) -> None:
    shares = [float((log.source == 1).mean()) for log in logs]
    colors = [GREEN if log.facts["outcome"] == "success" else GREY for log in logs]
    axes.bar(range(len(logs)), shares, color=colors)
    axes.set(
        xlabel="episode (green: success)", ylabel="share of IL actions", ylim=(0, 1), title="Who decided"
    )


def _rectangle(
    low: Array, high: Array, plane: tuple[int, int], color: str, *, filled: bool = True
) -> Rectangle:
    x, y = plane
    size = high - low
    style: dict[str, Any] = {"color": color, "alpha": 0.3} if filled else {"edgecolor": color, "fill": False}
    return Rectangle((float(low[x]), float(low[y])), float(size[x]), float(size[y]), **style)


def _page(names: Sequence[str], logs: Sequence[EpisodeLog], picture: bytes) -> str:
    """Return the whole page, which needs no other file."""
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in [
            (name, log.facts["outcome"], log.facts["detail"], len(log.source), log.facts["missed"])
            for name, log in zip(names, logs)
        ]
    )
    image = base64.b64encode(picture).decode()
    return (
        "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>Robot episodes</title>"
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:2px 12px;text-align:left}"
        "img{max-width:100%}</style><h1>Robot episodes</h1>"
        f"<pre>{html.escape(summary_text(logs))}</pre>"
        f"<img alt='Jitter, stages, latency, ways, sources' src='data:image/png;base64,{image}'>"
        "<table><tr><th>episode</th><th>outcome</th><th>detail</th><th>steps</th><th>missed</th></tr>"
        f"{rows}</table></html>\n"
    )


def _times(logs: Sequence[EpisodeLog]) -> list[StepTimes]:
    return [times for log in logs for times in log.times]


def _period(logs: Sequence[EpisodeLog]) -> float:
    return float(logs[0].facts["period"])


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.most_common()) or "none"
