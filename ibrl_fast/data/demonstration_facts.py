"""What demonstrations are like, in numbers: lengths, returns, actions, where they start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ibrl_fast.data.demonstration_set import Array, Demonstration, DemonstrationSet

AT_BOUND = 1.0 - 1e-6
"""An action component of at least this size is saturated: at, or clipped to, a bound of [-1, 1]."""


@dataclass(frozen=True)
class EpisodeFacts:
    """One demonstration.

    Attributes:
        episode: its number in the file.
        steps: T.
        seed: with which it began, or None.
        success: whether it succeeds; None where neither rewards nor success are recorded.
        episode_return: sum of its rewards; None without rewards.
        action_min, action_max: of each action component, `[action_dim]`.
        saturated: share of action components at a bound.
        start_distance: Euclidean distance of its first vectors from the mean of all first vectors, in their
            own units; None without vectors.
    """

    episode: int
    steps: int
    seed: int | None
    success: bool | None
    episode_return: float | None
    action_min: list[float]
    action_max: list[float]
    saturated: float
    start_distance: float | None


@dataclass(frozen=True)
class DemoFacts:
    """All demonstrations together.

    Attributes:
        episodes: each of them.
        steps: of all.
        successes: how many succeed; None where that is not recorded.
        mean_return: of those with rewards; None without.
        action_min, action_max, action_mean: of each action component, `[action_dim]`.
        action_saturated: share of steps in which a component is at a bound, `[action_dim]`.
        saturated: share of all action components at a bound.
        initial_std: per vector the standard deviation of each entry's first value, `[features]`.
    """

    episodes: list[EpisodeFacts]
    steps: int
    successes: int | None
    mean_return: float | None
    action_min: list[float]
    action_max: list[float]
    action_mean: list[float]
    action_saturated: list[float]
    saturated: float
    initial_std: dict[str, list[float]]


def demo_facts(demos: DemonstrationSet, numbers: Sequence[int]) -> DemoFacts:
    """Return the facts of some demonstrations.

    Args:
        demos: all of them.
        numbers: of those that count, at least one.
    """
    chosen = [demos[number] for number in numbers]
    vectors = [key for key, spec in demos.observation_space.items() if not spec.is_image]
    starts = {key: np.stack([demo.observations[key][0] for demo in chosen]) for key in vectors}
    distances: list[float | None] = [None] * len(chosen)
    if vectors:
        together = np.concatenate(list(starts.values()), axis=1, dtype=np.float64)
        distances = np.linalg.norm(together - together.mean(axis=0), axis=1).tolist()
    episodes = [
        _episode_facts(number, demo, distance, has_rewards=demos.has_rewards)
        for number, demo, distance in zip(numbers, chosen, distances)
    ]
    successes = [episode.success for episode in episodes]
    returns = [episode.episode_return for episode in episodes if episode.episode_return is not None]
    actions = np.concatenate([demo.actions for demo in chosen], dtype=np.float64)
    at_bound = np.abs(actions) >= AT_BOUND
    return DemoFacts(
        episodes=episodes,
        steps=len(actions),
        successes=None if None in successes else sum(map(bool, successes)),
        mean_return=float(np.mean(returns)) if returns else None,
        action_min=actions.min(axis=0).tolist(),
        action_max=actions.max(axis=0).tolist(),
        action_mean=actions.mean(axis=0).tolist(),
        action_saturated=at_bound.mean(axis=0).tolist(),
        saturated=float(at_bound.mean()),
        initial_std={key: _std(values) for key, values in starts.items()},
    )


def _episode_facts(
    number: int, demo: Demonstration, distance: float | None, *, has_rewards: bool
) -> EpisodeFacts:
    is_judged = has_rewards or demo.recorded_success is not None
    return EpisodeFacts(
        episode=number,
        steps=len(demo),
        seed=demo.seed,
        success=demo.success if is_judged else None,
        episode_return=float(demo.rewards.sum(dtype=np.float64)) if has_rewards else None,
        action_min=demo.actions.min(axis=0).tolist(),
        action_max=demo.actions.max(axis=0).tolist(),
        saturated=float((np.abs(demo.actions) >= AT_BOUND).mean()),
        start_distance=distance,
    )


def _std(values: Array) -> list[float]:
    deviations: list[float] = values.std(axis=0, dtype=np.float64).tolist()
    return deviations
