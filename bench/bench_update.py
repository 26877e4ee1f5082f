"""One update round of IBRL at the paper's sizes, in several precisions, against plain eager PyTorch.

    python bench/bench_update.py [--sizes state pixel drq quickstart] [--device cuda] [--threads 2] [--quick]

A round is G critic updates and one actor update; with sampling, every critic update draws its batch from a
filled replay buffer. "Share of peak" is the necessary operations (costs.py) over the time, against the
fastest matrix product at that precision measured in the same rounds. "Floor" is the least time that
operations and bytes allow at the rates of product and copy measured in the same run. On a GPU the candidates
are eager, torch.compile, and whole rounds as CUDA graphs, of one learner and of several at once. Writes
results/bench_update.json (on a GPU bench_update_cuda.json). On a busy machine, `--threads 1 --clock cpu`
counts the processor time of this process instead of the wall's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from plots import bars, figure
from record import Results, bench_parser
from timing import copy_bandwidth, float32_products
from update_cases import SIZES, Call, candidates, filled_buffer, phase_seconds

from ibrl_fast.nn.fast_layers import find_onednn
from ibrl_fast.training.host_memory import keep_freed_memory

# calls between two events, so that the first one's way to the GPU does not count
CUDA_CALLS = 10


def products(device: torch.device) -> dict[str, tuple[Call, float]]:
    """Make the matrix products whose fastest is the peak: name -> call, operations."""
    onednn, found = find_onednn(), {}
    if device.type == "cuda":
        return cuda_products(device)
    shapes = [(1024, 1024, 1024), (256, 1024, 1024)]
    for m, k, n in shapes:
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            a, b = torch.randn(m, k, device=device).to(dtype), torch.randn(n, k, device=device).to(dtype)
            repeats = max(1, round(2e9 / (2 * m * k * n)))

            def multiply(a: torch.Tensor = a, b: torch.Tensor = b, repeats: int = repeats) -> None:
                for _ in range(repeats):
                    torch.mm(a, b.t())

            found[f"{precision} torch.mm {m}x{k}x{n}"] = (multiply, 2.0 * m * k * n * repeats)
            if onednn is None or precision == "bf16":
                continue

            def multiply_onednn(a: torch.Tensor = a, b: torch.Tensor = b, repeats: int = repeats) -> None:
                for _ in range(repeats):
                    onednn(a, b, None, "none", [], "")

            found[f"{precision} oneDNN {m}x{k}x{n}"] = (multiply_onednn, 2.0 * m * k * n * repeats)
    return found


def cuda_products(device: torch.device) -> dict[str, tuple[Call, float]]:
    """Make one large product in each precision."""
    size, found = 8192, {}
    for precision in ("fp32", "tf32", "bf16"):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

        def multiply(a: torch.Tensor = a, b: torch.Tensor = b, precision: str = precision) -> None:
            with float32_products("tf32" if precision == "tf32" else "ieee"):
                torch.mm(a, b)

        found[f"{precision} torch.mm {size}x{size}x{size}"] = (multiply, 2.0 * size**3)
    return found


def seconds(call: Call, device: torch.device, clock: str) -> float:
    """Time one call, by the wall, by this process's processor time, or on a GPU between two events."""
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(CUDA_CALLS):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / CUDA_CALLS
    now = time.perf_counter if clock == "wall" else time.process_time
    begin = now()
    call()
    return now() - begin


def measure(
    calls: Mapping[str, Call], device: torch.device, clock: str, rounds: int
) -> dict[str, list[float]]:
    """Time every call, in turn, round after round, in seconds; one call of each before."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call, device, clock))
    return taken


def bench_size(name: str, args: argparse.Namespace, bandwidth: float) -> dict[str, Any]:
    """Measure one size: times, shares of the peak, multiples of the floor, and the baseline's factor."""
    size, device = SIZES[name], torch.device(args.device)
    gemms = products(device)
    calls, failed = candidates(
        size,
        device,
        1000 if args.quick else 2000,
        plain=not args.no_plain,
        compiled=args.compile,
        captured=not args.no_captured,
        seeds=tuple(args.seeds),
    )
    taken = measure({**{n: call for n, (call, _) in gemms.items()}, **calls}, device, args.clock, args.rounds)
    rates = {n: flops / statistics.median(taken[n]) for n, (_, flops) in gemms.items()}
    peak = {p: max(r for n, r in rates.items() if n.startswith(p)) for p in {n.split()[0] for n in rates}}
    rows, plain = {}, "plain fp32 + sampling"
    for candidate in calls:
        median = statistics.median(taken[candidate])
        precision = next(p for p in ("tf32", "bf16", "fp32") if p in candidate)
        learners = int(candidate.split()[-2]) if candidate.endswith("seeds") else 1
        cost = size.cost(2 if precision == "bf16" else 4).of_round(size.critic_updates) * learners
        floor = cost.floor_seconds(peak[precision], bandwidth)
        rows[candidate] = {
            "median_ms": 1e3 * median,
            "fastest_ms": 1e3 * min(taken[candidate]),
            "slowest_ms": 1e3 * max(taken[candidate]),
            "learners": learners,
            "rounds_per_second": learners / median,
            "gflop_per_s": cost.flops / median / 1e9,
            "share_of_peak": cost.flops / median / peak[precision],
            "floor_ms": 1e3 * floor,
            "bound": "operations" if cost.flops / peak[precision] >= cost.bytes / bandwidth else "bytes",
            "times_floor": median / floor,
        }
        if plain in rows:
            rows[candidate]["speedup_over_plain"] = rows[plain]["median_ms"] * learners / (1e3 * median)
    now = time.perf_counter if args.clock == "wall" else time.process_time
    phases = {}
    for precision in ("fp32", "bf16") if device.type == "cpu" else ():
        seconds_of = phase_seconds(size, filled_buffer(size, 1000, device), precision, args.rounds, now)
        phases[precision] = {name: 1e3 * value for name, value in seconds_of.items()}
    return {
        "batch": size.batch,
        "critics": size.network.critic.num_critics,
        "critic_updates": size.critic_updates,
        "gflop": size.cost(4).of_round(size.critic_updates).flops / 1e9,
        "gbytes_fp32": size.cost(4).of_round(size.critic_updates).bytes / 1e9,
        "gbytes_bf16": size.cost(2).of_round(size.critic_updates).bytes / 1e9,
        "products_gflop_per_s": {n: rate / 1e9 for n, rate in rates.items()},
        "peak_gflop_per_s": {p: rate / 1e9 for p, rate in peak.items()},
        "rounds": args.rounds,
        "updates": rows,
        "phases_ms": phases,
        "failed": failed,
    }


def print_table(results: Mapping[str, Any]) -> None:
    """Print everything measured, one line each."""
    for name, result in results.items():
        peak = ", ".join(f"{p} {rate:.0f}" for p, rate in sorted(result["peak_gflop_per_s"].items()))
        moved = f"{result['gbytes_fp32']:.2f} GB (bf16 {result['gbytes_bf16']:.2f})"
        print(f"\n{name}: {result['gflop']:.1f} GFLOP, {moved} a round; peak {peak} GFLOP/s")
        for candidate, row in result["updates"].items():
            faster = f"{row['speedup_over_plain']:6.1f} x plain" if "speedup_over_plain" in row else ""
            print(
                f"  {candidate:36s} {row['median_ms']:10.3f} ms {row['share_of_peak']:7.1%} of peak "
                f"{row['times_floor']:6.1f} x floor ({row['bound']}) {faster}"
            )
        for precision, phases in result["phases_ms"].items():
            parts = ", ".join(f"{name} {value:.2f} ms" for name, value in phases.items())
            print(f"  of a round, {precision}: {parts}")
        for candidate, reason in result["failed"].items():
            print(f"  {candidate:36s} failed: {reason}")


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw every candidate's share of the peak, a panel for each size."""
    sizes = report["sizes"]
    with figure(path, 1, len(sizes), size=(5.2 * len(sizes), 3.2)) as axes:
        for axis, (name, result) in zip(axes[0], sizes.items()):
            rows = result["updates"]
            shares = {candidate: 100 * row["share_of_peak"] for candidate, row in rows.items()}
            times = {candidate: f"{row['median_ms']:.1f} ms" for candidate, row in rows.items()}
            bars(axis, shares, "% of the GEMM peak at that precision", texts=times)
            axis.set_title(f"{name}, batch {result['batch']}", fontsize=10)


def main() -> None:
    """Time every size, print tables, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of our update")
    parser.add_argument("--no-captured", action="store_true", help="GPU: no CUDA graphs")
    parser.add_argument("--seeds", type=int, nargs="*", default=[2, 4], help="GPU: learners at once")
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain baseline")
    parser.add_argument(
        "--no-keep-memory", action="store_true", help="leave the C library's allocator as it is"
    )
    parser.add_argument("--quick", action="store_true", help="two rounds, no pixels: a check that it runs")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("bench_update: skipped, no CUDA device")
        return
    if args.clock == "cpu" and (args.threads != 1 or args.device != "cpu"):
        parser.error("--clock cpu: expected --threads 1 and --device cpu")
    if args.quick:
        args.rounds, args.sizes = 2, [name for name in args.sizes if SIZES[name].image is None]
    torch.set_num_threads(args.threads)
    kept = not args.no_keep_memory and keep_freed_memory()
    written, bandwidth = Results(args, args.device), copy_bandwidth(args.device)
    facts = {"clock": args.clock, "keep_freed_memory": kept, "copy_bytes_per_second": bandwidth}
    results = {name: bench_size(name, args, bandwidth) for name in args.sizes}
    print_table(results)
    report = written.write({**facts, "sizes": results})
    if args.plot:
        draw(report, written.picture)


if __name__ == "__main__":
    main()
