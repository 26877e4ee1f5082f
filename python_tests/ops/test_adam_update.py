import pytest
import torch

from ibrl_fast.ops import adam_update
from ibrl_fast.ops.adam_update import adam_update_reference

SIZES = [(0,), (1,), (257,), (64, 33), (3, 5, 7), (300, 257)]


class Group:
    """Flat tensors with gaps, the gradients of every step, and a target of the tensors from one on."""

    def __init__(
        self, sizes=SIZES, dtype=torch.float64, device="cpu", alignment=16, target_from=None, steps=1
    ):
        generator = torch.Generator().manual_seed(0)

        def random(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

        self.offsets, size = [], 0
        for shape in sizes:
            self.offsets.append(size)
            size += -(-torch.Size(shape).numel() // alignment) * alignment
        self.values, self.exp_avg, self.exp_avg_sq = random(size), random(size) / 10, random(size).square()
        self.step = torch.tensor([3], device=device)
        self.target = None if target_from is None else random(size - self.offsets[target_from])
        self.gradients = [[random(*shape) for shape in sizes] for _ in range(steps)]

    def to(self, dtype):
        """The same numbers in another precision."""
        other = object.__new__(Group)
        other.__dict__ = dict(self.__dict__, step=self.step.clone())
        for name in ("values", "exp_avg", "exp_avg_sq", "target"):
            value = getattr(self, name)
            setattr(other, name, None if value is None else value.to(dtype, copy=True))
        other.gradients = [[g.to(dtype, copy=True) for g in each] for each in self.gradients]
        return other

    def update(self, function=adam_update, **options):
        for gradients in self.gradients:
            function(
                self.values, gradients, self.offsets, self.exp_avg, self.exp_avg_sq, self.step,
                target=self.target, **{"learning_rate": 0.01, "rho": 0.9, **options},
            )  # fmt: skip
        return self

    @property
    def results(self):
        flat = [self.values, self.exp_avg, self.exp_avg_sq, self.target]
        return [value.cpu() for value in flat if value is not None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target_from", [None, 0, 3])
def test_equals_definition(device, target_from, dtype) -> None:
    start = Group(dtype=dtype, device=device, target_from=target_from)
    got, eager = start.to(dtype).update(), start.to(dtype).update(adam_update_reference)
    exact = start.to(torch.float64).update(adam_update_reference)
    for result, plain, true in zip(got.results, eager.results, exact.results):
        if dtype == torch.float64:
            torch.testing.assert_close(result, true, rtol=1e-14, atol=1e-15)
        else:
            # torch's own float32 square root is not always rounded correctly: compare the largest errors
            error, allowed = ((each.double() - true).abs().max() for each in (result, plain))
            assert error <= 2 * allowed
    assert got.step.item() == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.0)])
def test_equals_torch_over_100_steps(device, betas, dtype) -> None:
    start = Group([(7, 9), (513,), (1,)], dtype, device, steps=100)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        getattr(start, name).zero_()
    got = start.to(dtype).update(betas=betas, eps=1e-6)
    exact = start.to(torch.float64).update(adam_update_reference, betas=betas, eps=1e-6)

    parameters = [
        torch.nn.Parameter(start.values[offset : offset + g.numel()].view_as(g).clone())
        for g, offset in zip(start.gradients[0], start.offsets)
    ]
    optimizer = torch.optim.Adam(parameters, lr=0.01, betas=betas, eps=1e-6)
    for gradients in start.gradients:
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        optimizer.step()
    for parameter, offset in zip(parameters, start.offsets):
        part = slice(offset, offset + parameter.numel())
        ours, theirs = got.values[part], parameter.detach().flatten()
        tolerance = 1e-12 if dtype == torch.float64 else 3e-6
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
        if dtype == torch.float32:
            error, allowed = ((each.double() - exact.values[part]).abs().max() for each in (ours, theirs))
            assert error <= 2 * allowed
    assert got.step.item() == 100


def test_a_late_step_has_no_correction(device) -> None:
    group = Group([(5,)], device=device)
    group.step.fill_(2**31 + 5)
    before = group.to(torch.float64)
    group.update(betas=(0.9, 0.999))
    m = 0.9 * before.exp_avg[:5] + 0.1 * before.gradients[0][0]
    v = 0.999 * before.exp_avg_sq[:5] + 0.001 * before.gradients[0][0].square()
    torch.testing.assert_close(group.values[:5], before.values[:5] - 0.01 * m / (v.sqrt() + 1e-8))
    assert group.step.item() == 2**31 + 6


def test_more_tensors_than_one_launch_takes(device) -> None:
    start = Group([(i % 5,) for i in range(300)], torch.float64, device, target_from=150, steps=3)
    got, exact = start.to(torch.float64).update(), start.to(torch.float64).update(adam_update_reference)
    for result, true in zip(got.results, exact.results):
        torch.testing.assert_close(result, true, rtol=1e-13, atol=1e-15)
    assert got.step.item() == 6


@pytest.mark.parametrize("sizes", [[], [(0,), (0,)]])
def test_a_step_counts_without_elements(device, sizes) -> None:
    assert Group(sizes, device=device).update().step.item() == 4


def test_gaps_are_not_touched(device) -> None:
    start = Group([(3,), (17,)], torch.float32, device, target_from=0)
    got = start.to(torch.float32).update()
    gaps = torch.ones(48, dtype=torch.bool)
    gaps[0:3] = gaps[16:33] = False
    for before, after in zip(start.results, got.results):
        assert torch.equal(before[gaps], after[gaps])
        assert (before != after)[~gaps].all()


def test_unaligned_tensors(device) -> None:
    start = Group([(5,), (1030,), (33,)], torch.float64, device, alignment=1, target_from=1)
    start.gradients = [
        [torch.randn(g.numel() + 1, dtype=g.dtype, device=device)[1:] for g in start.gradients[0]]
    ]
    exact = start.to(torch.float64).update(adam_update_reference)
    start.update()
    for result, true in zip(start.results, exact.results):
        torch.testing.assert_close(result, true, rtol=1e-14, atol=1e-15)


def test_gradients_are_read_in_the_order_of_memory(device) -> None:
    group = Group([(4, 3, 5, 6)], torch.float64, device)
    gradient = group.gradients[0][0].to(memory_format=torch.channels_last)
    assert not gradient.is_contiguous()
    group.gradients = [[gradient]]
    value = group.values.as_strided(gradient.shape, gradient.stride()).clone()
    exp_avg, exp_avg_sq = (
        flat.as_strided(gradient.shape, gradient.stride()).clone()
        for flat in (group.exp_avg, group.exp_avg_sq)
    )
    group.update()
    m, v = 0.9 * exp_avg + 0.1 * gradient, 0.999 * exp_avg_sq + 0.001 * gradient**2
    value -= 0.01 / (1 - 0.9**4) * m / ((v / (1 - 0.999**4)).sqrt() + 1e-8)
    torch.testing.assert_close(group.values.as_strided(gradient.shape, gradient.stride()), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_number_of_threads_changes_nothing(dtype) -> None:
    start = Group([(100_001,), (3,), (70_000,)], dtype, target_from=1)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(start.to(dtype).update().results)
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [SIZES, [(i % 300,) for i in range(300)], [(3_000_001,)]])
def test_equals_cpu_bit_for_bit(sizes, dtype) -> None:
    results = [
        Group(sizes, dtype, device, target_from=len(sizes) // 2, steps=20).update().results
        for device in ("cpu", "cuda")
    ]
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.cuda
def test_replays_of_a_graph_count_steps() -> None:
    start = Group([(3000,), (100_000,)], torch.float32, "cuda", target_from=1)
    captured, eager = start.to(torch.float32), start.to(torch.float32)
    captured.to(torch.float32).update()  # first use outside the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.update()
    for _ in range(50):
        graph.replay()
        eager.update()
    assert captured.step.item() == eager.step.item() == 53
    assert all(torch.equal(a, b) for a, b in zip(captured.results, eager.results))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gradients": [None]}, TypeError, "gradients[0]: expected a tensor, got NoneType"),
        ({"gradients": [torch.zeros(4).double()]}, ValueError, "gradients[0]: expected float32, got float64"),
        (
            {"gradients": [torch.zeros(8)[::2]]},
            ValueError,
            "gradients[0]: expected a tensor dense in memory, got strides (2,)",
        ),
        ({"gradients": []}, ValueError, "offsets: expected 0, one for each gradient, got 1"),
        (
            {"offsets": [13]},
            ValueError,
            "offsets: expected ascending offsets of gradients that fit 16 values",
        ),
        (
            {"offsets": [-1]},
            ValueError,
            "offsets: expected ascending offsets of gradients that fit 16 values",
        ),
        (
            {"gradients": [torch.zeros(4)] * 2, "offsets": [8, 5]},
            ValueError,
            "offsets: expected ascending offsets of gradients that fit 16 values without overlap, got [8, 5]",
        ),
        ({"values": torch.zeros(16).half()}, ValueError, "values: expected float32 or float64, got float16"),
        ({"values": torch.zeros(4, 4)}, ValueError, "values: expected [size], got [4, 4]"),
        (
            {"values": torch.zeros(32)[::2]},
            ValueError,
            "values: expected a contiguous tensor, got strides (2,)",
        ),
        ({"exp_avg": torch.zeros(15)}, ValueError, "exp_avg: expected [16], got [15]"),
        ({"exp_avg_sq": torch.zeros(16).double()}, ValueError, "exp_avg_sq: expected float32, got float64"),
        ({"step": torch.zeros(1)}, ValueError, "step: expected int64, got float32"),
        ({"target": torch.zeros(17)}, ValueError, "target: expected [16], got [17]"),
        (
            {"target": torch.zeros(14)},
            ValueError,
            "target: expected to begin where a gradient begins, got the",
        ),
        ({"betas": (0.9, 1.0)}, ValueError, "betas[1]: expected a value in [0, 1), got 1.0"),
        ({"rho": 1.5}, ValueError, "rho: expected a value in [0, 1], got 1.5"),
    ],
)
def test_bad_arguments(change, error, message) -> None:
    arguments = {
        "values": torch.zeros(16),
        "gradients": [torch.zeros(4)],
        "offsets": [0],
        "exp_avg": torch.zeros(16),
        "exp_avg_sq": torch.zeros(16),
        "step": torch.zeros(1, dtype=torch.int64),
        "learning_rate": 0.1,
    }
    with pytest.raises(error) as raised:
        adam_update(**{**arguments, **change})
    assert str(raised.value).startswith(message)
