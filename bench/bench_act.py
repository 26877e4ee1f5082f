"""Latency of one decision: imitation policy, actor, target critics and the choice, for N environments.

    python bench/bench_act.py [--device cuda] [--sizes state pixel drq] [--envs 1 8] [--calls 300]

From observations in host memory to actions in host memory, call by call: median, 99th percentile and worst,
in milliseconds. Candidates: the agent as the collector calls it, on a GPU captured in CUDA graphs as well,
and the exported TorchScript policy on the CPU as a robot would run it. Writes results/bench_act.json
(bench_act_cuda.json).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plots import bars, figure
from record import Results, bench_parser
from update_cases import SIZES, Size, make_agent

from ibrl_fast.agents import IBRLAgent
from ibrl_fast.deploy.contract import ObservationContract, ObservationField
from ibrl_fast.deploy.export import make_policy_module, script_policy
from ibrl_fast.training.acting import Acting

Call = Callable[[], torch.Tensor]


def observations(size: Size, envs: int) -> dict[str, torch.Tensor]:
    """Make stacked observations in host memory, images as the collector hands them over."""
    return {
        key: torch.rand(envs, *shape)
        if len(shape) == 1
        else torch.randint(0, 256, (envs, *shape), dtype=torch.uint8)
        for key, shape in size.shapes.items()
    }


def acting(agent: IBRLAgent, obs: dict[str, torch.Tensor], *, capture: bool) -> Call:
    """Return what the collector does for one step."""
    act = Acting(agent, capture=capture)

    def call() -> torch.Tensor:
        act.see(obs)
        act.propose()
        return act.act().action.cpu()

    return call


def exported(agent: IBRLAgent, size: Size, obs: dict[str, torch.Tensor]) -> Call:
    """Return a call of the scripted policy, as a file of it would run."""
    fields = {
        key: ObservationField(tuple(value.shape[1:]), str(value.dtype).removeprefix("torch."))  # type: ignore[arg-type]
        for key, value in obs.items()
    }
    module = make_policy_module(agent, ObservationContract(fields, size.action_dim))
    policy = torch.jit.freeze(script_policy(module).eval())

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return policy(obs)

    return call


def latencies(calls: dict[str, Call], count: int) -> dict[str, dict[str, float]]:
    """Time single calls, the candidates in turn, in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(10):
            call()
    for _ in range(count):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            taken[name].append(1e3 * (time.perf_counter() - begin))
    return {
        name: {
            "p50_ms": statistics.median(times),
            "p99_ms": sorted(times)[int(0.99 * (len(times) - 1))],
            "worst_ms": max(times),
            "calls": len(times),
        }
        for name, times in taken.items()
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw bars of the median latency, one panel for each size and number of environments."""
    sizes = report["sizes"]
    with figure(path, 1, len(sizes), size=(4 * len(sizes), 2)) as axes:
        for axis, (name, found) in zip(axes[0], sizes.items()):
            bars(axis, {candidate: row["p50_ms"] for candidate, row in found.items()}, "ms a decision")
            axis.set_title(name, size=9)


def main() -> None:
    """Time every size and number of environments, print tables, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("bench_act: skipped, no CUDA device")
        return
    torch.set_num_threads(args.threads)
    written = Results(args, args.device)
    results: dict[str, Any] = {}
    for name in args.sizes:
        size = SIZES[name]
        agent = make_agent(size, torch.device(args.device), "fp32")
        on_cpu = make_agent(size, torch.device("cpu"), "fp32")
        for envs in args.envs:
            obs = observations(size, envs)
            calls = {f"{args.device} eager": acting(agent, obs, capture=False)}
            if args.device == "cuda":
                calls["cuda captured"] = acting(agent, obs, capture=True)
            calls["cpu exported"] = exported(on_cpu, size, obs)
            found = results[f"{name}, {envs} environments"] = latencies(calls, args.calls)
            print(f"\n{name}, {envs} environments")
            for candidate, row in found.items():
                print(f"  {candidate:16s} p50 {row['p50_ms']:8.3f} ms   p99 {row['p99_ms']:8.3f} ms")
    report = written.write({"sizes": results})
    if args.plot:
        draw(report, written.picture)


if __name__ == "__main__":
    main()
