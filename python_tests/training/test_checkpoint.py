"""Checkpoint files: whole or not there, never executed, one clear error for what does not fit."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ibrl_fast.training.records.checkpoint import (
    CHECKPOINT_NAME,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    to_plain,
)
from ibrl_fast.training.trainer import Trainer

CONTENT = {
    "tensor": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "array": np.array([1.5, np.nan], dtype=np.float64),
    "scalar": np.float32(0.25),
    "nested": {"list": [1, "two", None, True], "tuple": (1, 2)},
}


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "new" / CHECKPOINT_NAME, CONTENT)
    for path in (tmp_path / "new", tmp_path / "new" / CHECKPOINT_NAME):
        content = load_checkpoint(path)
        assert torch.equal(content["tensor"], CONTENT["tensor"])
        assert content["tensor"].dtype == torch.bfloat16
        assert content["array"].dtype == torch.float64 and content["array"][1].isnan()
        assert content["scalar"] == 0.25 and type(content["scalar"]) is float
        assert content["nested"] == {"list": [1, "two", None, True], "tuple": [1, 2]}


def test_an_array_is_copied() -> None:
    array = np.zeros(3)
    plain = to_plain({"array": array})
    array[:] = 1
    assert plain["array"].sum() == 0


@pytest.mark.parametrize("value", [object(), {1, 2}, Path("x"), np.random.default_rng(0), 1j, b"bytes"])
def test_refuses_what_could_not_be_read_back(tmp_path: Path, value: object) -> None:
    with pytest.raises(
        TypeError, match="checkpoint value: expected tensor, array.*got " + type(value).__name__
    ):
        save_checkpoint(tmp_path / "file.pt", {"deep": [{"value": value}]})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("moment", ["save", "fsync", "replace"])
def test_a_crash_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(path, {"number": 1})

    def crash(*arguments: object) -> None:
        if moment == "save":
            arguments[1].write(b"half a file")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(torch if moment == "save" else os, moment, crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"number": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["number"] == 1
    assert os.listdir(tmp_path) == [CHECKPOINT_NAME]  # nothing half-written lies about


class Exploit:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploited",)


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format_version": 1, "config": Exploit()}, tmp_path / "torch.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"format_version": 1, "config": Exploit()}))
    for name in ("torch.pt", "pickle.pt"):
        with pytest.raises(CheckpointError, match=f"{name}: expected a readable checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "exploited").exists()


def damaged_files(folder: Path) -> dict[str, bytes]:
    """Contents of files that are no checkpoint."""
    save_checkpoint(folder / "good.pt", CONTENT)
    good = (folder / "good.pt").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 4 : len(good) // 2] = bytes(len(good) // 2 - len(good) // 4)
    return {"empty": b"", "text": b"hello", "cut": good[: len(good) // 2], "damaged": bytes(flipped)}


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "damaged"])
def test_damaged_file_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.pt"
    path.write_bytes(damaged_files(tmp_path)[kind])
    with pytest.raises(CheckpointError, match=f"checkpoint .*{kind}.pt: expected a readable checkpoint, got"):
        load_checkpoint(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=f"expected a file at {tmp_path}/{CHECKPOINT_NAME}, got nothing"
    ):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [{"weights": torch.ones(2)}, {"format_version": 99}, [1, 2], torch.ones(2)]
)
def test_foreign_file(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"pt: expected format_version 3, got (None$|99 .that version)"):
        load_checkpoint(tmp_path / "foreign.pt")


def test_a_checkpoint_that_is_no_run(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / CHECKPOINT_NAME, {"config": "{}"})
    with pytest.raises(CheckpointError, match="expected a training run's, got one without counters"):
        Trainer.from_checkpoint(tmp_path)
