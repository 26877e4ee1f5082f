"""`ibrl-fast export RUN --out policy.pt`: a run's policy as one file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ibrl_fast.cli.run import check_exists
from ibrl_fast.files import check_output


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Export a policy and print where it lies; `begin` is called where the work starts."""
    tyro.cli(functools.partial(export, begin), args=arguments, prog="ibrl-fast export")


def export(
    begin: Callable[[], None],
    run: Annotated[Path, tyro.conf.Positional],
    out: Path,
    format: Literal["torchscript", "aoti"] = "torchscript",
) -> None:
    """Write a run's policy as one file that a robot loads with torch alone.

    Args:
        run: the run folder.
        out: the file to write.
        format: `torchscript`, or `aoti`: torch.export and AOTInductor, compiled for this kind of processor;
            needs a C++ compiler and a name that ends in .pt2.
    """
    check_exists("run", run, "a run folder")

    from ibrl_fast.deploy.export import export_policy
    from ibrl_fast.training.learners import load_policy_module

    begin()
    check_output(out, "out")
    export_policy(load_policy_module(run), out, format=format)
    print(out)
