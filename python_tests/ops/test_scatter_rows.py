import pytest
import torch

from ibrl_fast.ops import scatter_rows
from ibrl_fast.ops.scatter_rows import MAX_SCATTERS, Scatter, scatter_rows_reference

DTYPES = (torch.float32, torch.uint8, torch.bool, torch.int64, torch.bfloat16)
# features per row: the widths of the copies in 16, 4 and 1 bytes, and neither
SHAPES = ((), (3,), (4,), (3, 4, 4), (5, 7), (2, 0))


def packed_case(shapes_and_dtypes, counts, num_rows=300, seed=0):
    """Targets on the CPU and the packed bytes of new rows for them."""
    generator = torch.Generator().manual_seed(seed)
    pieces, scatters, end = [], [], 0

    def place(tensor):
        nonlocal end
        at, data = end, tensor.contiguous().view(-1).view(torch.uint8)
        pieces.append((at, data))
        end += -(-data.numel() // 16) * 16
        return at

    for (shape, dtype), count in zip(shapes_and_dtypes, counts):
        values, target = (
            torch.randint(0, 2, (n, *shape), generator=generator).to(dtype) for n in (count, num_rows)
        )
        if dtype != torch.bool:
            target = target * 0 + 7
        rows = torch.randperm(num_rows, generator=generator)[:count]
        scatters.append(Scatter(target, place(rows), place(values), count))
    packed = torch.zeros(max(end, 16), dtype=torch.uint8)
    for at, data in pieces:
        packed[at : at + data.numel()] = data
    return packed, scatters


def moved(scatters, device):
    return [scatter._replace(target=scatter.target.clone().to(device)) for scatter in scatters]


@pytest.mark.parametrize("count", [0, 1, 257])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_indexing(device, shape, count) -> None:
    packed, scatters = packed_case([(shape, dtype) for dtype in DTYPES], [count] * len(DTYPES))
    expected, got = moved(scatters, "cpu"), moved(scatters, device)
    scatter_rows_reference(packed, expected)
    scatter_rows(packed.to(device), got)
    for mine, reference in zip(got, expected):
        assert torch.equal(mine.target.cpu(), reference.target)


def test_more_targets_than_one_launch_takes(device) -> None:
    number = 2 * MAX_SCATTERS + 1
    packed, scatters = packed_case([((3,), torch.float32)] * number, range(number))
    expected, got = moved(scatters, "cpu"), moved(scatters, device)
    scatter_rows_reference(packed, expected)
    scatter_rows(packed.to(device), got)
    assert all(torch.equal(a.target.cpu(), b.target) for a, b in zip(got, expected))


@pytest.mark.cuda
def test_from_and_to_pinned_memory() -> None:
    """Frames that stay in pinned memory, written by the kernel from a pinned packed buffer."""
    shapes = [((3, 84, 84), torch.uint8), ((9,), torch.float32), ((), torch.bool)]
    packed, scatters = packed_case(shapes, [64, 64, 64])
    expected, got = moved(scatters, "cpu"), moved(scatters, "cuda")
    got[0] = got[0]._replace(target=scatters[0].target.clone().pin_memory())
    scatter_rows_reference(packed, expected)
    scatter_rows(packed.pin_memory(), got)
    torch.cuda.synchronize()
    assert all(torch.equal(a.target.cpu(), b.target) for a, b in zip(got, expected))


@pytest.mark.parametrize("row", [-1, 300])
def test_bad_rows_on_the_cpu_change_nothing(row) -> None:
    packed, scatters = packed_case([((3,), torch.float32)] * 2, [2, 2])
    packed[scatters[1].rows_at + 8 : scatters[1].rows_at + 16] = torch.tensor([row]).view(torch.uint8)
    before = scatters[0].target.clone()
    with pytest.raises(IndexError, match="scatter_rows: rows: entry 1 is out of range"):
        scatter_rows(packed, scatters)
    assert torch.equal(scatters[0].target, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rows_at": 8},
            r"scatters\[0\].rows_at: .* multiple of 16 with 16 bytes after it in 48, got 8",
        ),
        ({"values_at": 32}, r"scatters\[0\].values_at: expected a multiple of 16 with 24 bytes .* got 32"),
        ({"num_rows": 7}, r"scatters\[0\].rows_at: .* with 56 bytes"),
        ({"target": torch.zeros(3, 4)[:, :3]}, r"scatters\[0\].target: expected .*contiguous"),
    ],
)
def test_bad_arguments(change, message) -> None:
    scatter = Scatter(torch.zeros(9, 3), 0, 16, 2)
    with pytest.raises(ValueError, match=message):
        scatter_rows(torch.zeros(48, dtype=torch.uint8), [scatter._replace(**change)])
    with pytest.raises(ValueError, match="packed: expected uint8"):
        scatter_rows(torch.zeros(48), [scatter])
    with pytest.raises(ValueError, match="packed: expected an address that is a multiple of 16"):
        scatter_rows(torch.zeros(64, dtype=torch.uint8)[1:], [scatter])
    with pytest.raises(ValueError, match="at least one target"):
        scatter_rows(torch.zeros(48, dtype=torch.uint8), [])
