"""Update rounds are captured, warmed up, replayed and counted in the right order; all without a GPU."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from graph_cases import ACTION_DIM, BATCH, CASES, Feeder, make_agent, observations
from graph_doubles import Machine

from ibrl_fast.agents import BCConfig, IBRLAgent, IBRLConfig, RLPDConfig, TD3Config, train_bc
from ibrl_fast.data import Batch, Demonstration, ReplayBuffer
from ibrl_fast.nn import ActorConfig, BCNetworkConfig, ResNet18Config, build_bc_policy
from ibrl_fast.training.acting import Acting
from ibrl_fast.training.graph_capture import (
    CaptureError,
    GraphedStep,
    resolve_capture,
    step_capture,
)
from ibrl_fast.training.records.metrics import PhaseTimer
from ibrl_fast.training.update_round import UpdateRound, reading

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Graphs of the CPU's own operations."""
    return Machine(monkeypatch, CPU)


def numbers(state: Any) -> Any:
    """A nested state with every tensor as bytes, to be compared."""
    if isinstance(state, torch.Tensor):
        return state.dtype, tuple(state.shape), state.detach().contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {key: numbers(value) for key, value in state.items()}
    return [numbers(value) for value in state] if isinstance(state, list | tuple) else state


class Run:
    """An agent, its buffer and its update rounds."""

    def __init__(self, name: str, *, capture: bool, **options: Any) -> None:
        kind, critics, critic_updates, config = CASES[name]
        self.agent = make_agent(kind, critics, config)
        self.feeder = Feeder(kind)
        self.critic_updates = critic_updates
        self.round = UpdateRound(
            self.agent,
            self.feeder.buffer,
            batch_size=BATCH,
            critic_updates=critic_updates,
            capture=capture,
            **options,
        )

    def state(self) -> Any:
        return numbers([self.agent.state_dict(), self.feeder.buffer.state_dict(), self.round.state_dict()])


# ---- eager rounds


@pytest.mark.parametrize("name", ["ibrl-soft-state", "ibrl-vit", "rlpd-state", "rpl-vit"])
def test_eager_rounds_are_the_plain_loop(name: str) -> None:
    share = getattr(CASES[name][3], "demo_fraction", None)
    ours, plain = Run(name, capture=False), Run(name, capture=False)
    sums: dict[str, list[float]] = {}
    for _ in range(4):
        ours.round()
        for _ in range(plain.critic_updates):
            batch = plain.feeder.buffer.sample(BATCH, share)
            metrics = plain.agent.update_critic(batch)
            for key, value in metrics.items():
                sums.setdefault(key, []).append(float(value))
        sums.setdefault("actor_loss", []).append(float(plain.agent.update_actor(batch)["actor_loss"]))
    assert numbers(ours.agent.state_dict()) == numbers(plain.agent.state_dict())
    assert ours.round.pop() == {key: sum(values) / len(values) for key, values in sums.items()}


def test_eager_rounds_name_their_phases() -> None:
    timer = PhaseTimer()
    Run("td3-state", capture=False, timer=timer).round()
    assert all(timer.seconds[phase] > 0 for phase in ("sample", "critic", "actor"))
    assert timer.seconds["update"] == 0


# ---- captured rounds


@pytest.mark.parametrize("draws_on_device", [True, False])
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.usefixtures("cuda_formulas")
def test_replayed_rounds_are_the_eager_ones(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, draws_on_device: bool
) -> None:
    """Bit for bit, with a buffer that grows and evicts between the rounds, and metrics read in between."""
    monkeypatch.setattr(ReplayBuffer, "draws_on_device", draws_on_device)
    eager, captured = Run(name, capture=False), Run(name, capture=True)
    for number in range(8):
        for run in (eager, captured):
            run.round()
            run.feeder.feed(40)
        assert captured.agent.counts["critic_updates"] == eager.agent.counts["critic_updates"]
        assert captured.agent.counts["actor_updates"] == number + 1
        if number in (2, 5):
            assert captured.round.pop() == eager.round.pop()
    assert captured.state() == eager.state()
    assert [graph.replays for graph in machine.graphs] == [8 - 3]


@pytest.mark.usefixtures("cuda_formulas")
def test_bf16_rounds_are_captured(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in (
        ("ibrl-vit", IBRLConfig(precision="bf16")),
        ("td3-state", TD3Config(precision="bf16")),
    ):
        monkeypatch.setitem(CASES, "bf16", (*CASES[name][:3], config))
        eager, captured = Run("bf16", capture=False), Run("bf16", capture=True)
        for _ in range(6):
            eager.round()
            captured.round()
        assert captured.state() == eager.state()
        used = {
            str(value.dtype)
            for op in machine.graphs[-1].recording.operations
            for value in op[1]
            if isinstance(value, torch.Tensor)
        }
        assert "torch.bfloat16" in used


@pytest.mark.usefixtures("cuda_formulas")
def test_order_of_warm_up_capture_and_replay(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads are announced on the stream that runs them, and never while a graph is recorded."""
    run = Run("td3-state", capture=True, warmup_rounds=2)
    buffer = run.feeder.buffer
    for event in ("before_reads", "after_reads"):
        monkeypatch.setattr(
            buffer, event, lambda event=event: machine.log.append(f"{event} on {machine.stream}")
        )
    for _ in range(4):
        run.round()
    warm_up = [
        "side 1 waits for main",
        "before_reads on side 1",
        "after_reads on side 1",
        "main waits for side 1",
    ]
    replay = ["before_reads on main", "replay on main", "after_reads on main"]
    capture = ["capture on side 1", "main waits for side 1"]
    assert machine.log == [*warm_up, *warm_up, *capture, *replay, *replay]
    assert [graph.generators for graph in machine.graphs] == [[run.agent.random.generator]]
    assert str(machine.stream) == "main"


@pytest.mark.usefixtures("cuda_formulas")
def test_a_buffer_on_the_host_is_sampled_outside(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = PhaseTimer()
    monkeypatch.setattr(ReplayBuffer, "draws_on_device", False)
    run = Run("ibrl-soft-state", capture=True, timer=timer)
    sampled: list[int] = []
    sample = run.feeder.buffer.sample

    def counted(size: int, demo_fraction: float | None) -> Batch:
        sampled.append(size)
        return sample(size, demo_fraction)

    monkeypatch.setattr(run.feeder.buffer, "sample", counted)
    for _ in range(5):
        run.round()
    assert sampled == [BATCH] * 5 * run.critic_updates
    assert timer.seconds["update"] > 0
    recorded = machine.graphs[0].recording.fingerprint()
    assert not any("sample_rows" in operation for operation in recorded)
    assert sum("ibrl_target" in operation for operation in recorded) == run.critic_updates


@pytest.mark.usefixtures("cuda_formulas")
def test_a_mixed_draw_recorded_before_the_first_online_step_is_right_after_it(machine: Machine) -> None:
    """The share of online steps is looked up where the graph reads: nothing of the recording knows of it."""
    captured, eager = (Feeder("state", steps=0) for _ in range(2))
    buffer = captured.buffer
    draw = GraphedStep(lambda: buffer.draw(BATCH, 0.25), CPU, warmup=1, around=lambda: reading(buffer))
    for number in range(8):
        batch, expected = draw(), eager.buffer.sample(BATCH, 0.25)
        assert numbers(batch.tensors()) == numbers(expected.tensors())
        online = int((batch.rows >= buffer.plan.layout.demo_rows).sum())
        assert online == (0 if number < 4 else BATCH - 2)
        for feeder in (captured, eager) if number >= 3 else ():
            feeder.feed(1)
    assert [graph.replays for graph in machine.graphs] == [7]


@pytest.mark.usefixtures("cuda_formulas")
def test_a_run_under_capture_resumes_bit_for_bit(machine: Machine) -> None:
    """Saved between replays, loaded into a fresh run, which warms up again, and into the one that went on."""
    run = Run("ibrl-soft-state", capture=True)
    for _ in range(6):
        run.round()
    file = io.BytesIO()
    torch.save([run.agent.state_dict(), run.feeder.buffer.state_dict(), run.round.state_dict()], file)
    for _ in range(6):
        run.round()
    expected = run.state()

    for other in (Run("ibrl-soft-state", capture=True), run):
        other.round()
        file.seek(0)
        agent, buffer, metrics = torch.load(file, weights_only=True)
        other.agent.load_state_dict(agent)
        other.feeder.buffer.load_state_dict(buffer)
        other.round.load_state_dict(metrics)
        for _ in range(6):
            other.round()
        assert other.state() == expected
    # the old graph read the old optimiser's memory: it was thrown away
    assert [graph.replays for graph in machine.graphs] == [10, 3, 3]
    assert machine.log.count("synchronize") == 1


@pytest.mark.usefixtures("cuda_formulas")
def test_metrics_of_replays_are_popped_and_reloaded(machine: Machine) -> None:
    run = Run("td3-state", capture=True)
    for _ in range(5):
        run.round()
    state = run.round.state_dict()
    assert state["counts"] == {
        "critic_loss": 10,
        "q_mean": 10,
        "target_mean": 10,
        "il_share_bootstrap": 10,
        "actor_loss": 5,
    }
    means = run.round.pop()
    assert run.round.pop() == {} and run.round.state_dict() == {"sums": {}, "counts": {}}
    run.round.load_state_dict(state)
    assert run.round.pop() == means
    run.round()
    assert run.round.state_dict()["counts"]["critic_loss"] == 2


# ---- what cannot be captured


class Peeking(IBRLAgent):
    """Looks at a loss on the host."""

    def update_actor(self, batch: Any) -> dict[str, torch.Tensor]:
        metrics = super().update_actor(batch)
        self.last_loss = metrics["actor_loss"].item()
        return metrics


class Decaying(IBRLAgent):
    """Has a number on the host that changes from update to update."""

    def update_actor(self, batch: Any) -> dict[str, torch.Tensor]:
        metrics = super().update_actor(batch)
        with torch.no_grad():
            self.actor.mlp.output.bias.mul_(1.0 - 0.1 / (1 + self.counts["actor_updates"]))
        return metrics


@pytest.mark.usefixtures("cuda_formulas")
def test_a_failed_capture_says_what_to_do(machine: Machine) -> None:
    agent, feeder = make_agent("state", 2, IBRLConfig(), agent=Peeking), Feeder("state")
    round_ = UpdateRound(
        agent, feeder.buffer, batch_size=BATCH, critic_updates=1, capture=True, warmup_rounds=1
    )
    round_()
    with pytest.raises(CaptureError, match=r"capture: expected work.*_local_scalar_dense.*capture=False"):
        round_()
    assert str(machine.stream) == "main"


@pytest.mark.usefixtures("cuda_formulas")
def test_the_double_freezes_host_values_as_a_graph_does(machine: Machine) -> None:
    """So the tests above would notice such an agent."""
    states = []
    for capture in (False, True):
        agent, feeder = make_agent("state", 2, IBRLConfig(), agent=Decaying), Feeder("state")
        round_ = UpdateRound(agent, feeder.buffer, batch_size=BATCH, critic_updates=1, capture=capture)
        for _ in range(6):
            round_()
        states.append(numbers(agent.state_dict()))
    assert states[0] != states[1]


def test_wrong_arguments_are_refused() -> None:
    assert resolve_capture(None, "cuda:1") and not resolve_capture(None, "cpu")
    assert resolve_capture(True, "cuda") and not resolve_capture(False, "cuda")
    for make in (
        lambda: resolve_capture(True, "cpu"),
        lambda: Run("td3-state", capture=True),
        lambda: Acting(make_agent("state", 2, TD3Config()), capture=True),
        lambda: step_capture(True, "cpu"),
    ):
        with pytest.raises(ValueError, match=r"capture: expected False or None on cpu .*, got True"):
            make()
    agent, buffer = make_agent("state", 2, TD3Config()), Feeder("state").buffer
    for name in ("batch_size", "critic_updates"):
        sizes = {"batch_size": 1, "critic_updates": 1, name: 0}
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            UpdateRound(agent, buffer, capture=False, **sizes)


def test_a_buffer_that_lacks_what_a_batch_needs_is_refused(machine: Machine) -> None:
    """Also where nothing on the host would notice it."""
    feeder = Feeder("state", steps=0, demos=0)
    for capture in (False, True):
        round_ = UpdateRound(
            make_agent("state", 2, TD3Config()),
            feeder.buffer,
            batch_size=BATCH,
            critic_updates=1,
            capture=capture,
        )
        with pytest.raises(ValueError, match="sample: expected at least one"):
            round_()
    feeder.feed(5)
    for capture in (False, True):
        agent = make_agent("state", 2, RLPDConfig())
        round_ = UpdateRound(agent, feeder.buffer, batch_size=BATCH, critic_updates=1, capture=capture)
        with pytest.raises(
            ValueError, match=r"demo_fraction: expected demonstrations in the buffer for 0\.5"
        ):
            round_()


@pytest.mark.usefixtures("cuda_formulas")
def test_reads_end_also_when_an_update_fails(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("td3-state", capture=True)
    events: list[str] = []
    for event in ("before_reads", "after_reads"):
        monkeypatch.setattr(run.feeder.buffer, event, lambda event=event: events.append(event))
    monkeypatch.setattr(run.agent, "update_actor", lambda batch: pytest.fail("broken"))
    with pytest.raises(pytest.fail.Exception, match="broken"):
        run.round()
    assert events == ["before_reads", "after_reads"]


def test_warm_up_of_zero_is_refused(machine: Machine) -> None:
    with pytest.raises(ValueError, match="warmup: expected at least 1, got 0"):
        GraphedStep(lambda: None, CPU, warmup=0)


# ---- acting


@pytest.mark.parametrize("propose", [True, False])
@pytest.mark.parametrize(
    "name", ["ibrl-soft-state", "ibrl-vit", "td3-state", "rpl-state", "ibrl_rpl-soft-vit"]
)
@pytest.mark.usefixtures("cuda_formulas")
def test_captured_acting_is_the_eager_one(machine: Machine, name: str, propose: bool) -> None:
    kind, critics, _, config = CASES[name]
    eager, captured = (
        Acting(make_agent(kind, critics, config), capture=capture) for capture in (False, True)
    )
    for number in range(7):
        chosen = []
        for acting in (eager, captured):
            acting.see({key: torch.from_numpy(v) for key, v in observations(kind, 4, number).items()})
            proposals = acting.propose() if propose else None
            assert (proposals is not None) == (propose and name != "td3-state")
            chosen.append((acting.act(), proposals))
        (ours, our_proposals), (theirs, their_proposals) = chosen
        assert ours.action.shape == (4, ACTION_DIM)
        for name_ in ("action", "source", "q"):
            assert torch.equal(getattr(ours, name_), getattr(theirs, name_))
        assert propose is False or name == "td3-state" or torch.equal(our_proposals, their_proposals)
    # one graph, or two where the proposals were asked for
    assert [graph.replays for graph in machine.graphs] == [4] * (2 if propose and name != "td3-state" else 1)


def test_captured_acting_refuses_other_shapes(machine: Machine) -> None:
    acting = Acting(make_agent("state", 2, TD3Config()), capture=True)
    acting.see({"state": torch.zeros(2, 6)})
    with pytest.raises(ValueError, match=r"obs: expected .*\(2, 6\).* got .*\(3, 6\)"):
        acting.see({"state": torch.zeros(3, 6)})


# ---- imitation


def test_captured_imitation_is_the_eager_one(machine: Machine) -> None:
    rng = np.random.default_rng(0)
    steps = 30
    demo = Demonstration(
        observations={
            "state": rng.normal(size=(steps + 1, 4)).astype(np.float32),
            "camera": rng.integers(0, 256, (steps + 1, 3, 36, 36)).astype(np.uint8),
        },
        actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        rewards=np.zeros(steps, np.float32),
        terminated=np.zeros(steps, bool),
        truncated=np.zeros(steps, bool),
    )
    network = BCNetworkConfig(
        actor=ActorConfig(hidden=(8,), dropout=0.5, compress_dim=None),
        encoder=ResNet18Config(base_channels=2),
    )
    results, weights = [], []
    for capture in (False, True):
        torch.manual_seed(0)
        policy = build_bc_policy(network, {"camera": (6, 36, 36), "state": (4,)}, 2)
        wrap = (lambda step, generator: GraphedStep(step, CPU, generators=(generator,))) if capture else None
        config = BCConfig(updates=9, batch_size=8)
        results.append(train_bc(policy, [demo], config, stacks={"camera": 2}, wrap_step=wrap))
        weights.append(numbers(policy.state_dict()))
        assert all(parameter.grad is None for parameter in policy.parameters())
    assert results[0] == results[1] and weights[0] == weights[1]
    assert [graph.replays for graph in machine.graphs] == [6]
