"""Resuming a run folder, whatever kind of run it holds."""

from __future__ import annotations

from pathlib import Path

from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.imitation_trainer import ImitationTrainer
from ibrl_fast.training.run import SavedRun
from ibrl_fast.training.trainer import Trainer


def resume_trainer(path: Path | str, *, quiet: bool = False) -> Trainer | ImitationTrainer:
    """Return the trainer that goes on where a run folder's checkpoint stands.

    Raises:
        CheckpointError: no readable checkpoint there.
    """
    saved = SavedRun(Path(path))
    kind = Trainer if isinstance(saved.config(), TrainConfig) else ImitationTrainer
    return kind.from_saved(saved, quiet=quiet)
