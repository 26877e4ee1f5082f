"""Choosing among proposed actions: index 0 is the RL action, 1.. are the imitation policy's."""

from __future__ import annotations

import torch
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.agents.config import ProposalRule
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.nn.proposal_scores import score_proposals


def select_action(
    q: Tensor, actions: Tensor, subset: Tensor, rule: ProposalRule, beta: float | None, random: RandomSource
) -> tuple[Tensor, Tensor]:
    """Choose what to do (paper Eq. 1, Alg. 1 line 9).

    Args:
        q: `[proposals, critics, batch]`, of the subset alone for the paper's rule, else of all critics.
        actions: `[proposals, batch, action_dim]`.
        subset: `[K]` int64, indices into q's critics.
        rule: how proposals are scored.
        beta: inverse temperature of the softmax; None takes the best, ties to the lower index.
        random: gives the softmax its random numbers.

    Returns:
        action `[batch, action_dim]` and choice `[batch]` int64.
    """
    if not rule.is_paper:
        q = score_proposals(q, subset, rule.kind, rule.std_factor, rule.margin).unsqueeze(1)
        subset = torch.zeros_like(subset[:1])
    action, choice = ops.ibrl_select(q, actions, subset, beta=beta, seed=random.seed, counter=random.counter)
    if beta is not None:
        random.advance()
    return action, choice


def bootstrap_target(
    q: Tensor,
    reward: Tensor,
    discount: Tensor,
    subset: Tensor,
    rule: ProposalRule,
    beta: float | None,
    random: RandomSource,
) -> tuple[Tensor, Tensor]:
    """Return the critics' regression target (paper Eq. 2, Alg. 1 line 17).

    Args:
        q: `[proposals, critics, batch]`, of the subset alone for the paper's rule, else of all critics.
        reward: `[batch]`, n-step.
        discount: `[batch]`, 0 where nothing follows.
        subset: `[K]` int64, indices into q's critics.
        rule: how proposals are scored; the chosen one is valued by the minimum over the subset.
        beta: inverse temperature of the softmax; None takes the best, ties to the lower index.
        random: gives the softmax its random numbers.

    Returns:
        target `[batch]` and choice `[batch]` int64.
    """
    seed, counter = random.seed, random.counter
    if rule.is_paper:
        target, choice = ops.ibrl_target(q, reward, discount, subset, beta=beta, seed=seed, counter=counter)
    else:
        score = score_proposals(q, subset, rule.kind, rule.std_factor, rule.margin).unsqueeze(1)
        first = torch.zeros_like(subset[:1])
        _, choice = ops.ibrl_target(score, reward, discount, first, beta=beta, seed=seed, counter=counter)
        value = q.index_select(1, subset).amin(1).gather(0, choice.unsqueeze(0))[0]
        target = reward + discount * value
    if beta is not None:
        random.advance()
    return target, choice
