"""Pictures of runs: written, not blank, and grouped as they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from matplotlib.figure import Figure
from training_helpers import tiny_config

from ibrl_fast.training.config_file import save_config
from ibrl_fast.training.records import report
from ibrl_fast.training.records.metrics import METRICS_NAME
from ibrl_fast.training.records.report import plot_phase_seconds, read_run, write_report


def write_run(folder: Path, rates: list[float], **changes: object) -> Path:
    """A run's folder with one evaluation every 100 steps."""
    task = changes.pop("task", "metaworld/assembly")
    method = str(changes.pop("method", "ibrl"))
    config = tiny_config(folder, None, **changes).with_method(method)
    config = replace(config, env=replace(config.env, task=task))
    folder.mkdir(parents=True)
    save_config(config, folder)
    records = [{"kind": "bc", "env_steps": 0, "success_rate": 0.2}]
    for number, rate in enumerate(rates):
        steps = 100 * (number + 1)
        records.append({"kind": "train", "env_steps": steps, "critic_loss": 1.0 / steps, "q_mean": rate})
        interval = {"success_low": max(0.0, rate - 0.1), "success_high": min(1.0, rate + 0.1)}
        records.append({"kind": "eval", "env_steps": steps, "success_rate": rate, **interval})
    (folder / METRICS_NAME).write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def assert_picture(path: Path) -> None:
    pixels = imageio.imread(path)[..., :3]
    assert pixels.shape[0] > 100 and pixels.shape[1] > 100
    inked = (pixels < 250).any(axis=2).mean()
    assert 0.005 < inked < 0.9, f"{path}: {inked:.4f} of the pixels are not white"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, in order."""
    saved: list[Figure] = []
    save = report.save_figure

    def keep(figure: Figure, out: Path, **options: Any) -> Path:
        saved.append(figure)
        return save(figure, out, **options)

    monkeypatch.setattr(report, "save_figure", keep)
    return saved


def test_one_run(tmp_path: Path, figures: list[Figure]) -> None:
    run = write_run(tmp_path / "run", [0.1, 0.5, 0.9])
    written = write_report([run], tmp_path / "out")
    assert written == [tmp_path / "out" / "learning_curve.png", run / "training_curves.png"]
    for path in written:
        assert_picture(path)
    (axis,) = figures[0].axes
    curve = axis.lines[0]
    assert curve.get_xdata().tolist() == [100, 200, 300]
    assert curve.get_ydata().tolist() == [0.1, 0.5, 0.9]
    assert axis.get_legend_handles_labels()[1] == ["ibrl (seed 0)", "BC (start)"]


def test_seeds_are_one_curve(tmp_path: Path, figures: list[Figure]) -> None:
    runs = [
        write_run(tmp_path / "a", [0.1, 0.5, 0.9, 1.0], seed=1),
        write_run(tmp_path / "b", [0.3, 0.7, 0.7], seed=2),
        write_run(tmp_path / "c", [0.0, 0.2, 0.4], seed=1, method="td3"),
        write_run(tmp_path / "d", [0.0, 0.4, 0.5], seed=1, label="wider"),
        write_run(tmp_path / "e", [0.6], seed=1, task="metaworld/box-close"),
    ]
    (learning_curve, *_) = write_report(runs, tmp_path)
    assert_picture(learning_curve)
    panels = {axis.get_title(): axis for axis in figures[0].axes if axis.get_title()}
    assert list(panels) == ["metaworld/assembly", "metaworld/box-close"]
    axis = panels["metaworld/assembly"]
    labels = axis.get_legend_handles_labels()[1]
    assert labels == ["ibrl (2 seeds)", "td3 (seed 1)", "wider (seed 1)", "BC (start)"]

    # Mean, and the band from the lowest to the highest, where both seeds have a point
    np.testing.assert_allclose(axis.lines[0].get_xdata(), [100, 200, 300])
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.2, 0.6, 0.8])
    band = axis.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.1) and band[:, 1].max() == pytest.approx(0.9)
    colors = {axis.lines[index].get_color() for index in range(3)}
    assert len(colors) == 3


def test_a_finished_seed_keeps_its_last_value(tmp_path: Path, figures: list[Figure]) -> None:
    early = write_run(tmp_path / "a", [0.2, 1.0], seed=1)
    with (early / METRICS_NAME).open("a") as file:
        file.write(json.dumps({"kind": "summary", "env_steps": 200, "success_rate": 0.9}) + "\n")
    write_report([early, write_run(tmp_path / "b", [0.0, 0.2, 0.4], seed=2)], tmp_path)
    curve = figures[0].axes[0].lines[0]
    np.testing.assert_allclose(curve.get_xdata(), [100, 200, 300])
    np.testing.assert_allclose(curve.get_ydata(), [0.1, 0.6, 0.7])


def test_run_without_evaluations(tmp_path: Path) -> None:
    for path in write_report([write_run(tmp_path / "run", [])], tmp_path):
        assert path.is_file()


def test_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [0.5])
    with (run / METRICS_NAME).open("a") as file:
        file.write('{"kind": "eval", "env_st')
    assert len(read_run(run).metrics) == 3


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"run: expected a run folder with config.json, got {tmp_path}"):
        read_run(tmp_path)
    save_config(tiny_config(tmp_path, None), tmp_path)
    with pytest.raises(ValueError, match=r"expected metrics in metrics\.jsonl, got none"):
        read_run(tmp_path)


@pytest.mark.parametrize("seconds", [{"collect": 3.0, "critic": 1.0, "bc": 0.0}, {"collect": 0.0}])
def test_phase_seconds(tmp_path: Path, seconds: dict[str, float]) -> None:
    out = plot_phase_seconds(seconds, tmp_path / "phases.png")
    if any(seconds.values()):
        assert_picture(out)
    assert out.is_file()
