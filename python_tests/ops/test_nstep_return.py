import pytest
import torch
from accuracy import assert_as_accurate

from ibrl_fast.ops import nstep_return
from ibrl_fast.ops.nstep_return import nstep_return_reference


def episodes(lengths, ends, dtype=torch.float64):
    """Rows of episodes, each followed by its tail; ends: "terminated", "truncated" or "running"."""
    generator = torch.Generator().manual_seed(0)
    rows = sum(lengths) + len(lengths)
    reward = torch.randn(rows, generator=generator, dtype=torch.float64).to(dtype)
    terminated, truncated, is_tail = (torch.zeros(rows, dtype=torch.bool) for _ in range(3))
    first = 0
    for length, end in zip(lengths, ends):
        if end != "running":
            (terminated if end == "terminated" else truncated)[first + length - 1] = True
        is_tail[first + length] = True
        first += length + 1
    return reward, terminated, truncated, is_tail


LENGTHS, ENDS = (
    [1, 2, 5, 9, 1, 4, 3],
    ["terminated", "truncated", "running", "terminated", "truncated", "truncated", "running"],
)


def one_by_one(reward, terminated, truncated, is_tail, row, nstep, gamma, bootstrap):
    """The definition for one row: a list of rewards until the episode or the n steps end."""
    taken = []
    while True:
        taken.append(reward[row + len(taken)].item())
        last, following = row + len(taken) - 1, row + len(taken)
        if terminated[last] or truncated[last] or len(taken) == nstep or is_tail[following]:
            break
    ends = terminated[last] or (truncated[last] and not bootstrap)
    total = sum(gamma**k * r for k, r in enumerate(taken))
    return total, 0.0 if ends else gamma ** len(taken), row + len(taken)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize("nstep", [1, 3, 5, 20])
def test_equals_definition(device, nstep, bootstrap, dtype) -> None:
    stored = episodes(LENGTHS, ENDS, dtype)
    rows = torch.nonzero(~stored[3])[:, 0].repeat(11)[:257]
    settings = {"nstep": nstep, "gamma": 0.97, "bootstrap_on_truncation": bootstrap}
    actual = nstep_return(*(x.to(device) for x in stored), rows.to(device), **settings)
    eager = nstep_return_reference(*stored, rows, **settings)
    exact = [one_by_one(*stored, int(row), nstep, 0.97, bootstrap) for row in rows]
    for part in (0, 1):
        column = torch.tensor([e[part] for e in exact], dtype=torch.float64)
        if dtype == torch.float64:
            torch.testing.assert_close(actual[part].cpu(), column, rtol=1e-14, atol=1e-14)
        else:
            assert_as_accurate(actual[part].cpu(), column, eager[part])
    assert actual[2].tolist() == [e[2] for e in exact] == eager[2].tolist()


def test_terminated_ends_the_bootstrap_and_truncated_keeps_it(device) -> None:
    for end, bootstrap, discount in [
        ("terminated", True, 0.0),
        ("truncated", True, 0.25),
        ("truncated", False, 0.0),
        ("running", False, 0.25),
    ]:
        stored = [x.to(device) for x in episodes([2], [end])]
        _, got, next_row = nstep_return(
            *stored, torch.tensor([0], device=device), nstep=3, gamma=0.5, bootstrap_on_truncation=bootstrap
        )
        assert (got.item(), next_row.item()) == (discount, 2)


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches_uint8_flags_strided_rows_and_out(device, batch) -> None:
    stored = [x.to(device) for x in episodes(LENGTHS, ENDS)]
    stored[1:] = [flags.to(torch.uint8) for flags in stored[1:]]
    rows = torch.tensor([3, 99, 4, 99], device=device)[: 2 * batch : 2]
    out = tuple(
        torch.empty(batch, dtype=t, device=device) for t in (torch.float64, torch.float64, torch.int64)
    )
    result = nstep_return(*stored, rows, nstep=3, gamma=0.9, out=out)
    assert all(a is b for a, b in zip(result, out))
    expected = nstep_return_reference(*stored, rows, nstep=3, gamma=0.9)
    assert torch.equal(out[2], expected[2])
    torch.testing.assert_close(out[0], expected[0])


@pytest.mark.parametrize("row", [-1, 1, 10**6])
def test_rows_without_a_step(row) -> None:
    stored = episodes([1, 1], ["terminated", "running"])  # rows 1 and 3 are tails
    with pytest.raises(
        IndexError, match="nstep_return: rows: entry 1 is out of range or names a row that holds no step"
    ):
        nstep_return(*stored, torch.tensor([0, row]), nstep=1, gamma=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": torch.zeros(4, dtype=torch.int64)}, "reward: expected float32 or float64, got int64"),
        ({"terminated": torch.zeros(3, dtype=torch.bool)}, "terminated: expected [4], got [3]"),
        ({"truncated": torch.zeros(4)}, "truncated: expected bool or uint8, got float32"),
        (
            {"is_tail": torch.zeros(8, dtype=torch.bool)[::2]},
            "is_tail: expected a contiguous tensor, got strides (2,)",
        ),
        ({"rows": torch.zeros(1)}, "rows: expected int64, got float32"),
        ({"nstep": 0}, "nstep: expected at least 1, got 0"),
        ({"gamma": 1.5}, "gamma: expected a value in [0, 1], got 1.5"),
        ({"out": (torch.zeros(1), torch.zeros(2), torch.zeros(1))}, "out discount: expected [1], got [2]"),
    ],
)
def test_bad_arguments(change, message) -> None:
    names = ("reward", "terminated", "truncated", "is_tail")
    given = dict(zip(names, episodes([1, 1], ["terminated", "running"], torch.float32)))
    given |= {"rows": torch.tensor([0]), "nstep": 3, "gamma": 0.9} | change
    with pytest.raises(ValueError) as error:
        nstep_return(**given)
    assert str(error.value) == message
