"""Adam and the EMA in one op: equal to torch's Adam and a plain average, restorable, strict."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from agent_helpers import make_agent, pixel_networks, random_batch, state_networks
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ibrl_fast.agents import IBRLConfig
from ibrl_fast.agents.flat_adam import FlatAdam
from ibrl_fast.agents.flat_parameters import FlatParameters


def make_module(device: torch.device | str = "cpu") -> nn.Sequential:
    """Encoder and head; the convolution in channels_last."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 16, 1))
    return module.to(device, torch.float64).to(memory_format=torch.channels_last)


def loss_of(module: nn.Module, seed: int) -> Tensor:
    parameter = next(module.parameters())
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 3, 6, 6, generator=generator, dtype=torch.float64).to(parameter.device)
    return module(x).square().sum()


def test_equals_torch_and_a_plain_average(device: torch.device) -> None:
    ours, theirs = make_module(device), make_module(device)
    target, average = copy.deepcopy(ours[2]), [p.detach().clone() for p in theirs[2].parameters()]
    optimizer = FlatAdam(
        FlatParameters(ours.parameters()), 0.01, target=FlatParameters(target.parameters()), rho=0.9
    )
    torch_optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for step in range(30):
        optimizer.zero_grad()
        loss_of(ours, step).backward()
        optimizer.step()
        torch_optimizer.zero_grad()
        loss_of(theirs, step).backward()
        torch_optimizer.step()
        average = [0.9 * a + 0.1 * p.detach() for a, p in zip(average, theirs[2].parameters())]
    for got, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    for got, mean in zip(target.parameters(), average, strict=True):
        torch.testing.assert_close(got.detach(), mean, rtol=1e-10, atol=1e-12)


def test_gradients_in_another_layout_are_reordered() -> None:
    module, plain = make_module(), make_module()
    optimizer = FlatAdam(FlatParameters(module.parameters()), 0.01)
    for each in (module, plain):
        loss_of(each, 0).backward()
    weight = module[0].weight
    weight.grad = weight.grad.contiguous()
    assert weight.grad.stride() != weight.stride()
    optimizer.step()
    torch.optim.Adam(plain.parameters(), lr=0.01).step()
    torch.testing.assert_close(weight, plain[0].weight)


def test_goes_on_where_its_state_was_taken() -> None:
    module = make_module()
    optimizer = FlatAdam(FlatParameters(module.parameters()), 0.01)

    def run(module: nn.Module, optimizer: FlatAdam, seeds: range) -> None:
        for seed in seeds:
            optimizer.zero_grad()
            loss_of(module, seed).backward()
            optimizer.step()

    run(module, optimizer, range(3))
    file = io.BytesIO()
    torch.save((module.state_dict(), optimizer.state_dict()), file)
    run(module, optimizer, range(3, 6))

    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    other = make_module()
    resumed = FlatAdam(FlatParameters(other.parameters()), 0.01)
    run(other, resumed, range(7, 9))
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert resumed.step_counter.item() == 3
    run(other, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_what_does_not_fit_is_refused() -> None:
    module = make_module()
    group = FlatParameters(module.parameters())
    optimizer = FlatAdam(group, 0.01)
    with pytest.raises(
        ValueError, match=r"parameters\[0\]: expected a gradient for each parameter, got None"
    ):
        optimizer.step()
    loss_of(module, 0).backward()
    module[2].weight.data = module[2].weight.data.clone()
    with pytest.raises(ValueError, match=r"parameters\[2\]: expected the view"):
        optimizer.step()
    with pytest.raises(ValueError, match="target: expected the shapes and strides of the group's last"):
        FlatAdam(group, 0.01, target=FlatParameters(nn.Linear(4, 1).double().parameters()))
    with pytest.raises(ValueError, match="target: expected the shapes and strides of the group's last"):
        longer = nn.Sequential(nn.Linear(2, 2).double(), make_module())
        FlatAdam(group, 0.01, target=FlatParameters(longer.parameters()))

    torch_state = torch.optim.Adam(module.parameters()).state_dict()
    with pytest.raises(
        ValueError, match=r"optimizer state: expected .*'exp_avg', 'exp_avg_sq', 'step'.*, got"
    ):
        optimizer.load_state_dict(torch_state)
    shorter = FlatAdam(FlatParameters(module[2].parameters()), 0.01)
    with pytest.raises(ValueError, match=r"exp_avg: expected \[\d+\], got \[\d+\]"):
        optimizer.load_state_dict(shorter.state_dict())


class CountedOps(TorchDispatchMode):
    """Counts the ops of this package, and in-place or foreach ops of torch on the weights of an agent."""

    def __init__(self, storages: set[int]) -> None:
        super().__init__()
        self.storages, self.ours, self.others = storages, [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        if function.namespace == "ibrl_fast":
            self.ours.append(name)
        elif name.split(".")[0].endswith("_") or "foreach" in name or "fused" in name:
            first = args[0][0] if isinstance(args[0], (list, tuple)) else args[0]
            if first.untyped_storage().data_ptr() in self.storages:
                self.others.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("network", [state_networks(), pixel_networks()], ids=["state", "pixels"])
def test_an_update_is_one_call_for_adam_and_ema(network) -> None:
    agent = make_agent(IBRLConfig(), network)
    storages = {
        parameter.untyped_storage().data_ptr()
        for module in (agent.encoder, agent.actor, agent.critic, agent.target_actor, agent.target_critic)
        for parameter in module.parameters()
    }
    assert len(storages) == 4  # actor, critics with encoder, two targets
    batch = random_batch(agent)
    for update in (agent.update_critic, agent.update_actor):
        with CountedOps(storages) as counted:
            update(batch)
        assert counted.ours.count("ibrl_fast::adam_update") == 1
        assert counted.others == []
