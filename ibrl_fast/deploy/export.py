"""From a trained learner to one policy module, and from that to one file: TorchScript or AOTInductor."""

from __future__ import annotations

import copy
import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ibrl_fast.deploy.contract import ObservationContract, ObservationField
from ibrl_fast.deploy.policy import Format, native_target
from ibrl_fast.errors import ArgumentError, UserError
from ibrl_fast.files import write_bytes
from ibrl_fast.nn.policies import IL_SOURCE, SinglePolicy

MAX_BATCH = 65536
"""Largest batch of an AOTInductor package."""


@runtime_checkable
class HasPolicy(Protocol):
    """What can hand out its policy: every learner, and the imitation policy."""

    def policy(self) -> nn.Module:
        """Return a scriptable module with `act` and `contract_json` (nn/policies.py)."""


class ExportError(UserError, RuntimeError):
    """A policy that cannot be exported on this machine."""


def contract_from_space(
    observation_space: Mapping[str, Any],
    stacks: Mapping[str, int],
    action_dim: int,
    *,
    control_period: float | None = None,
    action_repeat: int | None = None,
    control_low: tuple[float, ...] | None = None,
    control_high: tuple[float, ...] | None = None,
    metadata: Mapping[str, str | int | float | bool | None] | None = None,
) -> ObservationContract:
    """Return the contract of a policy that sees these observations.

    Args:
        observation_space: unbatched Gymnasium boxes by name, only what the policy sees.
        stacks: frames by name; 1 where a name is absent.
        action_dim: components of an action in [-1, 1].
        control_period: seconds between two control steps.
        action_repeat: control steps that one action is repeated for.
        control_low, control_high: what -1 and 1 are to the environment, per component; None: just that.
        metadata: free facts such as the task's name.
    """
    unknown = sorted(set(stacks) - set(observation_space))
    if unknown:
        raise ArgumentError(f"stacks: expected names among {list(observation_space)}, got {unknown}")
    observations = {}
    for key, box in observation_space.items():
        low, high = float(np.min(box.low)), float(np.max(box.high))
        observations[key] = ObservationField(
            tuple(box.shape),
            str(box.dtype),  # type: ignore[arg-type]  # checked there
            int(stacks.get(key, 1)),
            low if np.isfinite(low) else None,
            high if np.isfinite(high) else None,
        )
    return ObservationContract(
        observations,
        action_dim,
        control_period=control_period,
        action_repeat=action_repeat,
        control_low=control_low,
        control_high=control_high,
        metadata=dict(metadata or {}),
    )


def make_policy_module(
    source: HasPolicy | nn.Module, contract: ObservationContract, *, may_ignore: bool = False
) -> nn.Module:
    """Return the policy that evaluation during training, export and robots run: actions without exploration.

    Args:
        source: a learner, an imitation policy, what their `policy` returns, or any module that maps an obs
            dict to actions `[N, action_dim]` (it counts as an imitation policy); modules are shared.
        contract: its observations.
        may_ignore: the source need not read all of them.

    Raises:
        TypeError: another kind of source.
        ValueError: a contract that does not fit the networks.
    """
    if isinstance(source, nn.Module) and hasattr(source, "contract_json"):
        module = source
    elif isinstance(source, HasPolicy) and not isinstance(source.policy, nn.Module):
        module = source.policy()
    elif isinstance(source, nn.Module):
        module = SinglePolicy(source, IL_SOURCE)
    else:
        raise TypeError(f"source: expected a learner or a policy, got {type(source).__name__}")
    module.contract_json = contract.to_json()  # type: ignore[assignment]  # a TorchScript attribute
    _check_fits(module, contract, may_ignore)
    return module


def script_policy(module: nn.Module) -> torch.jit.ScriptModule:
    """Script a policy module; parameters stay shared, so saving again after training saves the new values."""
    # TorchScript is deprecated upstream and works in every torch that this package allows. It stays the
    # default because its files load anywhere without a compiler; its successor is the other format.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")
        return torch.jit.script(module)


def export_policy(
    source: HasPolicy | nn.Module,
    path: str | PathLike[str],
    format: Format = "torchscript",
    contract: ObservationContract | None = None,
) -> Path:
    """Write one policy file; `load_policy` reads either format.

    Args:
        source: what `make_policy_module` returned, or what it takes (then with its contract).
        path: the file to write; folders above it are made.
        format: `torchscript` or `aoti`; see `export_torchscript` and `export_aoti`.
        contract: needed for what is no policy module yet.

    Returns:
        The path.
    """
    if isinstance(source, nn.Module) and getattr(source, "contract_json", None):
        if contract is not None:
            raise ArgumentError("contract: expected None beside a policy module, which has its own, got one")
        module = source
    elif contract is None:
        raise ArgumentError("contract: expected an ObservationContract for a policy without one, got None")
    else:
        module = make_policy_module(source, contract)
    if format == "torchscript":
        return export_torchscript(module, path)
    if format == "aoti":
        return export_aoti(module, path)
    raise ArgumentError(f"format: expected torchscript or aoti, got {format}")


def export_torchscript(module: nn.Module, path: str | PathLike[str]) -> Path:
    """Write a policy module as TorchScript: loads on any machine and device with torch alone.

    Args:
        module: made by `make_policy_module`, or the result of `script_policy`.
        path: the file to write; replaced as a whole or not at all.
    """
    write_bytes(path, torchscript_bytes(module))
    return Path(path)


def torchscript_bytes(module: nn.Module) -> bytes:
    """Return what `export_torchscript` writes, as bytes."""
    scripted = module if isinstance(module, torch.jit.ScriptModule) else script_policy(module)
    # a copy has only its own parameters; an agent's are views into storage that would be saved as a whole
    content = io.BytesIO()
    torch.jit.save(copy.deepcopy(scripted), content)
    return content.getvalue()


def export_aoti(module: nn.Module, path: str | PathLike[str]) -> Path:
    """Write a policy module as native code, by torch.export and AOTInductor; takes about half a minute.

    The batch size stays free (1 to MAX_BATCH). The package runs on the kind of device that holds the module's
    parameters, and on processors with the instruction sets of this one; `load_policy` refuses others.

    Args:
        module: made by `make_policy_module`.
        path: the file to write, ending in .pt2 (torch insists); replaced as a whole or not at all.

    Raises:
        ExportError: no C++ compiler, or a compilation that failed.
        FileError: the file cannot be written.
    """
    if Path(path).suffix != ".pt2":
        raise ArgumentError(f"path: expected a name that ends in .pt2 for format aoti, got {path}")
    from torch._inductor import aoti_compile_and_package

    _check_compiler()

    # the batch axis of every observation is one free dimension; an example of 1 would fix it
    # (a copy has only its own parameters, as in export_torchscript)
    contract = ObservationContract.from_json(str(module.contract_json))
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    with warnings.catch_warnings():
        # torch's own tree utilities warn about themselves
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
        program = torch.export.export(
            _ActOnly(copy.deepcopy(module)),
            (_example(module, contract, 2),),
            dynamic_shapes={"obs": {key: {0: batch} for key in contract.observations}},
        )
        # built elsewhere, under the file's own name: torch writes that name into the package
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / Path(path).name
            target_machine = native_target(next(module.parameters()).device)
            metadata = {"contract": contract.to_json(), "target": json.dumps(target_machine)}
            config = {"aot_inductor.metadata": metadata}
            try:
                aoti_compile_and_package(program, package_path=str(package), inductor_configs=config)
                content = package.read_bytes()
            except (RuntimeError, OSError, SubprocessError) as error:
                raise ExportError(
                    f"export_aoti: expected a C++ compiler that works, got: {_reason(error)}; mend it, or "
                    "export as torchscript"
                ) from error
    write_bytes(path, content)
    return Path(path)


def _check_compiler() -> None:
    """Refuses a machine without the compiler that torch would call."""
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (exc.InvalidCxxCompiler, OSError) as error:
        named = f" at CXX={os.environ['CXX']}" if "CXX" in os.environ else ""
        raise ExportError(
            f"export_aoti: expected a C++ compiler, got none{named}; install g++ or clang++, or export as "
            "torchscript"
        ) from error


def _reason(error: Exception) -> str:
    """Return what a compiler says is wrong, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wrong = [line for line in lines if "error:" in line.lower()]
    return (wrong or lines or [type(error).__name__])[0][:300]


class _ActOnly(nn.Module):
    """A policy module whose forward is `act`: the one function of a package."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As `act` of the policy module."""
        return self.policy.act(obs)  # type: ignore[operator]


class _ReadKeys(dict[str, Tensor]):
    """A dict that remembers which keys were read."""

    def __init__(self, items: Mapping[str, Tensor]) -> None:
        super().__init__(items)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.read.add(key)
        return super().__getitem__(key)


def _example(module: nn.Module, contract: ObservationContract, batch: int) -> dict[str, Tensor]:
    """Zeros `[batch, *stacked_shape]` for every observation, where the module's parameters are."""
    parameter = next(module.parameters(), None)
    device = None if parameter is None else parameter.device
    return {
        key: torch.zeros(batch, *spec.stacked_shape, dtype=getattr(torch, spec.dtype), device=device)
        for key, spec in contract.observations.items()
    }


def _check_fits(module: nn.Module, contract: ObservationContract, may_ignore: bool) -> None:
    """Run the networks once, and refuse a contract that they do not fulfil."""
    shapes = {key: spec.stacked_shape for key, spec in contract.observations.items()}
    obs = _ReadKeys(_example(module, contract, 2))
    try:
        action, _ = module.act(obs)  # type: ignore[operator]
    except KeyError as error:
        raise ArgumentError(
            f"contract: expected the observation {error} that the networks read, got {shapes}"
        ) from error
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"contract: expected what the networks read, got {shapes} ({reason})") from error
    unread = sorted(shapes.keys() - obs.read)
    if unread and not may_ignore:
        raise ArgumentError(f"contract: expected only observations that the networks read, got also {unread}")
    if (contract.action_low, contract.action_high) != (-1.0, 1.0):
        got = [contract.action_low, contract.action_high]
        raise ArgumentError(f"action_low, action_high: expected [-1, 1] like the networks, got {got}")
    if tuple(action.shape) != (2, contract.action_dim):
        raise ArgumentError(
            f"action_dim: expected {action.shape[1]} like the networks, got {contract.action_dim}"
        )
