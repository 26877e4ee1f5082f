"""Teachers that a run is given instead of fitting one: a file, another run's policy, or a user's program.

A teacher maps stacked observations, each `[N, ...]`, to actions `[N, action_dim]` or samples
`[N, S, action_dim]` in [-1, 1]. What TorchScript can hold is copied into the run's folder, so that the run
can be resumed, evaluated elsewhere and exported without the place that it came from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Dict, Literal  # noqa: UP035 (the word that TorchScript reads)

import torch
from torch import Tensor, nn

from ibrl_fast.deploy.contract import ObservationContract
from ibrl_fast.deploy.export import script_policy, torchscript_bytes
from ibrl_fast.deploy.policy import read_torchscript
from ibrl_fast.errors import ArgumentError, expect, first_line
from ibrl_fast.files import write_bytes
from ibrl_fast.training.observation_plan import ObservationPlan
from ibrl_fast.training.records.run_folder import TEACHER_NAME
from ibrl_fast.training.run import Run

# where a run's teacher is: fitted to the demonstrations, in TEACHER_NAME, or with the user's program alone
TeacherPlace = Literal["fitted", "file", "program"]
ILPolicy = nn.Module | Callable[[dict[str, Tensor]], Tensor]


class GivenTeacher(nn.Module):
    """A module that is its user's: obs dict to actions, or samples.

    Args:
        policy: the module.
        num_samples: S; 1 for plain actions.
    """

    def __init__(self, policy: nn.Module, num_samples: int) -> None:
        super().__init__()
        self.policy = policy
        self.num_samples = num_samples

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map stacked observations, each `[N, ...]`, to actions or samples."""
        return self.policy(obs)


class ExportedPolicyTeacher(GivenTeacher):
    """An exported policy of this package, whose choice is the one action that it proposes."""

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map stacked observations, each `[N, ...]`, to actions `[N, action_dim]`."""
        return self.policy.act(obs)[0]  # type: ignore[operator]


class FunctionTeacher(nn.Module):
    """A Python function as a module; it cannot be scripted.

    Args:
        function: obs dict to actions or samples.
    """

    def __init__(self, function: Callable[[dict[str, Tensor]], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        """Call the function."""
        return self._function(obs)


def read_teacher(path: Path, plan: ObservationPlan) -> GivenTeacher:
    """Read an exported policy, or any TorchScript module that is a teacher.

    Raises:
        PolicyFileError: no such file, or none that holds TorchScript.
        ArgumentError: it sees other observations, or gives something else than actions.
    """
    name = f"il_policy {path}"
    module = read_torchscript(path)
    if not hasattr(module, "contract_json"):
        return check_teacher(name, module, plan)
    theirs = ObservationContract.from_json(str(module.contract_json))
    ours = plan.contract
    if _seen(theirs) != _seen(ours) or theirs.action_dim != ours.action_dim:
        raise ArgumentError(
            f"{name}: expected a policy that sees {_seen(ours)} and has {ours.action_dim} action components, "
            f"got one that sees {_seen(theirs)} and has {theirs.action_dim}"
        )
    return ExportedPolicyTeacher(module, 1)


def check_teacher(name: str, policy: ILPolicy, plan: ObservationPlan) -> GivenTeacher:
    """Run a teacher on two observations of zeros and look at what it gives.

    Args:
        name: of the argument, for messages.
        policy: the teacher; where it is on a device, observations go there.
        plan: what it will see.

    Raises:
        ArgumentError: it fails, or gives something else than finite actions of the right size.
    """
    module = policy if isinstance(policy, nn.Module) else FunctionTeacher(policy)
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    obs = {
        key: torch.zeros(2, *field.stacked_shape, dtype=getattr(torch, field.dtype), device=device)
        for key, field in plan.contract.observations.items()
    }
    size = plan.contract.action_dim
    expected = f"actions [2, {size}] or samples [2, S, {size}] for {_seen(plan.contract)}"
    module.eval()
    try:
        with torch.no_grad():
            given = module(obs)
    except Exception as error:
        raise ArgumentError(f"{name}: expected {expected}, got {first_line(error)}") from error
    if not isinstance(given, Tensor) or not given.is_floating_point():
        got = str(given.dtype) if isinstance(given, Tensor) else type(given).__name__
        raise ArgumentError(f"{name}: expected {expected}, got {got}")
    shape = tuple(given.shape)
    if len(shape) not in (2, 3) or (shape[0], shape[-1]) != (2, size) or 0 in shape:
        raise ArgumentError(f"{name}: expected {expected}, got {list(shape)}")
    if not bool(given.isfinite().all()):
        raise ArgumentError(f"{name}: expected finite actions, got {given.flatten()[:8].tolist()}")
    return GivenTeacher(module, 1 if len(shape) == 2 else shape[1])


def give_teacher(
    run: Run, plan: ObservationPlan, il_policy: ILPolicy | Path | None
) -> tuple[nn.Module | None, TeacherPlace]:
    """Make ready what proposes instead of a policy fitted here, and say where a run finds it again.

    Args:
        run: a new one, whose folder gets a copy, or a resumed one.
        plan: what the teacher sees.
        il_policy: the user's file, module or function.

    Returns:
        The teacher, None where one is fitted or the method has none, and its place.

    Raises:
        ArgumentError: one that does not fit, or a resumed run without the program that it began with.
        PolicyFileError: no such file, or none that holds TorchScript.
    """
    if run.content is not None:
        program = None if isinstance(il_policy, Path) else il_policy
        return restore_teacher(run.run_dir, run.content, plan, program)
    if il_policy is None:
        return None, "fitted"
    if isinstance(il_policy, Path):
        teacher = read_teacher(il_policy, plan)
    else:
        own = copy.deepcopy(il_policy) if isinstance(il_policy, nn.Module) else il_policy
        teacher = check_teacher("il_policy", own, plan)

    # a copy in the run's folder, where that can be
    try:
        scripted = script_policy(teacher)
    except Exception as error:
        is_function = isinstance(teacher.policy, FunctionTeacher)
        reason = "a Python function" if is_function else first_line(error)
        run.say(
            f"the imitation policy cannot be scripted ({reason}): it is evaluated in this "
            "process, the exported policy is without it, and resuming the run needs it again"
        )
        return teacher, "program"
    write_bytes(run.run_dir / TEACHER_NAME, torchscript_bytes(scripted))
    return teacher, "file"


def restore_teacher(
    run_dir: Path, content: Mapping[str, Any], plan: ObservationPlan, il_policy: ILPolicy | None = None
) -> tuple[nn.Module | None, TeacherPlace]:
    """Find the teacher of a saved run again; its weights may differ, they are in the checkpoint.

    Raises:
        ArgumentError: it was a program, which is not here.
    """
    place: TeacherPlace = content["teacher"]
    if place == "file":
        return read_torchscript(run_dir / TEACHER_NAME), place
    if place == "program":
        expected = "the module or function that the run began with, which its folder cannot hold"
        expect(il_policy is not None, "il_policy", expected, None)
        assert il_policy is not None
        return check_teacher("il_policy", il_policy, plan), place
    return None, place


def _seen(contract: ObservationContract) -> str:
    """Return what a policy sees, for messages."""
    return ", ".join(
        f"{key} {list(field.stacked_shape)} {field.dtype}" for key, field in contract.observations.items()
    )
