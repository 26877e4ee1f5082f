"""Arguments of a tiny run on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ibrl_fast.cli import main

TINY = {
    "--total-env-steps": 60,
    "--batch-size": 8,
    "--warmup-episodes": 1,
    "--warmup-updates": 0,
    "--log-every-updates": 5,
    "--env.max-episode-steps": 11,
    "--episodes": 2,
    "--bc.updates": 5,
    "--bc.batch-size": 8,
    "--network.actor.hidden": 8,
    "--network.critic.hidden": 8,
    "--bc-network.actor.hidden": 8,
    "--evaluation.episodes": 2,
    "--evaluation.every-env-steps": 30,
    "--evaluation.workers": 0,
    "--evaluation.video-episodes": 0,
}


def tiny_arguments(demos: Path, run_dir: Path, changes: Mapping[str, object] | None = None) -> list[str]:
    """`train`'s flags for a run of seconds; a change to None leaves a flag out."""
    flags = {**TINY, "--demos": demos, "--run-dir": run_dir, **(changes or {})}
    return [str(part) for flag, value in flags.items() if value is not None for part in (flag, value)]


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must end with exit status 2 and one message; returns that message."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    message = captured.err.strip()
    assert message
    return message
