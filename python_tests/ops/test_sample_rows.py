import pytest
import torch

from ibrl_fast import _core
from ibrl_fast.ops import sample_rows
from ibrl_fast.ops.sample_rows import sample_rows_reference


def plain_draws(table: torch.Tensor, size: int, batch: int, seed: int, counter: int) -> list[int]:
    """The definition in Python integers: table[r * size >> 64] for a 64-bit random number r."""
    low, key = 0xFFFFFFFF, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    rows = []
    for i in range(batch):
        word = _core.philox4x32_10((i, 1, counter & low, (counter >> 32) & low), key)
        rows.append(int(table[((word[0] << 32) + word[1]) * size >> 64]))
    return rows


@pytest.mark.parametrize("batch", [0, 1, 257])
@pytest.mark.parametrize(("seed", "counter"), [(0, 0), (-3, 2**40 + 1)])
def test_equals_definition(device, batch, seed, counter) -> None:
    table = torch.randperm(1000)
    rows = sample_rows(table.to(device), 700, batch, seed=seed, counter=counter)
    assert rows.tolist() == plain_draws(table, 700, batch, seed, counter)
    assert torch.equal(rows.cpu(), sample_rows_reference(table, 700, batch, seed=seed, counter=counter))


def test_large_table_draws_from_its_whole_length(device) -> None:
    size = 2**31 - 1
    words = _core.philox4x32_10((0, 1, 0, 0), (0, 0))
    assert (words[0] * size + (words[1] * size >> 32)) >> 32 == ((words[0] << 32) + words[1]) * size >> 64
    rows = sample_rows(torch.arange(1_000_000, device=device), 1_000_000, 20_000, seed=0, counter=0)
    counts = torch.histc(rows.float().cpu(), bins=20, min=0, max=1_000_000)
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi-square, 19 degrees of freedom, p < 1e-4


def test_size_counter_and_out_in_device_memory(device) -> None:
    table = torch.arange(100, 200, device=device)
    size, counter = torch.tensor([7], device=device), torch.tensor([5], device=device)
    out = torch.empty(33, dtype=torch.int64, device=device)
    assert sample_rows(table, size, 33, seed=2, counter=counter, out=out) is out
    assert torch.equal(out, sample_rows(table, 7, 33, seed=2, counter=5))
    assert counter.item() == 5
    assert not torch.equal(out, sample_rows(table, 7, 33, seed=2, counter=6))


def test_a_run_inside_the_table(device) -> None:
    """The same draws as from the part alone."""
    table = torch.randperm(100, device=device)
    size, begin = torch.tensor([30], device=device), torch.tensor([70], device=device)
    inside = sample_rows(table, size, 257, seed=2, counter=5, begin=begin)
    assert torch.equal(inside, sample_rows(table[70:], 30, 257, seed=2, counter=5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": torch.zeros(4)}, "table: expected int64, got float32"),
        (
            {"table": torch.zeros(8, dtype=torch.int64)[::2]},
            "table: expected a contiguous tensor, got strides (2,)",
        ),
        ({"table": torch.zeros(0, dtype=torch.int64)}, "table: expected 1 to 2**31 - 1 entries, got 0"),
        ({"size": 0}, "size: expected 1 to 4, got 0"),
        ({"size": 5}, "size: expected 1 to 4, got 5"),
        ({"size": torch.tensor([5])}, "size: expected 1 to 4, got 5"),
        ({"size": torch.tensor([1, 2])}, "size: expected [1], got [2]"),
        ({"begin": torch.tensor([4])}, "begin: expected 0 to 3, got 4"),
        ({"begin": torch.tensor([3])}, "size: expected 1 to 1, got 2"),
        ({"begin": torch.tensor([0, 1])}, "begin: expected [1], got [2]"),
        ({"batch_size": -1}, "batch_size: expected at least 0, got -1"),
        ({"counter": torch.tensor(3)}, "counter: expected [1], got []"),
        ({"out": torch.zeros(2, dtype=torch.int64)}, "out: expected [3], got [2]"),
        (
            {"out": torch.zeros(6, dtype=torch.int64)[::2]},
            "out: expected a contiguous tensor, got strides (2,)",
        ),
    ],
)
def test_bad_arguments(change, message) -> None:
    given = {"table": torch.arange(4), "size": 2, "batch_size": 3, "seed": 0, "counter": 0} | change
    with pytest.raises(ValueError) as error:
        sample_rows(**given)
    assert str(error.value) == message
