"""Evaluation: the same result in this process and in any number of background processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import imageio
import pytest
import torch

from ibrl_fast.envs import wilson_interval
from ibrl_fast.training.evaluation.evaluator import EvaluationResult, EvaluationSpec, Evaluator
from ibrl_fast.training.evaluation.process import EvaluationError

SPEC = EvaluationSpec(
    pool={"task": "metaworld/reach", "max_episode_steps": 15}, stacks={"state": 1}, seeds=tuple(range(70, 76))
)


class ReachPolicy(torch.nn.Module):
    """Moves the hand towards the goal; says IL while far away."""

    def forward(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.act(obs)[0]

    @torch.jit.export
    def act(self, obs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Action [N, 4] and source [N]."""
        away = obs["state"][:, -3:] - obs["state"][:, :3]
        action = torch.nn.functional.pad((10 * away).clamp(-1.0, 1.0), [0, 1])
        return action, (torch.linalg.vector_norm(away, dim=1) > 0.15).long()


class FailingPolicy(torch.nn.Module):
    """Raises when it is asked to act."""

    def forward(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.act(obs)[0]

    @torch.jit.export
    def act(self, obs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Never returns."""
        if obs["state"].shape[0] > 0:
            raise ValueError("the policy cannot")
        return obs["state"], obs["state"]


@pytest.fixture
def evaluator(request: pytest.FixtureRequest) -> Iterator[Evaluator]:
    made = Evaluator(SPEC, request.param)
    yield made
    made.close()


def evaluate(workers: int) -> list[tuple[int, EvaluationResult]]:
    evaluator = Evaluator(SPEC, workers)
    try:
        evaluator.submit(torch.jit.script(ReachPolicy()), 7)
        evaluator.submit(torch.jit.script(ReachPolicy()), 8, episodes=[4, 1])
        return evaluator.finished(wait=True)
    finally:
        evaluator.close()


def test_workers_change_nothing() -> None:
    here = evaluate(0)
    assert [key for key, _ in here] == [7, 8]
    whole, chosen = here[0][1], here[1][1]
    assert 0 < whole.success_rate < 1  # episodes that differ, so that a wrong order shows
    assert 0 < whole.il_share < 1
    assert chosen.lengths == (whole.lengths[1], whole.lengths[4])
    assert chosen.successes == (whole.successes[1], whole.successes[4])
    for workers in (1, 2):
        assert evaluate(workers) == here


def test_result() -> None:
    result = EvaluationResult((True, False, True, True), (10, 20, 30, 40), 0.25)
    low, high = wilson_interval(3, 4)
    assert result.metrics() == {
        "success_rate": 0.75,
        "success_low": low,
        "success_high": high,
        "episodes": 4,
        "mean_episode_steps": 25.0,
        "il_share_eval": 0.25,
    }
    assert low < 0.75 < high


@pytest.mark.parametrize("evaluator", [1], indirect=True)
def test_policy_that_ends_processes_fails_alone(evaluator: Evaluator) -> None:
    reach = torch.jit.script(ReachPolicy())
    evaluator.submit(torch.jit.script(FailingPolicy()), 0)
    evaluator.submit(reach, 1)
    with pytest.raises(EvaluationError, match="process 0: expected a result, got its end") as error:
        evaluator.finished(wait=True)
    assert "the policy cannot" in str(error.value)

    # those before and after it are evaluated as ever
    evaluator.submit(reach, 2)
    expected = evaluate(0)[0][1]
    assert evaluator.finished(wait=True) == [(1, expected), (2, expected)]


@pytest.mark.parametrize("evaluator", [2], indirect=True)
def test_killed_process_costs_only_time(evaluator: Evaluator) -> None:
    evaluator.submit(torch.jit.script(ReachPolicy()), 0)
    os.kill(evaluator._workers[0]._process.pid, signal.SIGKILL)
    assert [result for _, result in evaluator.finished(wait=True)] == [evaluate(0)[0][1]]


def test_worker_that_cannot_start_says_why() -> None:
    evaluator = Evaluator(EvaluationSpec({"task": "metaworld/flying"}, {}, (1,)), 1)
    try:
        with pytest.raises(EvaluationError, match="flying"):
            evaluator.submit(torch.jit.script(ReachPolicy()), 0)
            evaluator.finished(wait=True)
    finally:
        evaluator.close()


def test_close_ends_the_processes() -> None:
    evaluator = Evaluator(SPEC, 2)
    processes = [worker._process for worker in evaluator._workers]
    assert [process.poll() for process in processes] == [None, None]
    evaluator.close()
    assert None not in [process.poll() for process in processes]
    evaluator.close()


@pytest.mark.slow
def test_video(tmp_path: Path) -> None:
    spec = EvaluationSpec(
        {**SPEC.pool, "max_episode_steps": 4}, SPEC.stacks, SPEC.seeds, num_video_episodes=2
    )
    evaluator = Evaluator(spec)
    evaluator.submit(
        torch.jit.script(ReachPolicy()), 0, episodes=[2, 3, 4], video=tmp_path / "new" / "film.mp4"
    )
    evaluator.close()
    frames = imageio.mimread(tmp_path / "new" / "film.mp4", memtest=False)
    assert len(frames) > 2 * 10  # two episodes, each ending on half a second of its last frame
    assert frames[0].shape == (240, 240, 3)
    assert frames[0].std() > 10


def test_processes_take_this_package_whatever_the_working_directory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ibrl_fast").mkdir()
    (tmp_path / "ibrl_fast" / "__init__.py").write_text("raise ImportError('another one')")
    monkeypatch.chdir(tmp_path)
    assert evaluate(1) == evaluate(0)
