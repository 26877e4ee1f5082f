"""Distributions of an agent's random numbers."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from ibrl_fast.agents.random_source import RandomSource


@pytest.mark.parametrize("dropout", [0.5, 0.25, 0.1, 0.9])
def test_dropout_masks_have_their_probability_and_mean_one(dropout: float) -> None:
    random = RandomSource(0, torch.device("cpu"), torch.float64)
    mask = random.dropout_mask(301, 333, dropout)
    assert mask.shape == (301, 333)
    kept = 1 / (1 - dropout)
    assert set(mask.unique().tolist()) == {0.0, kept}
    # six standard deviations of a share of 100233 draws
    share = float((mask == 0).double().mean())
    assert abs(share - dropout) < 6 * (dropout * (1 - dropout) / mask.numel()) ** 0.5
    assert not torch.equal(mask, random.dropout_mask(301, 333, dropout))


def test_subsets_are_uniform_without_repetition() -> None:
    random = RandomSource(0, torch.device("cpu"), torch.float32)
    pairs = Counter(tuple(sorted(random.subset(5, 2).tolist())) for _ in range(5000))
    assert len(pairs) == 10 and all(a != b for a, b in pairs)
    # chi-square with nine degrees of freedom: 99.9% quantile 27.9
    assert sum((count - 500) ** 2 / 500 for count in pairs.values()) < 27.9


def test_state_continues_exactly() -> None:
    first = RandomSource(0, torch.device("cpu"), torch.float32)
    first.normal((3, 2))
    first.advance()
    second = RandomSource(9, torch.device("cpu"), torch.float32)
    second.load_state_dict(first.state_dict())
    assert second.seed == 0 and int(second.counter) == 1
    assert torch.equal(first.normal((50,)), second.normal((50,)))
