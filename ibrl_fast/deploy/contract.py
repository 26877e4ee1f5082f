"""What a policy expects and returns, as plain values that travel inside every exported file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ibrl_fast.errors import ArgumentError

CONTRACT_VERSION = 1


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
            raise ArgumentError(f"shape: expected (features,) or (channels, height, width), got {self.shape}")
        if self.dtype not in ("float32", "uint8"):
            raise ArgumentError(f"dtype: expected float32 or uint8, got {self.dtype}")
        if isinstance(self.stack, bool) or not isinstance(self.stack, int) or self.stack < 1:
            raise ArgumentError(f"stack: expected an integer >= 1, got {self.stack!r}")
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is not None and not math.isfinite(bound):
                raise ArgumentError(f"{name}: expected a finite number or None, got {bound}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ArgumentError(f"high: expected more than low {self.low}, got {self.high}")

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
    control_low: tuple[float, ...] | None = None
    """What `action_low` in each component is to the environment, in its own units; None: actions are used as
    they are."""
    control_high: tuple[float, ...] | None = None
    """The same for `action_high`; what lies between is linear (`to_controls`)."""
    control_period: float | None = None
    """Seconds between two control steps, where known."""
    action_repeat: int | None = None
    """Control steps for which the training environments repeated one action, where known."""
    metadata: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """Free facts: task, method, package version."""

    def __post_init__(self) -> None:
        if not self.observations:
            raise ArgumentError("observations: expected at least one, got none")
        if self.action_dim < 1:
            raise ArgumentError(f"action_dim: expected >= 1, got {self.action_dim}")
        if not -math.inf < self.action_low < self.action_high < math.inf:
            raise ArgumentError(f"action_high: expected more than {self.action_low}, got {self.action_high}")
        self._check_controls()
        if self.control_period is not None and not 0.0 < self.control_period < math.inf:
            raise ArgumentError(f"control_period: expected > 0 s or None, got {self.control_period}")
        if self.action_repeat is not None and self.action_repeat < 1:
            raise ArgumentError(f"action_repeat: expected >= 1 or None, got {self.action_repeat}")

    def _check_controls(self) -> None:
        """Check the bounds of controls; JSON hands lists in, and a frozen field is set once, here."""
        low, high = self.control_low, self.control_high
        if low is None and high is None:
            return
        if low is None or high is None or not len(low) == len(high) == self.action_dim:
            raise ArgumentError(
                f"control_low, control_high: expected {self.action_dim} numbers each, or None, "
                f"got {low} and {high}"
            )
        object.__setattr__(self, "control_low", tuple(float(value) for value in low))
        object.__setattr__(self, "control_high", tuple(float(value) for value in high))
        if not all(-math.inf < below < above < math.inf for below, above in zip(low, high)):
            raise ArgumentError(f"control_high: expected finite numbers above {low}, got {high}")

    def to_controls(self, action: Any) -> Any:
        """Map an action of the policy to the environment's own units.

        Args:
            action: `[..., action_dim]` NumPy array in [`action_low`, `action_high`].

        Returns:
            float64 of that shape, within `control_low` and `control_high`; without those the action.
        """
        import numpy as np

        values = np.asarray(action, np.float64)
        if self.control_low is None or self.control_high is None:
            return values
        low, high = np.array(self.control_low), np.array(self.control_high)
        middle, half = (self.action_low + self.action_high) / 2, (self.action_high - self.action_low) / 2
        return np.clip((low + high) / 2 + (high - low) / 2 * ((values - middle) / half), low, high)

    def to_json(self) -> str:
        """Return the contract as one JSON object."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.control_low is None:
            del values["control_low"], values["control_high"]
        values["observations"] = {
            key: {**asdict(spec), "kind": spec.kind} for key, spec in self.observations.items()
        }
        values["metadata"] = dict(self.metadata)
        return json.dumps({"contract_version": CONTRACT_VERSION, **values}, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> ObservationContract:
        """Return the contract that `to_json` wrote; ValueError for anything else."""
        try:
            values = json.loads(text)
            version = values.pop("contract_version")
            if version == CONTRACT_VERSION:
                fields = {}
                for key, spec in values.pop("observations").items():
                    kind = spec.pop("kind")
                    fields[key] = ObservationField(**spec)
                    if fields[key].kind != kind:
                        raise ArgumentError(f"kind: expected {fields[key].kind} for this shape, got {kind}")
                return ObservationContract(observations=fields, **values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArgumentError(
                f"contract: expected one of version {CONTRACT_VERSION}, got {error!r}"
            ) from error
        raise ArgumentError(f"contract: expected version {CONTRACT_VERSION}, got {version!r}")


def check_value(name: str, value: Any, shape: tuple[int, ...], spec: ObservationField) -> None:
    """Refuse a value of another shape or dtype, or with elements out of range; a NaN survives min and max."""
    dtype = str(value.dtype).removeprefix("torch.")
    if tuple(value.shape) != shape or dtype != spec.dtype:
        raise ArgumentError(f"{name}: expected {list(shape)} {spec.dtype}, got {list(value.shape)} {dtype}")
    smallest, largest = float(value.min()), float(value.max())
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ArgumentError(f"{name}: expected finite numbers, got inf or nan")
    if (spec.low is not None and smallest < spec.low) or (spec.high is not None and largest > spec.high):
        raise ArgumentError(f"{name}: expected in [{spec.low}, {spec.high}], got [{smallest:g}, {largest:g}]")
