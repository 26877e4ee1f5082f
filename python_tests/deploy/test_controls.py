"""The contract says what actions in [-1, 1] are to an environment of other bounds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ibrl_fast.deploy.contract import ObservationContract, ObservationField

OBSERVATIONS = {"state": ObservationField((3,))}


def contract(**changes: Any) -> ObservationContract:
    return ObservationContract(OBSERVATIONS, 2, **changes)


def test_controls_are_linear_between_the_bounds() -> None:
    bounds = contract(control_low=(-2.0, 0.0), control_high=(2.0, 10.0))
    actions = np.array([[-1, -1], [1, 1], [0, 0], [0.5, -0.5]], np.float32)
    np.testing.assert_array_equal(bounds.to_controls(actions), [[-2, 0], [2, 10], [0, 5], [1, 2.5]])
    assert bounds.to_controls(actions[0]).shape == (2,)
    # never beyond them by rounding
    narrow = contract(control_low=(0.1, 0.1), control_high=(0.3, 0.7))
    assert (narrow.to_controls([1.0, 1.0]) <= [0.3, 0.7]).all()
    np.testing.assert_array_equal(contract().to_controls(actions), actions)


def test_they_travel_and_are_left_out_where_there_are_none() -> None:
    bounds = contract(control_low=[-2, 0], control_high=[2, 10])
    assert ObservationContract.from_json(bounds.to_json()) == bounds
    assert bounds.control_low == (-2.0, 0.0)
    assert not {"control_low", "control_high"} & set(json.loads(contract().to_json()))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ((0.0,), (1.0,), "control_low, control_high: expected 2 numbers each, or None, got"),
        ((0.0, 0.0), None, "control_low, control_high: expected 2 numbers each, or None, got"),
        ((0.0, 1.0), (1.0, 1.0), "control_high: expected finite numbers above"),
        ((0.0, float("-inf")), (1.0, 1.0), "control_high: expected finite numbers above"),
    ],
)
def test_bounds_that_are_none(low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contract(control_low=low, control_high=high)
