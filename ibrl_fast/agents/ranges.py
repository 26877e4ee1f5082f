"""Named ranges for profilers; without the nvtx package (a bare GPU machine) they do nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    from nvtx import annotate
except ImportError:
    annotate = None


def nvtx_range(name: str) -> AbstractContextManager[Any]:
    """Open a range that Nsight and other NVTX tools show under `name`."""
    return nullcontext() if annotate is None else annotate(name)
