"""What becomes of a command before it reaches the robot: a pure function of command, state, limits, history.

In this order: what is not finite is refused; a robot outside its boundary gets no command; too long or too
fast a motion is shortened; a target outside the box, or a straight path that meets a forbidden region, ends
the episode or is shortened. Whatever was changed is reported. Safety boundaries after the paper, Sec. XI.C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ibrl_fast.robot.limits import SafetyLimits
from ibrl_fast.robot.regions import contains
from ibrl_fast.robot.robot import Array, Command, RobotState
from ibrl_fast.robot.rotations import from_vector, inverse, multiply, to_vector

WINDOW = 1.0
"""Seconds over which speeds are measured."""

End = Literal["boundary", "motion", "fault"]
# differences below this are rounding, m and rad
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Intervention:
    """One rule that changed or refused a command."""

    rule: str
    """`finite`, `outside`, `step`, `speed`, `rotation_step`, `rotation_speed`, `gripper`, `position`,
    `rotation` or `region`."""
    detail: str
    """What it found, with units."""


@dataclass(frozen=True, eq=False)
class Filtered:
    """What may be sent."""

    command: Command | None
    """None: nothing may be sent; the robot has to hold."""
    interventions: tuple[Intervention, ...] = ()
    """In the order in which the rules were asked."""
    end: End | None = None
    """Why the episode is over: `boundary` (reward 0, terminated), `motion` (a limit of motion whose choice is
    `stop`; the same), `fault` (numbers that are none; truncated); None: it goes on."""


@dataclass(frozen=True)
class MotionHistory:
    """The motions that were commanded lately."""

    steps: tuple[tuple[float, float, float], ...] = ()
    """(time s, way m, angle rad) of each, oldest first."""

    def after(self, command: Command, now: float) -> MotionHistory:
        """Return the history with one more command, without what is too old to matter."""
        kept = tuple(step for step in self.steps if now - step[0] < WINDOW)
        return MotionHistory((*kept, (now, math.hypot(*command.translation), math.hypot(*command.rotation))))

    def spent(self, now: float) -> tuple[float, float]:
        """Return the way (m) and angle (rad) of the last second."""
        recent = [step for step in self.steps if now - step[0] < WINDOW]
        return sum(step[1] for step in recent), sum(step[2] for step in recent)


def outside(state: RobotState, limits: SafetyLimits) -> str | None:
    """Say in what way a robot is outside its boundary, tolerances allowed; None where it is not."""
    low, high = np.array(limits.position_low), np.array(limits.position_high)
    excess = float(np.max(np.maximum(low - state.position, state.position - high)))
    if excess > limits.tolerance:
        return f"position {_text(state.position)} m is {excess:.4f} m outside the box"
    vector = _rotation_vector(state.rotation, limits)
    low, high = np.array(limits.rotation_low), np.array(limits.rotation_high)
    excess = float(np.max(np.maximum(low - vector, vector - high)))
    if excess > limits.rotation_tolerance:
        return f"rotation {_text(vector)} rad is {excess:.3f} rad outside the box"
    for region in limits.forbidden:
        if contains(region, state.position):
            return f"position {_text(state.position)} m is inside the forbidden {region}"
    return None


def filter_command(
    command: Command,
    state: RobotState,
    limits: SafetyLimits,
    history: MotionHistory,
    now: float,
) -> Filtered:
    """Return what may be sent in place of a command.

    Args:
        command: as the policy wants it.
        state: the newest that is known of the robot.
        limits: what it is held to.
        history: what was sent before (`MotionHistory.after`).
        now: s, of the clock that the history was written with.
    """
    # numbers that are none: nothing can be said about where they lead
    numbers = [*command.translation, *command.rotation, 0.0 if command.gripper is None else command.gripper]
    known = [*state.position, *state.rotation]
    if len(numbers) != 7 or len(known) != 7 or not np.isfinite([*numbers, *known]).all():
        what = "command" if not np.isfinite(numbers).all() else "state"
        return Filtered(None, (Intervention("finite", f"the {what} is not finite numbers"),), "fault")
    if abs(math.hypot(*state.rotation) - 1.0) > 1e-2:
        return Filtered(
            None, (Intervention("finite", "the state's rotation is no unit quaternion"),), "fault"
        )
    if (where := outside(state, limits)) is not None:
        return Filtered(None, (Intervention("outside", where),), "boundary")

    # how far it may go
    found: list[Intervention] = []
    way_left, angle_left = (
        max(0.0, limit - spent)
        for limit, spent in zip((limits.max_speed, limits.max_rotation_speed), history.spent(now))
    )
    way = np.array(command.translation, dtype=np.float64)
    way = _shorten(way, limits.max_step_translation, "step", "m", found)
    way = _shorten(way, way_left, "speed", "m within a second", found)
    turn = np.array(command.rotation, dtype=np.float64)
    turn = _shorten(turn, limits.max_step_rotation, "rotation_step", "rad", found)
    turn = _shorten(turn, angle_left, "rotation_speed", "rad within a second", found)
    gripper = command.gripper
    if gripper is not None and not limits.gripper_low <= gripper <= limits.gripper_high:
        found.append(Intervention("gripper", f"width {gripper:.4f} m"))
        gripper = min(max(gripper, limits.gripper_low), limits.gripper_high)
    if found and limits.on_motion == "stop":
        return Filtered(None, tuple(found), "motion")

    # where it may go
    before = len(found)
    longest = min(limits.max_step_translation, way_left)
    largest = min(limits.max_step_rotation, angle_left)
    way = _within_box(state.position, way, longest, limits, found)
    way = _around_regions(state.position, way, limits, found)
    turn = _within_rotations(state.rotation, turn, largest, limits, found)
    if len(found) > before and limits.on_boundary == "stop":
        return Filtered(None, tuple(found), "boundary")
    return Filtered(Command(way, turn, gripper), tuple(found))


def _shorten(vector: Array, longest: float, rule: str, unit: str, found: list[Intervention]) -> Array:
    """Return a vector of the same direction that is no longer than allowed."""
    length = math.hypot(*vector)
    if length <= longest:
        return vector
    found.append(Intervention(rule, f"{length:.4f} of {longest:.4f} {unit}"))
    # below by more than rounding, so that what is sent never exceeds
    return vector * (longest * (1.0 - 1e-12) / length)


def _within_box(
    start: Array, way: Array, longest: float, limits: SafetyLimits, found: list[Intervention]
) -> Array:
    """Return a way that ends in the box; from outside (within the tolerance), one that leads back."""
    low, high = np.array(limits.position_low), np.array(limits.position_high)
    target = start + way
    clipped = np.clip(target, low, high)
    change = np.abs(clipped - target).max()
    if change == 0.0:
        return way
    allowed = clipped - start
    if np.abs(way).max() > 0.0 and change > _ROUNDING:
        found.append(Intervention("position", f"target {_text(target)} m"))
    # start + (clipped - start) may round to just outside
    for _ in range(4):
        beyond = (start + allowed < low) | (start + allowed > high)
        allowed = np.where(beyond, np.nextafter(allowed, 0.0), allowed)
    return _shorten(allowed, longest, "position", "m on the way back into the box", [])


def _around_regions(start: Array, way: Array, limits: SafetyLimits, found: list[Intervention]) -> Array:
    """Return the part of a straight way that meets no forbidden region."""
    for region in limits.forbidden:
        kept = region.grown(limits.clearance)
        if contains(kept, start):
            # closer than commands keep, by the arm's own motion: not closer still
            kept = region
        entry = kept.entry(start, way)
        if entry is None:
            continue
        found.append(Intervention("region", f"way to {_text(start + way)} m meets {region}"))
        share = max(0.0, entry - 1e-6)
        while share > 1e-3 and kept.entry(start, share * way) is not None:
            share *= 0.99
        way = share * way if kept.entry(start, share * way) is None else np.zeros(3)
    return way


def _within_rotations(
    start: Array, turn: Array, largest: float, limits: SafetyLimits, found: list[Intervention]
) -> Array:
    """Return a turn that ends in the box of rotation vectors and is no larger than allowed."""
    reference = np.array(limits.rotation_reference)
    low, high = np.array(limits.rotation_low), np.array(limits.rotation_high)
    before = _rotation_vector(start, limits)
    after = _rotation_vector(multiply(from_vector(turn), start), limits)
    # past pi the same rotation has a vector on the other side; take the one that was passed through
    length = math.hypot(*after)
    if length > 0.0:
        other = after * (1.0 - 2.0 * math.pi / length)
        after = min((after, other), key=lambda vector: math.dist(vector, before))
    clipped = np.clip(after, low, high)
    if np.array_equal(clipped, after):
        return turn
    if math.hypot(*turn) > 0.0 and np.abs(clipped - after).max() > _ROUNDING:
        found.append(Intervention("rotation", f"target {_text(after)} rad from the reference"))

    def turn_to(share: float) -> Array:
        vector = before + share * (clipped - before)
        target = multiply(from_vector(vector), reference)
        return to_vector(multiply(target, inverse(start)))

    # the largest share of the way in the box whose angle is allowed
    wanted = turn_to(1.0)
    if math.hypot(*wanted) <= largest:
        return wanted
    least, most = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (least + most)
        least, most = (middle, most) if math.hypot(*turn_to(middle)) <= largest else (least, middle)
    return turn_to(least) if least > 0.0 else np.zeros(3)


def _rotation_vector(rotation: Array, limits: SafetyLimits) -> Array:
    """Return the rotation vector `[3]` from the reference to a rotation, base frame, rad."""
    length = math.hypot(*rotation)
    unit = np.asarray(rotation, dtype=np.float64) / length if length > 0.0 else rotation
    return to_vector(multiply(unit, inverse(limits.rotation_reference)))


def _text(vector: Array) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in vector) + "]"
