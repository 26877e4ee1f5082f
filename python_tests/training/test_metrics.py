"""Every metric that a run writes is defined in docs/metrics.md, and the other way round."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_helpers import run_interrupted, tiny_config

from ibrl_fast import collect_demonstrations, write_demonstrations
from ibrl_fast.agents import GateConfig, IBRLConfig, TD3Config
from ibrl_fast.training.config import EnvConfig, TrainConfig
from ibrl_fast.training.imitation_trainer import ImitationTrainer
from ibrl_fast.training.records.metrics import MetricsAccumulator, MetricsLogger, PhaseTimer, read_metrics
from ibrl_fast.training.resume import resume_trainer
from ibrl_fast.training.trainer import Trainer

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def defined_metrics() -> dict[str, set[str]]:
    """Metrics by kind of record, from the first column of the tables under each heading."""
    metrics: dict[str, set[str]] = defaultdict(set)
    kind = ""
    for line in DOCS.read_text().splitlines():
        if line.startswith("## "):
            kind = line[3:].strip()
        elif line.startswith("| `") and kind:
            metrics[kind] |= set(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return metrics


def stateless_config(run_dir: Path) -> TrainConfig:
    """A tiny run on environments that cannot save their state."""
    env = EnvConfig(task="gym:Pendulum-v1", max_episode_steps=13)
    options = env.pool_kwargs()
    demos = collect_demonstrations(episodes=2, expert=lambda state: -state[2:], success_only=False, **options)
    file = run_dir.with_suffix(".hdf5")
    write_demonstrations(file, demos)
    return tiny_config(run_dir, file, env=env, total_env_steps=40)


def test_written_and_defined_metrics_are_the_same(tmp_path: Path, demos_file: Path) -> None:
    configs = [
        tiny_config(tmp_path / "ibrl", demos_file, agent=IBRLConfig(gate=GateConfig(window=1))),
        tiny_config(tmp_path / "td3", demos_file, agent=TD3Config(), warmup_episodes=0),
        tiny_config(tmp_path / "bc", demos_file).imitation(),
    ]
    written: dict[str, set[str]] = defaultdict(set)
    for config in configs:
        kind = Trainer if isinstance(config, TrainConfig) else ImitationTrainer
        result = kind(config, quiet=True).run()
        records = read_metrics(config.run_dir)
        for record in records:
            written[record["kind"]] |= set(record) - {"kind", "env_steps"}
            assert record["env_steps"] <= result.env_steps
        assert [record["kind"] for record in records].count("summary") == 1
    # a run that goes on without the state of its environments says so in a record
    config = stateless_config(tmp_path / "stateless")
    run_interrupted(config, 5)
    resume_trainer(config.run_dir, quiet=True).run()
    for record in read_metrics(config.run_dir):
        written[record["kind"]] |= set(record) - {"kind", "env_steps"}
    assert written == defined_metrics()

    # The same numbers in TensorBoard, and a summary of the run beside them
    events = EventAccumulator(str(tmp_path / "ibrl"))
    events.Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    losses = [record for record in read_metrics(tmp_path / "ibrl") if record["kind"] == "train"]
    assert [event.step for event in scalars["train/critic_loss"]] == [
        record["env_steps"] for record in losses
    ]
    assert scalars["train/critic_loss"][-1].value == pytest.approx(losses[-1]["critic_loss"])
    summary = json.loads((tmp_path / "ibrl" / "summary.json").read_text())
    last = read_metrics(tmp_path / "ibrl")[-1]
    assert summary["success_rate"] == last["success_rate"] and summary["env_steps"] == last["env_steps"]
    assert last["warmup_env_steps"] == 2 * 13  # one episode of 13 agent steps
    for name in ("learning_curve.png", "training_curves.png", "phases.png", "policy.pt", "config.json"):
        assert (tmp_path / "ibrl" / name).stat().st_size > 0


def test_accumulator_means_and_resumes() -> None:
    whole, part = MetricsAccumulator(), MetricsAccumulator()
    values = torch.tensor([0.1, 0.7, 0.3])
    for number, value in enumerate(values):
        whole.add({"loss": value, **({"rare": value} if number == 1 else {})})
        if number < 2:
            part.add({"loss": value, **({"rare": value} if number == 1 else {})})
    resumed = MetricsAccumulator()
    resumed.load_state_dict(part.state_dict())
    resumed.add({"loss": values[2]})
    means = whole.pop()
    assert means == {"loss": pytest.approx(values.double().mean().item()), "rare": pytest.approx(0.7)}
    assert resumed.pop() == means
    assert whole.pop() == {}


def test_logger_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    logger = MetricsLogger(tmp_path, tensorboard=False)
    for steps in (10, 20, 30):
        logger.log("eval", steps, {"success_rate": torch.tensor(0.5), "q_mean": float("nan")})
    logger.log("summary", 20, {"success_rate": 1.0})
    logger.close()
    logger = MetricsLogger(tmp_path, kept=2, env_steps=25, tensorboard=False)
    logger.log("eval", 30, {"success_rate": 0.75})
    assert logger.count == 3
    logger.close()
    records = read_metrics(tmp_path)
    assert [(record["kind"], record["env_steps"]) for record in records] == [
        ("eval", 10),
        ("eval", 20),
        ("eval", 30),
    ]
    assert records[0] == {"kind": "eval", "env_steps": 10, "success_rate": 0.5, "q_mean": None}
    assert records[2]["success_rate"] == 0.75

    # A new run in the same folder starts afresh
    MetricsLogger(tmp_path, tensorboard=False).close()
    assert read_metrics(tmp_path) == []


def test_timer_adds_up_by_phase() -> None:
    timer = PhaseTimer()
    for _ in range(2):
        with pytest.raises(KeyError, match="inner"), timer("collect"):
            raise KeyError("inner")
    assert timer.seconds["collect"] > 0 and timer.seconds["actor"] == 0
    # a method may name the parts of its rounds
    with timer("lunch"):
        pass
    assert timer.seconds["lunch"] > 0
