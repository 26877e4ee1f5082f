"""kill -9 at random moments: every run can go on, and comes to the same records, policy and checkpoint."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_helpers import tiny_arguments
from commands import run, start
from training_helpers import differences, reproducible_content, reproducible_records

from ibrl_fast import load_policy

KILLS = 20
CHANGES = {
    "--total-env-steps": 1500,
    "--checkpoint-every-env-steps": 60,
    "--evaluation.every-env-steps": 300,
    "--evaluation.workers": 1,
}


def records_by_kind(folder: Path) -> dict[str, list[dict[str, object]]]:
    """The records without the clock's; evaluations in the background may come before or after others."""
    kinds: dict[str, list[dict[str, object]]] = {}
    for record in reproducible_records(folder):
        kinds.setdefault(str(record["kind"]), []).append(record)
    return kinds


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path, demos_file: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    started = time.monotonic()
    assert run("train", *tiny_arguments(demos_file, whole, CHANGES))[0] == 0
    longest = time.monotonic() - started

    # each run is killed again and again until it ends; then the next begins
    rng = np.random.default_rng(0)
    kills, finished, resumed = 0, 0, 0
    while kills < KILLS or not finished:
        begun = (part / "checkpoint.pt").exists()
        if not begun:
            shutil.rmtree(part, ignore_errors=True)
        resumed += begun
        arguments = ["resume", part] if begun else ["train", *tiny_arguments(demos_file, part, CHANGES)]
        process = start(*arguments)
        try:
            # the last ones run to their end
            limit = rng.uniform(0.2, longest) if kills < KILLS else 600
            _, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, errors

        # a run that came to its end is the whole one
        assert differences(records_by_kind(whole), records_by_kind(part)) == []
        assert differences(reproducible_content(whole), reproducible_content(part)) == []
        # torch numbers the classes in a policy's file as it likes: its weights and what it does are compared
        obs = {"state": torch.randn(50, 39, generator=torch.Generator().manual_seed(0))}
        policies = [load_policy(folder / "policy.pt") for folder in (whole, part)]
        assert torch.equal(*(policy.act(obs) for policy in policies))
        names = {path.name for path in whole.iterdir() if not path.name.startswith("events.")}
        assert {path.name for path in part.iterdir() if not path.name.startswith("events.")} == names
        shutil.rmtree(part)
        finished += 1
    assert resumed >= 5
