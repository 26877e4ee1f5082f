"""One update round of IBRL at the paper's sizes, fp32 and bf16, against plain eager PyTorch and the peak.

    python bench/bench_update.py [--sizes state pixel quickstart] [--device cuda] [--threads 2] [--quick]

A round is G critic updates and one actor update; with sampling, every critic update draws its batch from a
filled replay buffer. "Share" is the necessary operations (flops.py) over the time, against the fastest matrix
product at that precision measured in the same rounds. Writes results/bench_update.json (on a GPU
bench_update_cuda.json) and a chart. On a busy machine, `--threads 1 --clock cpu` counts the processor time of
this process instead of the wall's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from flops import RoundFlops, pixel_flops, state_flops
from plain_update import PlainIBRL
from timing import RESULTS, machine_facts, write_results

from ibrl_fast.agents import IBRLAgent, IBRLConfig
from ibrl_fast.data import ObsSpec, ReplayBuffer
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    NetworkConfig,
    build_bc_policy,
    build_networks,
)
from ibrl_fast.ops.linear import _find_onednn
from ibrl_fast.training.host_memory import keep_freed_memory

Call = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """A round's networks and data; image is (channels, size, size) or None."""

    network: NetworkConfig
    bc: BCNetworkConfig
    vector: int
    stack: int
    action_dim: int
    batch: int
    critic_updates: int
    image: tuple[int, int, int] | None = None

    @property
    def flops(self) -> RoundFlops:
        """Necessary operations."""
        features = self.vector * self.stack
        if self.image is None:
            return state_flops(self.network, self.batch, features, self.action_dim)
        return pixel_flops(self.network, self.batch, *self.image[:2], features, self.action_dim)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What the networks read."""
        vector = {"state" if self.image is None else "proprio": (self.vector * self.stack,)}
        return vector if self.image is None else {**vector, "camera": self.image}


_SMALL = NetworkConfig(
    actor=ActorConfig(hidden=(256, 256)), critic=CriticConfig(num_critics=2, hidden=(256, 256))
)
_SMALL_BC = BCNetworkConfig(actor=ActorConfig(hidden=(256, 256, 256), dropout=0.0))
SIZES = {
    "state": Size(NetworkConfig.state(), BCNetworkConfig(), 23, 3, 7, 256, 5),
    "pixel": Size(
        NetworkConfig.pixel_vit(), BCNetworkConfig.pixel_resnet18(), 9, 3, 7, 256, 1, image=(3, 96, 96)
    ),
    "quickstart": Size(_SMALL, _SMALL_BC, 39, 1, 4, 128, 2),
}


def transitions(size: Size, count: int, device: torch.device) -> dict[str, Any]:
    """Random transitions for the baseline, as arrays of stacked observations."""

    def side() -> dict[str, torch.Tensor]:
        return {
            key: torch.rand(count, *shape, device=device) * 2 - 1
            if len(shape) == 1
            else torch.randint(0, 256, (count, *shape), dtype=torch.uint8, device=device)
            for key, shape in size.shapes.items()
        }

    return {
        "obs": side(),
        "next_obs": side(),
        "action": torch.rand(count, size.action_dim, device=device) * 2 - 1,
        "reward": torch.rand(count, device=device),
        "discount": torch.full((count,), 0.97, device=device),
    }


def filled_buffer(size: Size, count: int, device: torch.device) -> ReplayBuffer:
    """A replay buffer of `count` random steps in episodes of 100."""
    key = "state" if size.image is None else "proprio"
    space = {key: ObsSpec((size.vector,))}
    if size.image is not None:
        space["camera"] = ObsSpec(size.image, torch.uint8)
    envs = 10
    buffer = ReplayBuffer(
        space,
        size.action_dim,
        capacity=count,
        max_episode_steps=100,
        num_envs=envs,
        device=device,
        stacks={key: size.stack},
    )

    def observe() -> dict[str, torch.Tensor]:
        return {
            name: torch.rand(envs, *spec.shape)
            if spec.dtype == torch.float32
            else torch.randint(0, 256, (envs, *spec.shape), dtype=torch.uint8)
            for name, spec in space.items()
        }

    def propose() -> torch.Tensor:
        return torch.rand(envs, 1, size.action_dim) * 2 - 1

    no = torch.zeros(envs, dtype=torch.bool)
    for step in range(count // envs):
        if step % 100 == 0:
            buffer.start_episode(None, observe(), propose())
        truncated = ~no if step % 100 == 99 else no
        buffer.append(propose()[:, 0], torch.rand(envs), no, truncated, observe(), propose())
    return buffer


def make_round(agent: IBRLAgent, buffer: ReplayBuffer, size: Size, *, sample: bool) -> Call:
    """Our update round, with a fresh batch for every critic update or always the same one."""
    fixed = buffer.sample(size.batch)

    def one_round() -> None:
        batch = fixed
        for _ in range(size.critic_updates):
            batch = buffer.sample(size.batch) if sample else fixed
            agent.update_critic(batch)
        agent.update_actor(batch)

    return one_round


def candidates(size: Size, args: argparse.Namespace) -> tuple[dict[str, Call], dict[str, str]]:
    """Everything that is timed at one size, and what could not be."""
    device, count = torch.device(args.device), 1000 if args.quick else 2000
    buffer, calls, failed = filled_buffer(size, count, device), {}, {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        networks = build_networks(size.network, size.shapes, size.action_dim)
        bc_policy = build_bc_policy(size.bc, size.shapes, size.action_dim)
        agent = IBRLAgent(networks, IBRLConfig(precision=precision), bc_policy, seed=0, device=device)
        calls[f"ours {precision}"] = make_round(agent, buffer, size, sample=False)
        calls[f"ours {precision} + sampling"] = make_round(agent, buffer, size, sample=True)
    if args.compile:
        torch.manual_seed(0)
        networks = build_networks(size.network, size.shapes, size.action_dim)
        agent = IBRLAgent(networks, IBRLConfig(), bc_policy, seed=0, device=device)
        agent._regress = torch.compile(agent._regress)  # type: ignore[method-assign]
        agent._target = torch.compile(agent._target)  # type: ignore[method-assign]
        agent.update_actor = torch.compile(agent.update_actor)  # type: ignore[method-assign]
        compiled = make_round(agent, buffer, size, sample=False)
        try:
            compiled()
            calls["ours fp32, torch.compile"] = compiled
        except Exception as error:
            failed["ours fp32, torch.compile"] = f"{type(error).__name__}: {error}"[:500]
    if not args.no_plain:
        bc_policy = (
            build_bc_policy(size.bc, size.shapes, size.action_dim).requires_grad_(False).eval().to(device)
        )
        plain = PlainIBRL(
            size.network,
            size.shapes,
            size.action_dim,
            bc_policy,
            transitions(size, count, device),
            batch_size=size.batch,
            critic_updates=size.critic_updates,
            device=device,
        )
        calls["plain fp32 + sampling"] = plain.round
    return calls, failed


def products(device: torch.device) -> dict[str, tuple[Call, float]]:
    """Matrix products whose fastest is the peak: name -> call, operations."""
    shapes = [(8192, 8192, 8192)] if device.type == "cuda" else [(1024, 1024, 1024), (256, 1024, 1024)]
    onednn, found = _find_onednn(), {}
    for m, k, n in shapes:
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            a, b = torch.randn(m, k, device=device).to(dtype), torch.randn(n, k, device=device).to(dtype)
            repeats = max(1, round(2e9 / (2 * m * k * n))) if device.type == "cpu" else 1

            def multiply(a: torch.Tensor = a, b: torch.Tensor = b, repeats: int = repeats) -> None:
                for _ in range(repeats):
                    torch.mm(a, b.t())

            found[f"{precision} torch.mm {m}x{k}x{n}"] = (multiply, 2.0 * m * k * n * repeats)
            if onednn is None or device.type == "cuda" or precision == "bf16":
                continue

            def multiply_onednn(a: torch.Tensor = a, b: torch.Tensor = b, repeats: int = repeats) -> None:
                for _ in range(repeats):
                    onednn(a, b, None, "none", [], "")

            found[f"{precision} oneDNN {m}x{k}x{n}"] = (multiply_onednn, 2.0 * m * k * n * repeats)
    return found


def seconds(call: Call, device: torch.device, clock: str) -> float:
    """One call's time, by the wall, by the processor time of this process, or between two CUDA events."""
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3
    now = time.perf_counter if clock == "wall" else time.process_time
    begin = now()
    call()
    return now() - begin


def measure(
    calls: Mapping[str, Call], device: torch.device, clock: str, rounds: int
) -> dict[str, list[float]]:
    """Seconds of every call, in turn, round after round; one call of each before."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call, device, clock))
    return taken


def bench_size(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One size: times, shares of the peak, and the baseline's factor."""
    size, device = SIZES[name], torch.device(args.device)
    gemms = products(device)
    calls, failed = candidates(size, args)
    taken = measure({**{n: call for n, (call, _) in gemms.items()}, **calls}, device, args.clock, args.rounds)
    rates = {n: flops / statistics.median(taken[n]) for n, (_, flops) in gemms.items()}
    peak = {p: max(rate for n, rate in rates.items() if n.startswith(p)) for p in ("fp32", "bf16")}
    flops = size.flops.of_round(size.critic_updates)
    rows = {}
    for candidate in calls:
        median = statistics.median(taken[candidate])
        precision = "bf16" if "bf16" in candidate else "fp32"
        rows[candidate] = {
            "median_ms": 1e3 * median,
            "fastest_ms": 1e3 * min(taken[candidate]),
            "slowest_ms": 1e3 * max(taken[candidate]),
            "gflop_per_s": flops / median / 1e9,
            "share_of_peak": flops / median / peak[precision],
        }
    return {
        "batch": size.batch,
        "critics": size.network.critic.num_critics,
        "critic_updates": size.critic_updates,
        "gflop": flops / 1e9,
        "products_gflop_per_s": {n: rate / 1e9 for n, rate in rates.items()},
        "peak_gflop_per_s": {p: rate / 1e9 for p, rate in peak.items()},
        "rounds": args.rounds,
        "updates": rows,
        "failed": failed,
    }


def print_table(results: Mapping[str, Any]) -> None:
    """Everything measured, one line each."""
    for name, result in results.items():
        peak = ", ".join(f"{p} {rate:.0f}" for p, rate in result["peak_gflop_per_s"].items())
        print(f"\n{name}: {result['gflop']:.1f} GFLOP a round; peak {peak} GFLOP/s")
        for candidate, row in result["updates"].items():
            print(f"  {candidate:28s} {row['median_ms']:10.2f} ms {row['share_of_peak']:7.1%} of peak")
        for candidate, reason in result["failed"].items():
            print(f"  {candidate:28s} failed: {reason}")


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Share of the peak of every candidate, a panel for each size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(5.2 * len(results), 3.2), squeeze=False)
    for axis, (name, result) in zip(axes[0], results.items()):
        names = list(result["updates"])
        shares = [100 * result["updates"][candidate]["share_of_peak"] for candidate in names]
        bars = axis.barh(names, shares, color=["#999999" if "plain" in n else "#2a6fbb" for n in names])
        labels = [f"{result['updates'][n]['median_ms']:.1f} ms" for n in names]
        axis.bar_label(bars, labels, padding=3, fontsize=8)
        axis.set_xlim(0, 1.3 * max(shares))
        axis.invert_yaxis()
        axis.set_title(f"{name}, batch {result['batch']}", fontsize=10)
        axis.set_xlabel("% of the GEMM peak at that precision")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of our update")
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain baseline")
    parser.add_argument(
        "--no-keep-memory", action="store_true", help="leave the C library's allocator as it is"
    )
    parser.add_argument("--quick", action="store_true", help="two rounds, no pixels: a check that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("bench_update: skipped, no CUDA device")
        return
    if args.clock == "cpu" and (args.threads != 1 or args.device != "cpu"):
        parser.error("--clock cpu: expected --threads 1 and --device cpu")
    if args.quick:
        args.rounds, args.sizes = 2, [name for name in args.sizes if name != "pixel"]
    torch.set_num_threads(args.threads)
    kept = not args.no_keep_memory and keep_freed_memory()
    facts = {**machine_facts(args.device), "clock": args.clock, "keep_freed_memory": kept}
    results = {name: bench_size(name, args) for name in args.sizes}
    print_table(results)
    stem = "bench_update" if args.device == "cpu" else "bench_update_cuda"
    write_results(args.out / f"{stem}.json", {"machine": facts, "sizes": results})
    draw(results, args.out / f"{stem}.png")


if __name__ == "__main__":
    main()
