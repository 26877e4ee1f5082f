"""Captured rounds, acting and imitation on a GPU, where there is one: what eager ones compute."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from graph_cases import BATCH, CASES, Feeder, make_agent, observations

from ibrl_fast.agents import BCConfig, TD3Config, train_bc
from ibrl_fast.data import Demonstration
from ibrl_fast.nn import ActorConfig, BCNetworkConfig, build_bc_policy
from ibrl_fast.training.acting import Acting
from ibrl_fast.training.graph_capture import CaptureError, step_capture
from ibrl_fast.training.update_round import UpdateRound

pytestmark = pytest.mark.cuda

CUDA = torch.device("cuda", 0)


class Run:
    """An agent on the GPU, its buffer and its update rounds."""

    def __init__(self, name: str, *, capture: bool, storage: str = "device", precision: Any = "fp32") -> None:
        kind, critics, critic_updates, config = CASES[name]
        self.agent = make_agent(kind, critics, replace(config, precision=precision), CUDA)
        self.feeder = Feeder(kind, CUDA, storage=storage)
        self.round = UpdateRound(
            self.agent,
            self.feeder.buffer,
            batch_size=BATCH,
            critic_updates=critic_updates,
            capture=capture,
        )

    def rounds(self, count: int) -> None:
        """Rounds, with appends in between, so that what is drawn from grows and is evicted."""
        for _ in range(count):
            self.round()
            self.feeder.feed(3)

    def weights(self) -> dict[str, torch.Tensor]:
        return {
            f"{part}.{name}": value.cpu()
            for part, module in self.agent.state_dict()["modules"].items()
            for name, value in module.items()
        }


# Networks from state run the same kernels in the same order: 100 rounds agree to the bit. Kernels for images
# may add in any order, differently from one eager run to the next as well, and Adam divides by a gradient's
# size: no weight may then be further off than ten of its steps.
EXACT, TEN_STEPS = 0.0, 10 * TD3Config().learning_rate


def bound_of(name: str) -> float:
    return EXACT if CASES[name][0] == "state" else TEN_STEPS


def assert_same(first: Run, second: Run, bound: float) -> None:
    """The random state exactly, the weights to a bound."""
    ours, theirs = (run.agent.state_dict()["random"] for run in (first, second))
    assert torch.equal(ours["generator"], theirs["generator"])
    assert torch.equal(ours["counter"], theirs["counter"])
    assert first.agent.counts["critic_updates"] == second.agent.counts["critic_updates"]
    expected = second.weights()
    for name, value in first.weights().items():
        error = float((value - expected[name]).abs().max())
        assert error <= bound, f"{name}: off by {error}"


@pytest.fixture(autouse=True)
def deterministic_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What little order there is to be had."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.parametrize("name", list(CASES))
def test_100_captured_rounds_are_100_eager_ones(name: str) -> None:
    eager, captured = Run(name, capture=False), Run(name, capture=True)
    for run in (eager, captured):
        run.rounds(100)
    bound = bound_of(name)
    assert_same(captured, eager, bound)
    ours, theirs = captured.round.pop(), eager.round.pop()
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=50 * bound, abs=50 * bound)


@pytest.mark.parametrize("storage", ["pinned", "host"])
def test_rounds_from_other_storage(storage: str) -> None:
    eager, captured = (
        Run("ibrl-soft-state", capture=False),
        Run("ibrl-soft-state", capture=True, storage=storage),
    )
    for run in (eager, captured):
        run.rounds(40)
    # the host's arithmetic of returns may differ from the device's in the last bit
    assert_same(captured, eager, EXACT if storage == "pinned" else TEN_STEPS)


def test_pinned_images_are_read_by_replays() -> None:
    """The frames that a replay shows are those of its rows, while appends evict older ones."""
    runs = [Run("ibrl-vit", capture=True, storage=storage) for storage in ("device", "pinned")]
    for run in runs:
        run.rounds(60)
    assert_same(runs[1], runs[0], TEN_STEPS)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", ["ibrl-state-E5-G5", "ibrl-vit"])
def test_other_precisions_are_captured(name: str, precision: str) -> None:
    before = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    eager, captured = (Run(name, capture=capture, precision=precision) for capture in (False, True))
    for run in (eager, captured):
        run.rounds(20)
    assert_same(captured, eager, bound_of(name))
    after = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    assert before == after


def test_fp32_rounds_nothing_and_tf32_rounds() -> None:
    """Tokens of images: fp32 agrees with float64 to float32's accuracy, tf32 does not."""
    kind, critics, _, config = CASES["ibrl-vit"]
    errors = {}
    for precision in ("fp32", "tf32"):
        agent = make_agent(kind, critics, replace(config, precision=precision), CUDA)
        x = torch.rand(64, 3, 36, 36, device=CUDA, generator=torch.Generator(CUDA).manual_seed(0)) - 0.5
        obs = {"camera": x, "proprio": torch.zeros(64, 4, device=CUDA)}
        with agent.precision.products(), torch.no_grad():
            tokens = agent.encoder(obs)[0].double()
            exact = agent.encoder.double()({key: value.double() for key, value in obs.items()})[0]
        errors[precision] = float((tokens - exact).abs().max() / exact.abs().max())
    assert errors["fp32"] < 1e-5 < errors["tf32"]


def test_a_checkpoint_between_replays_resumes() -> None:
    """In a fresh run, which warms up again, and in the one that went on, whose graph is thrown away."""
    run = Run("ibrl-soft-state", capture=True)
    run.rounds(8)
    file = io.BytesIO()
    steps = run.feeder.steps
    torch.save([run.agent.state_dict(), run.feeder.buffer.state_dict(), run.round.state_dict()], file)
    run.rounds(8)
    expected, means = run.weights(), run.round.pop()
    for other in (Run("ibrl-soft-state", capture=True), run):
        other.rounds(5)
        file.seek(0)
        agent, buffer, metrics = torch.load(file, weights_only=True, map_location="cpu")
        other.agent.load_state_dict(agent)
        other.feeder.buffer.load_state_dict(buffer)
        other.feeder.steps = steps
        other.round.load_state_dict(metrics)
        other.rounds(8)
        assert all(torch.equal(value, expected[name]) for name, value in other.weights().items())
        assert other.round.pop() == means


def test_replays_ask_nothing_of_the_device() -> None:
    """No wait of the host and no memory: a replay is one launch."""
    run = Run("ibrl-vit", capture=True)
    run.rounds(6)
    torch.cuda.synchronize()
    allocated = torch.cuda.memory_stats(CUDA)["allocation.all.allocated"]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            run.round()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_stats(CUDA)["allocation.all.allocated"] == allocated


@pytest.mark.parametrize(
    "name", ["ibrl-soft-state", "ibrl-vit", "td3-state", "rpl-state", "ibrl_rpl-soft-vit"]
)
@pytest.mark.parametrize("propose", [True, False])
def test_captured_acting_is_the_eager_one(name: str, propose: bool) -> None:
    kind, critics, _, config = CASES[name]
    eager, captured = (
        Acting(make_agent(kind, critics, config, CUDA), capture=capture) for capture in (False, True)
    )
    for number in range(20):
        chosen = []
        for acting in (eager, captured):
            acting.see({key: torch.from_numpy(v) for key, v in observations(kind, 4, number).items()})
            proposals = acting.propose() if propose else None
            chosen.append((acting.act(), proposals))
        (ours, our_proposals), (theirs, their_proposals) = chosen
        assert torch.equal(ours.source, theirs.source)
        for value, other in (
            (ours.action, theirs.action),
            (ours.q, theirs.q),
            (our_proposals, their_proposals),
        ):
            assert (value is None) == (other is None)
            if value is not None:
                torch.testing.assert_close(value, other, rtol=1e-6, atol=1e-6)


def test_captured_imitation_is_the_eager_one() -> None:
    rng = np.random.default_rng(0)
    demo = Demonstration(
        observations={"state": rng.normal(size=(41, 4)).astype(np.float32)},
        actions=rng.uniform(-1, 1, (40, 2)).astype(np.float32),
        rewards=np.zeros(40, np.float32),
        terminated=np.zeros(40, bool),
        truncated=np.zeros(40, bool),
    )
    results, weights = [], []
    for capture in (False, None):
        torch.manual_seed(0)
        network = BCNetworkConfig(actor=ActorConfig(hidden=(32, 32), dropout=0.5))
        policy = build_bc_policy(network, {"state": (8,)}, 2).to(CUDA)
        config = BCConfig(updates=120, batch_size=16)
        wrap = step_capture(capture, CUDA)
        assert (wrap is None) == (capture is False)
        results.append(train_bc(policy, [demo], config, stacks={"state": 2}, wrap_step=wrap))
        weights.append([parameter.detach().cpu() for parameter in policy.parameters()])
    assert results[0] == results[1]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*weights))


def test_a_failed_capture_leaves_the_stream_and_says_what_to_do() -> None:
    """The last one here: some versions of PyTorch cannot capture again in a process where that failed."""
    agent, feeder = make_agent("state", 2, TD3Config(), CUDA), Feeder("state", CUDA, storage="device")
    update = agent.update_actor
    agent.update_actor = lambda batch: {key: value + value.item() for key, value in update(batch).items()}
    round_ = UpdateRound(
        agent, feeder.buffer, batch_size=BATCH, critic_updates=1, capture=True, warmup_rounds=1
    )
    round_()
    before = torch.cuda.current_stream()
    with pytest.raises(CaptureError, match=r"capture: expected work .*capture=False"):
        round_()
    assert torch.cuda.current_stream() == before
    assert float(torch.ones(3, device=CUDA).sum()) == 3.0
