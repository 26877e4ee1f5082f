"""Whole episodes on a pool, each with its own seed, and the evaluation of a policy over a set of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.base_pool import BasePool, Observations
from ibrl_fast.envs.stacking import ObservationStacker
from ibrl_fast.errors import ArgumentError

Policy = Callable[[Observations], Any]
"""Stacked observations, arrays [N, ...] -> actions [N, A]; a tensor is welcome if NumPy can read it."""


@dataclass(frozen=True)
class EpisodeStep:
    """One step of one episode; its observations may be views of buffers that the pool reuses."""

    episode: int
    """Position of the episode's seed."""
    slot: int
    """Environment of the pool that runs it."""
    observation: Observations
    """What was acted on, one row per entry."""
    action: npt.NDArray[np.float32]
    """[A], as executed: clipped to [-1, 1]."""
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    next_observation: Observations
    """True successor, also at the episode's end."""


def run_episodes(
    pool: BasePool,
    seeds: Iterable[int],
    act: Callable[[Observations, npt.NDArray[np.int64], npt.NDArray[np.bool_]], Any],
    on_step: Callable[[EpisodeStep], None],
) -> None:
    """Run one episode per seed; its course does not depend on `num_envs` or on the others' speed.

    Args:
        pool: any autoreset mode.
        seeds: drawn from as environments become free, so a generator may stop early.
        act: (observations [N, ...], episode of each row int64 [N] or -1, rows that have just started bool
            [N]) -> actions [N, A]. Rows with episode -1 are stepped too and ignored.
        on_step: called for every step of every episode.

    Raises:
        AbilityError: the task's episodes cannot be seeded.
    """
    pending = enumerate(seeds)
    episodes = np.full(pool.num_envs, -1, dtype=np.int64)

    def assign(free: npt.NDArray[np.bool_]) -> Observations:
        """Give free environments the next seeds; those left over restart outside of any episode."""
        slot_seeds: list[int | None] = [None] * pool.num_envs
        for slot in np.flatnonzero(free):
            episodes[slot], slot_seeds[slot] = next(pending, (-1, 0))
        observations, _ = pool.reset(seed=slot_seeds, options={"reset_mask": free})
        return observations

    started = np.ones(pool.num_envs, dtype=np.bool_)
    observations = assign(started)
    while (episodes >= 0).any():
        proposed = act(observations, episodes.copy(), started)
        actions = np.clip(np.asarray(proposed, dtype=np.float32), -1.0, 1.0)
        next_observations, reward, terminated, truncated, info = pool.step(actions)
        successors = info.get("final_obs", next_observations)
        for slot in np.flatnonzero(episodes >= 0):
            on_step(
                EpisodeStep(
                    episode=int(episodes[slot]),
                    slot=int(slot),
                    observation={key: value[slot] for key, value in observations.items()},
                    action=actions[slot],
                    reward=float(reward[slot]),
                    terminated=bool(terminated[slot]),
                    truncated=bool(truncated[slot]),
                    success=bool(info["success"][slot]),
                    next_observation={key: value[slot] for key, value in successors.items()},
                )
            )
        started = terminated | truncated
        observations = assign(started) if started.any() else next_observations


@dataclass(frozen=True)
class EvaluationRollout:
    """Outcome of `evaluate_policy`, one entry per episode in the order of the seeds."""

    seeds: tuple[int, ...]
    """What each episode was reset with."""
    successes: tuple[bool, ...]
    """Whether it solved the task."""
    lengths: tuple[int, ...]
    """Agent steps."""
    returns: tuple[float, ...]
    """Undiscounted sums of rewards."""
    frames: tuple[npt.NDArray[np.uint8], ...] = field(default=(), repr=False)
    """One video uint8 [T, H, W, 3] for each filmed episode."""

    @property
    def success_rate(self) -> float:
        """Share of episodes that succeeded."""
        return sum(self.successes) / len(self.successes)

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the success rate."""
        return wilson_interval(sum(self.successes), len(self.successes))


def evaluate_policy(
    pool: BasePool | Callable[[], BasePool],
    policy: Policy,
    seeds: Sequence[int],
    *,
    stacks: Mapping[str, int] | None = None,
    video_episodes: int = 0,
    video_camera: str | None = None,
    video_size: int | None = None,
    on_action: Callable[[npt.NDArray[np.bool_]], None] | None = None,
) -> EvaluationRollout:
    """Run a policy once from each seed.

    Episode i starts from `seeds[i]` alone, so the set of episodes depends on neither the number of
    environments nor their speed; the outcome does not either if the policy treats the rows of its batch
    separately.

    Args:
        pool: a pool, or a function that makes one, which is then closed at the end.
        policy: (observations [N, ...], stacked) -> actions [N, A]; rows beyond the last episode are ignored.
        seeds: one per episode, such as `episode_seeds(seed, 50)`.
        stacks: frames by observation key, newest first; keys left out are not stacked.
        video_episodes: film this many of the first episodes.
        video_camera, video_size: camera and pixels of the film; the pool's first camera and size by default.
        on_action: called after each call of the policy with the rows bool [N] that belong to an episode.

    Raises:
        ArgumentError: no seeds.
        AbilityError: the task's episodes cannot be seeded, or are to be filmed without cameras.
    """
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds:
        raise ArgumentError("seeds: expected at least one, got none")
    if not isinstance(pool, BasePool):
        opened = pool()
        try:
            return evaluate_policy(
                opened,
                policy,
                seeds,
                stacks=stacks,
                video_episodes=video_episodes,
                video_camera=video_camera,
                video_size=video_size,
                on_action=on_action,
            )
        finally:
            opened.close()

    stacker = ObservationStacker(pool.num_envs, stacks or {})
    films: list[list[npt.NDArray[np.uint8]]] = [[] for _ in range(min(video_episodes, len(seeds)))]
    successes, lengths, returns = [False] * len(seeds), [0] * len(seeds), [0.0] * len(seeds)

    def film(slot: int, episode: int) -> None:
        """Add the current picture of an environment to its episode's film."""
        films[episode].append(pool.render_frames([slot], camera=video_camera, image_size=video_size)[0])

    def act(
        observations: Observations, episodes: npt.NDArray[np.int64], started: npt.NDArray[np.bool_]
    ) -> Any:
        # the film shows what is acted on
        for slot in np.flatnonzero((episodes >= 0) & (episodes < len(films))):
            film(int(slot), int(episodes[slot]))
        stacked = (
            stacker.reset(observations) if started.all() else stacker.push_and_reset(observations, started)
        )
        actions = policy(stacked)
        if on_action is not None:
            on_action(episodes >= 0)
        return actions

    def on_step(step: EpisodeStep) -> None:
        successes[step.episode] = successes[step.episode] or step.success
        lengths[step.episode] += 1
        returns[step.episode] += step.reward
        # the last picture is there unless the pool has already moved on to the next episode
        ended = step.terminated or step.truncated
        if ended and step.episode < len(films) and pool.options.autoreset != "same_step":
            film(step.slot, step.episode)

    run_episodes(pool, seeds, act, on_step)
    videos = tuple(np.stack(frames) for frames in films)
    return EvaluationRollout(seeds, tuple(successes), tuple(lengths), tuple(returns), videos)


def wilson_interval(successes: int, episodes: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's score interval of a share (95% by default), never outside [0, 1] (Wilson 1927).

    Raises:
        ArgumentError: no episodes, or more successes than those.
    """
    if episodes < 1 or not 0 <= successes <= episodes:
        raise ArgumentError(
            f"successes: expected 0 to episodes={episodes} with episodes at least 1, got {successes}"
        )
    share = successes / episodes
    denominator = 1.0 + z * z / episodes
    centre = (share + z * z / (2 * episodes)) / denominator
    half = z * math.sqrt(share * (1.0 - share) / episodes + z * z / (4 * episodes * episodes)) / denominator
    return max(0.0, centre - half), min(1.0, centre + half)
