"""The table of methods, and what every learner must do."""

from __future__ import annotations

import inspect
import io
import pkgutil
import re
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from agent_helpers import ACTION_DIM, PIXEL_SHAPES, STATE_SHAPES, pixel_networks, state_networks
from torch import Tensor, nn

from ibrl_fast.agents import (
    METHODS,
    Action,
    DeploymentGate,
    GateConfig,
    IBRLConfig,
    IBRLRPLConfig,
    Learner,
    LearnerSetup,
    MethodConfig,
    ProposalRule,
    RFTConfig,
    RLPDConfig,
    RPLConfig,
    TD3Config,
    make_learner,
)
from ibrl_fast.agents.methods import convert, method_config
from ibrl_fast.data import Batch
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import BCNetworkConfig, BCPolicy, build_bc_policy
from ibrl_fast.nn.policies import IL_SOURCE, RL_SOURCE
from ibrl_fast.training.teacher import GivenTeacher

SIZE = 16


def teacher(kind: str = "state") -> BCPolicy:
    """An imitation policy, whose actions are large enough to matter."""
    torch.manual_seed(1)
    network = networks_and_shapes(kind)[0]
    bc = BCNetworkConfig(actor=network.actor, encoder=network.encoder)
    policy = build_bc_policy(bc, networks_and_shapes(kind)[1], ACTION_DIM)
    with torch.no_grad():
        policy.actor.mlp.output.weight.normal_(std=0.5)
    return policy


def networks_and_shapes(kind: str) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """Tiny networks, and what they see."""
    return (state_networks(), STATE_SHAPES) if kind == "state" else (pixel_networks(), PIXEL_SHAPES)


def make(config: MethodConfig, kind: str = "state", seed: int = 3) -> Learner:
    """A learner by the table's way."""
    torch.manual_seed(seed)
    network, shapes = networks_and_shapes(kind)
    policy = teacher(kind) if config.needs_teacher else None
    torch.manual_seed(seed + 1)
    return make_learner(config, LearnerSetup(network, shapes, ACTION_DIM, seed=seed, teacher=policy))


def observations(kind: str, size: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = networks_and_shapes(kind)[1]
    return {key: torch.rand(size, *shape, generator=generator) - 0.5 for key, shape in shapes.items()}


def batch(learner: Learner, kind: str, size: int, seed: int) -> Batch:
    """What a buffer would hand out, the learner's own proposals included."""
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = observations(kind, size, seed + 1), observations(kind, size, seed + 2)
    none = torch.zeros(size, 0, ACTION_DIM)
    il_action, il_next = (learner.propose(o) if learner.num_il_samples else none for o in (obs, next_obs))
    assert il_action is not None and il_next is not None
    return Batch(
        obs=obs,
        action=torch.rand(size, ACTION_DIM, generator=generator) * 2 - 1,
        reward=(torch.rand(size, generator=generator) > 0.7).float(),
        discount=torch.where(torch.rand(size, generator=generator) > 0.8, 0.0, 0.97),
        next_obs=next_obs,
        il_action=il_action,
        il_action_next=il_next,
        rows=torch.zeros(size, dtype=torch.int64),
    )


def one_round(learner: Learner, kind: str, seed: int) -> list[float]:
    """Acts and updates; every number that came of it."""
    action = learner.act(observations(kind, 4, seed), explore=True)
    numbers = [*action.action.flatten().tolist(), *action.source.tolist(), *action.q.flatten().tolist()]
    requests = learner.config.batches(SIZE, 2)
    batches = [batch(learner, kind, request.size, seed + 10 * i) for i, request in enumerate(requests)]
    return numbers + [float(value) for step in learner.update(batches) for value in step.values()]


# ---- the table


@pytest.mark.parametrize("name", METHODS)
def test_an_entry_is_a_configuration_of_that_name(name: str) -> None:
    config = method_config(name)
    assert pkgutil.resolve_name(METHODS[name]) is config and issubclass(config, MethodConfig)
    assert config.method == name
    assert config().method == name
    # the teacher can only act where there is one
    assert config.warmup == ("teacher" if config.needs_teacher else "random")
    learner = pkgutil.resolve_name(config.learner)
    assert inspect.isclass(learner) and callable(learner.from_setup)
    # its own options are documented
    attributes = inspect.getdoc(config) or ""
    for entry in vars(config).get("__annotations__", {}):
        assert (
            entry in vars(MethodConfig).get("__annotations__", {})
            or f"{entry}:" in attributes
            or (entry == "residual")
        ), entry


def test_names_are_valid_on_the_command_line_and_in_paths() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in METHODS)
    assert "bc" not in METHODS
    with pytest.raises(ArgumentError, match=f"method: expected one of {', '.join(METHODS)}, got sac"):
        method_config("sac")


@pytest.mark.parametrize("name", METHODS)
def test_a_teacher_too_many_or_too_few_is_refused(name: str) -> None:
    config = method_config(name)()
    network, shapes = networks_and_shapes("state")
    wrong = None if config.needs_teacher else teacher()
    wanted, got = ("a policy", "None") if config.needs_teacher else ("None", "BCPolicy")
    with pytest.raises(ArgumentError, match=f"expected {wanted} for method {name}, got {got}"):
        make_learner(config, LearnerSetup(network, shapes, ACTION_DIM, seed=0, teacher=wrong))


@pytest.mark.parametrize("name", METHODS)
def test_networks_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="subset_size: expected <= 5 critics, got 6"):
        make(method_config(name)(subset_size=6))  # type: ignore[call-arg]


def test_a_share_of_demonstrations_is_what_rlpd_asks_for() -> None:
    assert RLPDConfig().batches(256, 5) == [(256, 0.5)] * 5
    assert RLPDConfig(demo_fraction=0.0).batches(8, 1) == [(8, 0.0)]
    assert RFTConfig().batches(256, 2) == [(256, None)] * 2 + [(256, 1.0)]
    for name in set(METHODS) - {"rft"}:
        config = method_config(name)()
        assert isinstance(config, TD3Config)
        assert config.batches(256, 2) == [(256, config.demo_fraction)] * 2
        assert (config.demo_fraction is None) == (name not in ("rlpd", "resfit"))


# ---- the contract of every learner


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["state", "pixels"])
def test_learner_acts_learns_and_reports(name: str, kind: str) -> None:
    learner = make(method_config(name)(), kind)
    config = learner.config
    assert learner.device == torch.device("cpu") and learner.loads == 0
    assert all(count == 0 for count in learner.counts.values())

    # proposals: without noise, one shape, none without a teacher
    obs = observations(kind, 5, seed=0)
    proposed = learner.propose(obs)
    assert config.needs_teacher == (learner.num_il_samples > 0) == (proposed is not None)
    if proposed is not None:
        assert proposed.shape == (5, learner.num_il_samples, ACTION_DIM) and not proposed.requires_grad
        again = learner.propose(obs)
        assert again is not None and torch.equal(again, proposed)

    # acting, with proposals that are known already or not
    for explore in (False, True):
        state = learner.random.state_dict()
        action = learner.act(obs, explore)
        learner.random.load_state_dict(state)
        given = learner.act(obs, explore, proposed)
        assert isinstance(action, Action) and not action.action.requires_grad
        assert action.action.shape == (5, ACTION_DIM) and float(action.action.abs().max()) <= 1
        assert action.source.shape == (5,) and action.source.dtype == torch.int64
        assert set(action.source.tolist()) <= {RL_SOURCE, IL_SOURCE}
        assert action.q.dim() == 2 and action.q.shape[1] == 5
        assert (action.il_action is None) == (proposed is None)
        assert torch.equal(given.action, action.action) and torch.equal(given.source, action.source)
    # without exploring, nothing is drawn
    state = learner.random.state_dict()
    assert torch.equal(learner.act(obs, False).action, learner.act(obs, False).action)
    after = learner.random.state_dict()
    assert all(torch.equal(after[key], state[key]) for key in ("generator", "counter"))
    assert not torch.equal(learner.act(obs, True).action, learner.act(obs, True).action)

    # a round: metrics on the device, without gradients, of as many optimiser steps as are counted
    requests = config.batches(SIZE, 3)
    assert all(request.size == SIZE for request in requests)
    before = [parameter.clone() for parameter in learner.policy().parameters()]
    phases: list[str] = []

    def phase(phase_name: str) -> Any:
        phases.append(phase_name)
        return nullcontext()

    batches = [batch(learner, kind, SIZE, seed) for seed in range(len(requests))]
    if config.separate_warmup:
        # the warm-up's rounds leave the actor as it is, not what it reads
        assert len(learner.warm_up(batches)) == sum(learner.counts.values()) > 0
        now = learner.policy().named_parameters()
        changed = [part for old, (part, new) in zip(before, now, strict=True) if not torch.equal(old, new)]
        assert all(".encoder." in part for part in changed) and bool(changed) == (kind == "pixels")
        learner.counts.update(dict.fromkeys(learner.counts, 0))
    metrics = learner.update(batches, phase)
    assert len(metrics) == sum(learner.counts.values()) == len(phases)
    for step in metrics:
        for value in step.values():
            assert value.dim() == 0 and not value.requires_grad and torch.isfinite(value)
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.policy().parameters(), strict=True))
    assert learner.random.state_dict()["seed"] == state["seed"]


CONFIGS: dict[str, MethodConfig] = {
    **{name: method_config(name)() for name in METHODS},
    "ibrl soft, rules": IBRLConfig(
        beta=3.0, acting_rule=ProposalRule("paired"), bootstrap_rule=ProposalRule("lcb")
    ),
    "ibrl_rpl soft": IBRLRPLConfig(beta=3.0),
    "rlpd, a quarter": RLPDConfig(demo_fraction=0.25),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["state", "pixels"])
def test_state_restores_bit_for_bit(name: str, kind: str) -> None:
    learner = make(CONFIGS[name], kind)
    for seed in range(2):
        one_round(learner, kind, seed)
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    counts = dict(learner.counts)
    expected = [one_round(learner, kind, seed) for seed in range(2, 4)]

    # a learner with other weights and other random numbers, that has learned something else
    file.seek(0)
    other = make(CONFIGS[name], kind, seed=44)
    one_round(other, kind, 99)
    assert other.loads == 0
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.loads == 1 and other.counts == counts
    assert [one_round(other, kind, seed) for seed in range(2, 4)] == expected
    assert other.counts == learner.counts
    for ours, theirs in zip(learner.policy().parameters(), other.policy().parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", CONFIGS)
def test_policy_acts_as_the_learner_and_follows_it(name: str) -> None:
    learner = make(CONFIGS[name])
    module = learner.policy()
    scripted = torch.jit.script(module)
    obs = observations("state", 64, seed=5)
    for seed in range(3):
        expected = learner.act(obs, explore=False)
        for policy in (module, scripted):
            action, source = policy.act(obs)
            torch.testing.assert_close(action, expected.action, rtol=0, atol=1e-5)
            assert torch.equal(source, expected.source)
        one_round(learner, "state", seed)


@pytest.mark.parametrize("name", METHODS)
def test_gate_is_new_and_only_where_a_policy_can_be_switched(name: str) -> None:
    learner = make(method_config(name)())
    assert learner.gate() is None
    if not hasattr(learner.config, "gate"):
        return
    learner = make(replace(learner.config, gate=GateConfig(window=2)))
    first, second = learner.gate(), learner.gate()
    assert isinstance(first, DeploymentGate) and first is not second and not first.is_open
    learner.config.check_schedule(1)
    with pytest.raises(ArgumentError, match="warmup_episodes: expected at least 1 with a gate, got 0"):
        learner.config.check_schedule(0)


def test_a_teacher_of_other_networks_cannot_be_started_from() -> None:
    network, shapes = networks_and_shapes("state")
    narrow = BCNetworkConfig(actor=replace(network.actor, hidden=(8,)))
    odd = build_bc_policy(narrow, shapes, ACTION_DIM)
    for policy, problem in ((odd, "size mismatch"), (nn.Linear(6, ACTION_DIM), "parts: expected")):
        with pytest.raises(ArgumentError, match=f"teacher: expected an imitation policy with .*{problem}"):
            make_learner(RFTConfig(), LearnerSetup(network, shapes, ACTION_DIM, seed=0, teacher=policy))


def test_fine_tuning_starts_from_the_imitation_policy() -> None:
    """Also from one that is wrapped and scripted, as a file hands it in; mu itself stays as it was."""
    network, shapes = networks_and_shapes("pixels")
    policy, obs = teacher("pixels"), observations("pixels", 8, seed=0)
    expected = policy(obs).detach()
    scripted = torch.jit.script(policy.policy())
    for given in (policy, GivenTeacher(scripted, 1)):
        setup = LearnerSetup(network, shapes, ACTION_DIM, seed=0, teacher=given)
        learner = make_learner(RFTConfig(learning_rate=1e-2), setup)
        torch.testing.assert_close(learner.act(obs, explore=False).action, expected, rtol=0, atol=1e-6)
        one_round(learner, "pixels", seed=1)
        assert (learner.act(obs, explore=False).action - expected).abs().max() > 1e-3
        assert learner.bc_policy is not None
        torch.testing.assert_close(learner.bc_policy(obs), expected, rtol=0, atol=1e-6)


def test_states_of_different_methods_are_told_apart() -> None:
    rpl, ibrl, td3 = make(RPLConfig()), make(IBRLConfig()), make(TD3Config())
    with pytest.raises(ArgumentError, match="modules: expected"):
        td3.load_state_dict(rpl.state_dict())
    # a residual actor is another network
    with pytest.raises(RuntimeError, match="residual"):
        ibrl.load_state_dict(rpl.state_dict())


# ---- from method to method


def test_convert_keeps_what_both_have() -> None:
    gate = GateConfig(window=7)
    ibrl = IBRLConfig(learning_rate=3e-4, beta=2.0, gate=gate, precision="bf16", polyak=0.5)
    shared = {"learning_rate": 3e-4, "polyak": 0.5, "precision": "bf16"}
    assert convert(ibrl, "td3") == TD3Config(**shared)  # type: ignore[arg-type]
    assert convert(ibrl, "rlpd") == RLPDConfig(**shared)  # type: ignore[arg-type]
    assert convert(ibrl, "ibrl_rpl") == IBRLRPLConfig(beta=2.0, gate=gate, **shared)  # type: ignore[arg-type]
    # what a method wants by default stays unless another value was chosen
    assert convert(TD3Config(demo_fraction=0.25), "rlpd") == RLPDConfig(demo_fraction=0.25)
    assert convert(RLPDConfig(), "td3") == TD3Config()
    # and its own defaults for the rest, there and back
    assert convert(convert(ibrl, "rpl"), "ibrl") == IBRLConfig(**shared)  # type: ignore[arg-type]
    for name in METHODS:
        assert type(convert(ibrl, name)) is method_config(name)
        assert convert(convert(ibrl, name), name) == convert(ibrl, name)
    with pytest.raises(ArgumentError, match="method: expected one of"):
        convert(ibrl, "sac")
