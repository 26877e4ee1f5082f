"""Many environments at once, each in a process of its own: Gymnasium's `AsyncVectorEnv`.

Processes are started anew ('spawn'), so that threads of this one cannot hurt them. What they run is sent to
them, whatever it is; nothing of it is read from a file.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from ibrl_fast.envs.episode import StepResult
from ibrl_fast.envs.episodes import EpisodeGroup, LocalEpisodes, Observations, frame_spaces
from ibrl_fast.envs.gym.env import GymEnv
from ibrl_fast.envs.gym.source import EnvFailedError, EnvSource
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import TaskInfo
from ibrl_fast.envs.views import check_own_camera
from ibrl_fast.errors import first_line

_LOG = logging.getLogger(__name__)
_CLOSE_SECONDS = 5.0


def make_group(task: TaskInfo, options: PoolOptions, source: EnvSource) -> EpisodeGroup:
    """Return environments in processes of their own; in this one, and a warning, where they cannot be sent.

    Raises:
        EnvFailedError: a process did not start.
    """
    try:
        cloudpickle.dumps(source)
    except Exception as error:
        _LOG.warning(
            "%s: environments that cannot be sent to processes of their own step one after the other (%s)",
            task.name,
            first_line(error),
        )
        return LocalEpisodes(task, options, functools.partial(GymEnv, source=source))
    return ProcessEpisodes(task, options, source)


class EpisodeEnv(gymnasium.Env[dict[str, Any], npt.NDArray[np.float32]]):
    """One environment at the agent's rate, in a process of its own: what `AsyncVectorEnv` steps.

    An action of NaN leaves it as it is. What a step gave is `info["result"]`, a `StepResult`.
    """

    def __init__(self, row: int, task: TaskInfo, options: PoolOptions, source: EnvSource) -> None:
        self._row = row
        if multiprocessing.parent_process() is not None:
            # Ctrl-C reaches the whole group: what comes of it is the main process's to decide
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        alone = replace(options, num_envs=1)
        self._episodes = LocalEpisodes(task, alone, functools.partial(GymEnv, source=source))
        frames = frame_spaces(task, alone)
        self._frames = {key: np.zeros((1, *box.shape), box.dtype) for key, box in frames.items()}
        self.observation_space = gymnasium.spaces.Dict(dict(frames))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (task.action_dim,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode."""
        self._episodes.reset({0: seed})
        return self._observe(), {}

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one agent step, or none."""
        if np.isnan(action).any():
            return self._current(), 0.0, False, False, {}
        result = self._episodes.step({0: action})[0]
        return self._observe(), 0.0, False, False, {"result": result}

    def picture(self, row: int, camera: str | None, size: int) -> Any:
        """Return the picture if this is the environment of that row, or the error that came instead."""
        if row != self._row:
            return None
        try:
            return self._episodes.picture(0, camera, size)
        except Exception as error:
            return error

    def close(self) -> None:
        """Close the environment."""
        self._episodes.close()

    def _observe(self) -> dict[str, Any]:
        self._episodes.observe([0], self._frames)
        return self._current()

    def _current(self) -> dict[str, Any]:
        return {key: value[0] for key, value in self._frames.items()}


class ProcessEpisodes:
    """N environments, each in a process, which take their steps at the same time.

    Args:
        task: of all of them.
        options: of the pool.
        source: makes one.

    Raises:
        EnvFailedError: a process did not start.
    """

    def __init__(self, task: TaskInfo, options: PoolOptions, source: EnvSource) -> None:
        self._task = task
        self._num_envs = int(options.num_envs)
        self._vector: AsyncVectorEnv | None = None
        makers = [functools.partial(EpisodeEnv, row, task, options, source) for row in range(self._num_envs)]
        try:
            self._vector = AsyncVectorEnv(
                makers, copy=False, context="spawn", autoreset_mode=AutoresetMode.DISABLED
            )
        except (EOFError, OSError) as error:
            raise EnvFailedError(
                f"{task.name}: processes: expected {self._num_envs} to start, got the end of one; a script "
                'that makes several environments needs `if __name__ == "__main__":` around what it does'
            ) from error
        self._is_whole = True

    def reset(self, seeds: Mapping[int, int | None]) -> None:
        """Start episodes."""
        mask = np.zeros(self._num_envs, np.bool_)
        mask[list(seeds)] = True
        values = [seeds.get(row) for row in range(self._num_envs)]
        self._call("reset", seed=values, options={"reset_mask": mask})

    def step(self, actions: Mapping[int, npt.NDArray[np.float32]]) -> dict[int, StepResult]:
        """Take one agent step each; the other environments stay as they are."""
        if not actions:
            return {}
        batch = np.full((self._num_envs, self._task.action_dim), np.nan, np.float32)
        for row, action in actions.items():
            batch[row] = action
        results = self._call("step", batch)[4]["result"]
        return {row: results[row] for row in actions}

    def observe(self, rows: Iterable[int], observations: Observations) -> None:
        """Copy the frames that the processes wrote into shared memory."""
        assert self._vector is not None
        frames: Any = self._vector.observations
        for row in rows:
            for key, values in observations.items():
                values[row] = frames[key][row]

    def check_camera(self, camera: str | None) -> None:
        """Raise an ArgumentError unless there is such a camera."""
        check_own_camera(self._task, camera)

    def picture(self, row: int, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Ask the environment's process."""
        answer = self._call("call", "picture", row, camera, size)[row]
        if isinstance(answer, Exception):
            raise answer
        picture: npt.NDArray[np.uint8] = answer
        return picture

    def close(self) -> None:
        """Close the environments and end their processes, whatever they are doing."""
        vector, self._vector = self._vector, None
        if vector is None:
            return
        if self._is_whole:
            # a thread of its own waits for environments that take their time, or end while they close
            closer = threading.Thread(target=_close_quietly, args=(vector,), daemon=True)
            closer.start()
            closer.join(_CLOSE_SECONDS)
        for process in vector.processes:
            process.kill()
            process.join()
        for pipe in vector.parent_pipes:
            if pipe is not None:
                pipe.close()
        vector.closed = True

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the vector environment; the end of a process becomes one error."""
        if not self._is_whole:
            raise EnvFailedError(f"{self._task.name}: {name}: expected all processes, got one that has ended")
        # until the call has come back, whatever stops it
        self._is_whole = False
        try:
            answer = getattr(self._vector, name)(*args, **kwargs)
        except (EOFError, OSError) as error:
            assert self._vector is not None
            for process in self._vector.processes:
                process.join(0.1)
            codes = [process.exitcode for process in self._vector.processes]
            ended = ", ".join(
                f"environment {row} (exit status {code})"
                for row, code in enumerate(codes)
                if code is not None
            )
            raise EnvFailedError(
                f"{self._task.name}: {name}: expected an answer of every process, got the end of {ended}"
            ) from error
        self._is_whole = True
        return answer


def _close_quietly(vector: AsyncVectorEnv) -> None:
    """Close; a process that has ended meanwhile is no error here."""
    with suppress(Exception):
        vector.close()
