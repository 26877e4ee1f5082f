"""`ibrl-fast train` up to the configuration: methods, whole parts, and the options of what was chosen."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import fails

import ibrl_fast
from ibrl_fast.agents import (
    METHODS,
    GateConfig,
    IBRLConfig,
    IBRLRPLConfig,
    MethodConfig,
    RLPDConfig,
    RPLConfig,
    TD3Config,
)
from ibrl_fast.agents.methods import method_config
from ibrl_fast.cli import main, train_command
from ibrl_fast.cli.choices import choose_parts, describe_parts, has_field
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import DrQConfig, ResNet18Config, ViTConfig
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.presets import preset


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function from `train`'s arguments to the configuration that would be run."""
    taken: list[TrainConfig] = []
    monkeypatch.setattr("ibrl_fast.training.trainer.Trainer", lambda config, profile: taken.append(config))
    monkeypatch.setattr(train_command, "finish", lambda trainer: trainer)
    monkeypatch.setattr(train_command, "print_result", lambda result: None)

    def run(*arguments: str) -> TrainConfig:
        main(["train", *arguments, "--run-dir", str(tmp_path / "run")])
        return taken.pop()

    return run


# ---- what is chosen


def test_the_gate_goes_and_comes(configured: Any) -> None:
    assert configured().agent.gate == GateConfig()
    for off in (["--gate", "None"], ["--gate=None"], ["--agent.gate", "None"], ["--agent.gate=None"]):
        config = configured(*off)
        assert config.agent.gate is None
        assert config.agent == IBRLConfig(learning_rate=3e-4, polyak=0.98)
    assert configured("--gate", "gate").agent.gate == GateConfig()
    assert configured("--gate.window", "5").agent.gate == GateConfig(window=5)
    assert configured("--agent.gate.open-above=0.2").agent.gate == GateConfig(open_above=0.2)
    # where a preset has none, one of its flags asks for it
    assert preset("metaworld_pixel").agent.gate is None  # type: ignore[attr-defined]
    assert configured("metaworld_pixel").agent.gate is None
    assert configured("metaworld_pixel", "--gate.window", "5").agent.gate == GateConfig(window=5)
    assert configured("metaworld_pixel", "--gate", "gate").agent.gate == GateConfig()
    # the last word counts
    assert configured("--gate", "None", "--gate", "gate").agent.gate == GateConfig()


def test_parts_are_checked_with_the_rest_of_the_command_line(
    configured: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A preset without warm-up gets a gate and the warm-up that it needs, in any order."""
    assert preset("real_robot").warmup_episodes == 0
    for arguments in (
        ["--gate", "gate", "--warmup-episodes", "3"],
        ["--warmup-episodes", "3", "--gate.window=4"],
    ):
        config = configured("real_robot", "--task", "assembly", *arguments)
        assert config.agent.gate is not None and config.warmup_episodes == 3
    message = fails(capsys, "train", "real_robot", "--gate", "gate")
    assert "warmup_episodes: expected at least 1 with a gate" in message
    # and without the gate, no warm-up is needed
    assert configured("--gate", "None", "--warmup-episodes", "0").warmup_episodes == 0


def test_encoders_are_exchanged(configured: Any) -> None:
    config = configured("--network.encoder", "drq")
    assert config.network.encoder == DrQConfig()
    assert config.network.actor == preset("quickstart").network.actor
    assert configured(
        "--network.encoder=vit", "--network.encoder.token-dim", "64"
    ).network.encoder == ViTConfig(token_dim=64)
    assert configured("metaworld_pixel").bc_network.encoder == ResNet18Config()
    for flag in ("--bc-network.encoder", "--bc_network.encoder"):
        config = configured("metaworld_pixel", flag, "None")
        assert config.bc_network.encoder is None and config.network.encoder == DrQConfig()
    config = configured("metaworld_pixel", "--network.encoder", "resnet18", "--bc-network.encoder", "vit")
    assert (config.network.encoder, config.bc_network.encoder) == (ResNet18Config(), ViTConfig())


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_chosen_with_what_both_share(configured: Any, name: str) -> None:
    config = configured("--method", name, "--agent.polyak", "0.5")
    assert type(config.agent) is method_config(name) and config.method == name
    assert config.agent.learning_rate == 3e-4 and config.agent.polyak == 0.5
    expected = preset("quickstart")
    # an actor that starts from the imitation policy has its network
    bc_network = expected.network.imitation() if config.agent.starts_from_teacher else expected.bc_network
    assert config == replace(expected, agent=config.agent, bc_network=bc_network, run_dir=config.run_dir)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--method rlpd --agent.demo-fraction 0.25", RLPDConfig(demo_fraction=0.25)),
        ("--agent.demo-fraction 0.25 --method=rlpd", RLPDConfig(demo_fraction=0.25)),
        ("--method rpl", RPLConfig()),
        ("--method td3 --agent.subset-size 1", TD3Config(subset_size=1)),
        ("--method ibrl_rpl --gate None --agent.beta 3", IBRLRPLConfig(beta=3.0)),
        ("--method ibrl --gate None --agent.acting-rule.kind paired", None),
    ],
)
def test_options_of_the_method_that_is_chosen(
    configured: Any, arguments: str, expected: MethodConfig | None
) -> None:
    agent = configured("metaworld_pixel", *arguments.split()).agent
    if expected is None:
        assert agent.acting_rule.kind == "paired"
    else:
        assert agent == expected


def test_choices_leave_other_words_alone() -> None:
    config, rest = choose_parts(
        preset("quickstart"), ["--label", "rlpd", "--seed=3", "--agent.polyak", "0.5"]
    )
    assert config == preset("quickstart")
    assert rest == ["--label", "rlpd", "--seed=3", "--agent.polyak", "0.5"]
    assert has_field(config, "--agent.gate") and has_field(config, "--bc-network.encoder")
    assert not has_field(config, "--agent.method") and not has_field(config, "--seed.seed")


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--method sac", f"method: expected one of {', '.join(METHODS)}, got sac"),
        ("--method", "--method: expected a value, got none"),
        ("--gate maybe", "--agent.gate: expected one of gate, None, got maybe"),
        ("--network.encoder vgg", "--network.encoder: expected one of vit, drq, resnet18, None, got vgg"),
        (
            "--bc_network.encoder vgg",
            "--bc-network.encoder: expected one of vit, drq, resnet18, None, got vgg",
        ),
        ("nothing", "preset: expected one of quickstart, "),
        ("--method td3 --agent.beta 3", "--agent.beta: expected an option of td3 (precision, learning-rate"),
        ("--method td3 --agent.beta=3", "warmup-actor), got one of ibrl, ibrl_rpl"),
        ("--method rlpd --gate None", "--agent.gate: expected an option of rlpd ("),
        ("--method td3 --bc.updates 3", "--bc.updates: expected none, as method td3 has no imitation policy"),
        ("--il-policy x.pt --bc-network.actor.hidden 8", "as method ibrl has it given by --il-policy"),
        ("--method rpl --gate.window 3", "--agent.gate.window: expected an option of rpl ("),
        ("--agent.bc-weight 0.5", "gate), got one of rft"),
        ("--agent.bc_weight 0.5", "gate), got one of rft"),
        ("--agent.bta 3", "gate), got bta"),
    ],
)
def test_one_line_names_what_is_wrong(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, "train", *arguments.split())
    assert line.startswith("ibrl-fast: ") and "\n" not in line
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--gate None --gate.window 3", ["--agent.gate.window"]),
        ("--bc-network.encoder None --bc-network.encoder.channels 3", ["--bc-network.encoder.channels"]),
        ("--network.encoder.channels 3", ["--network.encoder.channels"]),
        ("--agent.gate.windo 3", ["--agent.gate.windo", "--agent.gate.window"]),
        ("--method rlpd --agent.demo-fraction 1.5", ["demo_fraction: expected in [0, 1] or None, got 1.5"]),
        ("--method rlpd --agent.demo-fraction many", ["--agent.demo-fraction"]),
        ("--sead 3", ["--sead"]),
    ],
)
def test_options_of_what_is_not_there_are_refused_by_name(
    arguments: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, "train", *arguments.split())
    assert all(word in message for word in words)


def test_a_part_of_several_types_is_not_guessed_from_its_flags() -> None:
    config, rest = choose_parts(preset("quickstart"), ["--network.encoder.channels", "3"])
    assert config.network.encoder is None and rest == ["--network.encoder.channels", "3"]
    with pytest.raises(ArgumentError, match=r"--network\.encoder: expected a value, got none"):
        choose_parts(preset("quickstart"), ["--network.encoder"])


# ---- help


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `train --help` prints."""
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


OWN = {
    "ibrl": ["beta", "gate", "acting-rule", "bootstrap-proposal"],
    "td3": [],
    "rlpd": [],
    "rpl": [],
    "rft": ["bc-weight"],
    "resfit": ["action-scale"],
    "ibrl_rpl": ["beta", "gate", "acting-rule", "bootstrap-proposal"],
}


@pytest.mark.parametrize("name", METHODS)
def test_help_of_a_method_has_its_options_and_no_others(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = help_of(capsys, "--method", name)
    assert f"--method {'|'.join(METHODS)} (here: {name})" in " ".join(text.split())
    assert "--agent.learning-rate" in text
    for option in {option for options in OWN.values() for option in options}:
        assert (f"--agent.{option}" in text) == (option in OWN[name]), option
    for word in ("beta", "gate"):
        assert (word in text) == (word in OWN[name]), word
    # nobody can choose what the type decides
    for constant in ("needs-teacher", "residual", "agent.warmup", "agent.method", "agent.learner"):
        assert f"--{constant} " not in text and f"--agent.{constant} " not in text


def test_help_names_the_parts_and_what_each_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(capsys).split())
    for part in ("--agent.gate gate|None", "--network.encoder vit|drq|resnet18|None"):
        assert part in text and part in describe_parts(preset("quickstart"))
    # with an encoder chosen, its options are there
    assert "--network.encoder.channels" not in text
    assert "--network.encoder.channels" in help_of(capsys, "--network.encoder", "drq")


@pytest.mark.parametrize("method", METHODS)
def test_help_and_wrong_options_import_nothing_heavy(method: str) -> None:
    code = """
import sys
from ibrl_fast.cli import main
for words in (["--help"], ["--agent.nothing", "3"]):
    try:
        main(["train", "--method", sys.argv[1], *words])
    except SystemExit:
        pass
heavy = ("torch", "h5py", "mujoco", "metaworld", "gymnasium", "matplotlib")
print("heavy", [name for name in heavy if name in sys.modules])
"""
    root = Path(ibrl_fast.__file__).parents[1]
    command = [sys.executable, "-c", code, method]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.splitlines()[-1] == "heavy []"
