"""Recorded episodes: demonstrations for the package, logs that replay bit for bit, pages, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exported import export_hybrid, export_lift
from robot_helpers import LIMITS, forward, make_client

import ibrl_fast
from ibrl_fast import read_demonstrations
from ibrl_fast.cli import main
from ibrl_fast.deploy import load_policy
from ibrl_fast.errors import FileError, UserError
from ibrl_fast.robot import ManualClock, MockRobot, RobotClient, learn_limits, write_limits
from ibrl_fast.robot.recording import EpisodeRecorder, join_episodes, read_log, recorded_files
from ibrl_fast.robot.replay import replay_episode
from ibrl_fast.robot.success import LiftSuccess

ROOT = Path(ibrl_fast.__file__).parents[1]


def record(folder: Path, policy: Path, episodes: int = 2, **options: object) -> RobotClient:
    """Episodes of an exported policy on the mock robot, on a manual clock."""
    clock = ManualClock()
    client = RobotClient(
        MockRobot(clock, seed=3),
        load_policy(policy),
        clock=clock,
        recorder=EpisodeRecorder(folder),
        **{"safety": LIMITS, "success": LiftSuccess(), "max_steps": 60, **options},
    )
    client.arm()
    for _ in range(episodes):
        client.run_episode()
    return client


def test_yesterdays_robot_day_is_tomorrows_demonstrations(tmp_path: Path) -> None:
    policy = export_lift(tmp_path / "lift.pt")
    record(tmp_path / "day", policy, 2)
    record(tmp_path / "day", policy, 1)  # another session goes on numbering
    files = recorded_files(tmp_path / "day")
    assert [path.name for path in files] == [f"episode_0000{n}.hdf5" for n in range(3)]
    demo = read_demonstrations(files[0])[0]
    assert demo.success and demo.terminated[-1] and not demo.truncated.any()
    assert set(demo.observations) == {"proprio", "state", "wrist", "eef_pos", "eef_quat", "gripper_width"}
    steps = len(demo)
    assert demo.observations["wrist"].shape == (steps + 1, 3, 96, 96)
    # rewards are 1 at the end; the next observation is what the step led to
    np.testing.assert_array_equal(demo.rewards, [0.0] * (steps - 1) + [1.0])
    moved = np.diff(demo.observations["eef_pos"], axis=0)
    np.testing.assert_allclose(moved[0], 0.03 * demo.actions[0, :3], atol=1e-6)

    assert join_episodes(tmp_path / "day", tmp_path / "demos.hdf5") == (3, 0)
    demos = read_demonstrations(tmp_path / "demos.hdf5", filter_key="success")
    assert len(demos) == 3
    np.testing.assert_array_equal(demos[0].actions, demo.actions)
    # limits can be learned from what was recorded
    limits = learn_limits(tmp_path / "demos.hdf5")
    assert limits.position_high[2] > 0.25


def test_the_log_says_all_that_is_known(tmp_path: Path) -> None:
    limits = replace(LIMITS, on_boundary="clip", position_high=(0.42, 0.2, 0.5), max_step_translation=0.02)
    client, _, policy, _ = make_client(
        lambda obs: [1.0, 0.0, 0.0, -1.0], safety=limits, recorder=EpisodeRecorder(tmp_path), max_steps=8
    )

    def slow_once(obs: object) -> list[float]:
        policy.seconds = 0.15 if policy.steps == 2 else 0.0
        return [1.0, 0.0, 0.0, -1.0]

    policy._choose = slow_once
    client.arm()
    episode = client.run_episode()
    log = read_log(tmp_path / "episode_00000.hdf5")
    assert log.facts["outcome"] == "time limit" and log.facts["missed"] == 1
    assert log.facts["robot"] == "mock" and log.facts["mode"] == "run" and log.facts["period"] == 0.1
    assert log.facts["held"][2].startswith("late") and log.facts["held_ticks"] == {"late": 1}
    assert [rule for rule, _ in log.facts["interventions"][0]] == ["step"]
    assert [rule for rule, _ in log.facts["interventions"][4]] == ["step", "position"]
    np.testing.assert_array_equal(log.proposed, np.tile(np.float32([1, 0, 0, -1]), (8, 1)))
    np.testing.assert_array_equal(log.source, [1, 0] * 4)
    assert log.asked.all() and log.candidates.shape == (8, 0, 4) and log.scores.shape == (8, 0)
    assert log.times == episode.times and len(log.step_times) == 8
    assert np.isnan(log.step_times[2, 5])


def test_proposals_and_their_scores_are_kept_where_the_policy_gives_them(tmp_path: Path) -> None:
    record(tmp_path / "day", export_hybrid(tmp_path / "hybrid.pt"), 1, max_steps=10)
    log = read_log(tmp_path / "day" / "episode_00000.hdf5")
    steps = len(log.source)
    assert log.candidates.shape == (steps, 2, 4) and log.scores.shape == (steps, 2)
    choice = log.scores.argmax(1)
    np.testing.assert_array_equal(choice, log.source)
    np.testing.assert_array_equal(log.candidates[np.arange(steps), choice], log.proposed)


def test_replay_is_equal_bit_for_bit_and_shows_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = export_hybrid(tmp_path / "one.pt"), export_hybrid(tmp_path / "other.pt", seed=1)
    record(tmp_path / "day", one, 2, max_steps=10)
    path = tmp_path / "day" / "episode_00000.hdf5"
    same = replay_episode(path, load_policy(one))
    assert same.is_equal and len(same.steps) == len(read_log(path).source)
    assert "equal bit for bit" in same.report()
    different = replay_episode(path, load_policy(other))
    assert not different.is_equal and "answers differ, by" in different.report()

    for policy, status in ((one, 0), (other, 1)):
        with pytest.raises(SystemExit) as end:
            main(["robot", "replay", str(tmp_path / "day"), "--policy", str(policy)])
        assert end.value.code == status
    out = capsys.readouterr().out
    assert out.count("equal bit for bit") == 2 and "recorded [" in out


def test_what_moved_otherwise_is_no_demonstration(tmp_path: Path) -> None:
    policy = export_lift(tmp_path / "lift.pt")
    record(tmp_path / "day", policy, 1, mode="dry", max_steps=5)
    with pytest.raises(UserError, match="at least one episode to write, got none among 1"):
        join_episodes(tmp_path / "day", tmp_path / "demos.hdf5")
    record(tmp_path / "day", policy, 1)
    record(tmp_path / "day", policy, 1, max_steps=3)
    assert join_episodes(tmp_path / "day", tmp_path / "demos.hdf5", only_success=True) == (1, 2)
    assert join_episodes(tmp_path / "day", tmp_path / "demos.hdf5") == (2, 1)


def test_a_full_disk_loses_nothing_and_no_episode_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = EpisodeRecorder(tmp_path / "day")
    client, robot, _, _ = make_client(forward, recorder=recorder, max_steps=5)
    client.arm()
    client.run_episode()
    with monkeypatch.context() as full:

        def no_room(path: Path, content: bytes, name: str | None = None) -> None:
            raise FileError(f"{name}: No space left on device; make room and run the command again")

        full.setattr("ibrl_fast.data.demonstrations.write_bytes", no_room)
        commands = robot.commands
        with pytest.raises(FileError, match="No space left"):
            client.run_episode()
        assert robot.commands == commands + 5 and len(recorder.unsaved) == 1
        # the robot holds; nothing moves while an episode is not safe
        with pytest.raises(FileError, match="No space left"):
            client.run_episode()
        assert robot.commands == commands + 5
    # room again: what was kept is written first
    client.run_episode()
    assert recorder.unsaved == [] and len(recorded_files(tmp_path / "day")) == 3
    assert all(len(read_demonstrations(path)[0]) == 5 for path in recorded_files(tmp_path / "day"))


KILLED = """
import os, signal, sys
sys.path.append(sys.argv[2])
from robot_helpers import forward, make_client
from ibrl_fast.robot.recording import EpisodeRecorder

client, robot, policy, _ = make_client(forward, recorder=EpisodeRecorder(sys.argv[1]), max_steps=5)
client.arm()
client.run_episode()
client.run_episode()

def kill(obs):
    os.kill(os.getpid(), signal.SIGKILL)

policy._choose = kill
client.run_episode()
"""


def test_kill_9_loses_the_current_episode_alone(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "day"), str(Path(__file__).parent)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == -signal.SIGKILL
    files = recorded_files(tmp_path / "day")
    assert len(files) == 2 and all(len(read_demonstrations(path)[0]) == 5 for path in files)
    assert join_episodes(tmp_path / "day", tmp_path / "demos.hdf5") == (2, 0)


def test_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = export_lift(tmp_path / "lift.pt")
    record(tmp_path / "day", policy, 2)
    write_limits(tmp_path / "limits.json", LIMITS)
    main(["robot", "report", str(tmp_path / "day"), "--limits", str(tmp_path / "limits.json")])
    page = (tmp_path / "day" / "robot_report.html").read_text()
    assert "episodes: 2 (success 2)" in page and "data:image/png;base64," in page and "<script" not in page
    assert (tmp_path / "day" / "robot_report.png").read_bytes().startswith(b"\x89PNG")
    # one file alone, elsewhere, without limits
    out = tmp_path / "elsewhere"
    main(["robot", "report", str(tmp_path / "day" / "episode_00001.hdf5"), "--out", str(out)])
    assert "episodes: 1 (success 1)" in (out / "robot_report.html").read_text()
    main(["robot", "join", str(tmp_path / "day"), "--out", str(tmp_path / "demos.hdf5")])
    assert "2 episodes, 0 left out" in capsys.readouterr().out


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="recording: expected a folder"):
        recorded_files(tmp_path)
    with pytest.raises(FileError, match="got nothing"):
        read_log(tmp_path / "episode_00000.hdf5")
    policy = export_lift(tmp_path / "lift.pt")
    record(tmp_path / "day", policy, 1, max_steps=4)
    path = tmp_path / "day" / "episode_00000.hdf5"
    join_episodes(tmp_path / "day", tmp_path / "demos.hdf5")
    with pytest.raises(FileError, match="expected a recorded episode"):
        read_log(tmp_path / "demos.hdf5")  # demonstrations without a log
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(30):
        changed = bytearray(whole)
        changed[random.integers(len(whole))] ^= 0x10
        path.write_bytes(changed)
        try:
            assert read_log(path).facts["outcome"] == "time limit"  # a byte that says nothing
        except FileError as error:
            assert "expected a recorded episode" in str(error)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError):
        read_log(path)
