"""The schedule of a run, and what a run does when something is missing or fails."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import imageio
import pytest
from training_helpers import tiny_config

from ibrl_fast.agents import IBRLAgent
from ibrl_fast.data import ReplayBuffer
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.envs.rendering import RenderingUnavailableError
from ibrl_fast.training import build, finish, trainer
from ibrl_fast.training.collector import Collector
from ibrl_fast.training.evaluation import evaluator as evaluate
from ibrl_fast.training.evaluation import schedule as evaluations
from ibrl_fast.training.evaluation.evaluator import Evaluator
from ibrl_fast.training.evaluation.process import EvaluationError
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.profile import StepProfiler
from ibrl_fast.training.trainer import Trainer
from ibrl_fast.training.update_round import UpdateRound


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a tiny run's time."""
    monkeypatch.setattr(finish, "write_report", lambda *_: [])
    monkeypatch.setattr(finish, "plot_phase_seconds", lambda *_: None)


def test_schedule(tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"critic": 0, "actor": 0}

    def counted(name: str, method: Any) -> Any:
        def update(agent: IBRLAgent, batch: Any) -> Any:
            calls[name] += 1
            assert batch.reward.shape == (8,)
            return method(agent, batch)

        return update

    for name in calls:
        attribute = f"update_{name}"
        monkeypatch.setattr(IBRLAgent, attribute, counted(name, getattr(IBRLAgent, attribute)))
    config = tiny_config(
        tmp_path, demos_file, critic_updates=3, update_frequency=2, warmup_episodes=2, warmup_updates=4
    )
    result = Trainer(config, quiet=True).run()

    # 60 agent steps; two warm-up episodes of 13. The step that ends the warm-up is the first that counts
    assert result.env_steps == 120
    rounds = 4 + (60 - 2 * 13 + 1) // 2
    assert calls == {"critic": 3 * rounds, "actor": rounds}
    records = read_metrics(tmp_path)
    episodes = [record for record in records if record["kind"] == "episode"]
    assert [record["length"] for record in episodes] == [13] * 4
    assert [record["il_share"] for record in episodes[:2]] == [1.0, 1.0]
    assert [record["env_steps"] for record in records if record["kind"] == "eval"] == [60, 120]
    assert records[-1]["warmup_env_steps"] == 2 * 26


def test_machine_that_cannot_draw_trains_all_the_same(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unavailable() -> None:
        raise RenderingUnavailableError("rendering: expected EGL or OSMesa, got neither library")

    monkeypatch.setattr(evaluate, "check_rendering", unavailable)
    config = tiny_config(tmp_path, demos_file, total_env_steps=4)
    config = replace(config, evaluation=replace(config.evaluation, video_episodes=2))
    result = Trainer(config).run()
    assert result.policy_path is not None and result.policy_path.is_file()
    assert not (tmp_path / "rollouts.mp4").exists()
    assert "no video: rendering: expected EGL or OSMesa" in capsys.readouterr().out


def test_failure_closes_environments_and_workers(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluators: list[Evaluator] = []
    pools: list[BasePool] = []
    make_pool = build.make_pool

    def kept_evaluator(*arguments: Any) -> Evaluator:
        evaluators.append(Evaluator(*arguments))
        return evaluators[-1]

    def kept_pool(**arguments: Any) -> BasePool:
        pools.append(make_pool(**arguments))
        return pools[-1]

    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("replay buffer: expected room")

    monkeypatch.setattr(evaluations, "Evaluator", kept_evaluator)
    monkeypatch.setattr(build, "make_pool", kept_pool)
    monkeypatch.setattr(ReplayBuffer, "add_demonstrations", fail)
    config = tiny_config(tmp_path, demos_file)
    config = replace(config, evaluation=replace(config.evaluation, workers=1))
    with pytest.raises(MemoryError):
        Trainer(config, quiet=True).run()
    assert [pool.closed for pool in pools] == [True]
    assert [evaluator._workers for evaluator in evaluators] == [[]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"device": "cuda:99"}, "device: expected one that torch can use here, got cuda:99")],
)
def test_refuses_at_once(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trainer(tiny_config(tmp_path / "run", None, **changes))
    assert not (tmp_path / "run").exists()


def test_failed_start_leaves_no_empty_folder(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", tmp_path / "missing.hdf5")
    with pytest.raises((ValueError, OSError), match=r"missing\.hdf5"):
        Trainer(config, quiet=True).run()
    assert not (tmp_path / "run").exists()


def test_failed_evaluation_loses_nothing(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Evaluator.submit

    def fail_once(evaluator: Evaluator, policy: Any, key: int, **options: Any) -> None:
        if key == 60:
            raise EvaluationError("evaluation process 0: expected a result, got its end")
        submit(evaluator, policy, key, **options)

    monkeypatch.setattr(Evaluator, "submit", fail_once)
    config = tiny_config(tmp_path, demos_file)
    with pytest.raises(EvaluationError, match="expected a result"):
        Trainer(config, quiet=True).run()
    resumed = Trainer.from_checkpoint(tmp_path, quiet=True).run()
    assert resumed.env_steps == config.total_env_steps and resumed.success_rate is not None
    steps = [record["env_steps"] for record in read_metrics(tmp_path) if record["kind"] == "train"]
    assert steps == sorted(set(steps)) and steps[0] < 60 < steps[-1]


def test_environments_step_beside_the_updates(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them waits for the other: without overlap neither would go on."""
    config = tiny_config(tmp_path, demos_file, overlap_collection=True, update_frequency=1)
    updated, order = threading.Event(), []
    update_round, make_pool, begin = UpdateRound.__call__, build.make_pool, Collector.begin

    def update(self: UpdateRound, **options: Any) -> None:
        order.append("update")
        update_round(self, **options)
        updated.set()

    def slow_pool(**options: Any) -> BasePool:
        pool = make_pool(**options)
        step = pool.step

        def wait_and_step(actions: Any) -> Any:
            # in the warm-up, one episode, there are no updates
            if order.count("begin") > config.env.max_episode_steps:
                assert updated.wait(20)
                updated.clear()
            return step(actions)

        monkeypatch.setattr(pool, "step", wait_and_step)
        return pool

    def noted_begin(self: Collector, mode: Any) -> None:
        order.append("begin")
        begin(self, mode)

    monkeypatch.setattr(Collector, "begin", noted_begin)
    monkeypatch.setattr(UpdateRound, "__call__", update)
    monkeypatch.setattr(build, "make_pool", slow_pool)
    result = Trainer(config, quiet=True).run()
    assert result.env_steps == config.total_env_steps
    # one update inside every step after the warm-up
    agent_steps = config.total_env_steps // config.env.action_repeat
    first = order.index("update")
    assert order[:first] == ["begin"] * (config.env.max_episode_steps + 1)
    assert order[first:] == ["update", *["begin", "update"] * (agent_steps - first)]


def test_profile(tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = partial(StepProfiler, skipped=12, warmed=1, kept=10)
    monkeypatch.setattr(trainer, "StepProfiler", window)
    Trainer(tiny_config(tmp_path, demos_file), quiet=True, profile=True).run()

    # the trace holds the window: ten steps with their phases, and the operators inside
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = [event.get("name") for event in events if event.get("cat") in ("user_annotation", "cpu_op")]
    assert names.count("critic") == names.count("actor") == 5
    assert names.count("collect") == 20
    assert "aten::linear" in names or "ibrl_fast::linear" in names or "aten::mm" in names
    assert "critic" in (tmp_path / "profile.txt").read_text()
    height, width, _ = imageio.v3.imread(tmp_path / "profile.png").shape
    assert height > 300 and width > 800
