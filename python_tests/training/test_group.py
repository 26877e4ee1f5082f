"""Several runs side by side: each is what it would be alone; failures, order, folders and limits."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import own_method
import pytest
from training_helpers import differences, reproducible_content, reproducible_records, tiny_config

from ibrl_fast.agents import METHODS
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.group import limits
from ibrl_fast.training.group.group_folder import GROUP_NAME, holds, load_group, placed, save_group
from ibrl_fast.training.group.limits import expected_bytes, side_by_side
from ibrl_fast.training.group.outcome import interquartile_mean
from ibrl_fast.training.group.train_group import resume_group, seed_runs, train_group, train_seeds
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.result import read_summary
from ibrl_fast.training.trainer import Trainer


def short(run_dir: Path, demos: Path | None, **changes: object) -> TrainConfig:
    """20 agent steps."""
    return tiny_config(run_dir, demos, total_env_steps=40, **changes)


def test_seeds_are_what_they_are_alone(tmp_path: Path, demos_file: Path) -> None:
    config = tiny_config(tmp_path / "{method}_{seed}", demos_file)
    config = replace(config, evaluation=replace(config.evaluation, workers=1))
    group = train_seeds(config, [3, 1, 2], jobs=2, quiet=True)
    assert group.folder == tmp_path / "ibrl_3_1_2"
    assert [(run.name, run.status) for run in group.runs] == [
        ("seed3", "finished"),
        ("seed1", "finished"),
        ("seed2", "finished"),
    ]
    for seed in (3, 2):
        together = group.folder / f"seed{seed}"
        alone = replace(config, seed=seed, run_dir=tmp_path / f"alone{seed}")
        result = Trainer(alone, quiet=True).run()
        assert read_summary(together).success_rate == result.success_rate
        by_kind = [
            sorted(reproducible_records(run), key=lambda record: str(record["kind"]))
            for run in (alone.run_dir, together)
        ]
        assert differences(*by_kind) == []
        assert differences(reproducible_content(alone.run_dir), reproducible_content(together)) == []

    # a second time there is nothing left to do
    names = {path.name for path in group.folder.iterdir()}
    assert names == {GROUP_NAME, "summary.json", "learning_curve.png", "seed1", "seed2", "seed3"}
    before = [(group.folder / name / "metrics.jsonl").stat().st_mtime_ns for name in ("seed1", "seed3")]
    assert train_seeds(config, [3, 1, 2], quiet=True) == group
    after = [(group.folder / name / "metrics.jsonl").stat().st_mtime_ns for name in ("seed1", "seed3")]
    assert before == after
    with pytest.raises(ArgumentError, match="runs: expected a folder without others"):
        train_group({"seed3": config}, group.folder)


def test_a_failed_run_stops_no_other_and_is_tried_again(
    tmp_path: Path, demos_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "later.hdf5"
    configs = {"bad": short(tmp_path, missing), "good": short(tmp_path, demos_file)}
    group = train_group(configs, tmp_path / "group", jobs=1)
    assert [run.status for run in group.runs] == ["failed", "finished"]
    assert len(group.success_rates) == 1 and not group.interrupted
    assert "later.hdf5" in group.failed[0].message
    shown = capsys.readouterr().out
    assert "bad   failed: " in shown and "good  final policy (of 40 steps): success" in shown

    finished = (tmp_path / "group" / "good" / "summary.json").stat().st_mtime_ns
    missing.write_bytes(demos_file.read_bytes())
    again = resume_group(tmp_path / "group", quiet=True)
    assert [run.status for run in again.runs] == ["finished", "finished"]
    assert (tmp_path / "group" / "good" / "summary.json").stat().st_mtime_ns == finished
    # both had the same seed and demonstrations
    runs = [tmp_path / "group" / name for name in configs]
    assert differences(*[reproducible_records(run) for run in runs]) == []


def test_a_method_of_ones_own(tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "mine", "own_method:MimicConfig")
    mine = replace(short(tmp_path, demos_file), agent=own_method.MimicConfig())
    group = train_group({"mine": mine}, tmp_path / "group", quiet=True)
    assert [run.status for run in group.runs] == ["finished"], group.runs
    assert read_metrics(tmp_path / "group" / "mine")[-1]["kind"] == "summary"


def test_a_process_that_dies_is_a_failure_with_its_last_words(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibrl_fast.training.group.process.WORKER_MODULE", "no_such_worker")
    group = train_group({"a": short(tmp_path, demos_file)}, tmp_path / "dying", quiet=True)
    assert group.failed[0].message.endswith("No module named no_such_worker")
    assert "no_such_worker" in (tmp_path / "dying" / "a.log").read_text()


# ---- what runs at once


def test_cores_for_the_threads_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(limits, "expected_bytes", lambda config: 1)
    config = tiny_config(tmp_path, None, num_threads=3)
    assert side_by_side([config] * 9) == 2
    assert side_by_side([replace(config, num_threads=1)] * 9) == 8
    assert side_by_side([replace(config, num_threads=1)] * 4) == 4
    assert side_by_side([replace(config, num_threads=9)] * 4) == 1
    assert side_by_side([config] * 9, jobs=5) == 5
    assert side_by_side([replace(config, num_threads=1), config]) == 2
    assert side_by_side([replace(config, device="meta", num_threads=1)] * 4) == 1
    with pytest.raises(ArgumentError, match="jobs: expected at least 1, got 0"):
        side_by_side([config], jobs=0)


def test_memory_for_every_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path, None, num_threads=1)
    large = replace(config, replay=replace(config.replay, capacity=400_000))
    # 39 + 4 + 4 floats, and some bytes, a step
    added = (expected_bytes(large) - expected_bytes(config)) / (400_000 - config.replay.capacity)
    assert 4 * 47 < added < 4 * 47 + 120
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(limits, "available_host_bytes", lambda: int(2.5 * expected_bytes(config)))
    assert side_by_side([config] * 3) == 2
    with pytest.raises(ArgumentError, match="jobs: expected at most 2, for which there is memory, got 3"):
        side_by_side([config] * 3, jobs=3)
    monkeypatch.setattr(limits, "available_host_bytes", lambda: 0)
    assert side_by_side([config] * 3) == 1


# ---- the folder


def test_names_and_seeds(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "{task}_seed{seed}", None)
    folder, configs = seed_runs(config, [4, 0])
    assert folder == tmp_path / "assembly_seed4_0"
    assert {name: run.seed for name, run in configs.items()} == {"seed4": 4, "seed0": 0}
    for seeds, got in (([], "none"), ([1, 2, 1], "1 2 1")):
        with pytest.raises(ArgumentError, match=f"seeds: expected .*, got {got}"):
            seed_runs(config, seeds)
    with pytest.raises(ArgumentError, match="seed: expected at least 0, got -1"):
        seed_runs(config, [-1])
    for name in ("", "..", "a/b"):
        with pytest.raises(ArgumentError, match="runs: expected names of folders"):
            placed({name: config}, tmp_path)


def test_list_of_runs_comes_back(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, None)
    configs = placed({"a": config, "b": replace(config, seed=2, batch_size=9)}, tmp_path)
    save_group(configs, tmp_path)
    assert load_group(tmp_path) == configs
    assert holds(tmp_path, configs) and not holds(tmp_path, dict(reversed(configs.items())))
    assert not holds(tmp_path, {**configs, "b": config}) and not holds(tmp_path / "x", configs)

    # moved as a whole
    (tmp_path / GROUP_NAME).rename(tmp_path / "new.json")
    (tmp_path / "new").mkdir()
    (tmp_path / "new.json").rename(tmp_path / "new" / GROUP_NAME)
    assert load_group(tmp_path / "new")["b"].run_dir == tmp_path / "new" / "b"
    text = (tmp_path / "new" / GROUP_NAME).read_text()
    (tmp_path / "new" / GROUP_NAME).write_text(text.replace('"batch_size": 9', '"batch_size": 8'))
    with pytest.raises(ArgumentError, match=r"runs\.json: expected a list of runs, got expected content"):
        load_group(tmp_path / "new")
    with pytest.raises(ArgumentError, match=r"runs: expected a folder with runs\.json"):
        load_group(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10])
def test_interquartile_mean(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    # each value four times: then the middle half is whole numbers of them
    repeated = np.sort(np.repeat(values, 4))
    assert interquartile_mean(list(values)) == pytest.approx(repeated[count : 3 * count].mean())
