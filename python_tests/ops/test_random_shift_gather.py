import pytest
import torch
import torch.nn.functional as F

from ibrl_fast.ops import random_shift_gather
from ibrl_fast.ops.random_shift_gather import random_shift_gather_reference, random_shifts_reference

N = 40
STEP = torch.tensor([i % 7 for i in range(N)], dtype=torch.int32)


def frames(height=12, width=11, channels=3):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (N, channels, height, width), dtype=torch.uint8, generator=generator)


def drq_shift(images: torch.Tensor, shifts: torch.Tensor, pad: int) -> torch.Tensor:
    """DrQ's augmentation from its published maths: replicate-pad, then sample a shifted grid."""
    batch, _, size, _ = images.shape
    padded = F.pad(images, (pad,) * 4, mode="replicate")
    full = size + 2 * pad
    line = torch.linspace(-1 + 1 / full, 1 - 1 / full, full, dtype=images.dtype)[:size]
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).expand(batch, size, size, 2)
    moved = grid + (shifts + pad).flip(-1)[:, None, None, :] * 2.0 / full  # grid_sample wants x before y
    return F.grid_sample(padded, moved, padding_mode="zeros", align_corners=False)


def test_equals_drq(device) -> None:
    stored, rows = frames(16, 16), torch.arange(1, 33)
    obs, next_obs = random_shift_gather(
        stored.to(device), rows.to(device), (rows + 1).to(device), pad=4, seed=9, counter=3
    )
    shifts = random_shifts_reference(32, 4, seed=9, counter=3).double()
    for actual, chosen, side in ((obs, rows, 0), (next_obs, rows + 1, 1)):
        expected = drq_shift(stored[chosen].double(), shifts[:, side], 4) / 255.0 - 0.5
        torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("out_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("stack", "pad"), [(1, 0), (1, 4), (3, 2), (2, 30)])
@pytest.mark.parametrize(("height", "width"), [(12, 11), (84, 84), (1, 1), (5, 400)])
def test_equals_reference_bit_for_bit(device, height, width, stack, pad, out_dtype) -> None:
    stored, rows = frames(height, width), torch.tensor([0, 5, 7, 8, 38, 20, 1])
    settings = {"stack": stack, "pad": pad, "out_dtype": out_dtype, "seed": -4, "counter": 2**33}
    expected = random_shift_gather_reference(stored, rows, rows + 1, STEP, **settings)
    got = random_shift_gather(*(x.to(device) for x in (stored, rows, rows + 1, STEP)), **settings)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(got, expected))
    assert got[0].shape == (7, stack * 3, height, width) and got[0].dtype == out_dtype


def test_no_shift_is_the_stored_stack_newest_first(device) -> None:
    stored = frames()
    obs, none = random_shift_gather(
        stored.to(device),
        torch.tensor([8], device=device),
        None,
        STEP.to(device),
        stack=3,
        pad=0,
        scale=1.0,
        offset=0.0,
    )
    assert none is None
    assert torch.equal(
        obs[0].cpu(), torch.cat([stored[8], stored[7], stored[7]]).float()
    )  # row 7 starts an episode


def test_shifts_are_uniform_independent_and_shared_by_a_stack(device) -> None:
    coordinates = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).expand(N, 3, 5, 5).contiguous()
    rows = torch.zeros(4000, dtype=torch.int64, device=device)
    obs, next_obs = random_shift_gather(
        coordinates.to(device), rows, rows, STEP.to(device), stack=2, pad=1, scale=1.0, offset=0.0, seed=1
    )
    assert torch.equal(obs[:, :1].expand_as(obs), obs)
    centre, next_centre = obs[:, 0, 2, 2].cpu().long(), next_obs[:, 0, 2, 2].cpu().long()
    kinds = sorted({5 * (2 + dy) + 2 + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)})
    pairs = torch.zeros(9, 9)
    for a, b in zip(centre.tolist(), next_centre.tolist()):
        pairs[kinds.index(a), kinds.index(b)] += 1
    expected = 4000 / 81
    assert ((pairs - expected) ** 2 / expected).sum() < 140  # chi-square, 80 degrees of freedom, p < 1e-4


@pytest.mark.parametrize("batch", [0, 1, 257])
def test_batch_sizes_strided_rows_row_strides_and_out(device, batch) -> None:
    stored = frames(12, 11, 4)
    rows = torch.randint(0, N - 1, (2 * batch,))[::2]
    view = (
        stored[::2, 1:].to(device) if batch == 0 else stored.to(device)[:, 1:]
    )  # frames farther apart than their size
    out = tuple(torch.empty(batch, 3, 12, 11, device=device) for _ in range(2))
    got = random_shift_gather(view, rows.to(device), (rows + 1).to(device), seed=5, out=out)
    assert got[0] is out[0] and got[1] is out[1]
    if batch:
        expected = random_shift_gather_reference(stored[:, 1:], rows, rows + 1, None, seed=5, counter=0)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(out, expected))


def test_output_larger_than_the_caches(device) -> None:
    stored, rows = frames(84, 84), torch.arange(100) % (N - 1)
    for dtype in (torch.float32, torch.bfloat16):
        got = random_shift_gather(
            *(x.to(device) for x in (stored, rows, rows + 1, STEP)), stack=3, out_dtype=dtype
        )
        want = random_shift_gather_reference(
            stored, rows, rows + 1, STEP, stack=3, out_dtype=dtype, seed=0, counter=0
        )
        assert all(torch.equal(a.cpu(), b) for a, b in zip(got, want))


@pytest.mark.cuda
def test_frames_in_pinned_memory() -> None:
    stored, rows = frames(84, 84).pin_memory(), torch.arange(20)
    got = random_shift_gather(stored, rows.cuda(), (rows + 1).cuda(), STEP.cuda(), stack=3)
    want = random_shift_gather_reference(stored, rows, rows + 1, STEP, stack=3, seed=0, counter=0)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(got, want))


def test_rows_out_of_range() -> None:
    for rows, next_rows in (([0, N], [0, 1]), ([0, 1], [0, -1])):
        with pytest.raises(IndexError, match="random_shift_gather: rows: entry 1 is out of range"):
            random_shift_gather(frames(), torch.tensor(rows), torch.tensor(next_rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": torch.zeros(4, 3, 8, 8)}, "frames: expected uint8, got float32"),
        (
            {"frames": torch.zeros(4, 8, 8, dtype=torch.uint8)},
            "frames: expected [num_rows, channels, height, width], got [4, 8, 8]",
        ),
        (
            {"frames": torch.zeros(4, 8, 8, 3, dtype=torch.uint8).permute(0, 3, 1, 2)},
            "frames: expected contiguous rows, got strides (192, 1, 24, 3)",
        ),
        (
            {"frames": torch.zeros(1, 1, 1, 16385, dtype=torch.uint8)},
            "frames: expected a width of at most 16384, got 16385",
        ),
        ({"rows": torch.zeros(1)}, "rows: expected int64, got float32"),
        ({"next_rows": torch.tensor([1, 2])}, "next_rows: expected [1], got [2]"),
        ({"stack": 0}, "stack: expected at least 1, got 0"),
        ({"stack": 2}, "episode_step: expected int32 [4] for stack = 2, got None"),
        ({"pad": -1}, "pad: expected 0 to 32767, got -1"),
        ({"out_dtype": torch.float16}, "out_dtype: expected float32 or bfloat16, got torch.float16"),
        ({"scale": float("inf")}, "scale, offset: expected finite numbers, got inf, -0.5"),
        ({"out": (torch.zeros(1, 3, 8, 9), None)}, "out obs: expected [1, 3, 8, 8], got [1, 3, 8, 9]"),
        (
            {"out": (torch.zeros(1, 3, 8, 8), None)},
            "out next_obs: expected a tensor beside next_rows, got None",
        ),
    ],
)
def test_bad_arguments(change, message) -> None:
    given = {
        "frames": torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        "rows": torch.tensor([0]),
        "next_rows": torch.tensor([1]),
    } | change
    with pytest.raises(ValueError) as error:
        random_shift_gather(**given)
    assert str(error.value) == message
