"""The score of proposals, written once: agents choose by it, and so does every exported policy."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor


def score_proposals(
    q: Tensor,
    subset: Optional[Tensor],  # noqa: UP045 (the word that TorchScript reads)
    kind: str,
    std_factor: float,
    margin: float,
) -> Tensor:
    """Score proposals by a rule (agents.ProposalRule); scriptable.

    Args:
        q: `[proposals, num_critics, batch]`, the RL proposal first; all that the rule may look at.
        subset: `[K]` int64, the critics of the rule `min`; None takes all.
        kind: `min`, `lcb` or `paired`.
        std_factor: standard deviations of doubt that the RL proposal pays.
        margin: what the RL proposal pays beside it, in units of return.

    Returns:
        `[proposals, batch]`.
    """
    if kind == "min":
        score = q.amin(1) if subset is None else q.index_select(1, subset).amin(1)
    else:
        score = q.mean(1)
    if q.shape[0] == 1:
        return score
    # the RL proposal pays for the doubt about it
    doubt = torch.zeros_like(score[0])
    if kind == "lcb":
        doubt = q[0].std(0, correction=0)
    elif kind == "paired":
        rival = score[1:].argmax(0).view(1, 1, -1).expand(1, q.shape[1], -1)
        doubt = (q[0] - q[1:].gather(0, rival)[0]).std(0, correction=0)
    rl_score = score[0] - std_factor * doubt - margin
    return torch.cat([rl_score.unsqueeze(0), score[1:]])
