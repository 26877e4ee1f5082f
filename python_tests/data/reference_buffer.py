"""A replay buffer as a list of episodes, with loops and float64: what the real one is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Episode:
    """Observations (one more than there are steps), proposals, and steps."""

    observations: list[dict[str, np.ndarray]] = field(default_factory=list)
    proposals: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)


class ReferenceBuffer:
    """Keeps, for each environment, the newest whole episodes with at most `steps_per_env` steps."""

    def __init__(self, num_envs: int, steps_per_env: int) -> None:
        self.demos: list[Episode] = []
        self.episodes: list[list[Episode]] = [[] for _ in range(num_envs)]
        self.steps_per_env = steps_per_env

    def start(self, env: int, observation: dict[str, np.ndarray], proposal: np.ndarray) -> None:
        self.episodes[env] = [episode for episode in self.episodes[env] if episode.actions]
        self.episodes[env].append(Episode([observation], [proposal]))

    def append(self, env, action, reward, terminated, truncated, observation, proposal) -> None:
        episode = self.episodes[env][-1]
        episode.actions.append(action)
        episode.rewards.append(reward)
        episode.terminated.append(terminated)
        episode.truncated.append(truncated)
        episode.observations.append(observation)
        episode.proposals.append(proposal)
        while sum(len(e.actions) for e in self.episodes[env]) > self.steps_per_env:
            self.episodes[env].pop(0)

    def online(self) -> list[tuple[Episode, int]]:
        return [(e, t) for episodes in self.episodes for e in episodes for t in range(len(e.actions))]

    def demonstrated(self) -> list[tuple[Episode, int]]:
        return [(e, t) for e in self.demos for t in range(len(e.actions))]


def expected_transition(episode, t, *, nstep, gamma, bootstrap_on_truncation, stacks):
    """A sampled entry: (obs, action, reward, discount, next_obs, il_action, il_action_next)."""
    reward, discount, step = 0.0, 1.0, t
    for _ in range(nstep):
        reward += discount * float(np.float32(episode.rewards[step]))
        discount *= gamma
        ended = episode.terminated[step] or (episode.truncated[step] and not bootstrap_on_truncation)
        stop = episode.terminated[step] or episode.truncated[step]
        step += 1
        if ended:
            discount = 0.0
        if stop or step == len(episode.actions):
            break

    def stacked(index):
        return {
            key: np.concatenate([episode.observations[max(index - j, 0)][key] for j in range(stack)])
            for key, stack in stacks.items()
        }

    return (
        stacked(t),
        episode.actions[t],
        reward,
        discount,
        stacked(step),
        episode.proposals[t],
        episode.proposals[step],
    )
