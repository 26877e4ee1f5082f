"""Processes of the package's own that work beside a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO


def start_worker(module: str, paths: Iterable[str], errors: IO[str] | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `python -m module` with pipes to its stdin and stdout.

    It has a session of its own: Ctrl-C reaches the caller alone, which ends it in good order.

    Args:
        module: of this very package, whatever lies in the working directory.
        paths: where else it imports from.
        errors: gets what it writes to stderr.
    """
    here = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *paths])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    )
