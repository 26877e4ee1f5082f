"""Demonstrations and the replay buffer."""

from ibrl_fast.data.batch import Batch
from ibrl_fast.data.demonstrations import (
    Demonstration,
    DemonstrationError,
    DemonstrationSet,
    read_demonstrations,
    write_demonstrations,
)
from ibrl_fast.data.observation_space import ObsSpec, observation_specs
from ibrl_fast.data.replay_buffer import ReplayBuffer

__all__ = [
    "Batch",
    "Demonstration",
    "DemonstrationError",
    "DemonstrationSet",
    "ObsSpec",
    "ReplayBuffer",
    "observation_specs",
    "read_demonstrations",
    "write_demonstrations",
]
