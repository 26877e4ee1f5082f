"""Filtered commands keep to every limit, whatever was asked: random commands from seeds, checked apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot.limits import SafetyLimits
from ibrl_fast.robot.regions import Box, Cylinder, Region
from ibrl_fast.robot.robot import Command, RobotState
from ibrl_fast.robot.safety import Filtered, MotionHistory, filter_command

reference = pytest.importorskip("scipy.spatial.transform").Rotation

LIMITS = SafetyLimits(
    position_low=(0.3, -0.2, 0.05),
    position_high=(0.6, 0.2, 0.4),
    rotation_reference=tuple(reference.from_rotvec([3.0, 0.2, 0.1]).as_quat()),
    rotation_low=(-0.4, -0.3, -0.6),
    rotation_high=(0.4, 0.3, 0.2),
    max_step_translation=0.05,
    max_step_rotation=0.2,
    max_speed=0.2,
    max_rotation_speed=0.9,
    forbidden=(Box((0.4, 0.05, 0.0), (0.5, 0.1, 0.3)), Cylinder((0.5, -0.1), 0.05, 0.0, 0.2)),
    on_boundary="clip",
)
CENTER = np.array([0.35, 0.0, 0.2])


def state_at(position: np.ndarray, rotation_vector: np.ndarray | None = None) -> RobotState:
    turn = reference.from_rotvec(np.zeros(3) if rotation_vector is None else rotation_vector)
    quaternion = (turn * reference.from_quat(LIMITS.rotation_reference)).as_quat()
    return RobotState(np.asarray(position, dtype=float), quaternion, 0.08, 0.08, 0.0)


def is_inside(region: Region, points: np.ndarray) -> np.ndarray:
    """By the definition, for points `[N, 3]`."""
    if isinstance(region, Box):
        return ((points >= region.low) & (points <= region.high)).all(1)
    near = np.linalg.norm(points[:, :2] - region.center, axis=1) <= region.radius
    return near & (points[:, 2] >= region.low) & (points[:, 2] <= region.high)


def free_position(random: np.random.Generator) -> np.ndarray:
    while True:
        point = random.uniform(LIMITS.position_low, LIMITS.position_high)
        if random.random() < 0.2:  # on a face of the box
            axis = random.integers(3)
            point[axis] = random.choice([LIMITS.position_low[axis], LIMITS.position_high[axis]])
        if not any(is_inside(region, point[None])[0] for region in LIMITS.forbidden):
            return point


def check(
    result: Filtered, state: RobotState, limits: SafetyLimits, way_left: float, angle_left: float
) -> None:
    """Everything that a filtered command promises, by other formulas than the filter's."""
    if result.command is None:
        return
    command = result.command
    target = state.position + command.translation
    assert (target >= limits.position_low).all() and (target <= limits.position_high).all()
    assert np.linalg.norm(command.translation) <= min(limits.max_step_translation, way_left) + 1e-12
    path = state.position + np.linspace(0.0, 1.0, 201)[:, None] * command.translation
    for region in limits.forbidden:
        assert not is_inside(region, path).any()
    start = reference.from_quat(state.rotation)
    turn = reference.from_rotvec(command.rotation)
    assert turn.magnitude() <= min(limits.max_step_rotation, angle_left) + 1e-9
    after = (turn * start * reference.from_quat(limits.rotation_reference).inv()).as_rotvec()
    assert (after >= np.array(limits.rotation_low) - 1e-9).all()
    assert (after <= np.array(limits.rotation_high) + 1e-9).all()
    if command.gripper is not None:
        assert limits.gripper_low <= command.gripper <= limits.gripper_high


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("on_boundary", ["clip", "stop"])
def test_no_filtered_command_breaks_a_limit(seed: int, on_boundary: str) -> None:
    random = np.random.default_rng(seed)
    limits = replace(LIMITS, on_boundary=on_boundary)
    ends = 0
    for _ in range(300):
        state = state_at(free_position(random), random.uniform(LIMITS.rotation_low, LIMITS.rotation_high))
        scale = 10.0 ** random.uniform(-4, 1)
        command = Command(
            scale * random.standard_normal(3),
            scale * random.standard_normal(3),
            None if random.random() < 0.2 else random.uniform(-0.1, 0.2),
        )
        way, angle = random.uniform(0.0, 0.25), random.uniform(0.0, 1.0)
        result = filter_command(command, state, limits, MotionHistory(((9.5, way, angle),)), 10.0)
        check(
            result,
            state,
            limits,
            max(0.0, limits.max_speed - way),
            max(0.0, limits.max_rotation_speed - angle),
        )
        ends += result.end is not None
        if on_boundary == "clip":
            assert result.command is not None and result.end is None
        else:
            assert (result.command is None) == (result.end == "boundary")
    assert (ends > 20) == (on_boundary == "stop")


@pytest.mark.parametrize("seed", range(3))
def test_long_walks_stay_inside_and_keep_the_speed(seed: int) -> None:
    random = np.random.default_rng(seed)
    state, history, now = state_at(CENTER), MotionHistory(), 0.0
    sent: list[tuple[float, float, float]] = []
    for _ in range(300):
        now += random.uniform(0.02, 0.3)
        # a drift, so that walls and regions are met again and again
        command = Command(
            0.03 * random.standard_normal(3) + [0.02, 0.0, 0.0], 0.2 * random.standard_normal(3)
        )
        result = filter_command(command, state, LIMITS, history, now)
        assert result.command is not None
        history = history.after(result.command, now)
        sent.append(
            (now, np.linalg.norm(result.command.translation), np.linalg.norm(result.command.rotation))
        )
        window = [step for step in sent if now - step[0] < 1.0]
        assert sum(step[1] for step in window) <= LIMITS.max_speed + 1e-9
        assert sum(step[2] for step in window) <= LIMITS.max_rotation_speed + 1e-9
        turn = reference.from_rotvec(result.command.rotation) * reference.from_quat(state.rotation)
        state = RobotState(state.position + result.command.translation, turn.as_quat(), 0.08, 0.08, now)
        assert (state.position >= LIMITS.position_low).all() and (
            state.position <= LIMITS.position_high
        ).all()
        assert not any(is_inside(region, state.position[None])[0] for region in LIMITS.forbidden)
    assert len(history.steps) < 60  # what is too old is forgotten


def test_a_command_within_all_limits_is_not_touched() -> None:
    command = Command(np.array([0.01, -0.02, 0.03]), np.array([0.05, 0.0, -0.1]), 0.03)
    result = filter_command(command, state_at(CENTER), LIMITS, MotionHistory(), 0.0)
    assert result.interventions == () and result.end is None
    np.testing.assert_array_equal(result.command.translation, command.translation)
    np.testing.assert_array_equal(result.command.rotation, command.rotation)
    assert result.command.gripper == 0.03


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["translation", "rotation", "gripper", "position", "quaternion"])
def test_what_is_not_finite_is_refused(place: str, value: float) -> None:
    vector = np.array([0.0, value, 0.0])
    commands = {
        "translation": Command(vector),
        "rotation": Command(rotation=vector),
        "gripper": Command(gripper=value),
    }
    state = state_at(CENTER)
    if place == "position":
        state = replace(state, position=vector)
    if place == "quaternion":
        state = replace(state, rotation=np.array([0.0, value, 0.0, 1.0]))
    result = filter_command(commands.get(place, Command()), state, LIMITS, MotionHistory(), 0.0)
    assert result.command is None and result.end == "fault"
    assert [intervention.rule for intervention in result.interventions] == ["finite"]


@pytest.mark.parametrize(
    ("position", "rotation"),
    [((0.7, 0.0, 0.2), (0, 0, 0)), ((0.35, 0, 0.2), (0.6, 0, 0)), ((0.45, 0.07, 0.2), (0, 0, 0))],
)
def test_a_robot_outside_gets_no_command(position: tuple[float, ...], rotation: tuple[float, ...]) -> None:
    state = state_at(np.array(position), np.array(rotation))
    for limits in (LIMITS, replace(LIMITS, on_boundary="stop")):
        result = filter_command(Command(), state, limits, MotionHistory(), 0.0)
        assert result.command is None and result.end == "boundary"
        assert result.interventions[0].rule == "outside"


def test_within_the_tolerance_commands_lead_back() -> None:
    state = state_at(np.array([0.604, 0.0, 0.3]), np.array([0.43, 0.0, 0.0]))
    result = filter_command(Command(np.array([0.0, 0.05, 0.0])), state, LIMITS, MotionHistory(), 0.0)
    assert result.command is not None
    assert (state.position + result.command.translation)[0] < 0.604
    assert np.linalg.norm(result.command.translation) <= LIMITS.max_step_translation
    assert result.command.rotation[0] < 0.0


def test_each_rule_names_itself() -> None:
    def rules(command: Command, history: MotionHistory | None = None, at: np.ndarray = CENTER) -> list[str]:
        result = filter_command(command, state_at(at), LIMITS, history or MotionHistory(), 0.5)
        return [intervention.rule for intervention in result.interventions]

    assert rules(Command(np.array([0.0, 0.0, 0.06]))) == ["step"]
    assert rules(Command(np.array([0.0, 0.0, 0.03])), MotionHistory(((0.0, 0.19, 0.0),))) == ["speed"]
    assert rules(Command(rotation=np.array([0.3, 0.0, 0.0]))) == ["rotation_step"]
    history = MotionHistory(((0.0, 0.0, 0.8),))
    assert rules(Command(rotation=np.array([0.15, 0.0, 0.0])), history) == ["rotation_speed"]
    assert rules(Command(gripper=0.2)) == ["gripper"]
    assert rules(Command(np.array([-0.04, 0.0, 0.0])), at=np.array([0.32, 0.0, 0.2])) == ["position"]
    assert rules(Command(np.array([0.04, 0.0, 0.0])), at=np.array([0.38, 0.07, 0.2])) == ["region"]
    # a path through a corner of a region, though both its ends are outside
    assert rules(Command(np.array([0.03, -0.03, 0.0])), at=np.array([0.38, 0.07, 0.2])) == ["region"]


def test_a_motion_limit_may_end_the_episode() -> None:
    limits = replace(LIMITS, on_motion="stop")
    result = filter_command(
        Command(np.array([0.0, 0.0, 0.06])), state_at(CENTER), limits, MotionHistory(), 0.0
    )
    assert result.command is None and result.end == "motion"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_high": (0.2, 0.2, 0.4)}, "position.high: expected at least low"),
        ({"position_low": (0.3, 0.1)}, "position.low: expected 3 numbers"),
        ({"position_low": (0.3, math.nan, 0.0)}, "position.high"),
        ({"rotation_reference": (0.0, 0.0, 0.0, 2.0)}, "rotation_reference: expected a unit quaternion"),
        ({"rotation_high": (2.9, 2.9, 0.1)}, "within 3.0 rad"),
        ({"max_speed": 0.0}, "max_speed: expected > 0"),
        ({"max_speed": math.nan}, "max_speed: expected > 0"),
        ({"on_boundary": "ignore"}, "on_boundary: expected stop or clip"),
        ({"clearance": -0.1}, "clearance: expected >= 0"),
        ({"forbidden": (1,)}, "forbidden"),
    ],
)
def test_limits_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        replace(LIMITS, **changes)


def test_entries_of_regions_against_dense_sampling() -> None:
    random = np.random.default_rng(7)
    shares = np.linspace(0.0, 1.0, 4001)
    for _ in range(300):
        region: Region = Box((0.0, 0.0, 0.0), (0.3, 0.2, 0.4))
        if random.random() < 0.5:
            region = Cylinder((0.1, 0.2), 0.15, 0.0, 0.3)
        start, way = random.uniform(-0.3, 0.6, 3), random.uniform(-0.8, 0.8, 3)
        inside = is_inside(region, start + shares[:, None] * way)
        entry = region.entry(start, way)
        if inside.any():
            assert entry is not None and abs(entry - shares[inside.argmax()]) <= 1 / 4000
        elif entry is not None:  # a corner cut between two samples
            middle = is_inside(region, (start + (entry + np.linspace(0, 2e-3, 999))[:, None] * way))
            assert middle.any()
