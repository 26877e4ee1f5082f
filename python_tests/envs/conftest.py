"""The published environment, made without any code of this package: the reference of the tests here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from norms import norm_without_blas


def make_published(name: str, seed: int) -> Any:
    """A published Meta-World v3 environment with visible, freshly drawn goals and no time limit."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[name]()
    env._partially_observable = False
    del env.sawyer_observation_space
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env._set_task_called = True
    env.max_path_length = 10**9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env.seed(seed)
    return env


@pytest.fixture
def published() -> Callable[[str, int], Any]:
    """(suite name, seed) -> published environment."""
    return make_published


@pytest.fixture
def without_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published environments compute norms without BLAS, so that they are the same on every processor."""
    monkeypatch.setattr(np.linalg, "norm", norm_without_blas)
