"""Where the suites are: a suite is a folder, and one line here.

The only place outside a suite's own folder that names it.
"""

from __future__ import annotations

HOMES = {
    "metaworld": "ibrl_fast.envs.metaworld",
    "robosuite": "ibrl_fast.envs.robosuite",
    "gym": "ibrl_fast.envs.gym",
}
"""Suite -> the module whose `SUITE` it is; imported when one of its tasks is asked for."""

DEFAULT_TASK = "metaworld/assembly"
"""The task of a configuration that names none."""

PLANNED = ("robot", "real_robot")
"""Suites that newcomers will try and that are not here yet."""
PLANNED_TASKS = ("drawer", "hang", "tool-hang", "transport")
PLANNED_CLASSES = ("Hang", "Drawer", "ToolHang", "TwoArmTransport")
"""Their tasks, as people write them without a suite."""
