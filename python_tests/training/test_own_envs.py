"""Runs on users' Gymnasium environments: everything that a run does, without a state that could be saved."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_helpers import (
    differences,
    reproducible_content,
    reproducible_records,
    run_interrupted,
    tiny_config,
)

sys.path.append(str(Path(__file__).parents[1] / "envs"))
from own_envs import FaultyEnv, ReachEnv, make_reach, towards

from ibrl_fast import (
    DemoConfig,
    EnvConfig,
    ImitationTrainer,
    TrainConfig,
    Trainer,
    collect_demonstrations,
    load_policy,
    make_pool,
    read_demonstrations,
    register_env,
    write_demonstrations,
)
from ibrl_fast.envs import registry
from ibrl_fast.envs.gym.source import EnvFailedError
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training import finish
from ibrl_fast.training.observation_plan import make_scalers, plan_observation
from ibrl_fast.training.records.checkpoint import load_checkpoint
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.progress import RunProgress
from ibrl_fast.training.resume import resume_trainer

REACH = "gym:own_envs:ibrl-tests/Reach-v0"


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(finish, "write_report", lambda *_: [])
    monkeypatch.setattr(finish, "plot_phase_seconds", lambda *_: None)
    yield


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that runs show."""
    lines: list[str] = []
    monkeypatch.setattr(RunProgress, "say", lambda self, line: lines.append(line))
    return lines


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    """Three demonstrations of the controller."""
    file = tmp_path / "own.hdf5"
    options = {"action_repeat": 2, "max_episode_steps": 13}
    write_demonstrations(file, collect_demonstrations(REACH, 3, expert=towards, seed=1, **options))
    return file


def own_config(run_dir: Path, demos: Path | None, task: str = REACH, **changes: Any) -> TrainConfig:
    env = EnvConfig(task=task, max_episode_steps=13, num_envs=changes.pop("num_envs", 1))
    changes = {"total_env_steps": 80, "env": env, **changes}
    return tiny_config(run_dir, demos, **changes)


def test_demonstrations_record_what_they_are_of(demos: Path) -> None:
    read = read_demonstrations(demos)
    assert read.env_args["env_name"] == REACH
    kwargs = read.env_args["env_kwargs"]
    assert kwargs["state_keys"] == ["arm.angle", "goal", "position", "steps"]
    assert kwargs["reward"] == "sparse" and kwargs["control_period"] == 0.05
    assert all(demo.success for demo in read) and read[0].observations["state"].shape[1] == 6
    # the same episodes, stepped by hand: actions are stored in [-1, 1]
    bare = ReachEnv()
    observation, _ = bare.reset(seed=read[0].seed % 2**31)
    np.testing.assert_array_equal(
        read[0].observations["state"][0, 1:5],
        np.concatenate([observation["goal"], observation["position"]]).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        (lambda state: state[:3], r"expert: expected 2 finite numbers, got \[3\]"),
        (lambda state: [np.nan, 0.0], r"expert: expected 2 finite numbers, got \[nan, 0.0\]"),
    ],
)
def test_an_experts_action_is_checked(expert: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        collect_demonstrations(REACH, 1, expert=expert)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_keys": ("goal", "position", "arm.angle", "steps")}, "expected state_keys goal,position,arm"),
        ({"reward": "dense"}, "expected reward dense as in the run, got reward sparse"),
        ({"task": "own/reach"}, f"expected task own/reach as in the run, got task {REACH}"),
    ],
)
def test_demonstrations_of_other_things_are_refused(
    tmp_path: Path, demos: Path, changes: dict[str, Any], message: str
) -> None:
    register_env("own/reach", make_reach)
    config = own_config(tmp_path / "run", demos)
    with pytest.raises(ArgumentError, match=message):
        Trainer(replace(config, env=replace(config.env, **changes)), quiet=True).run()


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_run_by_id_whole(tmp_path: Path, demos: Path, num_envs: int, said: list[str]) -> None:
    """With evaluation in processes that know nothing but the id."""
    config = own_config(tmp_path / "run", demos, num_envs=num_envs)
    evaluation = replace(config.evaluation, workers=1, video_episodes=1, episodes=2)
    result = Trainer(replace(config, evaluation=evaluation), quiet=True).run()
    assert result.success_rate is not None and result.env_steps >= 80
    assert (tmp_path / "run" / "rollouts.mp4").stat().st_size > 0
    assert not [line for line in said if "no video" in line or "cannot save" in line]

    # what its policy says of itself
    policy = load_policy(result.policy_path)
    contract = policy.contract
    assert contract.metadata["task"] == REACH
    assert contract.metadata["state_keys"] == "arm.angle,goal,position,steps"
    assert contract.control_low == (-2.0, 0.0) and contract.control_high == (2.0, 10.0)
    assert contract.action_low == -1.0 and contract.control_period == 0.05 and contract.action_repeat == 2

    # and the run again, bit for bit; when an evaluation comes in is the clock's
    again = replace(config, run_dir=tmp_path / "again", evaluation=evaluation)
    Trainer(again, quiet=True).run()
    records = [
        sorted(
            reproducible_records(tmp_path / name), key=lambda record: (record["kind"], record["env_steps"])
        )
        for name in ("run", "again")
    ]
    assert differences(*records) == []


def test_imitation_alone(tmp_path: Path, demos: Path) -> None:
    config = own_config(tmp_path / "bc", demos).imitation()
    result = ImitationTrainer(config, quiet=True).run()
    assert result.success_rate is not None
    assert load_policy(result.policy_path).contract.control_high == (2.0, 10.0)


def test_a_function_of_the_users_in_this_process(tmp_path: Path, said: list[str]) -> None:
    register_env("own/reach", lambda: ReachEnv(), expert=towards, state_keys=("goal", "position"))
    config = own_config(tmp_path / "run", None, task="own/reach")
    # the expert of the registered task sees what the task observes
    register_env("own/reach", lambda: ReachEnv(), expert=_towards_short, state_keys=("goal", "position"))
    evaluation = replace(config.evaluation, workers=2, video_episodes=1)
    result = Trainer(replace(config, evaluation=evaluation), quiet=True).run()
    assert result.success_rate is not None
    notices = [line for line in said if "no other process knows own/reach" in line]
    assert len(notices) == 1
    (reason,) = [line for line in said if line.startswith("no video")]
    assert "expected an environment with render_mode='rgb_array'" in reason
    assert not (tmp_path / "run" / "rollouts.mp4").exists()


def _towards_short(state: np.ndarray) -> np.ndarray:
    return np.clip(10.0 * (state[:2] - state[2:4]), -1.0, 1.0).astype(np.float32)


def test_trainer_takes_make_env(tmp_path: Path, demos: Path) -> None:
    config = own_config(tmp_path / "run", demos, task="mine/reach", total_env_steps=40)
    config = replace(config, demos=replace(config.demos, allow_mismatch=True))
    with pytest.raises(
        ArgumentError, match="a task of register_env is known once this process has registered"
    ):
        Trainer(config)
    taken = replace(config, env=replace(config.env, task="metaworld/reach"))
    with pytest.raises(
        ArgumentError, match=r"make_env as env.task: name: expected a suite of one's own, other"
    ):
        Trainer(taken, make_env=make_reach)
    stopped = Trainer(config, make_env=make_reach, quiet=True)
    stopped._stop.set()
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    result = Trainer(config, make_env=make_reach, quiet=True).run()
    assert load_policy(result.policy_path).contract.metadata["task"] == "mine/reach"
    registry._REGISTERED.clear()
    with pytest.raises(ArgumentError, match="a task of register_env is known once"):
        resume_trainer(tmp_path / "run")
    resumed = Trainer.from_checkpoint(tmp_path / "run", make_env=make_reach, quiet=True)
    assert not resumed.run().interrupted


def test_states_of_unknown_units_are_scaled_by_their_deviation(tmp_path: Path, demos: Path) -> None:
    config = own_config(tmp_path / "run", demos, state_stack=1)
    pool = make_pool(**config.env.pool_kwargs())
    read = read_demonstrations(demos)
    scaler = make_scalers(config, plan_observation(config, pool), read)["state"]
    states = np.concatenate([demo.observations["state"] for demo in read]).astype(np.float64)
    expected = (states[:1] - states.mean(axis=0)) / states.std(axis=0)
    scaled = scaler(torch.from_numpy(states[:1].astype(np.float32))).numpy()
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)


# ---- resume without a state


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_resumed_run_begins_fresh_episodes(
    tmp_path: Path, demos: Path, num_envs: int, said: list[str]
) -> None:
    config = own_config(tmp_path / "run", demos, num_envs=num_envs)
    # five steps into an episode of thirteen
    run_interrupted(config, 18)
    before = load_checkpoint(tmp_path / "run")
    assert not [line for line in said if "cannot save their state" in line]
    trainer = resume_trainer(tmp_path / "run", quiet=True)
    seen: dict[str, Any] = {}
    step = trainer._step  # type: ignore[union-attr]

    def looked_at() -> None:
        if not seen:
            seen["index"] = trainer._parts.buffer._index.state()  # type: ignore[union-attr]
            seen["lengths"] = trainer._parts.collector._lengths.copy()  # type: ignore[union-attr]
        step()

    trainer._step = looked_at  # type: ignore[union-attr, method-assign]
    result = trainer.run()
    assert not result.interrupted and result.env_steps == 80

    # said and recorded once
    lines = [line for line in said if "cannot save their state: fresh episodes begin" in line]
    records = [record for record in read_metrics(tmp_path / "run") if record["kind"] == "resume"]
    unfinished = [int(n) for n in before["collector"]["lengths"] if n]
    assert len(lines) == len(records) == 1 and unfinished
    assert records[0]["broken_off_episodes"] == len(unfinished)
    assert records[0]["broken_off_steps"] == sum(unfinished)
    assert records[0]["env_steps"] == before["counters"]["agent_steps"] * 2

    # nothing runs on: the unfinished episodes are closed with the steps that they had, fresh ones have none
    assert (seen["lengths"] == 0).all()
    index = seen["index"]
    assert index["current"][:, 2].all() and (index["current"][:, 1] == 0).all()
    closed = index["episodes"][index["episodes"][:, 0] > 0]
    saved = before["buffer"]
    assert (
        sorted(closed[:, 2].tolist())[: len(unfinished)] != []
        and closed[:, 2].sum() == (before["counters"]["agent_steps"])
    )
    assert set(unfinished) <= set(closed[:, 2].tolist()) and saved is not None


def test_no_transition_crosses_the_break(tmp_path: Path, demos: Path) -> None:
    """Every stored transition is one that the environment made, whose clock goes on by the repeat."""
    config = own_config(tmp_path / "run", demos, total_env_steps=100)
    run_interrupted(config, 7)
    trainer = resume_trainer(tmp_path / "run", quiet=True)
    trainer.run()
    buffer = trainer._parts.buffer  # type: ignore[union-attr]
    torch_batch = buffer.sample(4000)
    nstep = config.replay.nstep
    now = torch_batch.obs["state"][:, 5].numpy()  # the newest frame's clock, control steps
    after = torch_batch.next_obs["state"][:, 5].numpy()
    # n-step successors lie at most nstep agent steps ahead within the same episode, never behind
    assert ((after - now >= 1) & (after - now <= 2 * nstep)).all()
    goal, next_goal = torch_batch.obs["state"][:, 1:3], torch_batch.next_obs["state"][:, 1:3]
    np.testing.assert_array_equal(goal.numpy(), next_goal.numpy())
    # where the episode was broken off, bootstrapping goes on: nothing ended there
    goals = {tuple(row) for row in goal.numpy().tolist()}
    assert len(goals) >= 3 + 3


def test_resuming_is_a_function_of_the_checkpoint(tmp_path: Path, demos: Path) -> None:
    import shutil

    config = own_config(tmp_path / "first", demos)
    run_interrupted(config, 9)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    for name in ("first", "second"):
        resume_trainer(tmp_path / name, quiet=True).run()
    runs = tmp_path / "first", tmp_path / "second"
    assert differences(*map(reproducible_records, runs)) == []
    assert differences(*map(reproducible_content, runs)) == []


def test_an_environment_that_fails_in_a_run_is_one_message(tmp_path: Path) -> None:
    register_env(
        "own/fails", lambda: FaultyEnv("raises"), success=lambda *_: True, expert=lambda state: state[:1]
    )
    register_env("own/fails", lambda: FaultyEnv("raises"), expert=lambda state: state[:1])
    config = own_config(tmp_path / "run", None, task="own/fails")
    with pytest.raises(EnvFailedError, match="own/fails: step: expected a result, got ZeroDivisionError"):
        Trainer(config, quiet=True).run()


def test_dense_rewards_in_a_run(tmp_path: Path, demos: Path) -> None:
    file = tmp_path / "dense.hdf5"
    options: dict[str, Any] = {"max_episode_steps": 13, "reward": "dense"}
    write_demonstrations(file, collect_demonstrations(REACH, 2, expert=towards, seed=1, **options))
    config = own_config(tmp_path / "run", file)
    config = replace(config, env=replace(config.env, reward="dense"), total_env_steps=40)
    trainer = Trainer(config, quiet=True)
    trainer.run()
    reward = trainer._parts.buffer.sample(64).reward
    assert (reward < 0).all()
    values = json.loads((tmp_path / "run" / "config.json").read_text())
    assert values["env"]["reward"] == "dense" and values["demos"]["path"] == str(file)


def test_a_pool_of_the_configuration_is_a_pool_of_json(demos: Path, tmp_path: Path) -> None:
    """What evaluation processes are told goes through JSON."""
    env = EnvConfig(task=REACH, state_keys=("goal", "position"), proprio_keys=("position",))
    kwargs = json.loads(json.dumps(env.pool_kwargs()))
    assert make_pool(**kwargs).task.joined == {"state": ("goal", "position"), "proprio": ("position",)}
    assert DemoConfig(path=demos).path == demos
