"""How exact an op must be: its error against float64 at most twice that of the same maths in eager torch."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_as_accurate(actual: Tensor, exact: Tensor, eager: Tensor) -> None:
    """exact: float64; actual and eager: the op's and eager torch's results at the same, lower precision."""
    assert exact.dtype == torch.float64 and actual.dtype == eager.dtype and actual.shape == exact.shape
    error = (actual.double() - exact).abs()
    allowed = 2.0 * (eager.double() - exact).abs()
    # where eager happens to hit the exact value, half a unit in the last place is as good
    unit = torch.finfo(actual.dtype).eps * exact.abs()
    worst = (error - torch.maximum(allowed, unit)).max().item() if error.numel() else 0.0
    assert worst <= 0.0, f"error exceeds the bound by {worst}"
