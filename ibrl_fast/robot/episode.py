"""What an episode on a robot was: its steps, why it ended, and how well it kept its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ibrl_fast.robot.robot import Array, Observation, RobotInfo
from ibrl_fast.robot.safety import Intervention
from ibrl_fast.robot.timing import StepTimes, summarise, table

Mode = Literal["run", "dry", "shadow"]
"""`run`: the policy moves the robot. `dry`: everything but motion. `shadow`: the policy decides, something
else moves."""
Outcome = Literal["success", "boundary", "motion", "time limit", "fault", "stopped"]
"""`boundary` and `motion`: a safety limit ended it; `fault`: sensors, policy, connection or timing;
`stopped`: a switch, or Ctrl-C."""
SAFETY_ENDS = ("boundary", "motion")


@dataclass(eq=False)
class Step:
    """One tick of the loop whose observation could be acted on."""

    observation: Observation
    """What was seen."""
    action: Array
    """`[action_dim]` float32 in [-1, 1], what was done: nothing where the robot held."""
    proposed: Array | None
    """`[action_dim]` float32, what the policy answered; None: it was not asked."""
    source: int | None
    """Whose proposal it is, 0 = RL, 1 = IL; None where not known."""
    interventions: tuple[Intervention, ...]
    """What safety changed or refused."""
    held: str | None
    """Why the robot held; None: it was commanded."""
    times: StepTimes
    """When it happened."""
    reward: float = 0.0
    """1 where the observation after this step shows success."""
    candidates: Array | None = None
    """`[P, action_dim]` float32, the proposals that the policy chose among; None where it does not say."""
    scores: Array | None = None
    """`[P]` float32, how it valued them."""


@dataclass(eq=False)
class Episode:
    """One episode from its first observation to its end."""

    steps: list[Step] = field(default_factory=list)
    """In order."""
    last: Observation | None = None
    """The observation after the last step."""
    outcome: Outcome = "fault"
    """Why it ended."""
    detail: str = ""
    """The same in words."""
    times: list[StepTimes] = field(default_factory=list)
    """Of every tick, also of those without a usable observation."""
    missed: int = 0
    """Deadlines that passed while the step before was still under way."""
    held: dict[str, int] = field(default_factory=dict)
    """How often the robot held, by reason (the sensor's name, `late`)."""

    @property
    def terminated(self) -> bool:
        """Whether the task ended: success, or a safety limit (paper Sec. XI.C)."""
        return self.outcome == "success" or self.outcome in SAFETY_ENDS

    @property
    def truncated(self) -> bool:
        """Whether it only stopped: nothing can be concluded about what would have followed."""
        return not self.terminated

    @property
    def reward(self) -> float:
        """1 for success, else 0."""
        return 1.0 if self.outcome == "success" else 0.0

    @property
    def interventions(self) -> dict[str, int]:
        """How often each rule of safety changed or refused a command."""
        counts: dict[str, int] = {}
        for step in self.steps:
            for intervention in step.interventions:
                counts[intervention.rule] = counts.get(intervention.rule, 0) + 1
        return counts

    def timing(self, period: float) -> dict[str, dict[str, float]]:
        """Return quantiles of every stage, ms (`timing.summarise`)."""
        return summarise(self.times, period)

    def report(self, period: float) -> str:
        """Return what a person wants to know, as lines of text."""
        lines = [
            f"{self.outcome} after {len(self.steps)} steps" + (f": {self.detail}" if self.detail else "")
        ]
        lines.append(f"missed deadlines: {self.missed} of {len(self.times)}")
        for what, counts in (("held", self.held), ("interventions", self.interventions)):
            if counts:
                lines.append(f"{what}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
        return "\n".join([*lines, table(self.timing(period))])


class Recorder(Protocol):
    """What keeps episodes."""

    def prepare(self, info: RobotInfo, facts: Mapping[str, object]) -> None:
        """Make sure that an episode can be kept; a `UserError` where it cannot, before anything moves."""

    def keep(self, episode: Episode) -> None:
        """Keep an episode that has ended; a `UserError` where that fails, with nothing lost."""
