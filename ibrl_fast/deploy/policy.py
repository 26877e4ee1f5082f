"""Load and run an exported policy: torch and NumPy alone, on any machine, nothing of training.

Untrusted files: nothing here unpickles Python objects, yet both formats hold *programs*. A TorchScript file
runs its own code in this process (torch operators, not Python), and torch does not promise that a malicious
one is harmless. An AOTInductor package holds a native library, which runs with all rights of the process. So
load only files that you or somebody you trust made. Names and checksums are read first, without running
anything: a file of another kind, or one damaged on its way, is refused with a `PolicyFileError`.
"""

from __future__ import annotations

import json
import platform
import sys
import threading
import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ibrl_fast.deploy.contract import ObservationContract, ObservationField, check_value
from ibrl_fast.errors import ArgumentError, first_line

__all__ = ["ObservationContract", "ObservationField", "Policy", "PolicyFileError", "load_policy"]

Arrays = Mapping[str, npt.NDArray[Any]]
Format = Literal["torchscript", "aoti"]

# what zipfile raises for bytes that it did not write
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class PolicyFileError(ArgumentError):
    """A file that is no exported policy, is damaged, or does not fit this machine."""


class Policy:
    """An exported policy, ready to act; made by `load_policy`.

    One policy drives one robot: `step` and `reset` stack the frames of one episode. A thread may hand the
    policy over to another between two calls; a call while another is under way is a RuntimeError, which
    leaves the stacks to the other one. For several robots load several policies, or stack their frames and
    call `act`, which may run in several threads at once.

    Attributes:
        contract: what it expects and returns.
        format: `torchscript` or `aoti`.
        device: where it runs.
        source: which proposal the last `step` took, 0 = RL, 1 = IL; None before the first.
        candidates: what the last `step` chose from, `[P, action_dim]` float32, RL first; None for a policy
            without a choice, and for an AOTInductor package, which does not say.
        scores: how it valued them, `[P]` float32, or None.
    """

    def __init__(
        self, runner: Any, contract: ObservationContract, file_format: Format, device: torch.device
    ) -> None:
        self.contract = contract
        self.format = file_format
        self.device = device
        self.source: int | None = None
        self.candidates: npt.NDArray[np.float32] | None = None
        self.scores: npt.NDArray[np.float32] | None = None
        self._runner = runner
        self._first = True
        self._in_use = threading.Lock()
        # the stacks of `step`, and tensors [1, ...] that share their memory
        self._stacks = {
            key: np.zeros(spec.stacked_shape, spec.dtype) for key, spec in contract.observations.items()
        }
        self._views = {key: torch.from_numpy(stack).unsqueeze(0) for key, stack in self._stacks.items()}

    def reset(self) -> None:
        """Forgets the frames of the last episode; call it whenever an episode starts.

        Raises:
            RuntimeError: another thread is inside `step` or `reset`.
        """
        self._begin("reset")
        try:
            self._first = True
            self.source = self.candidates = self.scores = None
        finally:
            self._in_use.release()

    def warm_up(self) -> None:
        """Run the networks on zeros: the first runs are slow, which a robot's first steps must not be."""
        for _ in range(3):
            self._run({key: torch.zeros_like(view) for key, view in self._views.items()})

    def step(self, obs: Arrays) -> npt.NDArray[np.float32]:
        """Choose the next action of a robot.

        Args:
            obs: one frame of every observation, without a batch axis, in the contract's shapes and dtypes.

        Returns:
            `[action_dim]` float32, within the contract's action range.

        Raises:
            ValueError, TypeError: an observation that breaks the contract; the stacks are then unchanged.
            RuntimeError: the networks gave an action that is not finite, or another thread is inside `step`
                or `reset`.
        """
        self._begin("step")
        try:
            return self._step(obs)
        finally:
            self._in_use.release()

    def _begin(self, call: str) -> None:
        """Refuses a call while another is under way; nobody waits, for a late action is a wrong one."""
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError(
                f"{call}: expected one call of step or reset at a time, got one while another was under way; "
                "load a policy for each thread, or let one thread call"
            )

    def _step(self, obs: Arrays) -> npt.NDArray[np.float32]:
        """`step`, alone."""
        # check everything before anything changes
        self._check_names(obs)
        for key, spec in self.contract.observations.items():
            value = obs[key]
            if not isinstance(value, np.ndarray):
                raise TypeError(f"obs[{key!r}]: expected a NumPy array, got {type(value).__name__}")
            check_value(f"obs[{key!r}]", value, spec.shape, spec)

        # shift the stacks, newest first
        for key, spec in self.contract.observations.items():
            stack, width = self._stacks[key], spec.shape[0]
            if self._first:
                stack.reshape(spec.stack, *spec.shape)[:] = obs[key]
            else:
                if spec.stack > 1:
                    stack[width:] = stack[:-width].copy()
                stack[:width] = obs[key]
        self._first = False

        action, source, *choice = self._run(self._views)
        if choice:
            self.candidates, self.scores = (values[:, 0].cpu().numpy() for values in choice)
        self.source = int(source[0])
        return action[0].cpu().numpy()

    def act(self, obs: Mapping[str, Tensor | npt.NDArray[Any]]) -> Tensor:
        """Choose actions for a batch of stacked observations; `step`'s frames play no part.

        Args:
            obs: `[N, *stacked_shape]` tensors or arrays by name.

        Returns:
            `[N, action_dim]` float32 on the policy's device; errors as `step`.
        """
        return self.act_with_source(obs)[0]

    def act_with_source(self, obs: Mapping[str, Tensor | npt.NDArray[Any]]) -> tuple[Tensor, Tensor]:
        """As `act`, and which proposal each action is: `[N]` int64, 0 = RL, 1 = IL."""
        self._check_names(obs)
        tensors: dict[str, Tensor] = {}
        batch = 0
        for key, spec in self.contract.observations.items():
            name, value = f"obs[{key!r}]", obs[key]
            if not isinstance(value, (np.ndarray, Tensor)):
                raise TypeError(f"{name}: expected a tensor or a NumPy array, got {type(value).__name__}")
            # the first observation says how many there are
            batch = batch or (value.shape[0] if value.ndim else 0)
            if batch == 0:
                raise ArgumentError(f"{name}: expected a batch of at least 1, got {list(value.shape)}")
            check_value(name, value, (batch, *spec.stacked_shape), spec)
            tensors[key] = value if isinstance(value, Tensor) else torch.tensor(value)
        action, source, *_ = self._run(tensors)
        return action, source

    def _check_names(self, obs: Mapping[str, Any]) -> None:
        """Refuse a dict whose names are not the contract's."""
        expected = self.contract.observations
        if obs.keys() != expected.keys():
            missing, extra = sorted(expected.keys() - obs.keys()), sorted(obs.keys() - expected.keys())
            raise ArgumentError(f"obs: expected {list(expected)}, got missing {missing}, unknown {extra}")

    def _run(self, obs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return action and source of checked observations, then proposals and scores where it says them."""
        with torch.no_grad():
            # native code reads memory in the layout that it was compiled for
            on_device = {key: value.to(self.device).contiguous() for key, value in obs.items()}
            results: tuple[Tensor, ...] = self._runner(on_device)
            # a robot must never be sent such an action
            if not torch.isfinite(results[0]).all():
                raise RuntimeError(
                    "action: expected finite numbers, got inf or nan from the policy's networks"
                )
        return results


def load_policy(path: str | PathLike[str], device: str | torch.device = "cpu") -> Policy:
    """Load a policy that `export_policy` wrote, of either format.

    Load only files that you trust: see this module's docstring.

    Args:
        path: the file.
        device: where it shall run; an AOTInductor package runs on the kind of device it was compiled for.

    Raises:
        FileNotFoundError: no such file.
        PolicyFileError: another kind of file, a damaged one, or one that does not fit this machine.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected an exported policy, got no file at {path}")
    device = torch.device(device)
    file_format, aoti_metadata = _inspect(path)
    try:
        if file_format == "aoti":
            contract = ObservationContract.from_json(aoti_metadata["contract"])
            runner = _load_package(path, json.loads(aoti_metadata["target"]), device)
        else:
            module = torch.jit.load(str(path), map_location=device).eval()
            contract = ObservationContract.from_json(module.contract_json)
            runner = _prepare_torchscript(module, device)
        policy = Policy(runner, contract, file_format, device)
        policy.warm_up()
    except PolicyFileError:
        raise
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise PolicyFileError(f"{path}: expected an exported policy that runs, got: {reason}") from error
    return policy


def read_torchscript(path: str | PathLike[str], device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
    """Read any TorchScript module, an exported policy or another.

    Load only files that you trust: see this module's docstring.

    Raises:
        PolicyFileError: no such file, another kind of file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise PolicyFileError(f"{path}: expected a TorchScript file, got no file there")
    if _inspect(path)[0] != "torchscript":
        raise PolicyFileError(f"{path}: expected a TorchScript file, got an AOTInductor package")
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise PolicyFileError(f"{path}: expected TorchScript that loads, got: {first_line(error)}") from error


def _prepare_torchscript(module: torch.jit.ScriptModule, device: torch.device) -> Any:
    """Return the module's `consider`, or its `act`; on a CPU laid out for inference, weights folded in."""
    method = "consider" if hasattr(module, "consider") else "act"
    if device.type == "cpu":
        frozen = torch.jit.freeze(module, preserved_attrs=[method])
        module = torch.jit.optimize_for_inference(frozen, other_methods=[method])
    return getattr(module, method)


def _inspect(path: Path) -> tuple[Format, dict[str, str]]:
    """Return the file's format and, for a package, its metadata; reads names and checksums, runs nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = [name.partition("/")[2] for name in archive.namelist()]
            if damaged is None and "archive_format" in names:
                metadata: dict[str, str] = {}
                for full_name, name in zip(archive.namelist(), names):
                    if name.startswith("data/aotinductor/") and name.endswith(".wrapper_metadata.json"):
                        metadata = json.loads(archive.read(full_name))
                if "contract" in metadata:
                    return "aoti", metadata
    except (*_ARCHIVE_ERRORS, OSError, ValueError) as error:
        head = path.open("rb").read(4)
        kind = "a damaged file" if head[:2] == b"PK" else "another kind of file"
        raise PolicyFileError(f"{path}: expected an exported policy, got {kind} ({error})") from error
    if damaged is not None:
        raise PolicyFileError(f"{path}: expected an intact policy, got a wrong checksum in {damaged}")
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript", {}
    what = "a torch.save file (a checkpoint?)" if "data.pkl" in names else "an archive without a policy"
    raise PolicyFileError(f"{path}: expected an exported policy, got {what}")


def native_target(device: torch.device) -> dict[str, list[str]]:
    """Return what native code compiled here depends on; export writes it, loading compares it."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    features = sorted(name for name, present in capabilities.items() if present is True)
    gpu = [str(torch.cuda.get_device_capability(device))] if device.type == "cuda" else []
    return {
        "device": [device.type],
        "system": [sys.platform, platform.machine()],
        "processor": features or [torch.backends.cpu.get_cpu_capability()],
        "gpu": gpu,
    }


def _load_package(path: Path, target: dict[str, list[str]], device: torch.device) -> Any:
    """Return the compiled `act`; native code for another machine is refused before it is loaded."""
    if target["device"] != [device.type]:
        raise PolicyFileError(
            f"{path}: expected a package for {device.type}, got one for {target['device'][0]}"
        )
    here = native_target(device)
    for key, need in target.items():
        lacking = sorted(set(need) - set(here.get(key, [])))
        if lacking:
            raise PolicyFileError(
                f"{path}: expected native code for this machine's {key}, got code that needs {lacking}; "
                "export it on this machine, or as TorchScript"
            )

    # not torch._inductor.aoti_load_package: its own check of the machine runs a C++ compiler
    from torch.export.pt2_archive._package import AOTICompiledModel

    index = device.index if device.index is not None else -1
    return AOTICompiledModel(torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index))
