"""Residual fine-tuning of a frozen teacher: a = clip(mu + scale * pi(s, mu)) (ResFiT, arXiv 2509.19301).

A small correction on top of a teacher that is never forgotten: the last layer of pi starts at zero, critics
value the sum, half of every batch are demonstrations, the critics learn first, on rollouts of the teacher
(`warmup_episodes`, `warmup_updates`). The paper has 10 critics (`network.critic.num_critics`), of which two
random ones make the target, returns over 3 to 5 steps (`replay.nstep`) and 4 updates a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ibrl_fast.agents.config import TD3Config
from ibrl_fast.errors import expect


@dataclass(frozen=True)
class ResFiTConfig(TD3Config):
    """TD3 whose actor corrects the imitation policy's action within bounds.

    Attributes:
        action_scale: largest correction of an action component.
        exploration_std: sigma, of the noise on the corrected action when acting and in the target.
        polyak: rho of the targets.
        actor_objective: what the actor maximises over all critics.
        demo_fraction: share of every batch from the demonstrations.
        warmup_actor: whether the update rounds before the first RL action train the actor too.
    """

    method: ClassVar[str] = "resfit"
    needs_teacher: ClassVar[bool] = True
    warmup: ClassVar[Literal["teacher", "random"]] = "teacher"
    residual: ClassVar[bool] = True

    action_scale: float = 0.1
    exploration_std: float = 0.05
    polyak: float = 0.995
    actor_objective: Literal["min", "mean"] = "mean"
    demo_fraction: float | None = 0.5
    warmup_actor: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(0 < self.action_scale <= 2, "action_scale", "in (0, 2]", self.action_scale)

    @property
    def residual_scale(self) -> float | None:
        """As configured."""
        return self.action_scale
