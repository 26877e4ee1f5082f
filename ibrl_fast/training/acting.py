"""Acting in N environments: what the imitation policy proposes, and what the learner chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from ibrl_fast.agents import Action, Learner
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.graph_capture import GraphedStep, resolve_capture


class Acting:
    """A learner's proposals and actions for the observations of N environments.

    Captured, observations are copied to where two graphs read: one of the imitation policy alone, whose
    proposals are stored with every observation, and one of everything else, or of both where nobody asked for
    proposals.

    Args:
        learner: acts; with a teacher it also proposes.
        capture: whether to replay CUDA graphs after `warmup` eager calls of each kind.
        explore: as `Learner.act`.
        warmup: eager calls before a capture.

    Raises:
        ValueError: capture on a device without CUDA graphs.
    """

    def __init__(self, learner: Learner, *, capture: bool, explore: bool = True, warmup: int = 3) -> None:
        self._learner = learner
        self._explore = explore
        self._capture = resolve_capture(capture, learner.device)
        # what is not captured leaves out torch's book-keeping for gradients; nothing of it reaches an update
        self._mode = nullcontext if self._capture else torch.inference_mode
        self._obs: dict[str, Tensor] = {}
        self._proposals: Tensor | None = None
        self._proposed = False
        self._propose: Callable[[], Tensor | None] = self._run_propose
        self._act_given: Callable[[], Action] = self._run_act_given
        self._act_whole: Callable[[], Action] = self._run_act_whole
        if self._capture:
            graphed = partial(
                GraphedStep,
                device=learner.device,
                generators=(learner.random.generator,),
                frozen=lambda: (learner.loads, learner.random.seed),
                warmup=warmup,
            )
            self._propose = graphed(self._run_propose)
            self._act_given = graphed(self._run_act_given)
            self._act_whole = graphed(self._run_act_whole)

    def see(self, obs: Mapping[str, Tensor]) -> None:
        """Take the stacked observations that the next calls are about.

        Args:
            obs: each `[N, ...]`, in host memory or on the device; captured, always of the same shapes.

        Raises:
            ValueError: other keys or shapes than before, when captured.
        """
        self._proposed = False
        if not self._capture:
            self._obs = {key: value.to(self._learner.device) for key, value in obs.items()}
            return
        shapes = {key: tuple(value.shape) for key, value in self._obs.items()}
        if not shapes:
            self._obs = {key: value.to(self._learner.device, copy=True) for key, value in obs.items()}
            return
        got = {key: tuple(value.shape) for key, value in obs.items()}
        if got != shapes:
            raise ArgumentError(f"obs: expected {shapes} as captured, got {got}")
        for key, value in obs.items():
            # copies from pageable memory leave it before they return
            self._obs[key].copy_(value, non_blocking=not value.is_pinned())

    def propose(self) -> Tensor | None:
        """Return the imitation policy's actions `[N, samples, action_dim]`; None for a method without one.

        Captured, the next call overwrites them.
        """
        if self._learner.num_il_samples == 0:
            return None
        with self._mode():
            self._proposals = self._propose()
        self._proposed = True
        return self._proposals

    def act(self) -> Action:
        """Return the learner's choice; captured, the next call overwrites it."""
        with self._mode():
            return self._act_given() if self._proposed else self._act_whole()

    def _run_propose(self) -> Tensor:
        proposals = self._learner.propose(self._obs)
        assert proposals is not None
        if not self._capture:
            return proposals
        # where the other graph reads them
        if self._proposals is None:
            return proposals.clone()
        self._proposals.copy_(proposals)
        return self._proposals

    def _run_act_given(self) -> Action:
        return self._learner.act(self._obs, self._explore, self._proposals)

    def _run_act_whole(self) -> Action:
        return self._learner.act(self._obs, self._explore)
