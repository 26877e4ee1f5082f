"""Demonstrations of which none succeeds are named, with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from demonstration_files import make_demo

from ibrl_fast.data import DemonstrationSet
from ibrl_fast.data.demonstrations import warn_without_success


@pytest.mark.parametrize(
    ("demos", "messages"),
    [
        ([make_demo(0), make_demo(1, success=False)], []),
        (
            [make_demo(0, success=False), make_demo(1, success=False)],
            ["demonstrations a.hdf5: none of 2 succeeds (all rewards are zero)"],
        ),
        (
            [make_demo(0, success=False, rewards=np.ones(5, np.float32))],
            ["demonstrations a.hdf5: none of 1 succeeds (none terminates with a positive reward)"],
        ),
    ],
)
def test_warning(demos, messages):
    said = []
    warn_without_success(DemonstrationSet(tuple(demos)), "a.hdf5", said.append)
    assert said == messages
