"""Limits learned from demonstrations, and their file, which people edit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ibrl_fast.cli import main
from ibrl_fast.data import Demonstration, write_demonstrations
from ibrl_fast.errors import ArgumentError, FileError
from ibrl_fast.robot.bounds import learn_limits
from ibrl_fast.robot.limits import SafetyLimits, read_limits, write_limits
from ibrl_fast.robot.regions import Box, Cylinder
from ibrl_fast.robot.robot import RobotState
from ibrl_fast.robot.safety import outside

reference = pytest.importorskip("scipy.spatial.transform").Rotation
BASE = reference.from_rotvec([3.1, 0.0, 0.2])  # a gripper that looks down: near pi, where vectors jump


@pytest.fixture
def demos(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A file of three demonstrations, and all its positions and quaternions."""
    random = np.random.default_rng(0)
    made, all_positions, all_turns = [], [], []
    for _ in range(3):
        positions = np.add(np.cumsum(0.01 * random.standard_normal((21, 3)), axis=0), [0.4, 0.0, 0.2])
        turns = (reference.from_rotvec(0.1 * random.standard_normal((21, 3))) * BASE).as_quat()
        turns *= random.choice([-1.0, 1.0], (21, 1))  # both signs are the same rotation
        zeros = np.zeros(20, dtype=np.float32)
        ends = np.arange(20) == 19
        made.append(
            Demonstration(
                {"eef_pos": positions.astype(np.float32), "eef_quat": turns.astype(np.float32)},
                np.zeros((20, 7), dtype=np.float32),
                zeros,
                np.zeros(20, dtype=bool),
                ends,
            )
        )
        all_positions.append(positions)
        all_turns.append(turns)
    write_demonstrations(tmp_path / "demos.hdf5", made)
    return tmp_path / "demos.hdf5", np.array(all_positions), np.array(all_turns)


def test_the_box_is_the_range_and_the_margin(demos: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, positions, turns = demos
    limits = learn_limits(path, position_margin=0.04, rotation_margin=0.1, motion_factor=2.0)
    np.testing.assert_allclose(limits.position_low, positions.min((0, 1)) - 0.04, atol=2e-5)
    np.testing.assert_allclose(limits.position_high, positions.max((0, 1)) + 0.04, atol=2e-5)
    vectors = reference.from_quat(turns.reshape(-1, 4)) * reference.from_quat(limits.rotation_reference).inv()
    np.testing.assert_allclose(limits.rotation_low, vectors.as_rotvec().min(0) - 0.1, atol=2e-5)
    np.testing.assert_allclose(limits.rotation_high, vectors.as_rotvec().max(0) + 0.1, atol=2e-5)
    steps = np.linalg.norm(np.diff(positions, axis=1), axis=2)
    assert limits.max_step_translation == pytest.approx(2.0 * steps.max(), rel=1e-4)
    sums = [steps[d, i : i + 10].sum() for d in range(3) for i in range(11)]
    assert limits.max_speed == pytest.approx(2.0 * max(sums), rel=1e-4)
    # the demonstrations themselves are inside
    for position, turn in zip(positions.reshape(-1, 3), turns.reshape(-1, 4)):
        assert outside(RobotState(position, turn, 0.0, 0.0, 0.0), limits) is None


def test_without_rotations(demos: tuple[Path, np.ndarray, np.ndarray]) -> None:
    limits = learn_limits(demos[0], rotation_key=None, rotation_margin=0.2)
    assert limits.rotation_low == (-0.2,) * 3 and limits.rotation_high == (0.2,) * 3


def test_the_command_writes_what_can_be_edited(
    demos: tuple[Path, np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = demos[0].with_name("limits.json")
    main(["robot", "bounds", str(demos[0]), "--out", str(out)])
    assert capsys.readouterr().out.strip() == str(out)
    assert read_limits(out) == learn_limits(demos[0])
    content = json.loads(out.read_text())
    content["max_speed"] = 0.5
    content["forbidden"] = [{"kind": "cylinder", "center": [0.5, 0], "radius": 0.05, "low": 0, "high": 0.3}]
    out.write_text(json.dumps(content))
    edited = read_limits(out)
    assert edited.max_speed == 0.5 and edited.forbidden == (Cylinder((0.5, 0), 0.05, 0, 0.3),)


def test_limits_travel_through_their_file(tmp_path: Path) -> None:
    regions = (Box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), Cylinder((0.1, 0.2), 0.3, 0.0, 0.5))
    limits = SafetyLimits((0.0, 0.1, 0.2), (1.0, 1.0, 1.0), forbidden=regions, on_boundary="clip")
    write_limits(tmp_path / "limits.json", limits)
    assert read_limits(tmp_path / "limits.json") == limits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_sped": 1.0}, "unknown max_sped"),
        ({"position_low": None}, "position_low"),
        ({"max_speed": "fast"}, "max_speed: expected a finite number, got fast"),
        ({"forbidden": [{"kind": "sphere"}]}, "forbidden.kind: expected box or cylinder, got sphere"),
        ({"forbidden": [{"kind": "box", "low": [0, 0, 0]}]}, "box: expected high"),
        ({"forbidden": [{"kind": "box", "low": [0, 0, 2], "high": [1, 1, 1]}]}, "box.high"),
        ({"forbidden": "none"}, "forbidden: expected a list"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "limits.json"
    write_limits(path, SafetyLimits((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError, match=message) as error:
        read_limits(path)
    assert str(path) in str(error.value)


def test_what_cannot_be_learned_from(demos: tuple[Path, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ArgumentError, match="there are"):
        learn_limits(demos[0], position_key="robot0_eef_pos")
    with pytest.raises(ArgumentError, match=r"eef_quat: expected \[steps, 3\]"):
        learn_limits(demos[0], position_key="eef_quat")
    with pytest.raises(ArgumentError, match="position_margin: expected >= 0"):
        learn_limits(demos[0], position_margin=-1.0)
    with pytest.raises(ArgumentError, match=r"stay within 3\.0 rad"):
        learn_limits(demos[0], rotation_margin=2.5)
