"""The collector: one agent step in every training environment, stored at once (Algorithm 1, lines 6-10)."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ibrl_fast.data import ReplayBuffer
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.envs.stacking import ObservationStacker
from ibrl_fast.seeding import derive_env_seed
from ibrl_fast.training.acting import Acting

ActingMode = Literal["agent", "teacher", "random"]


@dataclass(frozen=True)
class EpisodeRecord:
    """A training episode that ended.

    Attributes:
        success: whether the task was solved.
        length: agent steps.
        il_share: share of steps in which the imitation action was taken.
    """

    success: bool
    length: int
    il_share: float


class Collector:
    """Steps a pool with an agent and appends to the replay buffer.

    Args:
        pool: N environments with same-step autoreset.
        acting: acts on stacked observations and proposes imitation actions.
        buffer: receives unstacked observations, actions, rewards and the imitation proposals of every state.
        stacks: frames by observation key.
        seed: of the random actions of the `random` mode, and of the episodes that a resumed run begins with
            where environments cannot save their state.
        overlap: between `begin` and `finish`, environments step in a thread of their own.

    Attributes:
        broken_off: agent steps of each unfinished episode that a resumed run could not go on with, its
            environments having begun anew; None in a new run, and where states are saved.
    """

    def __init__(
        self,
        pool: BasePool,
        acting: Acting,
        buffer: ReplayBuffer,
        *,
        stacks: dict[str, int],
        seed: int,
        overlap: bool = False,
    ) -> None:
        self._pool = pool
        self._acting = acting
        self._buffer = buffer
        self._stacker = ObservationStacker(pool.num_envs, stacks)
        self._seed = seed
        self._steps = 0
        self.broken_off: list[int] | None = None
        self._random = np.random.default_rng(seed)
        self._lengths = np.zeros(pool.num_envs, dtype=np.int64)
        self._il_steps = np.zeros(pool.num_envs, dtype=np.int64)
        self._il_action: Tensor | None = None
        self._background = ThreadPoolExecutor(1, "environments") if overlap else None
        self._stepping: Future[Any] | None = None

    def close(self) -> None:
        """Wait for environments that step; nothing can be collected after this."""
        if self._background is not None:
            self._background.shutdown(wait=True)

    def start(self, seed: int) -> None:
        """Reset every environment and open an episode in each; one that runs in the buffer ends there."""
        observations, _ = self._pool.reset(seed=seed)
        self._see(self._stacker.reset(observations))
        self._buffer.start_episode(None, observations, self._il_action)

    def begin(self, mode: ActingMode) -> None:
        """Start one agent step in each of the N environments; `finish` ends it.

        Args:
            mode: `agent` explores by the agent's own rule; `teacher` takes the imitation action; `random` is
                uniform.
        """
        actions, self._from_il = self._choose(mode)
        self._actions = actions.cpu().numpy()
        if self._background is not None:
            self._stepping = self._background.submit(self._pool.step, self._actions)

    def finish(self) -> list[EpisodeRecord]:
        """Store what came of the actions; returns the episodes that ended in this step."""
        results = self._pool.step(self._actions) if self._stepping is None else self._stepping.result()
        observations, rewards, terminated, truncated, info = results
        self._stepping = None
        actions_host, from_il = self._actions, self._from_il
        ended = terminated | truncated
        self._steps += 1
        self._lengths += 1
        self._il_steps += from_il

        # The true successors first, with their imitation actions: an ended episode's row of `observations`
        # already holds the next episode's start
        successors = info["final_obs"] if ended.any() else observations
        self._see(self._stacker.push(successors))
        self._buffer.append(actions_host, rewards, terminated, truncated, successors, self._il_action)
        if not ended.any():
            return []

        # Episodes that ended make room for the next ones
        records = []
        env_ids = np.flatnonzero(ended).tolist()
        for env in env_ids:
            share = float(self._il_steps[env] / self._lengths[env])
            records.append(
                EpisodeRecord(bool(info["final_info"]["success"][env]), int(self._lengths[env]), share)
            )
        self._lengths[ended] = 0
        self._il_steps[ended] = 0
        self._see(self._stacker.reset(observations, env_ids))
        il_action = None if self._il_action is None else self._il_action[env_ids]
        self._buffer.start_episode(
            env_ids, {key: value[env_ids] for key, value in observations.items()}, il_action
        )
        return records

    def _see(self, stacked: dict[str, np.ndarray]) -> None:
        """Look at the observations to act on, or to store: their imitation actions are computed once."""
        self._acting.see({key: torch.from_numpy(value) for key, value in stacked.items()})
        self._il_action = self._acting.propose()

    def _choose(self, mode: ActingMode) -> tuple[Tensor, np.ndarray]:
        if mode == "agent":
            chosen = self._acting.act()
            return chosen.action, (chosen.source != 0).cpu().numpy()
        if mode == "teacher":
            assert self._il_action is not None
            return self._il_action[:, 0], np.ones(self._pool.num_envs, dtype=bool)
        shape = (self._pool.num_envs, self._pool.task.action_dim)
        action = self._random.uniform(-1.0, 1.0, shape).astype(np.float32)
        return torch.from_numpy(action), np.zeros(self._pool.num_envs, dtype=bool)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next step, the environments' physics included where they save it."""
        generator = self._random.bit_generator.state["state"]
        state = {
            "lengths": self._lengths.copy(),
            "il_steps": self._il_steps.copy(),
            "random_state": str(generator["state"]),
            "random_inc": str(generator["inc"]),
        }
        if not self._pool.abilities.saves_state:
            return {"steps": self._steps, **state}
        return {"pool": self._pool.get_state(), "stacker": self._stacker.state_dict(), **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict(), after the buffer; environments without a saved state begin anew."""
        generator = dict(self._random.bit_generator.state)
        generator["state"] = {"state": int(state["random_state"]), "inc": int(state["random_inc"])}
        self._random.bit_generator.state = generator
        lengths = np.array(_to_numpy(state["lengths"]))
        if not self._pool.abilities.saves_state:
            self._steps = int(state["steps"])
            self.broken_off = lengths[lengths > 0].tolist()
            self.start(derive_env_seed(self._seed, self._steps))
            return
        self._pool.set_state({key: _to_numpy(value) for key, value in state["pool"].items()})
        self._stacker.load_state_dict({key: _to_numpy(value) for key, value in state["stacker"].items()})
        self._lengths = lengths
        self._il_steps = np.array(_to_numpy(state["il_steps"]))
        self._see(self._stacker.stacked())


def _to_numpy(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value
