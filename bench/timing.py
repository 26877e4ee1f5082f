"""Fair timing of several candidates, and the rates of copy and matrix product to judge them by."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, and the 10th and 90th percentile over the rounds."""

    median: float
    low: float
    high: float
    rounds: int
    calls_per_round: int


def compare(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    device: torch.device | str = "cpu",
    rounds: int = 15,
    round_seconds: float = 0.02,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time candidates in turn, round after round, so that a slow moment of the machine hits them all alike.

    Args:
        candidates: name -> call without arguments; called before timing starts, so compiling is not timed.
        device: where the work happens; on CUDA a round is measured between two events on the current stream.
        rounds: number of rounds, each of which gives one sample for every candidate.
        round_seconds: a round repeats a call until it takes about this long.
        clock: on the CPU: `time.process_time` counts this process's threads alone, on a busy machine.
    """
    device = torch.device(device)
    calls = {}
    for name, call in candidates.items():
        for _ in range(3):
            call()
        calls[name] = max(1, int(round_seconds / max(1e-7, _seconds(call, 1, device, clock))))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            samples[name].append(_seconds(call, calls[name], device, clock))
    return {
        name: Timing(statistics.median(x), _quantile(x, 0.1), _quantile(x, 0.9), rounds, calls[name])
        for name, x in samples.items()
    }


def _seconds(call: Callable[[], Any], times: int, device: torch.device, clock: Callable[[], float]) -> float:
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        start.record()
        for _ in range(times):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / times
    begin = clock()
    for _ in range(times):
        call()
    return (clock() - begin) / times


def _quantile(samples: list[float], share: float) -> float:
    return sorted(samples)[round(share * (len(samples) - 1))]


def copy_bandwidth(
    device: torch.device | str = "cpu",
    *,
    megabytes: int = 256,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Measure torch's copy between buffers too large for the caches: bytes per second, read and written."""
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device).view(torch.float32)
    target = torch.empty_like(source)
    timing = compare({"copy": lambda: target.copy_(source)}, device=device, rounds=7, clock=clock)
    return 2 * source.numel() * 4 / timing["copy"].median


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Set what CUDA products of float32 may round to: `ieee` nothing, `tf32` 10 bits of mantissa."""
    backend: Any = torch.backends.cuda.matmul
    before, backend.fp32_precision = backend.fp32_precision, precision
    try:
        yield
    finally:
        backend.fp32_precision = before


def gemm_peak(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    size: int = 0,
    tf32: bool = False,
) -> float:
    """Measure torch's square matrix product on random numbers: FLOP per second.

    `size` rows and columns; 0 is 2048 on the CPU and 8192 on CUDA.
    """
    device = torch.device(device)
    size = size or (8192 if device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    with float32_products("tf32" if tf32 else "ieee"):
        timing = compare({"gemm": lambda: torch.mm(a, b, out=out)}, device=device, rounds=7)
    return 2.0 * size**3 / timing["gemm"].median
