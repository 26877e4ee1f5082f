"""`ibrl-fast robot bounds DEMOS --out limits.json`: safety limits from demonstrations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists
from ibrl_fast.files import check_output


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Learn and write limits; `begin` is called where the work starts."""
    tyro.cli(functools.partial(learn, begin), args=arguments, prog="ibrl-fast robot bounds")


def learn(
    begin: Callable[[], None],
    demos: Annotated[Path, tyro.conf.Positional],
    out: Path,
    position_key: str = "eef_pos",
    rotation_key: str | None = "eef_quat",
    position_margin: float = 0.03,
    rotation_margin: float = 0.15,
    motion_factor: float = 1.5,
    rate_hz: float = 10.0,
) -> None:
    """Write the limits that demonstrations keep to, and a margin more, as a small file to read and edit.

    Args:
        demos: demonstrations, robomimic-format HDF5.
        out: the JSON file to write; edit it, and add forbidden regions (docs/robot.md).
        position_key: observation with the end effector's position, m.
        rotation_key: observation with its unit quaternion (x, y, z, w); None: none was recorded.
        position_margin: added to the range of positions on every side, m.
        rotation_margin: added to the range of rotation vectors on every side, rad.
        motion_factor: limits of motion are the largest of the demonstrations times this.
        rate_hz: steps per second of the demonstrations.
    """
    check_exists("demos", demos, "a demonstration file")

    from ibrl_fast.robot.bounds import learn_limits
    from ibrl_fast.robot.limits import write_limits

    begin()
    check_output(out, "out")
    limits = learn_limits(
        demos,
        position_key=position_key,
        rotation_key=rotation_key,
        position_margin=position_margin,
        rotation_margin=rotation_margin,
        motion_factor=motion_factor,
        rate_hz=rate_hz,
    )
    write_limits(out, limits)
    print(out)
