"""One call of every op on small inputs, for what holds for all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.ops.scatter_rows import Scatter


class Case(NamedTuple):
    """An op's public function, its arguments, and the tensors that it writes into."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]

    def run(self) -> tuple[Tensor, ...]:
        """Calls the op on the case's output tensors and returns them."""
        self.function(*self.args, **self.kwargs)
        return self.outputs


def cases(device: torch.device, batch: int = 33) -> dict[str, Case]:
    """op name -> case, the same numbers on every device."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=device)

    num_rows = 70
    step = (torch.arange(num_rows, dtype=torch.int32) % 7).to(device)
    is_tail = step == 6
    rows = (torch.randint(0, num_rows // 7, (batch,), generator=generator) * 7).to(device)
    frames = torch.randint(0, 256, (num_rows, 3, 20, 20), dtype=torch.uint8, generator=generator).to(device)
    none = torch.zeros(num_rows, dtype=torch.bool, device=device)
    counter = torch.tensor([5], device=device)
    drawing = {"seed": 3, "counter": counter}
    q, reward, discount = random(2, 5, batch), random(batch), random(batch).sigmoid()
    subset, actions = torch.tensor([1, 4], device=device), random(2, batch, 7)

    choice, drawn = empty(batch, dtype=torch.int64), empty(batch, dtype=torch.int64)
    nstep_out = (empty(batch), empty(batch), empty(batch, dtype=torch.int64))
    gathered = [empty(batch, 3), empty(batch, 2 * 4)]
    images = (empty(batch, 6, 20, 20), empty(batch, 6, 20, 20))
    target, action = empty(batch), empty(batch, 7)
    features, embedded = random(batch, 5, 2, 24), empty(2, 3, batch, 24)
    products, hidden = random(2, batch, 24), empty(2, batch, 24)
    network_out = empty(2, 2 * batch, 3)
    flat = [random(96), random(96), random(96).square(), random(80)]
    step_counter = torch.tensor([7], device=device)
    scattered, packed = random(9, 5), torch.zeros(96, dtype=torch.uint8, device=device)
    packed[:24] = torch.tensor([1, 8, 0], device=device).view(torch.uint8)
    packed[32:92] = random(15).view(torch.uint8)
    return {
        "adam_update": Case(
            ops.adam_update,
            (flat[0], [random(3, 5), random(70)], [0, 16], flat[1], flat[2], step_counter),
            {"learning_rate": 0.01, "target": flat[3], "rho": 0.9},
            (*flat, step_counter),
        ),
        "sample_rows": Case(
            ops.sample_rows,
            (torch.arange(50, device=device), torch.tensor([40], device=device), batch),
            {**drawing, "out": drawn},
            (drawn,),
        ),
        "scatter_rows": Case(
            ops.scatter_rows,
            (packed, [Scatter(scattered, 0, 32, 3)]),
            {},
            (scattered,),
        ),
        "nstep_return": Case(
            ops.nstep_return,
            (random(num_rows), none, none, is_tail, rows),
            {"nstep": 3, "gamma": 0.9, "out": nstep_out},
            nstep_out,
        ),
        "replay_gather": Case(
            ops.replay_gather,
            ([random(num_rows, 3), random(num_rows, 4)], rows, step),
            {"stacks": [1, 2], "out": gathered},
            tuple(gathered),
        ),
        "random_shift_gather": Case(
            ops.random_shift_gather,
            (frames, rows, rows + 1, step),
            {"stack": 2, **drawing, "out": images},
            images,
        ),
        "ibrl_target": Case(
            ops.ibrl_target,
            (q, reward, discount, subset),
            {"beta": 2.0, **drawing, "out": (target, choice)},
            (target, choice),
        ),
        "ibrl_select": Case(
            ops.ibrl_select,
            (q, actions, subset),
            {"beta": 2.0, **drawing, "out": (action, drawn)},
            (action, drawn),
        ),
        "spatial_embed": Case(
            ops.spatial_embed,
            (features, random(2, 3, batch, 24), random(2, 24), random(2, 24), random(2, 5, 24)),
            {"out": embedded},
            (embedded,),
        ),
        "mlp": Case(
            ops.mlp,
            (
                random(1, batch, 5),
                [
                    random(2, 24, 7),
                    random(2, 24),
                    random(2, 24),
                    random(2, 24),
                    random(2, 3, 24),
                    random(2, 3),
                ],
            ),
            {"layer_norm": True, "extra": random(2, batch, 2), "tanh": True, "out": network_out},
            (network_out,),
        ),
        "ensemble_norm_relu": Case(
            ops.ensemble_norm_relu,
            (products, random(2, 24), random(2, 24), random(2, 24)),
            {"out": hidden},
            (hidden,),
        ),
    }


NAMES = tuple(cases(torch.device("cpu")))
