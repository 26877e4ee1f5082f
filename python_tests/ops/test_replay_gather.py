import pytest
import torch

from ibrl_fast.ops import replay_gather

N = 60
STEP = torch.tensor([i % 7 for i in range(N)], dtype=torch.int32)  # episodes of seven rows
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def plain_gather(source, rows, stack, out_dtype):
    """The definition, entry by entry: newest first, an episode's first row repeated."""
    batch = []
    for row in rows.tolist():
        first = row - row % 7
        entries = [source[max(first, row - j)] for j in range(stack)]
        one = source.dim() == 1
        batch.append(
            entries[0] if one and stack == 1 else torch.stack(entries) if one else torch.cat(entries)
        )
    shape = (0, *([stack] if source.dim() == 1 and stack > 1 else []), *source.shape[1:])
    return (torch.stack(batch) if batch else source.new_empty(shape)).to(out_dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out_dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 257])
def test_equals_definition(device, dtype, out_dtype, batch) -> None:
    generator = torch.Generator().manual_seed(batch)
    rows = torch.randint(0, N, (batch,), generator=generator)
    other = torch.randint(0, N, (batch,), generator=generator)
    sources = [
        torch.randn(N, *shape, generator=generator).to(dtype) for shape in [(39,), (4,), (), (2, 3), ()]
    ]
    all_rows, stacks = [rows, other, rows, other, rows], [3, 1, 1, 2, 4]
    got = replay_gather(
        [s.to(device) for s in sources],
        [r.to(device) for r in all_rows],
        STEP.to(device),
        stacks=stacks,
        out_dtype=out_dtype,
    )
    for actual, source, source_rows, stack in zip(got, sources, all_rows, stacks):
        assert torch.equal(actual.cpu(), plain_gather(source, source_rows, stack, out_dtype))


def test_special_values_survive_conversion(device) -> None:
    inf, nan, tiny = float("inf"), float("nan"), 2.0**-24
    values = torch.tensor([0.0, -0.0, 1.0, -inf, inf, nan, tiny, -3 * tiny, 65504.0, 1.00390625, 1.01171875])
    rows = torch.arange(len(values), device=device)
    for dtype in DTYPES:
        for out_dtype in (torch.float32, torch.float64, torch.bfloat16):
            source = values.to(dtype)
            (got,) = replay_gather([source.to(device)], rows, out_dtype=out_dtype)
            torch.testing.assert_close(got.cpu(), source.to(out_dtype), rtol=0, atol=0, equal_nan=True)


def test_empty_batch_shared_rows_row_strides_and_out(device) -> None:
    wide = torch.randn(N, 10, device=device)
    source = wide[:, 2:7]  # rows ten elements apart
    rows = torch.tensor([5, 99, 8, 99, 0], device=device)[::2]
    out = [torch.empty(3, 5, device=device), torch.empty(3, 10, device=device)]
    got = replay_gather([source, wide], rows, out=out)
    assert got[0] is out[0] and torch.equal(out[0], source[rows]) and torch.equal(out[1], wide[rows])
    assert replay_gather([source], rows[:0])[0].shape == (0, 5)


@pytest.mark.cuda
def test_sources_in_pinned_memory() -> None:
    source = torch.randn(N, 5).pin_memory()
    rows = torch.tensor([5, 8, 0])
    (got,) = replay_gather([source], rows.cuda(), STEP.cuda(), stacks=3)
    assert torch.equal(got.cpu(), plain_gather(source, rows, 3, torch.float32))
    with pytest.raises(
        ValueError, match=r"sources\[0\]: expected a tensor on cuda:0 or in pinned host memory"
    ):
        replay_gather([torch.randn(N, 5)], rows.cuda())


def test_rows_out_of_range() -> None:
    for row in (-1, N):
        with pytest.raises(IndexError, match="replay_gather: rows: entry 1 is out of range"):
            replay_gather([torch.zeros(N, 2)], torch.tensor([0, row]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": []}, "sources: expected 1 to 16 tensors, got 0"),
        (
            {"sources": [torch.zeros(4, dtype=torch.int64)]},
            "sources[0]: expected float32 or float64 or bfloat16 or float16, got int64",
        ),
        (
            {"sources": [torch.zeros(4, 6)[:, ::2]]},
            "sources[0]: expected contiguous rows, got strides (6, 2)",
        ),
        ({"sources": [torch.tensor(1.0)]}, "sources[0]: expected [num_rows], got []"),
        ({"rows": [torch.tensor([0])] * 2}, "rows: expected 1 entries, one for each source, got 2"),
        ({"rows": torch.zeros(1)}, "rows: expected int64, got float32"),
        ({"stacks": 0}, "stacks[0]: expected at least 1, got 0"),
        ({"stacks": 2}, "episode_step: expected int32 [4] for stacks[0] = 2, got None"),
        ({"stacks": 2, "episode_step": torch.zeros(4)}, "episode_step: expected int32, got float32"),
        ({"out_dtype": torch.float16}, "out_dtype: expected float32, float64 or bfloat16, got torch.float16"),
        ({"out": [torch.zeros(1, 4)]}, "out[0]: expected [1, 3], got [1, 4]"),
    ],
)
def test_bad_arguments(change, message) -> None:
    given = {"sources": [torch.zeros(4, 3)], "rows": torch.tensor([0])} | change
    with pytest.raises(ValueError) as error:
        replay_gather(**given)
    assert str(error.value) == message
