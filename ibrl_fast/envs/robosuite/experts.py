"""Scripted experts: waypoints, walked through with the unevenness of `motion`; one serves one episode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.robosuite.motion import Motion, Target, Vector, rotation_matrix
from ibrl_fast.envs.robosuite.tasks import PROPRIO_DIM
from ibrl_fast.envs.suite import Expert, TaskInfo
from ibrl_fast.errors import ArgumentError

# where the things of the scenes are, m; the arm reaches the near corner of the can's quarter alone
_BIN = np.array([0.15, 0.337])
_PEG = np.array([0.23, 0.1])
_HANDLE = 0.054  # of the nut, from its centre along its x axis

_CLOSING_STEPS = 12  # a command goes from open to closed in ten
_LEAST_YAW = -2.0  # rad; less is beyond the last joint's range, while a full turn above is not


class Scene:
    """What an expert sees: the hand and the object, read off the task's `state`.

    Args:
        object_start: index of the object's position in `state`; its quaternion follows.
        state_dim: numbers in `state`.
        random: decides what differs between episodes.
    """

    def __init__(self, object_start: int, state_dim: int, random: np.random.Generator) -> None:
        self.random = random
        self._start, self._state_dim = object_start, state_dim
        self.yaw = 0.0  # of the hand's x axis about the vertical, rad, full turns counted

    def look(self, state: npt.NDArray[Any]) -> None:
        """Take in `state`, [state_dim]."""
        if np.shape(state) != (self._state_dim,):
            raise ArgumentError(f"state: expected [{self._state_dim}], got {list(np.shape(state))}")
        values, start = np.asarray(state, dtype=np.float64), self._start
        self.hand, self.rotation = values[:3], rotation_matrix(values[3:7])
        self.thing = values[start : start + 3]
        self.thing_rotation = rotation_matrix(values[start + 3 : start + 7])
        heading = math.atan2(self.rotation[1, 0], self.rotation[0, 0])
        self.yaw += wrap(heading - self.yaw, 2 * math.pi)

    @property
    def thing_yaw(self) -> float:
        """Angle of the object's x axis about the vertical, rad."""
        return math.atan2(self.thing_rotation[1, 0], self.thing_rotation[0, 0])

    def reach(
        self, goal: Callable[[], Target], near: float, limit: int, turned: float = 0.1, settled: int = 1
    ) -> Iterator[Target]:
        """Give a goal until the hand has come to it, `limit` steps at most.

        Args:
            goal: where to, from what is seen.
            near: distance along any axis that is near enough, m.
            limit: steps.
            turned: the same for the yaw, rad.
            settled: steps in a row for which it must be near.
        """
        steps_near = 0
        for _ in range(limit):
            target = goal()
            yield target
            away = np.abs(target.position - self.hand).max()
            is_near = away < near and abs(target.yaw - self.yaw) < turned
            steps_near = steps_near + 1 if is_near else 0
            if steps_near == settled:
                return

    def stay(self, closed: bool, steps: int) -> Iterator[Target]:
        """Hold the hand where it is while the fingers close or open."""
        place, yaw = self.hand.copy(), self.yaw
        for _ in range(steps):
            yield Target(place, yaw, closed)

    def rise(self, height: float, closed: bool) -> Iterator[Target]:
        """Move the hand straight up by `height` (m)."""
        up = Target(self.hand + np.array([0.0, 0.0, height]), self.yaw, closed)
        yield from self.reach(lambda: up, near=0.02, limit=60)

    def take(self, grip: Callable[[], tuple[Vector, float]], height: float) -> Iterator[Target]:
        """Take hold of something where `grip` says (position, yaw), and lift it; again if it slips.

        Args:
            grip: where to hold, from what is seen.
            height: m above the first grip.
        """
        hover = self.random.uniform(0.07, 0.11)
        aim = np.append(self.random.normal(0.0, 0.003, 2), self.random.uniform(-0.004, 0.004))

        def above() -> Target:
            place, yaw = grip()
            return Target(place + aim + np.array([0.0, 0.0, hover]), yaw, closed=False)

        def at() -> Target:
            place, yaw = grip()
            return Target(place + aim, yaw, closed=False, speed=0.7)

        for _ in range(4):
            low = float(self.thing[2])
            yield from self.reach(above, near=0.02, limit=120)
            yield from self.reach(at, near=0.008, limit=60)
            yield from self.stay(closed=True, steps=_CLOSING_STEPS)
            yield from self.rise(height, closed=True)
            if self.thing[2] > low + 0.5 * height:
                return
            yield from self.stay(closed=False, steps=_CLOSING_STEPS)


def wrap(angle: float, period: float) -> float:
    """Return the angle in [-period / 2, period / 2)."""
    return (angle + period / 2) % period - period / 2


def _lift(scene: Scene) -> Iterator[Target]:
    """The cube may be held by any two opposite faces."""
    quarter = math.pi / 2
    yield from scene.take(lambda: (scene.thing, wrap(scene.thing_yaw, quarter)), height=0.12)


def _can(scene: Scene) -> Iterator[Target]:
    """The can is held from above, carried over the walls and let go in its quarter of the second bin."""
    yaw = scene.random.uniform(-0.3, 0.3)
    lower = np.array([0.0, 0.0, scene.random.uniform(0.0, 0.012)])
    yield from scene.take(lambda: (scene.thing + lower, yaw), height=scene.random.uniform(0.17, 0.21))
    place = np.append(_BIN + scene.random.uniform(-0.012, 0.012, 2), scene.hand[2])
    yield from scene.reach(lambda: Target(place, yaw, closed=True), near=0.02, limit=120)
    down = place.copy()
    down[2] = scene.random.uniform(0.92, 0.96)
    yield from scene.reach(lambda: Target(down, yaw, closed=True, speed=0.7), near=0.015, limit=60)
    yield from scene.stay(closed=False, steps=4)
    yield from scene.reach(lambda: Target(place, yaw, closed=False), near=0.02, limit=60)


def _square(scene: Scene) -> Iterator[Target]:
    """The nut is held by its handle, brought over the peg, its handle towards the arm, and lowered."""

    def grip() -> tuple[Vector, float]:
        handle = scene.thing + _HANDLE * scene.thing_rotation[:, 0]
        # the hand's x axis goes from the handle to the nut, or away from it where the last joint ends
        yaw = wrap(scene.thing_yaw + math.pi, 2 * math.pi)
        return handle, yaw if yaw > _LEAST_YAW else yaw + math.pi

    def over(low: float, speed: float) -> Callable[[], Target]:
        def goal() -> Target:
            # only a nut that is over the peg goes down, and one that stands on it goes up again
            off = np.abs(scene.thing[:2] - _PEG).max()
            height = low if off < 0.008 or scene.thing[2] < 0.93 else high
            # what the hand must turn by for the handle to point at the arm: never beyond the joint's range
            turn = wrap(math.pi - scene.thing_yaw, 2 * math.pi)
            if scene.yaw + turn < _LEAST_YAW:
                turn += 2 * math.pi
            elif scene.yaw + turn > _LEAST_YAW + 2 * math.pi:
                turn -= 2 * math.pi
            # where the hand must be for the nut to be there
            c, s = math.cos(turn), math.sin(turn)
            arm = scene.hand - scene.thing
            held = np.array([c * arm[0] - s * arm[1], s * arm[0] + c * arm[1], arm[2]])
            return Target(np.append(_PEG, height) + held, scene.yaw + turn, closed=True, speed=speed)

        return goal

    high = scene.random.uniform(0.985, 1.01)
    while True:
        yield from scene.take(grip, height=0.16)
        yield from scene.reach(over(high, 1.0), near=0.03, limit=120, turned=0.2)
        for _ in range(4):
            yield from scene.reach(over(high, 0.5), near=0.006, limit=40, turned=0.08, settled=3)
            yield from scene.reach(over(0.85, 0.5), near=0.012, limit=40)
            if scene.thing[2] < 0.9:
                break
        yield from scene.stay(closed=False, steps=_CLOSING_STEPS)
        yield from scene.rise(0.1, closed=False)


# task -> index of the object's pose in `state`, and the script
_SCRIPTS: dict[str, tuple[int, Callable[[Scene], Iterator[Target]]]] = {
    "lift": (PROPRIO_DIM, _lift),
    "can": (PROPRIO_DIM + 7, _can),
    "square": (PROPRIO_DIM + 7, _square),
}


def make_expert(task: TaskInfo, seed: int) -> Expert:
    """Return a scripted expert for one episode, `state` float [state_dim] -> action float32 [7].

    Args:
        task: one of the suite's.
        seed: decides pace, pauses, noise and where it takes hold.
    """
    start, script = _SCRIPTS[task.short_name]
    random = np.random.default_rng(seed)
    scene, motion = Scene(start, len(task.observations["state"]), random), Motion(random)
    targets = script(scene)
    last: list[Target] = []

    def act(state: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Look, decide where to go, and move there; stay there when the script is over."""
        scene.look(state)
        target = next(targets, None)
        if target is None:
            target = last[0]
        last[:] = [target]
        return motion.act(target, scene.hand, scene.rotation, scene.yaw)

    return act
