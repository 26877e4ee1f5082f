"""A batch from the replay buffer (draw, n-step return, stack, augmentation) and the cost of new steps.

    python bench/bench_replay.py [--device cuda] [--quick] [--clock cpu] [--threads 1]

Every storage of ours, on a GPU eager, captured and host storage with its copy, against torch's indexing with
DrQ's grid_sample shift, and, where it can be imported, TorchRL's replay buffer with a prefetching sampler
over LazyTensorStorage and LazyMemmapStorage (whole transitions: it neither stacks nor sums rewards when
sampling). "Share" is the bytes that a batch must at least move over its time, against the copy bandwidth
measured in the same run. On a GPU also: the time that a batch adds to an update beside it, and where pinned
storage takes over. Freed memory is kept by the process, as in training, for every candidate alike. Writes
results/bench_replay.json (bench_replay_cuda.json on a GPU).
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from baselines.replay_buffers import EPISODE, TorchBuffer, TorchRLBuffer, find_torchrl
from plots import bars, figure
from record import Results, bench_parser
from replay_cases import ACTION, BATCH, SIZES, Call, Feed, Size, appender, filled_buffer, make_buffer
from timing import compare, copy_bandwidth

from ibrl_fast.data import BufferPlan, ReplayBuffer
from ibrl_fast.training.host_memory import keep_freed_memory


def captured(buffer: ReplayBuffer) -> Call:
    """Capture a graph of one draw, to be replayed as a learner does."""
    for _ in range(3):
        buffer.sample(BATCH)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch = buffer.draw(BATCH)

    def replay() -> Any:
        buffer.before_reads()
        graph.replay()
        buffer.after_reads()
        return batch

    return replay


def storages(device: torch.device) -> tuple[str, ...]:
    """List the storages that differ: on the CPU all are host memory."""
    return ("device", "pinned", "host") if device.type == "cuda" else ("device",)


def bench_sampling(
    size: Size,
    buffers: dict[str, ReplayBuffer],
    device: torch.device,
    torchrl: Any,
    memmap: Path,
    capacity: int,
    **timing: Any,
) -> dict[str, Any]:
    """Time every way to get a batch of this size."""
    calls: dict[str, Call] = {}
    for storage, buffer in buffers.items():
        calls[f"ours {storage}"] = partial(buffer.sample, BATCH)
        if device.type == "cuda" and buffer.draws_on_device:
            calls[f"ours {storage}, captured"] = captured(buffer)
    for where in dict.fromkeys((device, torch.device("cpu"))):
        name = f"torch + grid_sample, {'device' if where == device else 'host'}"
        baseline = TorchBuffer(size.space, size.stacks, ACTION, capacity, storage=where, device=device)
        calls[name] = partial(baseline.sample, BATCH)
    if not isinstance(torchrl, str):
        for name, folder in (("LazyTensorStorage", None), ("LazyMemmapStorage", memmap)):
            calls[f"TorchRL {name}"] = TorchRLBuffer(
                torchrl, size.space, size.stacks, ACTION, 2000, BATCH, memmap=folder, device=device
            ).sample
    return compare(calls, device=device, **timing)


def bench_beside(
    buffers: dict[str, ReplayBuffer], device: torch.device, milliseconds: float
) -> dict[str, Any]:
    """Time what a batch adds to work of about this length that the GPU does meanwhile."""
    a, b = (torch.randn(4096, 4096, device=device, dtype=torch.bfloat16) for _ in range(2))
    single = compare({"mm": lambda: torch.mm(a, b)}, device=device, rounds=3)["mm"].median
    times = max(1, round(milliseconds / 1e3 / single))

    def work() -> None:
        for _ in range(times):
            torch.mm(a, b)

    calls: dict[str, Call] = {"work alone": work}
    for storage in buffers:

        def sample_then_work(buffer: ReplayBuffer = buffers[storage]) -> None:
            buffer.sample(BATCH)
            work()

        calls[storage] = sample_then_work
    return compare(calls, device=device, rounds=9, round_seconds=0.05)


def bench_appends(size: Size, device: torch.device, torchrl: Any, **timing: Any) -> list[dict[str, Any]]:
    """Time what one step of 1, 8 and 64 environments costs the host."""
    results = []
    for envs in (1, 8, 64):
        feed, capacity = Feed.of(size.space, envs), max(2000, 2 * EPISODE * envs)
        calls: dict[str, Call] = {
            f"ours {storage}": appender(make_buffer(size, capacity, envs, storage, device), feed)
            for storage in storages(device)
        }
        baseline = TorchBuffer(size.space, size.stacks, ACTION, capacity, storage=device, device=device)
        flags = {"terminated": feed.no, "truncated": feed.no}
        step = {"obs": feed.obs, "il_action": feed.il_action, "action": feed.il_action[:, 0], **flags}
        calls["torch"] = partial(baseline.append, step | {"reward": feed.reward})
        if not isinstance(torchrl, str):
            whole = TorchRLBuffer(
                torchrl, size.space, size.stacks, ACTION, 500, BATCH, memmap=None, device=device
            )
            calls["TorchRL LazyTensorStorage"] = whole.appender(ACTION, envs)
        # The host's time: it is the host that must not wait.
        results.append({"envs": envs, **compare(calls, device="cpu", **timing)})
    return results


def print_crossover(size: Size, results: dict[str, Any], device: torch.device, link: float) -> dict[str, Any]:
    """Say how much fits on the device, and what a batch costs when it does not."""
    parameters = {"max_episode_steps": EPISODE, "num_envs": 10, "device": device}
    few, many = (
        BufferPlan(size.space, ACTION, capacity=capacity, **parameters).required_bytes
        for capacity in (10_000, 110_000)
    )
    per_step, free = (many - few) / 100_000, torch.cuda.mem_get_info(device)[0]
    times = {storage: results[f"ours {storage}, captured"].median for storage in ("device", "pinned")}
    crossover = {
        "bytes_per_step": per_step,
        "free_bytes": free,
        "steps_that_fit": int(free / per_step),
        "pinned_extra_seconds_per_batch": times["pinned"] - times["device"],
        "pinned_share_of_link": size.frame_bytes / times["pinned"] / link,
    }
    extra, share = crossover["pinned_extra_seconds_per_batch"], crossover["pinned_share_of_link"]
    print(
        f"  crossover: {per_step / 1e3:.1f} KB per step, {free / per_step / 1e6:.2f} million steps fit in "
        f"{free / 2**30:.0f} GiB; beyond, pinned adds {extra * 1e6:.0f} us to a batch ({share:.0%} of link)"
    )
    return crossover


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw bars of a batch's time, one panel for each size."""
    sizes = report["sampling"]
    with figure(path, 1, len(sizes), size=(5 * len(sizes), 3)) as axes:
        for axis, entry in zip(axes[0], sizes):
            times = {way: 1e3 * found["median"] for way, found in entry["ways"].items()}
            bars(axis, dict(sorted(times.items(), key=lambda each: each[1])), "ms per batch of 256")
            axis.set_title(entry["size"], size=10)


def main() -> None:
    """Time everything, print tables, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device(options.device)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    timing = {"rounds": 3 if options.quick else 9, "clock": clock}
    # Less than memory allows, more than caches hold.
    capacity = 20_000 if device.type == "cuda" else 2000

    results, torchrl = Results(options, device), find_torchrl()
    bandwidth, chip = copy_bandwidth(device, clock=clock), results.facts.get("gpu", results.facts["cpu"])
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s, {options.threads} threads, {chip}")
    found = torchrl if isinstance(torchrl, str) else results.facts.get("torchrl", "of an unknown version")
    print(f"TorchRL: {found}")
    report: dict[str, Any] = {"clock": options.clock, "batch": BATCH, "capacity": capacity}
    report["copy_bandwidth_bytes_per_s"] = bandwidth
    link = 0.0
    if device.type == "cuda":
        source, target = (
            torch.empty(2**28, dtype=torch.uint8).pin_memory(),
            torch.empty(2**28, dtype=torch.uint8, device=device),
        )
        link = (
            2**28
            / compare({"copy": lambda: target.copy_(source, non_blocking=True)}, device=device, rounds=5)[
                "copy"
            ].median
        )
        report["link_bytes_per_s"] = link
        print(f"host to device {link / 1e9:.1f} GB/s")

    report["sampling"] = []
    for name, size in SIZES.items():
        buffers = {each: filled_buffer(size, capacity, each, device) for each in storages(device)}
        with tempfile.TemporaryDirectory() as folder:
            timings = bench_sampling(
                size, buffers, device, torchrl, Path(folder), capacity=capacity, **timing
            )
        print(f"\n{name}: at least {size.moved_bytes / 1e6:.2f} MB per batch of {BATCH}")
        slowest = timings["torch + grid_sample, device"].median
        for way, found in sorted(timings.items(), key=lambda each: each[1].median):
            share = size.moved_bytes / found.median / bandwidth
            print(
                f"  {way:<34}{found.median * 1e6:>10.1f} us{slowest / found.median:>8.1f}x{share:>8.1%}",
                flush=True,
            )
        entry = {"size": name, "moved_bytes": size.moved_bytes, "frame_bytes": size.frame_bytes}
        entry["ways"] = timings
        entry["share_of_copy_bandwidth"] = size.moved_bytes / timings["ours device"].median / bandwidth
        if device.type == "cuda":
            entry["crossover"] = print_crossover(size, timings, device, link)
            entry["beside_an_update"] = bench_beside(buffers, device, 2.0)
            alone = entry["beside_an_update"]["work alone"].median
            for way, found in entry["beside_an_update"].items():
                extra = (found.median - alone) * 1e6
                print(f"  beside {alone * 1e3:.2f} ms of work: {way:<20}{extra:>+9.1f} us")
        report["sampling"].append(entry)

    report["appends"] = {}
    for name in ("pixel 96, proprio stack 3", "state 23 stack 3"):
        report["appends"][name] = bench_appends(SIZES[name], device, torchrl, **timing)
        print(f"\nappend, {name} (the host's time)")
        for entry in report["appends"][name]:
            ways = "".join(
                f"  {way} {found.median * 1e6:.1f} us" for way, found in entry.items() if way != "envs"
            )
            print(f"  {entry['envs']:>3} environments:{ways}", flush=True)

    written = results.write(report)
    if options.plot:
        draw(written, results.picture)


if __name__ == "__main__":
    main()
