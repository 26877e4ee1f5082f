"""What the tests of faults share: running code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ibrl_fast

ROOT = Path(ibrl_fast.__file__).parents[1]


def run_python(script: str, *arguments: str, timeout: float = 120) -> str:
    """Runs a script, which must succeed; returns what it printed."""
    ended = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=timeout,
    )
    assert ended.returncode == 0, f"{ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
