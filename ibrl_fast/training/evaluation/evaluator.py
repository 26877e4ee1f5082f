"""Evaluation beside training: the exported policy, on fixed seeds, here or in background processes.

What is evaluated is the policy file that a robot would load (TorchScript), not the trainer's objects. Episode
i has its own seed, so that the set of episodes depends on neither the number of workers nor their speed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ibrl_fast.deploy.export import torchscript_bytes
from ibrl_fast.envs import make_pool
from ibrl_fast.envs.rendering import RenderingUnavailableError, check_rendering
from ibrl_fast.envs.rollout import evaluate_policy, wilson_interval
from ibrl_fast.errors import first_line
from ibrl_fast.training.evaluation.process import EvaluationError, EvaluationProcess
from ibrl_fast.training.records.video import write_frames

VIDEO_SIZE = 240

ActFunction = Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class EvaluationSpec:
    """Where and how a policy is evaluated.

    Attributes:
        pool: keyword arguments of `make_pool` (JSON values), `task` included, without `num_envs` and `seed`.
        stacks: frames per observation key, newest first.
        seeds: one per episode.
        num_video_episodes: how many of the first episodes are filmed when a video is asked for.
    """

    pool: Mapping[str, Any]
    stacks: Mapping[str, int]
    seeds: tuple[int, ...]
    num_video_episodes: int = 3


@dataclass(frozen=True)
class EpisodePart:
    """What one worker did of an evaluation.

    Attributes:
        episodes: positions of the seeds.
        successes, lengths: of those episodes.
        il_steps: agent steps, over all of them, in which the imitation action was taken.
        no_video: why a video that was asked for was not written; empty otherwise.
    """

    episodes: list[int]
    successes: list[bool]
    lengths: list[int]
    il_steps: int
    no_video: str = ""


@dataclass(frozen=True)
class EvaluationResult:
    """Outcome of one evaluation.

    Attributes:
        successes: one bool per episode, in the order of the seeds.
        lengths: agent steps of each episode.
        il_share: share of steps in which the imitation action was taken.
        no_video: why a video that was asked for was not written; empty otherwise.
        success_rate, success_low, success_high: share of successes and its 95% Wilson interval.
    """

    successes: tuple[bool, ...]
    lengths: tuple[int, ...]
    il_share: float
    no_video: str = ""
    success_rate: float = field(init=False)
    success_low: float = field(init=False)
    success_high: float = field(init=False)

    def __post_init__(self) -> None:
        low, high = wilson_interval(sum(self.successes), len(self.successes))
        object.__setattr__(self, "success_rate", sum(self.successes) / len(self.successes))
        object.__setattr__(self, "success_low", low)
        object.__setattr__(self, "success_high", high)

    def part(self, episodes: slice) -> EvaluationResult:
        """Return the result of some episodes, of a policy whose `il_share` is the same in all of them."""
        return EvaluationResult(self.successes[episodes], self.lengths[episodes], self.il_share)

    def to_plain(self) -> dict[str, Any]:
        """Keyword arguments that make this result again, as plain values."""
        return {"successes": list(self.successes), "lengths": list(self.lengths), "il_share": self.il_share}

    def metrics(self) -> dict[str, Any]:
        """As metrics of an `eval` record (docs/metrics.md)."""
        mean_length = float(np.mean(self.lengths))
        return {
            "success_rate": self.success_rate,
            "success_low": self.success_low,
            "success_high": self.success_high,
            "episodes": len(self.successes),
            "mean_episode_steps": mean_length,
            "il_share_eval": self.il_share,
        }


class EpisodeRunner:
    """Runs chosen episodes of a spec in this process, one environment at a time."""

    def __init__(self, spec: EvaluationSpec) -> None:
        self._spec = spec
        self._pool = make_pool(**spec.pool, num_envs=1, seed=0, autoreset="disabled")

    def run(self, policy: ActFunction, episodes: list[int], video: Path | None = None) -> EpisodePart:
        """Run the episodes with these positions in the spec's seeds.

        Args:
            policy: stacked obs -> (action [N, A], source [N]; 0 = RL, 1 = IL), as an exported policy's `act`.
            episodes: positions.
            video: where to write an MP4 of the first `num_video_episodes` of them. One that cannot be drawn
                or written fails no evaluation: the result says why.
        """
        if video is None:
            return self._run(policy, episodes, None)
        try:
            return self._run(policy, episodes, video)
        except Exception as error:
            part = self._run(policy, episodes, None)
            return dataclasses.replace(part, no_video=first_line(error))

    def _run(self, policy: ActFunction, episodes: list[int], video: Path | None) -> EpisodePart:
        il_steps = torch.zeros((), dtype=torch.int64)
        source = torch.zeros(1, dtype=torch.int64)

        def act(observations: Mapping[str, np.ndarray]) -> torch.Tensor:
            action, chosen = policy({key: torch.from_numpy(value) for key, value in observations.items()})
            source.copy_(chosen)
            return action

        def count(active: np.ndarray) -> None:
            il_steps.add_(source[torch.from_numpy(active)].ne(0).sum())

        seeds = [self._spec.seeds[episode] for episode in episodes]
        filmed = 0 if video is None else self._spec.num_video_episodes
        with torch.inference_mode():
            rollout = evaluate_policy(
                self._pool,
                act,
                seeds,
                stacks=self._spec.stacks,
                video_episodes=filmed,
                video_size=VIDEO_SIZE,
                on_action=count,
            )
        if video is not None and rollout.frames:
            write_video(video, rollout.frames)
        return EpisodePart(list(episodes), list(rollout.successes), list(rollout.lengths), int(il_steps))

    def close(self) -> None:
        """Close the environment."""
        self._pool.close()


def can_film(say: Callable[[str], None]) -> bool:
    """Whether this machine can draw; one that cannot says why, and trains all the same."""
    try:
        check_rendering()
    except RenderingUnavailableError as error:
        say(f"no video: {error}")
        return False
    return True


def write_video(path: Path, episodes: Sequence[np.ndarray], frames_per_second: int = 20) -> None:
    """Write episodes, each uint8 [T, H, W, 3], as one MP4; each ends on half a second of its last frame."""
    held = frames_per_second // 2
    write_frames(
        path, (frame for frames in episodes for frame in (*frames, *[frames[-1]] * held)), frames_per_second
    )


def merge_parts(parts: Sequence[EpisodePart]) -> EvaluationResult:
    """One result from the episodes that each worker ran, in the order of the seeds."""
    order = np.argsort([episode for part in parts for episode in part.episodes])
    successes = np.array([success for part in parts for success in part.successes])[order]
    lengths = np.array([length for part in parts for length in part.lengths])[order]
    il_share = sum(part.il_steps for part in parts) / int(lengths.sum())
    no_video = next((part.no_video for part in parts if part.no_video), "")
    return EvaluationResult(tuple(map(bool, successes)), tuple(map(int, lengths)), il_share, no_video)


class Evaluator:
    """Evaluates policies one after the other, in this process or in background processes.

    Args:
        spec: the environments and seeds.
        workers: background processes; 0 evaluates inside `submit`.

    A job's episodes are dealt out to the workers (episode i to worker i mod workers), one environment each.
    """

    def __init__(self, spec: EvaluationSpec, workers: int = 0) -> None:
        self._spec = spec
        self._finished: list[tuple[int, EvaluationResult]] = []
        self._pending: dict[int, list[tuple[EvaluationProcess, int]]] = {}
        self._local: EpisodeRunner | None = None
        self._workers = [EvaluationProcess(dataclasses.asdict(spec), index) for index in range(workers)]

    def submit(
        self,
        policy: nn.Module,
        key: int,
        *,
        episodes: Sequence[int] | None = None,
        video: Path | None = None,
    ) -> None:
        """Start one evaluation; `finished` hands out its result under `key`.

        Args:
            policy: a policy module; a scripted one, where there are background processes.
            key: a name for the result, such as the environment steps so far.
            episodes: positions of the spec's seeds; all by default.
            video: where to write an MP4 of the first episodes.
        """
        chosen = list(range(len(self._spec.seeds)) if episodes is None else episodes)
        if not self._workers:
            self._local = self._local or EpisodeRunner(self._spec)
            act: Any = policy.act
            self._finished.append((key, merge_parts([self._local.run(act, chosen, video)])))
            return

        # A copy travels through the pipe, so that training may go on changing the parameters
        content = torchscript_bytes(policy)
        parts = []
        for index, worker in enumerate(self._workers[: len(chosen)]):
            job = {
                "episodes": chosen[index :: len(self._workers)],
                "video": str(video) if video is not None and index == 0 else None,
            }
            parts.append((worker, worker.send(content, job)))
        self._pending[key] = parts

    def finished(self, *, wait: bool = False) -> list[tuple[int, EvaluationResult]]:
        """Results since the last call, in the order of submission; with `wait`, of everything submitted.

        Raises:
            EvaluationError: an evaluation failed twice; it is dropped, all others can still be had.
        """
        for key in list(self._pending):
            try:
                answers = [process.receive(ticket, wait=wait) for process, ticket in self._pending[key]]
            except EvaluationError:
                del self._pending[key]
                raise
            if any(answer is None for answer in answers):
                break
            parts = [EpisodePart(**answer) for answer in answers if answer is not None]
            self._finished.append((key, merge_parts(parts)))
            del self._pending[key]
        results, self._finished = self._finished, []
        return results

    def close(self) -> None:
        """End the workers; may be called twice."""
        for worker in self._workers:
            worker.close()
        self._workers = []
        if self._local is not None:
            self._local.close()
            self._local = None
