"""Configuration of a run's demonstrations: where they come from, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from ibrl_fast.data.expected_demos import RewardSource
from ibrl_fast.errors import expect
from ibrl_fast.fields import check_fields


@dataclass(frozen=True)
class DemoFileConfig:
    """How a file of demonstrations is read; nothing of it without a file."""

    filter_key: str | None = None
    """Only the demonstrations of this mask of the file (robomimic's filter keys: `train`), or the episodes of
    a Minari data set in whose metadata this entry is true; None: all."""
    state_keys: tuple[str, ...] = ()
    """Low-dimensional entries of the file that, joined in this order, are the policy's `state`; none: the
    file's own `state`. Names may be joined by commas."""
    proprio_keys: tuple[str, ...] = ()
    """The same for `proprio`."""
    clip_actions: bool = False
    """Clip actions however far beyond [-1, 1]; False clips rounding (up to 1e-4) and refuses more."""
    reward: RewardSource = "recorded"
    """`recorded`: rewards and ends are the file's, which imitation alone can do without; `last`: every
    demonstration is a success, with reward 1 and terminated in its last step; `success`: a demonstration ends
    with reward 1 where a Minari data set records success, and has reward 0 before."""
    allow_mismatch: bool = False
    """Demonstrations recorded with another task, action repeat, control period, camera or image size than the
    run's are a warning instead of an error."""


@dataclass(frozen=True)
class DemoConfig(DemoFileConfig):
    """The demonstrations."""

    path: Path | None = None
    """A robomimic-format HDF5 file, or a Minari data set: `minari:D4RL/pen/human-v2` or its folder; None
    collects them with the scripted expert, seeded by the run's seed."""
    episodes: int | None = 3
    """How many demonstrations are used, the first of the file; None: all that it holds."""
    action_noise: float = 0.0
    """Standard deviation of Gaussian noise on the expert's actions while collecting."""

    def __post_init__(self) -> None:
        check_fields(self, "demos.")
        for name in ("state_keys", "proprio_keys"):
            given = getattr(self, name)
            keys = tuple(part.strip() for key in given for part in key.split(","))
            are_names = all(keys) and len(set(keys)) == len(keys)
            expect(are_names, f"demos.{name}", "different names of entries", ", ".join(map(repr, keys)))
            object.__setattr__(self, name, keys)
        expect(self.action_noise >= 0, "demos.action_noise", "at least 0", self.action_noise)
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path).expanduser())
            expect(self.action_noise == 0, "demos.action_noise", "0 with demos.path", self.action_noise)
        else:
            for entry in fields(DemoFileConfig):
                value = getattr(self, entry.name)
                default = "none" if entry.default in (None, ()) else entry.default
                is_default = value == entry.default
                expect(is_default, f"demos.{entry.name}", f"{default} without demos.path", value)
        if self.episodes is None:
            expect(self.path is not None, "demos.episodes", "a number without demos.path", None)
        else:
            expect(self.episodes >= 1, "demos.episodes", "at least 1", self.episodes)
