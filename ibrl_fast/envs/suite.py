"""What a suite of environments brings: its tasks with their facts, how one is made, what it can do.

A suite is one folder that makes one `Suite` object; everything else in this package knows spaces, named
observations, units and abilities only.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ibrl_fast.envs.options import VECTORS_OF, EnvOptions, PoolOptions
from ibrl_fast.errors import ArgumentError, UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ibrl_fast.envs.episodes import EpisodeGroup

Expert: TypeAlias = "Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]"
"""`state`, float [state_dim] -> action float32 [action_dim] in [-1, 1]; may remember its episode."""

EnvState: TypeAlias = "dict[str, npt.NDArray[Any]]"
"""Named arrays that decide an environment's future."""


class AbilityError(UserError, RuntimeError):
    """Something that the environments of a suite cannot do."""


class MissingPackageError(UserError, ImportError):
    """A package that a suite needs is not installed."""


@dataclass(frozen=True)
class Abilities:
    """What the environments of a task can do beyond `reset` and `step`."""

    saves_state: bool = False
    """`get_state` and `set_state` continue an episode bit for bit."""
    seeds: bool = True
    """An episode is a function of the seed that it is reset with."""
    parallel: bool = True
    """More than one environment may be there at a time."""
    fixes_goals: bool = False
    """An environment can repeat the start and goal of its first episode (`fixed_goals`)."""
    terminates: bool = False
    """An environment ends episodes itself, which `success="terminated"` takes for a success."""
    own_pictures: bool = False
    """Pictures are what the environment gives (`PicturedEnv`), not drawn here from a MuJoCo model."""


@dataclass(frozen=True)
class TaskInfo:
    """What is known about a task before any environment is built."""

    name: str
    """Full name, `suite/task`, or `suite:NAME` where the suite finds its tasks by name."""
    observations: Mapping[str, tuple[float, ...]]
    """Vectors that can be observed, by name: `state` (everything) and `proprio` (the robot alone). One number
    per entry: its unit, such as 0.1 (m), for a normaliser; 0 marks what is best masked, NaN a unit that
    nobody knows, for which the demonstrations' standard deviation stands."""
    action_dim: int
    """Numbers in an action, each in [-1, 1]."""
    control_period: float | None
    """Seconds of one control step; None: nobody knows."""
    cameras: tuple[str, ...] = ()
    """Cameras that are observed where none is named; empty: the task has no cameras."""
    camera_positions: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Camera positions in metres that replace the published ones unless others are given."""
    abilities: Abilities = Abilities()
    """What its environments can do."""
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By vector, the entries that it is joined of and their sizes, in order, as other programs name them."""
    aliases: tuple[str, ...] = ()
    """What else the task is called, without its suite, such as a class of the published package."""
    state_limits: Mapping[str, float] = field(default_factory=dict)
    """Largest sizes of numbers in entries of a saved state, by name; 1e10 for those left out."""
    entries: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Vectors of the environment that `state_keys` and `proprio_keys` may join, by name, units as above;
    empty: what is observed is fixed."""
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Which entries an observed vector joins, in their order."""
    control_low: tuple[float, ...] | None = None
    """What -1 in each component of an action is to the environment, in its own units; None: -1."""
    control_high: tuple[float, ...] | None = None
    """The same for 1."""

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return re.split("[/:]", self.name, maxsplit=1)[0]

    @property
    def short_name(self) -> str:
        """The name without its suite."""
        return re.split("[/:]", self.name, maxsplit=1)[1]

    def scale_of(self, key: str) -> npt.NDArray[np.float32]:
        """Return the unit of each entry of a vector, float32 [dim]; 0: best masked, NaN: unknown."""
        import numpy as np

        return np.array(self.observations[key], dtype=np.float32)

    def has_parts(self, key: str, other: str) -> bool:
        """Say whether one vector is joined of parts of another."""
        own = self.parts.get(key, {})
        return bool(own) and set(own) <= set(self.parts.get(other, {}))

    def split(self, key: str, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return a vector's parts by name from values `[..., dim]`; nothing where it has none."""
        parts, start = {}, 0
        for name, size in self.parts.get(key, {}).items():
            parts[name] = values[..., start : start + size]
            start += size
        return parts

    def observed_by(self, options: EnvOptions) -> TaskInfo:
        """Return this task with the vectors that `state_keys` and `proprio_keys` ask for.

        Raises:
            ArgumentError: names that are not among `entries`.
        """
        asked = {"state": options.state_keys, "proprio": options.proprio_keys}
        joined = {vector: keys for vector, keys in asked.items() if keys}
        for vector, keys in joined.items():
            if not set(keys) <= set(self.entries):
                known = f"names among {', '.join(self.entries)}" if self.entries else "none"
                raise ArgumentError(f"{vector}_keys: expected {known} for {self.name}, got {', '.join(keys)}")
        units = {
            vector: tuple(unit for key in keys for unit in self.entries[key])
            for vector, keys in joined.items()
        }
        return replace(self, observations={**self.observations, **units}, joined={**self.joined, **joined})

    def resolve(self, options: PoolOptions) -> PoolOptions:
        """Return options with this task's cameras where none were chosen, after checking its abilities.

        Raises:
            ArgumentError: an option asks for what the task has not.
        """
        observed = [name for name in options.vector_keys if name not in self.observations]
        if observed or (options.observation not in ("state",) and not self.cameras):
            possible = [
                choice
                for choice, vectors in VECTORS_OF.items()
                if set(vectors) <= set(self.observations) and (choice == "state" or self.cameras)
            ]
            raise ArgumentError(
                f"observation: expected one of {', '.join(possible)} for {self.name}, "
                f"got {options.observation!r}"
            )
        if options.num_envs > 1 and not self.abilities.parallel:
            raise ArgumentError(f"num_envs: expected 1 for {self.name}, got {options.num_envs}")
        if options.fixed_goals and not self.abilities.fixes_goals:
            raise ArgumentError(f"fixed_goals: expected False for {self.name}, got True")
        if options.success == "terminated" and not self.abilities.terminates:
            raise ArgumentError(f"success: expected 'task' for {self.name}, got 'terminated'")
        if self.abilities.own_pictures:
            options.check_undrawn(self.name)
        return options.with_cameras(self.cameras, self.camera_positions)

    def require(self, ability: str, call: str) -> None:
        """Raise an AbilityError naming `call` unless the task's environments have that ability."""
        if not getattr(self.abilities, ability):
            raise AbilityError(f"{call}: expected a task with the ability {ability}, got {self.name}")


@dataclass(frozen=True)
class Outcome:
    """What one control step gave."""

    reward: float
    """The task's dense reward; pools with `reward="sparse"` use `success` instead."""
    success: bool
    """Whether the task is solved in this step."""
    terminated: bool = False
    """Whether the environment itself ends the episode, solved or not: nothing is bootstrapped from here."""
    truncated: bool = False
    """Whether a time limit of the environment's own ends the episode."""
    diverged: bool = False
    """Whether the physics became unstable: observations then stay the last good ones."""


class SuiteEnv(Protocol):
    """One environment. Pools add action repeat, time limits, seeds, stacks and pictures."""

    @property
    def vectors(self) -> Mapping[str, npt.NDArray[Any]]:
        """The current observation: the vectors that the task names, float [dim] each."""

    def reset(self, seed: int | None) -> None:
        """Start an episode: a function of `seed` alone, or the next of the environment's own stream."""

    def step(self, action: npt.NDArray[np.float32]) -> Outcome:
        """Take one control step with `action`, float32 [action_dim] in [-1, 1]."""


class StatefulEnv(SuiteEnv, Protocol):
    """An environment of a task with the ability `saves_state`."""

    def get_state(self) -> EnvState:
        """Return everything that decides the future."""

    def set_state(self, state: EnvState) -> None:
        """Restore what `get_state` returned, the current observation included."""


class DrawnEnv(SuiteEnv, Protocol):
    """An environment of a task with cameras: what MuJoCo draws."""

    @property
    def model(self) -> Any:
        """Its `mujoco.MjModel`."""

    @property
    def data(self) -> Any:
        """Its `mujoco.MjData`, with the positions of everything up to date."""


class PicturedEnv(SuiteEnv, Protocol):
    """An environment of a task with the ability `own_pictures`."""

    def picture(self, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Return the current picture of a camera, uint8 [size, size, 3]; None: the view for videos.

        Raises:
            AbilityError: there is no view for videos.
        """

    def close(self) -> None:
        """Free what the environment holds."""


class Recording(Protocol):
    """How files of demonstrations hold a task: what makes its environment, and its simulator's states."""

    def env_args(self, options: PoolOptions) -> dict[str, Any]:
        """Return `env_name`, `env_version`, `type` and `env_kwargs`, by which others make the environment."""

    def remarks(self, env_args: Mapping[str, Any]) -> tuple[str, ...]:
        """Say what a file's environment does otherwise than the task, one line each."""

    def row(self, state: EnvState) -> npt.NDArray[np.float64]:
        """Return the simulator's state of an environment, [size], as a file's `states` hold it."""

    def model_file(self, state: EnvState) -> str:
        """Return the simulator's model in its present form, as a file's `model_file` holds it."""

    def restore(
        self, row: npt.NDArray[np.float64], model_file: str | None, previous: EnvState | None
    ) -> EnvState:
        """Return the state of an environment, its observation included, from a file's row.

        Args:
            row: [size].
            model_file: of the episode, if the file has it.
            previous: what this returned for the row before, None for an episode's first.
        """


@dataclass(frozen=True)
class PublishedFile:
    """A file of demonstrations on the Hugging Face Hub."""

    task: str
    """Full name of the task that it shows."""
    repository: str
    """Of kind `dataset`, `owner/name`."""
    path: str
    """In the repository."""
    episodes: int
    """Demonstrations that it should hold."""


@dataclass(frozen=True)
class Suite:
    """A family of tasks: what `register_suite` takes."""

    name: str
    """First part of its tasks' names."""
    tasks: tuple[TaskInfo, ...]
    """All tasks that can be listed, in that order."""
    make_env: Callable[[TaskInfo, PoolOptions], SuiteEnv]
    """Make one environment, for the reference backend."""
    make_expert: Callable[[TaskInfo, int], Expert] | None = None
    """Make a task's scripted expert for one episode, whose seed is given; None: the suite has none."""
    find_task: Callable[[str], TaskInfo] | None = None
    """Return the task NAME of a name `suite:NAME`, or raise an ArgumentError; None: all are listed."""
    make_group: Callable[[TaskInfo, PoolOptions], EpisodeGroup] | None = None
    """Make environments that step together, for several and the backend `auto`; None: one after the other."""
    find_assets: Callable[[TaskInfo], Path] | None = None
    """Return the file or folder of models that the native backend loads for a task; None: it does not have
    the suite."""
    make_recording: Callable[[TaskInfo], Recording] | None = None
    """Say how files hold a task's states; None: demonstrations are stored without."""
    datasets: Mapping[str, PublishedFile] = field(default_factory=dict)
    """Published files of demonstrations, by short name."""
    packages: tuple[str, ...] = ()
    """Python packages that an environment needs."""
    install: str = ""
    """What to install where one of them is missing, such as `pip install 'ibrl_fast[NAME]'`."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless the suite's packages are installed."""
        for package in self.packages:
            if find_package(package) is None:
                raise MissingPackageError(
                    f"{self.name}: expected the package {package}, found none; {self.install}", name=package
                )


def find_package(name: str) -> Path | None:
    """Return the folder of an installed package without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
