"""What crosses the language border: fields by name, each of its kind, and the stub written from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ibrl_fast import _core

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import make_stub

TABLE, SIZE, COUNTER, ROWS = (
    torch.arange(20) * 3,
    torch.tensor([20]),
    torch.tensor([5]),
    torch.zeros(4, dtype=torch.int64),
)


def sample_rows_fields() -> dict[str, Any]:
    """Those of a valid call."""
    return {
        "table": TABLE.data_ptr(),
        "size": SIZE.data_ptr(),
        "begin": 0,
        "counter": COUNTER.data_ptr(),
        "seed": 3,
        "rows": ROWS.data_ptr(),
        "batch": 4,
        "capacity": 20,
    }


def test_the_committed_stub_is_the_generated_one() -> None:
    assert make_stub.STUB.read_text() == make_stub.stub(), "run tools/make_stub.py"


def test_a_change_in_the_extension_changes_the_stub() -> None:
    fields, returns = make_stub.read_extension()
    assert "class SampleRowsFields(TypedDict):\n    table: Address\n" in make_stub.kernel_stub(
        fields, returns
    )
    changed = {"sample_rows": (("offsets", "list[int]"), ("table", "address"))}
    text = make_stub.kernel_stub(changed, {"sample_rows": "int"})
    assert "    offsets: list[int]\n    table: Address\n" in text
    assert "def sample_rows_cpu(fields: SampleRowsFields, threads: int) -> int: ..." in text


def test_every_kernel_lists_its_fields() -> None:
    kernels = {name.removesuffix("_cpu") for name in dir(_core) if name.endswith("_cpu")}
    parts = {"proposal", "spatial_embed_sizes", "mlp_inputs"}
    assert kernels == set(_core.kernel_fields) - parts and parts < set(_core.kernel_fields)


def test_the_order_of_the_fields_changes_nothing() -> None:
    given = sample_rows_fields()
    assert list(given) == [name for name, _ in _core.kernel_fields["sample_rows"]]
    assert _core.sample_rows_cpu(given, 1) == -1
    expected = ROWS.clone()
    ROWS.zero_()
    assert _core.sample_rows_cpu(dict(reversed(given.items())), 1) == -1
    assert torch.equal(ROWS, expected) and expected.any()


def test_a_missing_field_is_named() -> None:
    given = sample_rows_fields()
    del given["batch"]
    with pytest.raises(
        TypeError, match=r"sample_rows: fields: expected table, size, .*capacity, got .*'table'"
    ):
        _core.sample_rows_cpu(given, 1)


def test_a_misspelt_field_is_named() -> None:
    given = sample_rows_fields()
    given["batches"] = given.pop("batch")
    with pytest.raises(TypeError, match="sample_rows: field batch: expected a value, got none"):
        _core.sample_rows_cpu(given, 1)


def test_a_field_too_many_is_refused() -> None:
    with pytest.raises(TypeError, match=r"sample_rows: fields: expected table, .* got .*'surprise'"):
        _core.sample_rows_cpu(sample_rows_fields() | {"surprise": 1}, 1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("table", "here", "field table: expected an address, got str"),
        ("table", -1.5, "field table: expected an address, got float"),
        ("batch", 2.0, "field batch: expected an integer, got float"),
        ("batch", 2**70, "field batch: expected an integer, got int"),
        ("batch", None, "field batch: expected an integer, got NoneType"),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"sample_rows: {message}"):
        _core.sample_rows_cpu(sample_rows_fields() | {name: value}, 1)


def test_numbers_and_flags_are_of_their_kind() -> None:
    given = {name: 0 for name, _ in _core.kernel_fields["nstep_return"]}
    given |= {"gamma": 0.9, "bootstrap_on_truncation": True, "is_float64": False}
    assert _core.nstep_return_cpu(given, 1) == -1  # an empty batch
    with pytest.raises(TypeError, match="nstep_return: field gamma: expected a number, got str"):
        _core.nstep_return_cpu(given | {"gamma": "0.9"}, 1)
    with pytest.raises(TypeError, match="nstep_return: field is_float64: expected a bool, got int"):
        _core.nstep_return_cpu(given | {"is_float64": 1}, 1)


def test_lists_are_of_one_length() -> None:
    given: dict[str, Any] = {name: [0, 0] for name, _ in _core.kernel_fields["scatter_rows"]}
    assert _core.scatter_rows_cpu(given, 1) == -1
    with pytest.raises(TypeError, match="scatter_rows: field target: expected 2 entries, got 3"):
        _core.scatter_rows_cpu(given | {"target": [0, 0, 0]}, 1)
    with pytest.raises(TypeError, match="scatter_rows: field rows: expected a list, got tuple"):
        _core.scatter_rows_cpu(given | {"rows": (0, 0)}, 1)
    with pytest.raises(TypeError, match="scatter_rows: field rows: expected a shorter list, got 25"):
        _core.scatter_rows_cpu({name: [0] * 25 for name in given}, 1)


def test_strides_are_three() -> None:
    given: dict[str, Any] = {name: 0 for name, _ in _core.kernel_fields["spatial_embed"]}
    given |= {"extra_strides": (0, 0), "out_strides": (0, 0, 0)}
    with pytest.raises(
        TypeError, match="spatial_embed: field extra_strides: expected a tuple of 3, got tuple"
    ):
        _core.spatial_embed_cpu(given, 1)
