"""Demonstrations and the replay buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.data.batch import Batch
    from ibrl_fast.data.buffer_plan import BufferPlan
    from ibrl_fast.data.demonstrations import (
        Demonstration,
        DemonstrationError,
        DemonstrationSet,
        ExpectedDemos,
        read_demonstrations,
        write_demonstrations,
    )
    from ibrl_fast.data.observation_space import ObsSpec, observation_specs
    from ibrl_fast.data.replay_buffer import ReplayBuffer

__all__ = [
    "Batch",
    "BufferPlan",
    "Demonstration",
    "DemonstrationError",
    "DemonstrationSet",
    "ExpectedDemos",
    "ObsSpec",
    "ReplayBuffer",
    "observation_specs",
    "read_demonstrations",
    "write_demonstrations",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.data.batch": ("Batch",),
        "ibrl_fast.data.buffer_plan": ("BufferPlan",),
        "ibrl_fast.data.demonstrations": (
            "Demonstration",
            "DemonstrationError",
            "DemonstrationSet",
            "ExpectedDemos",
            "read_demonstrations",
            "write_demonstrations",
        ),
        "ibrl_fast.data.observation_space": ("ObsSpec", "observation_specs"),
        "ibrl_fast.data.replay_buffer": ("ReplayBuffer",),
    },
)
