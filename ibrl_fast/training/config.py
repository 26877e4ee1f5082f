"""Configuration of a run: frozen nested dataclasses, plain values, checked when they are made.

An `ImitationConfig` is a run of behaviour cloning alone; a `TrainConfig` goes on with reinforcement learning,
by the method that the type of its `agent` names.

The same objects make the command line (tyro), `config.json` beside every run, and the presets. What a field
means stands under it; the symbols are those of the paper's Algorithm 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from ibrl_fast.agents.config import BCConfig, IBRLConfig, MethodConfig
from ibrl_fast.agents.methods import convert
from ibrl_fast.envs.options import VECTOR_NAMES, EnvOptions, PoolOptions
from ibrl_fast.envs.registry import full_name, resolve_task
from ibrl_fast.envs.suites import DEFAULT_TASK
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.fields import check_fields
from ibrl_fast.nn.config import BCNetworkConfig, NetworkConfig
from ibrl_fast.training.demo_config import DemoConfig

IMITATION = "bc"
"""What stands for a method's name in a run of imitation alone."""

Storage = Literal["device", "pinned", "host"]
Scaling = Literal["none", "demonstrations"]

# Bounds of what any machine could do: beyond them a number is a slip of the hand
MAX_BATCH_SIZE = 2**24
MAX_THREADS = 4096
MAX_WORKERS = 1024
# Layers of this width are worth sharing among cores
WIDE = 512


@dataclass(frozen=True)
class EnvConfig(EnvOptions):
    """The environments that the policy learns in.

    Success ends an episode. Frames are stacked as the run says.
    """

    task: str = DEFAULT_TASK
    """Task name, kept with its suite's; `make_pool` lists the valid ones."""

    def __post_init__(self) -> None:
        check_fields(self, "env.")
        try:
            super().__post_init__()
        except ArgumentError as error:
            raise ArgumentError(f"env.{error}") from error
        object.__setattr__(self, "task", full_name(self.task))

    def pool_kwargs(self) -> dict[str, Any]:
        """Return arguments of `make_pool` as plain values, except `num_envs` and `seed`."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "num_envs"}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}

    def observation_keys(self) -> list[str]:
        """Return the names of all that the policy sees: vectors, then cameras.

        Raises:
            ArgumentError: unknown task, or one that cannot be observed so.
        """
        seen = {
            name: getattr(self, name) for name in ("observation", "cameras", "state_keys", "proprio_keys")
        }
        options = PoolOptions(**seen)
        options = resolve_task(self.task).observed_by(options).resolve(options)
        return [*options.vector_keys, *options.image_keys]


@dataclass(frozen=True)
class ReplayConfig:
    """The replay buffer and what a sample of it is."""

    capacity: int = 200_000
    """Online steps kept (demonstrations have a region of their own, never evicted)."""
    storage: Storage = "host"
    """Where rows live: `device`, `pinned` host memory or plain `host` memory."""
    nstep: int = 3
    """Steps of reward before the bootstrap."""
    gamma: float = 0.99
    """Discount per agent step."""
    bootstrap_on_truncation: bool = True
    """Whether a time limit leaves the bootstrap in place; False is what the paper's authors ran."""
    random_shift_pad: int = 4
    """Random shift augmentation of images, pixels; 0 turns it off."""

    def __post_init__(self) -> None:
        check_fields(self, "replay.")
        for name in ("capacity", "nstep"):
            expect(getattr(self, name) >= 1, f"replay.{name}", "at least 1", getattr(self, name))
        expect(0 < self.gamma <= 1, "replay.gamma", "in (0, 1]", self.gamma)
        expect(self.random_shift_pad >= 0, "replay.random_shift_pad", "at least 0", self.random_shift_pad)


@dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation of a policy."""

    episodes: int = 50
    """Episodes per evaluation, each with its own fixed seed, the same at every evaluation during training;
    the last evaluation has as many, with other seeds."""
    seed: int = 1_000_000
    """Seeds of the evaluation episodes; apart from the training seeds."""
    workers: int = 1
    """Background processes that evaluate while training goes on; 0 evaluates in between."""
    video_episodes: int = 3
    """Episodes filmed at the end of the run; 0 films none."""

    def __post_init__(self) -> None:
        check_fields(self, "evaluation.")
        expect(self.episodes >= 1, "evaluation.episodes", "at least 1", self.episodes)
        for name in ("workers", "video_episodes", "seed"):
            expect(getattr(self, name) >= 0, f"evaluation.{name}", "at least 0", getattr(self, name))
        expect(self.workers <= MAX_WORKERS, "evaluation.workers", f"at most {MAX_WORKERS}", self.workers)


@dataclass(frozen=True)
class TrainEvaluationConfig(EvaluationConfig):
    """Evaluation beside training."""

    every_env_steps: int = 5_000
    """Environment steps between evaluations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        every = self.every_env_steps
        expect(every >= 1, "evaluation.every_env_steps", "at least 1", every)


@dataclass(frozen=True)
class ImitationConfig:
    """One run of imitation alone: a policy fitted to demonstrations, and evaluated."""

    label: str = ""
    """Name of the curve in reports; empty: the method."""
    seed: int = 0
    """Decides everything random in the run."""
    run_dir: Path = Path("runs/{task}_{method}_seed{seed}")
    """The run's folder; {task}, {method} and {seed} are filled in."""
    device: str = "cpu"
    """torch device of the learner."""
    capture: bool | None = None
    """Whether updates, acting and imitation steps are replayed as CUDA graphs; None: on CUDA devices."""
    num_threads: int = 0
    """torch CPU threads; 0 takes OMP_NUM_THREADS where it is set, else 1 for networks narrower than 512, else
    all cores."""
    observation_scaling: Scaling = "none"
    """`demonstrations`: states are centred on the demonstrations' mean and divided by the task's units."""
    state_stack: int = 1
    """Frames of `state` and `proprio` that the policy sees, newest first."""
    image_stack: int = 1
    """Frames of each camera that the policy sees, newest first."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """The environments that the policy is for."""
    demos: DemoConfig = field(default_factory=DemoConfig)
    """What is imitated."""
    bc: BCConfig = field(default_factory=BCConfig)
    """Training of the imitation policy."""
    bc_network: BCNetworkConfig = field(default_factory=BCNetworkConfig)
    """Network of the imitation policy."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the policy is evaluated."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("state_stack", "image_stack"):
            expect(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("num_threads", "seed"):
            expect(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        expect(self.num_threads <= MAX_THREADS, "num_threads", f"at most {MAX_THREADS}", self.num_threads)
        expect(not set(self.label) & set("/\0{}"), "label", "a name without / and braces", repr(self.label))
        self.resolved_run_dir()
        for name in VECTOR_NAMES:
            keys = getattr(self.demos, f"{name}_keys")
            is_seen, wanted = name in self.env.vector_keys, f"none without a {name} in env.observation"
            expect(is_seen or not keys, f"demos.{name}_keys", wanted, keys)
        if self.observation_scaling != "none":
            sees_state = "state" in self.env.vector_keys
            expect(sees_state, "observation_scaling", "none without a state", self.observation_scaling)

    @property
    def method(self) -> str:
        """The method's name, which runs are told apart by."""
        return IMITATION

    def hidden_widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers; with an image encoder every network counts as wide."""
        network = self.bc_network
        return network.actor.hidden if network.encoder is None else (*network.actor.hidden, WIDE)

    def cpu_threads(self) -> int:
        """torch's CPU threads: `num_threads`, else OMP_NUM_THREADS, as torch and OpenMP read it.

        Without either: 1 for networks too small to share, else all cores.
        """
        if self.num_threads:
            return self.num_threads
        asked = threads_from_environment()
        if asked is not None:
            return asked
        return 1 if max(self.hidden_widths(), default=0) < WIDE else len(os.sched_getaffinity(0))

    def resolved_run_dir(self) -> Path:
        """`run_dir` with {task}, {method} and {seed} filled in."""
        filled = str(self.run_dir)
        for name, value in self._placeholders().items():
            filled = filled.replace("{" + name + "}", value)
        path = Path(filled).expanduser()
        names = ", ".join("{" + name + "}" for name in self._placeholders())
        expected = f"a folder's name, with {names} where they are wanted"
        expect(not set(filled) & {"{", "}", "\0"}, "run_dir", expected, self.run_dir)
        expect(path.name not in ("", ".."), "run_dir", expected, self.run_dir)
        return path

    def _placeholders(self) -> dict[str, str]:
        """Return what stands for {task}, {method} and {seed} in `run_dir`; each is one part of a path."""
        task = re.split("[/:]", self.env.task)[-1]
        return {"task": task, "method": self.label or self.method, "seed": str(self.seed)}


@dataclass(frozen=True)
class TrainConfig(ImitationConfig):
    """One run of reinforcement learning, whole."""

    overlap_collection: bool = False
    """Environments step while the learner makes the update rounds that are due, which then see one step less.
    Results depend on the seed alone, as ever, but are not those without it."""
    total_env_steps: int = 20_000
    """Environment steps (agent steps times action repeat, warm-up included) after which training ends."""
    batch_size: int = 256
    """Transitions per update."""
    update_frequency: int = 2
    """U: agent steps (over all environments) per update round."""
    critic_updates: int = 1
    """G: critic updates per round; the actor is updated once per round."""
    warmup_episodes: int = 0
    """Episodes before RL in which the imitation policy acts alone (a method without one: uniformly random
    actions)."""
    warmup_updates: int = 0
    """Update rounds on demonstrations and warm-up episodes before the first RL action."""
    stop_at_success_rate: float | None = None
    """Ends the run early once two evaluations in a row reach this success rate, and deploys the policy of the
    second. Training goes on meanwhile: a result counts half of `evaluation.every_env_steps` after its policy
    was handed over. None never ends it."""
    log_every_updates: int = 500
    """Update rounds between records in metrics.jsonl."""
    checkpoint_every_env_steps: int = 20_000
    """Environment steps between checkpoints (one is always written at the end and on Ctrl-C)."""
    agent: MethodConfig = field(default_factory=IBRLConfig)
    """The method and its options; its type decides which (agents/methods.py)."""
    il_policy: Path | None = None
    """What proposes instead of a policy fitted here: an exported policy or another TorchScript file (stacked
    observations to actions or samples), or a run folder, whose imitation policy is meant."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Networks of the RL agent."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """Replay buffer."""
    evaluation: TrainEvaluationConfig = field(default_factory=TrainEvaluationConfig)
    """When and how policies are evaluated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("total_env_steps", "batch_size", "update_frequency", "critic_updates", "log_every_updates")
        for name in (*names, "checkpoint_every_env_steps"):
            expect(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("warmup_episodes", "warmup_updates"):
            expect(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        expect(self.batch_size <= MAX_BATCH_SIZE, "batch_size", f"at most {MAX_BATCH_SIZE}", self.batch_size)
        rate = self.stop_at_success_rate
        expect(rate is None or 0 < rate <= 1, "stop_at_success_rate", "in (0, 1] or None", rate)
        self.agent.check_schedule(self.warmup_episodes)
        if self.agent.starts_from_teacher:
            wanted = f"the actor and encoder of network, which method {self.method} starts from it"
            expect(self.bc_network == self.network.imitation(), "bc_network", wanted, self.bc_network)
        if self.il_policy is not None:
            object.__setattr__(self, "il_policy", Path(self.il_policy).expanduser())
            wanted = f"None for method {self.method}, which has no teacher"
            expect(self.agent.needs_teacher, "il_policy", wanted, self.il_policy)

    @property
    def method(self) -> str:
        """The method's name, which runs are told apart by."""
        return self.agent.method

    def with_method(self, name: str) -> TrainConfig:
        """Return the same run by another method, with the options chosen that both methods have.

        A method that starts from its teacher gives it the RL agent's encoder and actor.

        Raises:
            ArgumentError: an unknown name; lists the valid ones.
        """
        agent = convert(self.agent, name)
        bc_network = self.network.imitation() if agent.starts_from_teacher else self.bc_network
        return replace(self, agent=agent, bc_network=bc_network)

    def imitation(self) -> ImitationConfig:
        """Return the run of imitation alone with the same demonstrations, policy and environments."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(ImitationConfig)}
        evaluation = self.evaluation
        shared = {entry.name: getattr(evaluation, entry.name) for entry in fields(EvaluationConfig)}
        return ImitationConfig(**{**values, "evaluation": EvaluationConfig(**shared)})

    def hidden_widths(self) -> tuple[int, ...]:
        """Widths of the RL networks' hidden layers; with an image encoder every network counts as wide."""
        widths = (*self.network.critic.hidden, *self.network.actor.hidden)
        return widths if self.network.encoder is None else (*widths, WIDE)


def threads_from_environment() -> int | None:
    """Return the outermost level of the user's OMP_NUM_THREADS; None where it is not set to a number."""
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(value) if value.isdecimal() and 1 <= int(value) <= MAX_THREADS else None
