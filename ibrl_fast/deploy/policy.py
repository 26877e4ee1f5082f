"""Load and run an exported policy: torch and NumPy alone, on any machine, nothing of training.

Untrusted files: nothing here unpickles Python objects, yet both formats hold *programs*. A TorchScript file
runs its own code in this process (torch operators, not Python), and torch does not promise that a malicious
one is harmless. An AOTInductor package holds a native library, which runs with all rights of the process. So
load only files that you or somebody you trust made. Names and checksums are read first, without running
anything: a file of another kind, or one damaged on its way, is refused with a `PolicyFileError`.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CONTRACT_VERSION = 1
Arrays = Mapping[str, npt.NDArray[Any]]
Format = Literal["torchscript", "aoti"]


class PolicyFileError(ValueError):
    """A file that is no exported policy, is damaged, or does not fit this machine."""


@dataclass(frozen=True)
class ObservationField:
    """One observation, as the robot measures it at one time step."""

    shape: tuple[int, ...]
    """Of one frame: `(features,)`, or `(channels, height, width)` for an image."""
    dtype: Literal["float32", "uint8"] = "float32"
    """Type of the elements; images are usually uint8 and scaled inside the policy."""
    stack: int = 1
    """Frames given to the policy, newest first along the first axis; an episode's first frame is repeated."""
    low: float | None = None
    """Smallest value of any element, in the observation's own unit; None: unbounded."""
    high: float | None = None
    """Largest value of any element; None: unbounded."""

    def __post_init__(self) -> None:
        # JSON hands lists in; a frozen field is set once, here
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ValueError(f"shape: expected (features,) or (channels, height, width), got {self.shape}")
        if self.dtype not in ("float32", "uint8"):
            raise ValueError(f"dtype: expected float32 or uint8, got {self.dtype}")
        if isinstance(self.stack, bool) or not isinstance(self.stack, int) or self.stack < 1:
            raise ValueError(f"stack: expected an integer >= 1, got {self.stack!r}")
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is not None and not math.isfinite(bound):
                raise ValueError(f"{name}: expected a finite number or None, got {bound}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"high: expected more than low {self.low}, got {self.high}")

    @property
    def kind(self) -> Literal["vector", "image"]:
        """What the shape stands for."""
        return "vector" if len(self.shape) == 1 else "image"

    @property
    def stacked_shape(self) -> tuple[int, ...]:
        """Shape after stacking, `(stack * features,)` or `(stack * channels, height, width)`."""
        return (self.stack * self.shape[0], *self.shape[1:])


@dataclass(frozen=True)
class ObservationContract:
    """What a policy expects and returns; travels inside every exported file."""

    observations: Mapping[str, ObservationField]
    """By name, in the policy's order."""
    action_dim: int
    """Components of an action."""
    action_low: float = -1.0
    """Smallest value of an action component."""
    action_high: float = 1.0
    """Largest value of an action component."""
    control_period: float | None = None
    """Seconds between two control steps, where known."""
    action_repeat: int | None = None
    """Control steps for which the training environments repeated one action, where known."""
    metadata: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """Free facts: task, method, package version."""

    def __post_init__(self) -> None:
        if not self.observations:
            raise ValueError("observations: expected at least one, got none")
        if self.action_dim < 1:
            raise ValueError(f"action_dim: expected >= 1, got {self.action_dim}")
        if not -math.inf < self.action_low < self.action_high < math.inf:
            raise ValueError(f"action_high: expected more than {self.action_low}, got {self.action_high}")
        if self.control_period is not None and not 0.0 < self.control_period < math.inf:
            raise ValueError(f"control_period: expected > 0 s or None, got {self.control_period}")
        if self.action_repeat is not None and self.action_repeat < 1:
            raise ValueError(f"action_repeat: expected >= 1 or None, got {self.action_repeat}")

    def to_json(self) -> str:
        """The contract as one JSON object."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["observations"] = {key: asdict(spec) for key, spec in self.observations.items()}
        values["metadata"] = dict(self.metadata)
        return json.dumps({"contract_version": CONTRACT_VERSION, **values}, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> ObservationContract:
        """The contract that `to_json` wrote; ValueError for anything else."""
        try:
            values = json.loads(text)
            version = values.pop("contract_version")
            if version == CONTRACT_VERSION:
                fields = {key: ObservationField(**spec) for key, spec in values.pop("observations").items()}
                return ObservationContract(observations=fields, **values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"contract: expected one of version {CONTRACT_VERSION}, got {error!r}"
            ) from error
        raise ValueError(f"contract: expected version {CONTRACT_VERSION}, got {version!r}")


class Policy:
    """An exported policy, ready to act; made by `load_policy`.

    Attributes:
        contract: what it expects and returns.
        format: `torchscript` or `aoti`.
        device: where it runs.
        source: which proposal the last `step` took, 0 = RL, 1 = IL; None before the first.
    """

    def __init__(
        self, runner: Any, contract: ObservationContract, file_format: Format, device: torch.device
    ) -> None:
        self.contract = contract
        self.format = file_format
        self.device = device
        self.source: int | None = None
        self._runner = runner
        self._first = True
        # the stacks of `step`, and tensors [1, ...] that share their memory
        self._stacks = {
            key: np.zeros(spec.stacked_shape, spec.dtype) for key, spec in contract.observations.items()
        }
        self._views = {key: torch.from_numpy(stack).unsqueeze(0) for key, stack in self._stacks.items()}

    def reset(self) -> None:
        """Forgets the frames of the last episode; call it whenever an episode starts."""
        self._first = True
        self.source = None

    def step(self, obs: Arrays) -> npt.NDArray[np.float32]:
        """Choose the next action of a robot.

        Args:
            obs: one frame of every observation, without a batch axis, in the contract's shapes and dtypes.

        Returns:
            `[action_dim]` float32, within the contract's action range.

        Raises:
            ValueError, TypeError: an observation that breaks the contract; the stacks are then unchanged.
            RuntimeError: the networks gave an action that is not finite.
        """
        # check everything before anything changes
        self._check_names(obs)
        for key, spec in self.contract.observations.items():
            _check_array(f"obs[{key!r}]", obs[key], spec.shape, spec)

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

        action, source = self._run(self._views)
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
        batch: int | None = None
        for key, spec in self.contract.observations.items():
            name, value = f"obs[{key!r}]", obs[key]
            if batch is None and value.ndim > 0:
                batch = int(value.shape[0])
            if isinstance(value, Tensor):
                _check_tensor(name, value, (batch or 0, *spec.stacked_shape), spec)
                tensors[key] = value
            else:
                _check_array(name, value, (batch or 0, *spec.stacked_shape), spec)
                tensors[key] = torch.from_numpy(np.ascontiguousarray(value))
        if batch == 0:
            raise ValueError("obs: expected a batch of at least 1, got 0")
        return self._run(tensors)

    def _check_names(self, obs: Mapping[str, Any]) -> None:
        """Refuse a dict whose names are not the contract's."""
        expected = self.contract.observations
        if obs.keys() != expected.keys():
            missing, extra = sorted(expected.keys() - obs.keys()), sorted(obs.keys() - expected.keys())
            raise ValueError(f"obs: expected {list(expected)}, got missing {missing}, unknown {extra}")

    def _run(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Action and source of checked observations."""
        with torch.inference_mode():
            on_device = {key: value.to(self.device) for key, value in obs.items()}
            action, source = self._runner(on_device)
            # a robot must never be sent such an action
            if not torch.isfinite(action).all():
                raise RuntimeError(
                    "action: expected finite numbers, got inf or nan from the policy's networks"
                )
        return action, source


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
            _check_machine(path, aoti_metadata, device)
            contract = ObservationContract.from_json(aoti_metadata["contract"])
            runner: Any = torch._inductor.aoti_load_package(str(path))
        else:
            module = torch.jit.load(str(path), map_location=device)
            contract = ObservationContract.from_json(module.contract_json)
            runner = module.act
    except PolicyFileError:
        raise
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise PolicyFileError(
            f"{path}: expected an exported policy, got a file without one: {reason}"
        ) from error
    return Policy(runner, contract, file_format, device)


def _inspect(path: Path) -> tuple[Format, dict[str, str]]:
    """The file's format and, for a package, its metadata; reads names and checksums, runs nothing."""
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
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        head = path.open("rb").read(4)
        kind = "a damaged file" if head[:2] == b"PK" else "another kind of file"
        raise PolicyFileError(f"{path}: expected an exported policy, got {kind} ({error})") from error
    if damaged is not None:
        raise PolicyFileError(f"{path}: expected an intact policy, got a wrong checksum in {damaged}")
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript", {}
    what = "a torch.save file (a checkpoint?)" if "data.pkl" in names else "an archive without a policy"
    raise PolicyFileError(f"{path}: expected an exported policy, got {what}")


def _check_machine(path: Path, metadata: dict[str, str], device: torch.device) -> None:
    """Refuse native code for another kind of device or processor before it is loaded."""
    from torch._inductor.codecache import get_device_information

    compiled_for = metadata["AOTI_DEVICE_KEY"]
    if compiled_for != device.type:
        raise PolicyFileError(f"{path}: expected a package for {device.type}, got one for {compiled_for}")
    here = get_device_information(compiled_for)
    for key in ("AOTI_PLATFORM", "AOTI_MACHINE", "AOTI_COMPUTE_CAPABILITY", "AOTI_CPU_ISA"):
        have, need = here[key].split(), metadata.get(key, "").split()
        if not set(need) <= set(have):
            raise PolicyFileError(
                f"{path}: expected native code for this machine ({key} {here[key]!r}), got "
                f"{metadata[key]!r}; export it on this machine, or as TorchScript"
            )


def _check_array(name: str, value: Any, shape: tuple[int, ...], spec: ObservationField) -> None:
    """Refuse an array of another type, shape or dtype, or with values out of range."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name}: expected a NumPy array {list(shape)} {spec.dtype}, got {type(value).__name__}"
        )
    if value.shape != shape or value.dtype != spec.dtype:
        raise ValueError(
            f"{name}: expected {list(shape)} {spec.dtype}, got {list(value.shape)} {value.dtype}"
        )
    if value.size and (spec.dtype == "float32" or spec.low is not None or spec.high is not None):
        _check_range(name, float(value.min()), float(value.max()), spec)


def _check_tensor(name: str, value: Tensor, shape: tuple[int, ...], spec: ObservationField) -> None:
    """As `_check_array`, for a tensor."""
    dtype = str(value.dtype).removeprefix("torch.")
    if tuple(value.shape) != shape or dtype != spec.dtype:
        raise ValueError(f"{name}: expected {list(shape)} {spec.dtype}, got {list(value.shape)} {dtype}")
    if value.numel() and (spec.dtype == "float32" or spec.low is not None or spec.high is not None):
        _check_range(name, value.min().item(), value.max().item(), spec)


def _check_range(name: str, smallest: float, largest: float, spec: ObservationField) -> None:
    """Refuse values that are not finite (a NaN survives min and max) or outside the contract's range."""
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ValueError(f"{name}: expected finite numbers, got inf or nan")
    if (spec.low is not None and smallest < spec.low) or (spec.high is not None and largest > spec.high):
        raise ValueError(
            f"{name}: expected values in [{spec.low}, {spec.high}], got values in [{smallest:g}, {largest:g}]"
        )
