"""Meta-World's tasks and their facts, without importing the package."""

from __future__ import annotations

from ibrl_fast.envs.suite import Abilities, TaskInfo

ACTION_DIM = 4
"""Hand displacement x, y, z (units of 0.01 m per control step) and gripper effort."""
STATE_DIM = 39
"""Observation: current frame 18, previous frame 18, goal position 3. One frame: hand position 3 (m), gripper
opening 1, position 3 (m) and quaternion 4 of two objects."""
CONTROL_PERIOD = 0.0125
"""Simulated seconds of one control step: five physics steps of 2.5 ms."""

# A bad speed may be restored: the step that meets it ends the episode. A reset leaves most of the model where
# it is: physics must settle there.
STATE_LIMITS = {
    "physics": 3.4028234663852886e38,
    "body_pos": 1e3,
    "site_pos": 1e3,
    "rand_vec": 10.0,
}

POSITION_SCALE = 0.1
GRIPPER_SCALE = 0.3

CAMERAS = ("corner2",)
CAMERA_POSITIONS = {"corner2": (0.75, 0.075, 0.7)}
"""A closer `corner2` than the published model's, m."""

# The paper's four tasks come first, the remaining Meta-World v3 tasks follow in alphabetical order.
PAPER_TASKS = ("assembly", "box-close", "coffee-push", "stick-pull")
OTHER_TASKS = (
    "basketball",
    "bin-picking",
    "button-press",
    "button-press-topdown",
    "button-press-topdown-wall",
    "button-press-wall",
    "coffee-button",
    "coffee-pull",
    "dial-turn",
    "disassemble",
    "door-close",
    "door-lock",
    "door-open",
    "door-unlock",
    "drawer-close",
    "drawer-open",
    "faucet-close",
    "faucet-open",
    "hammer",
    "hand-insert",
    "handle-press",
    "handle-press-side",
    "handle-pull",
    "handle-pull-side",
    "lever-pull",
    "peg-insert-side",
    "peg-unplug-side",
    "pick-out-of-hole",
    "pick-place",
    "pick-place-wall",
    "plate-slide",
    "plate-slide-back",
    "plate-slide-back-side",
    "plate-slide-side",
    "push",
    "push-back",
    "push-wall",
    "reach",
    "reach-wall",
    "shelf-place",
    "soccer",
    "stick-push",
    "sweep",
    "sweep-into",
    "window-close",
    "window-open",
)

_TWO_OBJECT_TASKS = ("hammer", "stick-pull", "stick-push")


def count_objects(task: TaskInfo) -> int:
    """Return the number of objects whose pose the state holds: 1 or 2."""
    return 2 if task.short_name in _TWO_OBJECT_TASKS else 1


def success_needs_contact(task: TaskInfo) -> bool:
    """Return whether success also asks that the gripper holds the object."""
    return task.short_name == "stick-push"


def published_name(task: TaskInfo) -> str:
    """Return the task's name in the published package, such as `assembly-v3`."""
    return f"{task.short_name}-v3"


def _state_units(num_objects: int) -> tuple[float, ...]:
    """Units of a state's entries; 0 where one is best masked.

    0.1 m for positions, 0.3 for the gripper opening; 0 for quaternions, an unused second object and the
    previous frame.
    """
    units = [0.0] * STATE_DIM
    units[0:4] = [*[POSITION_SCALE] * 3, GRIPPER_SCALE]
    for index in range(num_objects):
        units[4 + 7 * index : 7 + 7 * index] = [POSITION_SCALE] * 3
    units[-3:] = [POSITION_SCALE] * 3
    return tuple(units)


def _task(name: str) -> TaskInfo:
    return TaskInfo(
        name=f"metaworld/{name}",
        observations={"state": _state_units(2 if name in _TWO_OBJECT_TASKS else 1)},
        action_dim=ACTION_DIM,
        control_period=CONTROL_PERIOD,
        cameras=CAMERAS,
        camera_positions=CAMERA_POSITIONS,
        state_limits=STATE_LIMITS,
        abilities=Abilities(saves_state=True, seeds=True, parallel=True, fixes_goals=True),
    )


TASKS = tuple(_task(name) for name in (*PAPER_TASKS, *OTHER_TASKS))
