"""The score of proposals against loops over critics and rows in plain Python."""

from __future__ import annotations

import pytest
import torch

from ibrl_fast.nn.proposal_scores import score_proposals


def spread(values: list[float]) -> float:
    """Standard deviation over the ensemble, of the whole and not of a sample."""
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5


def reference(
    q: list[list[list[float]]], subset: list[int] | None, kind: str, std_factor: float, margin: float
) -> list[list[float]]:
    """Scores [proposals][batch] of values [proposals][critics][batch], one number at a time."""
    proposals, critics, batch = len(q), len(q[0]), len(q[0][0])
    scores = []
    for p in range(proposals):
        row = []
        for b in range(batch):
            if kind == "min":
                row.append(min(q[p][e][b] for e in (range(critics) if subset is None else subset)))
            else:
                row.append(sum(q[p][e][b] for e in range(critics)) / critics)
        scores.append(row)
    if proposals == 1:
        return scores
    for b in range(batch):
        rl = [q[0][e][b] for e in range(critics)]
        if kind == "lcb":
            scores[0][b] -= std_factor * spread(rl)
        if kind == "paired":
            rival = max(range(1, proposals), key=lambda p: scores[p][b])
            scores[0][b] -= std_factor * spread([value - q[rival][e][b] for e, value in enumerate(rl)])
        scores[0][b] -= margin
    return scores


@pytest.mark.parametrize("subset", [None, [3, 1], [2]])
@pytest.mark.parametrize("proposals", [1, 2, 5])
@pytest.mark.parametrize(
    ("kind", "std_factor", "margin"),
    [("min", 1.0, 0.0), ("min", 0.0, 0.25), ("lcb", 0.0, 0.0), ("lcb", 0.3, 0.1), ("paired", 0.7, 0.2)],
)
def test_equals_the_loop(
    kind: str, std_factor: float, margin: float, proposals: int, subset: list[int] | None
) -> None:
    q = torch.randn(proposals, 4, 33, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.tensor(reference(q.tolist(), subset, kind, std_factor, margin), dtype=torch.float64)
    index = None if subset is None else torch.tensor(subset)
    for score in (score_proposals, torch.jit.script(score_proposals)):
        got = score(q, index, kind, std_factor, margin)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)
    if proposals > 1:
        # both the RL proposal and another win somewhere
        assert 0 < int((expected.argmax(0) == 0).sum()) < 33


def test_one_critic_leaves_no_doubt() -> None:
    q = torch.randn(3, 1, 8, dtype=torch.float64)
    for kind in ("min", "lcb", "paired"):
        torch.testing.assert_close(score_proposals(q, None, kind, 2.0, 0.0), q[:, 0])


def test_an_error_that_all_critics_share_is_no_doubt_when_paired() -> None:
    q = torch.randn(2, 4, 8, dtype=torch.float64)
    shared = torch.randn(1, 4, 8, dtype=torch.float64)
    before, after = (
        score_proposals(values, None, "paired", 1.0, 0.0) - values.mean(1) for values in (q, q + shared)
    )
    torch.testing.assert_close(after, before)
    lcb = score_proposals(q + shared, None, "lcb", 1.0, 0.0) - (q + shared).mean(1)
    assert not torch.allclose(lcb, score_proposals(q, None, "lcb", 1.0, 0.0) - q.mean(1))
