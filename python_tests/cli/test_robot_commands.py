"""`ibrl-fast robot ...`: help, mistakes in one message, and a run on the mock robot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_helpers import fails

from ibrl_fast.cli import main
from ibrl_fast.cli.robot_command import SUBCOMMANDS
from ibrl_fast.robot import SafetyLimits, write_limits

sys.path.append(str(Path(__file__).parents[1] / "robot"))


@pytest.fixture
def limits(tmp_path: Path) -> str:
    write_limits(tmp_path / "limits.json", SafetyLimits((0.2, -0.2, 0.04), (0.6, 0.2, 0.5)))
    return str(tmp_path / "limits.json")


@pytest.fixture
def policy(tmp_path: Path) -> str:
    from exported import export_lift

    return str(export_lift(tmp_path / "lift.pt"))


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["robot", name, "--help"])
    assert end.value.code == 0
    assert f"ibrl-fast robot {name}" in capsys.readouterr().out
    for arguments, status in ((["robot", "--help"], 0), (["robot"], 2)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == status
        captured = capsys.readouterr()
        assert f"  {name} " in captured.out + captured.err


def test_modules_are_short() -> None:
    import ibrl_fast.cli.robot

    files = [*Path(ibrl_fast.cli.robot.__file__).parent.glob("*_command.py")]
    assert len(files) == len(SUBCOMMANDS)
    for file in files:
        assert len(file.read_text().splitlines()) < 80, file.name


def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path, limits: str, policy: str) -> None:
    assert "did you mean bounds?" in fails(capsys, "robot", "bound")
    assert "limits: expected" in fails(capsys, "robot", "serve", "--limits", str(tmp_path / "none"))
    base = ("robot", "run", policy, "--limits", limits, "--robot")
    assert "robot: expected mock or module:function, got arm" in fails(capsys, *base, "arm")
    assert "No module named 'nowhere'" in fails(capsys, *base, "nowhere:Arm")
    assert "to be a robot, got dict" in fails(capsys, *base, "builtins:dict")
    message = fails(capsys, *base, "mock", "--success", "hang", "--camera", "wrist")
    assert "success: expected hang with ['camera', 'line'], got ['camera']" in message
    assert "success: expected none with []" in fails(capsys, *base, "mock", "--camera", "wrist")
    assert "dead_man: expected None" in fails(capsys, *base, "mock", "--dead-man", "1.0")
    assert "rate_hz: expected 10" in fails(capsys, *base, "mock", "--rate-hz", "20")
    assert "exported policy" in fails(capsys, "robot", "run", limits, "--limits", limits, "--robot", "mock")
    half = ("robot", "serve", "--limits", limits, "--curve-secret", limits)
    assert "curve_clients: expected both" in fails(capsys, *half)


def test_a_server_beyond_this_machine_is_refused(capsys: pytest.CaptureFixture[str], limits: str) -> None:
    pytest.importorskip("zmq", reason="needs the extra ibrl_fast[robot]")
    pytest.importorskip("msgpack", reason="needs the extra ibrl_fast[robot]")
    message = fails(capsys, "robot", "serve", "--limits", limits, "--address", "tcp://0.0.0.0:5757")
    assert "expected a token or CURVE keys beyond this machine" in message


def test_without_the_extra_it_says_what_installs_it(
    capsys: pytest.CaptureFixture[str], limits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    message = fails(capsys, "robot", "serve", "--limits", limits)
    assert "zmq: expected the package, got none; pip install 'ibrl_fast[robot]'" in message


def test_a_dry_run(tmp_path: Path, limits: str, policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    day = tmp_path / "day"
    options = ["--robot", "mock", "--mode", "dry", "--max-steps", "3", "--episodes", "2"]
    # a busy machine may be late for all of three deadlines
    patient = ["--max-holds", "9", "--max-age", "9"]
    main(["robot", "run", policy, "--limits", limits, "--record", str(day), *options, *patient])
    out = capsys.readouterr().out
    assert "episode 1: time limit after" in out and "missed deadlines" in out


def test_a_stop_ends_the_command_with_status_1(tmp_path: Path, limits: str, policy: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(
            [
                "robot",
                "run",
                policy,
                "--limits",
                limits,
                "--robot",
                "mock",
                "--max-age",
                "1e-9",
                "--episodes",
                "3",
            ]
        )
    assert end.value.code == 1
