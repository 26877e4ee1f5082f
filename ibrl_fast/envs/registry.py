"""The tasks that pools know, by name, with the facts about each that code above an environment needs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ibrl_fast.errors import ArgumentError

ACTION_DIM = 4
"""Meta-World actions: hand displacement x, y, z (units of 0.01 m per simulation step) and gripper effort."""
STATE_DIM = 39
"""Meta-World observation: current frame 18, previous frame 18, goal position 3."""
FRAME_DIM = 18
"""One frame: hand position 3 (m), gripper opening 1, position 3 (m) and quaternion 4 of two objects."""

POSITION_SCALE = 0.1
GRIPPER_SCALE = 0.3

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
_TWO_OBJECT_TASKS = frozenset({"hammer", "stick-pull", "stick-push"})

# Names that newcomers will try and that have no environment here yet.
_UNAVAILABLE_SUITES = ("robosuite", "robomimic", "robot", "real_robot")
_UNAVAILABLE_NAMES = frozenset({"can", "square", "lift", "drawer", "hang", "tool-hang", "transport"})
_UNAVAILABLE_NAMES |= {"PickPlaceCan", "NutAssemblySquare", "Lift", "Hang", "Drawer"}


class TaskNotAvailableError(ArgumentError):
    """A task that is planned but has no environment yet."""


@dataclass(frozen=True)
class TaskInfo:
    """What is known about a task before any environment is built."""

    name: str
    """Full name, `suite/task`."""
    suite: str
    """The package that publishes the environment: `metaworld`."""
    suite_name: str
    """The task's name inside its suite, such as `assembly-v3`."""
    num_objects: int
    """Objects whose pose the state holds: 1 or 2."""
    success_needs_contact: bool = False
    """Whether success also asks that the gripper holds the object."""
    state_dim: int = STATE_DIM
    action_dim: int = ACTION_DIM
    control_period: float = 0.0125
    """Simulated seconds of one control step (Meta-World: five physics steps of 2.5 ms)."""

    @property
    def short_name(self) -> str:
        """The name without its suite, such as `assembly`."""
        return self.name.split("/", 1)[1]

    @property
    def state_scale(self) -> npt.NDArray[np.float32]:
        """Unit of each state entry for a normaliser, float32 [state_dim].

        0.1 m for positions, 0.3 for the gripper opening, 0 for what is best masked: quaternions, an unused
        second object, the previous frame.
        """
        scale = np.zeros(self.state_dim, dtype=np.float32)
        scale[0:3] = POSITION_SCALE
        scale[3] = GRIPPER_SCALE
        for index in range(self.num_objects):
            scale[4 + 7 * index : 7 + 7 * index] = POSITION_SCALE
        scale[-3:] = POSITION_SCALE
        return scale


def _metaworld(name: str) -> TaskInfo:
    num_objects = 2 if name in _TWO_OBJECT_TASKS else 1
    return TaskInfo(f"metaworld/{name}", "metaworld", f"{name}-v3", num_objects, name == "stick-push")


_TASKS = {f"metaworld/{name}": _metaworld(name) for name in (*PAPER_TASKS, *OTHER_TASKS)}


def list_tasks() -> tuple[str, ...]:
    """Full names of all tasks that `make_pool` accepts, the paper's four first."""
    return tuple(_TASKS)


def resolve_task(task: str) -> TaskInfo:
    """The task of that name; `metaworld/` may be left out.

    Errors:
        TaskNotAvailableError: a task of robosuite, robomimic or the real robot.
        ValueError: an unknown name; lists the valid ones.
    """
    if not isinstance(task, str):
        raise TypeError(f"task: expected str, got {type(task).__name__}")
    full_name = task if "/" in task else f"metaworld/{task}"
    if full_name in _TASKS:
        return _TASKS[full_name]

    # planned suites get their own words, so that nobody searches for a typing error
    if full_name.split("/", 1)[0] in _UNAVAILABLE_SUITES or task in _UNAVAILABLE_NAMES:
        raise TaskNotAvailableError(
            f"task: {task!r} is not available yet; robosuite, robomimic and the real robot are planned. "
            f"Available: {', '.join(_TASKS)}"
        )
    close = difflib.get_close_matches(full_name, _TASKS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ArgumentError(f"task: unknown name {task!r}; {hint}expected one of {', '.join(_TASKS)}")
