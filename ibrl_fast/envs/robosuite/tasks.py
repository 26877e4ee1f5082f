"""robosuite's tasks of robomimic's benchmark and their facts, without importing the package."""

from __future__ import annotations

from dataclasses import dataclass

from ibrl_fast.envs.suite import Abilities, TaskInfo

ACTION_DIM = 7
"""Displacement x, y, z (units of 0.05 m) and rotation vector (units of 0.5 rad) of the hand in the base's
frame, and the gripper: its sign closes (+) or opens (-)."""
CONTROL_PERIOD = 0.05
"""Simulated seconds of one control step: 25 physics steps of 2 ms."""
PROPRIO_DIM = 9
"""Hand position 3 (m), hand quaternion 4 (x, y, z, w), positions of the two fingers 2 (m)."""

POSITION_SCALE = 0.1
FINGER_SCALE = 0.02
ROTATION_SCALE = 0.3

CAMERAS = ("agentview", "robot0_eye_in_hand")

# A bad speed may be restored: the step that meets it ends the episode.
STATE_LIMITS = {"physics": 3.4028234663852886e38}


@dataclass(frozen=True)
class Published:
    """What a task is called in robosuite, and what its observation of the object is made of."""

    env_name: str
    """Class of the environment."""
    object_name: str
    """The object that the task is about."""


PUBLISHED = {
    "lift": Published("Lift", "cube"),
    "can": Published("PickPlaceCan", "Can"),
    "square": Published("NutAssemblySquare", "SquareNut"),
}

_POSITION = (POSITION_SCALE,) * 3
_QUATERNION = (ROTATION_SCALE,) * 4
_PROPRIO = (*_POSITION, *_QUATERNION, FINGER_SCALE, FINGER_SCALE)

# the cube's pose and where it is from the hand; for the others first the pose in the hand's frame
_OBJECTS = {
    "lift": (*_POSITION, *_QUATERNION, *_POSITION),
    "can": (*_POSITION, *_QUATERNION, *_POSITION, *_QUATERNION),
    "square": (*_POSITION, *_QUATERNION, *_POSITION, *_QUATERNION),
}


PROPRIO_PARTS = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
"""robomimic's names of the entries of `proprio`; `state` goes on with `object`."""


def published_of(task: TaskInfo) -> Published:
    """Return what robosuite calls a task."""
    return PUBLISHED[task.short_name]


def _task(name: str) -> TaskInfo:
    return TaskInfo(
        name=f"robosuite/{name}",
        parts={"state": {**PROPRIO_PARTS, "object": len(_OBJECTS[name])}, "proprio": PROPRIO_PARTS},
        aliases=(PUBLISHED[name].env_name,),
        observations={"state": (*_PROPRIO, *_OBJECTS[name]), "proprio": _PROPRIO},
        action_dim=ACTION_DIM,
        control_period=CONTROL_PERIOD,
        cameras=CAMERAS,
        state_limits=STATE_LIMITS,
        abilities=Abilities(saves_state=True, seeds=True, parallel=True),
    )


TASKS = tuple(_task(name) for name in PUBLISHED)
