"""Every op against eager torch and torch.compile, at the paper's sizes (batch 256).

    python bench/bench_ops.py [--device cuda] [--threads 2] [--no-compile]

Prints a table and writes results/bench_ops.json (bench_ops_cuda.json on a GPU). The baselines are what one
would write in torch: torch's own random numbers, advanced indexing, DrQ's grid_sample. "Share" is the bytes
that a call must at least move, over its time, against the copy bandwidth measured in the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from baselines.drq import image_batch
from plots import OTHER, OURS, THIRD, figure
from record import Results, bench_parser
from timing import compare, copy_bandwidth
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.ops.ensemble_norm_relu import ensemble_norm_relu_reference
from ibrl_fast.ops.mlp import mlp_reference
from ibrl_fast.ops.nstep_return import nstep_return_reference
from ibrl_fast.ops.replay_gather import replay_gather_reference
from ibrl_fast.ops.spatial_embed import spatial_embed_reference

BATCH = 256


class Contest(NamedTuple):
    """One op at one size: our call, the eager one, the bytes that must move."""

    ours: Callable[[], Any]
    eager: Callable[..., Any]
    eager_args: tuple[Any, ...]
    num_bytes: int


def target_greedy(q: Tensor, reward: Tensor, discount: Tensor, subset: Tensor) -> Tensor:
    """The bootstrap target in torch, best proposal."""
    return reward + discount * q[:, subset].amin(1).amax(0)


def target_soft(q: Tensor, reward: Tensor, discount: Tensor, subset: Tensor) -> Tensor:
    """The bootstrap target in torch, proposal drawn by softmax."""
    values = q[:, subset].amin(1)
    choice = torch.multinomial(torch.softmax(10.0 * values, 0).t(), 1).t()
    return reward + discount * values.gather(0, choice)[0]


def select_greedy(q: Tensor, actions: Tensor, subset: Tensor) -> Tensor:
    """The best proposal's action in torch."""
    choice = q[:, subset].amin(1).argmax(0)
    return actions[choice, torch.arange(actions.shape[1], device=actions.device)]


def adam_and_average(optimizer: torch.optim.Optimizer, targets: list[Tensor], online: list[Tensor]) -> None:
    """Torch's Adam, then a moving average of every tensor."""
    optimizer.step()
    torch._foreach_lerp_(targets, online, 0.01)


def contests(device: torch.device) -> dict[str, Contest]:
    """Everything that is timed, by name."""

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device=device)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device)

    # a replay buffer of 20 000 steps in episodes of 100
    num_rows = 20_000
    step = (torch.arange(num_rows, device=device) % 101).int()
    is_tail = step == 100
    none = torch.zeros_like(is_tail)
    table = torch.nonzero(~is_tail)[:, 0]
    rows = table[torch.randint(0, len(table) - 1, (BATCH,), device=device)]
    counter = torch.zeros(1, dtype=torch.int64, device=device)
    size = torch.tensor([len(table)], device=device)
    drawing = {"seed": 1, "counter": counter}
    subset = torch.tensor([1, 3], device=device)
    found: dict[str, Contest] = {}

    drawn = empty(BATCH, dtype=torch.int64)
    found["sample_rows"] = Contest(
        lambda: ops.sample_rows(table, size, BATCH, **drawing, out=drawn),
        lambda table: table[torch.randint(0, len(table), (BATCH,), device=table.device)],
        (table,),
        BATCH * 16,
    )

    reward = random(num_rows)
    nstep_out = (empty(BATCH), empty(BATCH), empty(BATCH, dtype=torch.int64))
    nstep_args = (reward, none, none, is_tail, rows)
    found["nstep_return n=3"] = Contest(
        lambda: ops.nstep_return(*nstep_args, nstep=3, gamma=0.99, out=nstep_out),
        lambda *args: nstep_return_reference(*args, nstep=3, gamma=0.99),
        nstep_args,
        BATCH * (3 * 7 + 8 + 16),
    )

    # what a state batch takes: s and s' stacked, the action, the imitation actions for s and s'
    state, action, il_action = random(num_rows, 39), random(num_rows, 4), random(num_rows, 1, 4)
    sources, places = [state, state, action, il_action, il_action], [rows, rows + 1, rows, rows, rows + 1]
    stacks = [3, 3, 1, 1, 1]
    gathered = ops.replay_gather(sources, places, step, stacks=stacks)
    found["replay_gather state batch"] = Contest(
        lambda: ops.replay_gather(sources, places, step, stacks=stacks, out=gathered),
        lambda *each: [replay_gather_reference(s, r, step, stack=k) for s, r, k in zip(each, places, stacks)],
        tuple(sources),
        sum(2 * tensor.numel() * 4 for tensor in gathered),
    )

    for side, stack, dtype in ((84, 3, torch.float32), (84, 3, torch.bfloat16), (96, 1, torch.float32)):
        frames = torch.randint(0, 256, (2000, 3, side, side), dtype=torch.uint8, device=device)
        at, image_step = rows % 1999, step[:2000]
        out = ops.random_shift_gather(frames, at, at + 1, image_step, stack=stack, out_dtype=dtype, **drawing)
        pixels = 2 * BATCH * stack * 3 * side * side
        name = f"random_shift_gather {side}px stack {stack} {str(dtype).removeprefix('torch.')}"
        found[name] = Contest(
            lambda frames=frames, at=at, image_step=image_step, stack=stack, dtype=dtype, out=out: (
                ops.random_shift_gather(
                    frames, at, at + 1, image_step, stack=stack, out_dtype=dtype, **drawing, out=out
                )
            ),
            lambda frames, at, image_step, stack=stack, dtype=dtype: [
                x.to(dtype) for x in image_batch(frames, at, at + 1, image_step, stack)
            ],
            (frames, at, image_step),
            pixels * (1 + out[0].element_size()),
        )

    q, discount, actions = random(2, 5, BATCH), random(BATCH), random(2, BATCH, 7)
    target_args = (q, reward[:BATCH], discount, subset)
    target_out = (empty(BATCH), empty(BATCH, dtype=torch.int64))
    for name, beta, plain in (("greedy", None, target_greedy), ("soft", 10.0, target_soft)):
        found[f"ibrl_target {name} E=5"] = Contest(
            lambda beta=beta: ops.ibrl_target(*target_args, beta=beta, **drawing, out=target_out),
            plain,
            target_args,
            BATCH * (4 * 4 + 12 + 8),
        )
    select_out = (empty(BATCH, 7), empty(BATCH, dtype=torch.int64))
    found["ibrl_select greedy E=5"] = Contest(
        lambda: ops.ibrl_select(q, actions, subset, **drawing, out=select_out),
        select_greedy,
        (q, actions, subset),
        BATCH * (4 * 4 + 2 * 28 + 8),
    )

    # five state critics of the paper: 10.9 million parameters in their own tensors
    shapes = [(1024, 155 if layer == 0 else 1024) for layer in range(3)] + [(1024,)] * 9 + [(1, 1024), (1,)]
    targets, online, gradients = ([random(*shape) for _ in range(5) for shape in shapes] for _ in range(3))
    # in flat storage; the baseline is torch's fused Adam and foreach average
    offsets, total = [], 0
    for gradient in gradients:
        offsets.append(total)
        total += -(-gradient.numel() // 16) * 16
    values, exp_avg, exp_avg_sq, target = (empty(total).zero_() for _ in range(4))
    for tensor, gradient in zip(online, gradients):
        tensor.grad = gradient
    optimizer = torch.optim.Adam(online, lr=1e-4, fused=True, capturable=True)
    found["adam_update 5 state critics and target"] = Contest(
        lambda: ops.adam_update(
            values,
            gradients,
            offsets,
            exp_avg,
            exp_avg_sq,
            counter,
            learning_rate=1e-4,
            target=target,
            rho=0.99,
        ),
        adam_and_average,
        (optimizer, targets, online),
        9 * total * 4,
    )

    # two pixel critics with one proposal, five state critics' hidden layer: forward, then with the backward
    affine = [random(2, 1024), random(2, 1024), random(2, 128, 1024)]
    for dtype in (torch.float32, torch.bfloat16):
        embed = [random(BATCH, 128, 2, 1024).to(dtype), random(2, 1, BATCH, 1024).to(dtype), *affine]
        layer = [random(5, BATCH, 1024).to(dtype), *(random(5, 1024) for _ in range(3))]
        for name, function, reference, given, forward_passes, backward_passes in (
            # times that the large tensor must be read or written
            ("spatial_embed E=2", ops.spatial_embed, spatial_embed_reference, embed, 1, 2),
            ("ensemble_norm_relu E=5", ops.ensemble_norm_relu, ensemble_norm_relu_reference, layer, 2, 3),
        ):
            name = f"{name} {str(dtype).removeprefix('torch.')}"
            num_bytes = given[0].numel() * given[0].element_size()
            found[name] = Contest(
                lambda function=function, given=given: function(*given),
                reference,
                tuple(given),
                forward_passes * num_bytes,
            )
            learned = [value.clone().requires_grad_(True) for value in given]
            found[f"{name} with backward"] = Contest(
                lambda function=function, learned=learned: both_ways(function, learned),
                lambda *learned, reference=reference: both_ways(reference, learned),
                tuple(learned),
                (forward_passes + backward_passes) * num_bytes,
            )

    # critics of the quickstart; bytes: weights and inputs once, gradients once
    shapes = [(2, 256, 43), (2, 256), (2, 256), (2, 256), (2, 256, 256), (2, 256), (2, 256), (2, 256)]
    network = [random(*shape) * 0.1 for shape in (*shapes, (2, 1, 256), (2, 1))]
    given = [random(1, 128, 43), *network]
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in given)
    found["mlp E=2 2 x 256"] = Contest(
        lambda: network_of(ops.mlp, given), network_of, (mlp_reference, given), num_bytes
    )
    learned = [tensor.clone().requires_grad_(True) for tensor in given]
    found["mlp E=2 2 x 256 with backward"] = Contest(
        lambda: both_ways(lambda *tensors: network_of(ops.mlp, tensors), learned),
        lambda *tensors: both_ways(lambda *tensors: network_of(mlp_reference, tensors), tensors),
        tuple(learned),
        2 * num_bytes,
    )
    return found


def network_of(function: Callable[..., Tensor], given: Sequence[Tensor]) -> Tensor:
    """An ensemble with LayerNorms on its input."""
    return function(given[0], list(given[1:]), layer_norm=True)


def both_ways(function: Callable[..., Tensor], learned: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Forward and backward, for the gradients of all arguments."""
    result = function(*learned)
    return torch.autograd.grad(result, learned, torch.ones_like(result))


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw bars of the time against eager torch."""
    results = report["results"]
    with figure(path, size=(8, 0.5 * len(results) + 1.2)) as axes:
        axis = axes[0, 0]
        for row, result in enumerate(reversed(results)):
            for offset, (name, color) in enumerate(
                (("ours", OURS), ("torch.compile", THIRD), ("eager", OTHER))
            ):
                if name not in result:
                    continue
                place, median = row + 0.25 * (1 - offset), result[name]["median"]
                speed = result["eager"]["median"] / median
                axis.barh(place, speed, 0.25, color=color, label=name if row == 0 else None)
                axis.text(speed, place, f" {median * 1e6:.0f} us", va="center", size=7)
        axis.set_yticks(range(len(results)), [result["op"] for result in reversed(results)])
        axis.set_xscale("log")
        axis.set_xlabel("times as fast as eager torch")
        axis.legend(loc="lower right")


def main() -> None:
    """Time every contest, print the table, write the results."""
    parser = bench_parser(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device(options.device)

    written = Results(options, device)
    bandwidth, chip = copy_bandwidth(device), written.facts.get("gpu", written.facts["cpu"])
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s, {options.threads} threads, {chip}")
    print(f"{'op':<46}{'ours us':>10}{'eager us':>10}{'compile us':>12}{'speed-up':>10}{'share':>8}")
    results = []
    for name, contest in contests(device).items():
        candidates = {
            "ours": contest.ours,
            "eager": lambda contest=contest: contest.eager(*contest.eager_args),
        }
        if not options.no_compile:
            torch._dynamo.reset()
            compiled = torch.compile(contest.eager)
            candidates["torch.compile"] = lambda contest=contest, compiled=compiled: compiled(
                *contest.eager_args
            )
        timings = compare(candidates, device=device, rounds=options.rounds)
        share = contest.num_bytes / timings["ours"].median / bandwidth
        results.append({"op": name, **timings, "bytes": contest.num_bytes, "share_of_copy_bandwidth": share})
        ours, eager = timings["ours"].median, timings["eager"].median
        with_compile = f"{timings['torch.compile'].median * 1e6:.1f}" if "torch.compile" in timings else "-"
        times = f"{ours * 1e6:>10.1f}{eager * 1e6:>10.1f}{with_compile:>12}"
        print(f"{name:<46}{times}{eager / ours:>9.1f}x{share:>8.1%}", flush=True)

    report = written.write({"copy_bandwidth_bytes_per_s": bandwidth, "batch": BATCH, "results": results})
    if options.plot:
        draw(report, written.picture)


if __name__ == "__main__":
    main()
