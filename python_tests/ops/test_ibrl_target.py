import math

import pytest
import torch
from accuracy import assert_as_accurate

from ibrl_fast import _core
from ibrl_fast.ops import ibrl_target
from ibrl_fast.ops.ibrl_target import ibrl_target_reference

INF, NAN = float("inf"), float("nan")


def inputs(proposals, ensemble, batch, subset_size, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(proposals, ensemble, batch, generator=generator, dtype=torch.float64).to(dtype)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    reward, discount = (
        torch.randn(batch, generator=generator).to(kind),
        torch.rand(batch, generator=generator).to(kind),
    )
    return q, reward, discount, torch.randperm(ensemble, generator=generator)[:subset_size]


def one_by_one(q, reward, discount, subset, beta, seed, counter, stream=3):
    """The definition in Python numbers: (target in double, choice) for each entry."""
    results = []
    for b in range(q.shape[2]):
        values = [min(q[p, k, b].item() for k in subset.tolist()) for p in range(q.shape[0])]
        choice = values.index(max(values))
        if beta is not None:
            weights = [math.exp(beta * (v - max(values))) for v in values]
            word = _core.philox4x32_10((b, stream, counter, 0), (seed, 0))
            uniform = ((word[0] << 32 | word[1]) >> 11) * 2.0**-53
            sums = [sum(weights[: p + 1]) for p in range(len(weights))]
            choice = next(p for p, s in enumerate(sums) if uniform * sums[-1] < s)
        results.append((reward[b].item() + discount[b].item() * values[choice], choice))
    return results


SHAPES = [(2, 5, 256, 2), (2, 2, 257, 2), (8, 16, 257, 16), (1, 1, 1, 1), (3, 4, 0, 2), (2, 10, 5000, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("beta", [None, 0.0, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_definition(device, shape, beta, dtype) -> None:
    given = inputs(*shape, dtype)
    target, choice = ibrl_target(*(x.to(device) for x in given), beta=beta, seed=3, counter=11)
    assert target.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = one_by_one(*given, beta, 3, 11)
    eager, eager_choice = ibrl_target_reference(*given, beta=beta, seed=3, counter=11)
    assert choice.tolist() == [c for _, c in exact] == eager_choice.tolist()
    column = torch.tensor([t for t, _ in exact], dtype=torch.float64)
    if dtype == torch.float64:
        torch.testing.assert_close(target.cpu(), column, rtol=1e-15, atol=1e-15)
    else:
        assert_as_accurate(target.cpu(), column, eager)


def test_ties_go_to_the_lower_index(device) -> None:
    q = torch.tensor([[[1.0]], [[2.0]], [[2.0]]], device=device)
    one = torch.ones(1, device=device)
    target, choice = ibrl_target(q, one, one, torch.tensor([0], device=device))
    assert (target.item(), choice.item()) == (3.0, 1)


@pytest.mark.parametrize("beta", [None, 2.0])
@pytest.mark.parametrize(
    ("values", "choice", "target"),
    [
        ([1.0, NAN], 1, NAN),
        ([NAN, 1.0], 0, NAN),
        ([-INF, -INF], 0, -INF),
        ([-INF, 1.0], 1, 2.0),
        ([1.0, INF], 1, INF),
    ],
)
def test_values_that_are_no_numbers_are_not_hidden(device, values, choice, target, beta) -> None:
    q = torch.tensor(values, device=device).view(2, 1, 1)
    one = torch.ones(1, device=device)
    got = ibrl_target(q, one, one, torch.tensor([0], device=device), beta=beta)
    assert got[1].item() == choice
    torch.testing.assert_close(got[0].cpu(), torch.tensor([target]), equal_nan=True)
    # a NaN of any critic in the subset reaches the minimum
    pair = torch.tensor([[[0.0], [NAN]], [[NAN], [0.0]]], device=device)
    assert ibrl_target(pair, one, one, torch.tensor([0, 1], device=device))[0].isnan().all()


def test_softmax_draws_have_their_probabilities(device) -> None:
    batch, beta = 20_000, 1.5
    values = torch.tensor([0.3, -0.2, 0.9], device=device)
    q = values.view(3, 1, 1).expand(3, 1, batch)
    zero = torch.zeros(batch, device=device)
    subset = torch.tensor([0], device=device)
    _, choice = ibrl_target(q, zero, zero, subset, beta=beta, seed=1, counter=0)
    expected = torch.softmax(beta * values.cpu(), 0) * batch
    counts = torch.bincount(choice.cpu(), minlength=3)
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-square, 2 degrees of freedom, p < 1e-4
    _, again = ibrl_target(q, zero, zero, subset, beta=beta, seed=1, counter=torch.tensor([0], device=device))
    _, later = ibrl_target(q, zero, zero, subset, beta=beta, seed=1, counter=1)
    assert torch.equal(choice, again) and not torch.equal(choice, later)


def test_odd_strides_out_and_no_gradient(device) -> None:
    q, reward, discount, subset = (x.to(device) for x in inputs(2, 5, 257, 2, torch.float32))
    expected = ibrl_target(q, reward, discount, subset)
    strided = q.permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    pairs = torch.stack([reward, discount], dim=1)
    out = (torch.empty(257, device=device), torch.empty(257, dtype=torch.int64, device=device))
    got = ibrl_target(strided, pairs[:, 0], pairs[:, 1], torch.stack([subset, subset], 1)[:, 0], out=out)
    assert got[0] is out[0] and got[1] is out[1] and not got[0].requires_grad
    assert torch.equal(out[0], expected[0]) and torch.equal(out[1], expected[1])


def test_subset_names_no_critic() -> None:
    q, reward, discount, _ = inputs(2, 5, 4, 2, torch.float32)
    for member in (-1, 5):
        with pytest.raises(IndexError, match=f"subset: expected critics 0 to 4, got {member}"):
            ibrl_target(q, reward, discount, torch.tensor([0, member]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(2, 4)}, "q: expected [proposals, num_critics, batch], got [2, 4]"),
        ({"q": torch.zeros(2, 5, 4).half()}, "q: expected float32 or float64 or bfloat16, got float16"),
        ({"q": torch.zeros(9, 5, 4)}, "q: expected 1 to 8 proposals, got 9"),
        ({"q": torch.zeros(2, 17, 4)}, "q: expected 1 to 16 critics, got 17"),
        ({"reward": torch.zeros(3)}, "reward: expected [4], got [3]"),
        ({"reward": torch.zeros(4).double()}, "reward: expected float32, got float64"),
        ({"discount": torch.zeros(4, 1)}, "discount: expected [4], got [4, 1]"),
        ({"subset": torch.zeros(2)}, "subset: expected int64, got float32"),
        ({"subset": torch.zeros(6, dtype=torch.int64)}, "subset: expected 1 to 5 critics, got 6"),
        ({"beta": -1.0}, "beta: expected a finite number of at least 0 or None, got -1.0"),
        ({"beta": INF}, "beta: expected a finite number of at least 0 or None, got inf"),
        ({"out": (torch.zeros(4), torch.zeros(4))}, "out choice: expected int64, got float32"),
        ({"out": (torch.zeros(5), torch.zeros(4))}, "out target: expected [4], got [5]"),
    ],
)
def test_bad_arguments(change, message) -> None:
    given = dict(zip(("q", "reward", "discount", "subset"), inputs(2, 5, 4, 2, torch.float32))) | change
    with pytest.raises(ValueError) as error:
        ibrl_target(**given)
    assert str(error.value) == message
