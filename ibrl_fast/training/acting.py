"""Acting in N environments: what the imitation policy proposes, and what the agent chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from ibrl_fast.agents import Action, TD3Agent
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.graph_capture import GraphedStep, resolve_capture


class Acting:
    """An agent's proposals and actions for the observations of N environments.

    Captured, observations are copied to where two graphs read: one of the imitation policy alone, whose
    proposals are stored with every observation, and one of everything else, or of both where nobody asked for
    proposals.

    Args:
        agent: acts; with an imitation policy it also proposes.
        capture: whether to replay CUDA graphs after `warmup` eager calls of each kind.
        explore: as `TD3Agent.act`.
        warmup: eager calls before a capture.

    Raises:
        ValueError: capture on a device without CUDA graphs.
    """

    def __init__(self, agent: TD3Agent, *, capture: bool, explore: bool = True, warmup: int = 3) -> None:
        self._agent = agent
        self._explore = explore
        self._capture = resolve_capture(capture, agent.device)
        self._obs: dict[str, Tensor] = {}
        self._proposals: Tensor | None = None
        self._il_actions = getattr(agent, "il_actions", None)
        self._proposed = False
        self._propose: Callable[[], Tensor | None] = self._run_propose
        self._act_given: Callable[[], Action] = self._run_act_given
        self._act_whole: Callable[[], Action] = self._run_act_whole
        if self._capture:
            graphed = partial(
                GraphedStep,
                device=agent.device,
                generators=(agent.random.generator,),
                frozen=lambda: (agent.loads, agent.random.seed),
                warmup=warmup,
            )
            self._propose = graphed(self._run_propose)
            self._act_given = graphed(self._run_act_given)
            self._act_whole = graphed(self._run_act_whole)

    def see(self, obs: Mapping[str, Tensor]) -> None:
        """Takes the stacked observations that the next calls are about.

        Args:
            obs: each `[N, ...]`, in host memory or on the device; captured, always of the same shapes.

        Raises:
            ValueError: other keys or shapes than before, when captured.
        """
        self._proposed = False
        if not self._capture:
            self._obs = {key: value.to(self._agent.device) for key, value in obs.items()}
            return
        shapes = {key: tuple(value.shape) for key, value in self._obs.items()}
        if not shapes:
            self._obs = {key: value.to(self._agent.device, copy=True) for key, value in obs.items()}
            return
        got = {key: tuple(value.shape) for key, value in obs.items()}
        if got != shapes:
            raise ArgumentError(f"obs: expected {shapes} as captured, got {got}")
        for key, value in obs.items():
            # copies from pageable memory leave it before they return
            self._obs[key].copy_(value, non_blocking=not value.is_pinned())

    def propose(self) -> Tensor | None:
        """The imitation policy's actions `[N, samples, action_dim]`; None for a method without one.

        Captured, the next call overwrites them.
        """
        if self._il_actions is None:
            return None
        self._proposals = self._propose()
        self._proposed = True
        return self._proposals

    def act(self) -> Action:
        """The agent's choice; captured, the next call overwrites it."""
        return self._act_given() if self._proposed else self._act_whole()

    def _run_propose(self) -> Tensor:
        assert self._il_actions is not None
        proposals: Tensor = self._il_actions(self._obs)
        if not self._capture:
            return proposals
        # where the other graph reads them
        if self._proposals is None:
            return proposals.clone()
        self._proposals.copy_(proposals)
        return self._proposals

    def _run_act_given(self) -> Action:
        return self._agent.act(self._obs, self._explore, il_action=self._proposals)  # type: ignore[call-arg]

    def _run_act_whole(self) -> Action:
        return self._agent.act(self._obs, self._explore)
