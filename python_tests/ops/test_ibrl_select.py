import pytest
import torch
from test_ibrl_target import SHAPES, inputs, one_by_one

from ibrl_fast.ops import ibrl_select, ibrl_target
from ibrl_fast.ops.ibrl_select import ibrl_select_reference

ACTION_DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("beta", [None, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_definition(device, shape, beta, dtype) -> None:
    q, reward, discount, subset = inputs(*shape, dtype)
    expected = [choice for _, choice in one_by_one(q, reward, discount, subset, beta, 3, 11, stream=4)]
    for action_dtype in ACTION_DTYPES:
        actions = torch.randn(shape[0], shape[2], 7).to(action_dtype)
        action, choice = ibrl_select(
            *(x.to(device) for x in (q, actions, subset)), beta=beta, seed=3, counter=11
        )
        assert choice.tolist() == expected
        wanted = [actions[p, b] for b, p in enumerate(expected)]
        assert torch.equal(action.cpu(), torch.stack(wanted) if wanted else actions[0])
        eager = ibrl_select_reference(q, actions, subset, beta=beta, seed=3, counter=11)
        assert torch.equal(action.cpu(), eager[0]) and torch.equal(choice.cpu(), eager[1])


def test_greedy_choice_is_that_of_the_target_and_draws_are_independent(device) -> None:
    q, reward, discount, subset = (x.to(device) for x in inputs(2, 5, 500, 2, torch.float32))
    actions = torch.randn(2, 500, 4, device=device)
    assert torch.equal(ibrl_select(q, actions, subset)[1], ibrl_target(q, reward, discount, subset)[1])
    acting = ibrl_select(q, actions, subset, beta=1.0, seed=1, counter=2)[1]
    learning = ibrl_target(q, reward, discount, subset, beta=1.0, seed=1, counter=2)[1]
    assert not torch.equal(acting, learning)


def test_odd_strides_and_out(device) -> None:
    q, _, _, subset = (x.to(device) for x in inputs(2, 5, 257, 2, torch.float32))
    actions = torch.randn(2, 257, 7, device=device)
    expected = ibrl_select(q, actions, subset)
    strided = actions.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    out = (torch.empty(257, 7, device=device), torch.empty(257, dtype=torch.int64, device=device))
    got = ibrl_select(q.transpose(1, 2).contiguous().transpose(1, 2), strided, subset, out=out)
    assert got[0] is out[0] and got[1] is out[1]
    assert torch.equal(out[0], expected[0]) and torch.equal(out[1], expected[1])


def test_subset_names_no_critic() -> None:
    with pytest.raises(IndexError, match="subset: expected critics 0 to 4, got 5"):
        ibrl_select(torch.zeros(2, 5, 4), torch.zeros(2, 4, 3), torch.tensor([5]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(2, 4)}, "q: expected [proposals, num_critics, batch], got [2, 4]"),
        ({"actions": torch.zeros(2, 5, 3)}, "actions: expected [2, 4, action_dim], got [2, 5, 3]"),
        (
            {"actions": torch.zeros(2, 4, 3, dtype=torch.int64)},
            "actions: expected float32 or float64 or bfloat16 or float16, got int64",
        ),
        ({"subset": torch.zeros(0, dtype=torch.int64)}, "subset: expected 1 to 5 critics, got 0"),
        ({"beta": float("nan")}, "beta: expected a finite number of at least 0 or None, got nan"),
        ({"out": (torch.zeros(4, 3).double(), torch.zeros(4))}, "out action: expected float32, got float64"),
    ],
)
def test_bad_arguments(change, message) -> None:
    given = {
        "q": torch.zeros(2, 5, 4),
        "actions": torch.zeros(2, 4, 3),
        "subset": torch.tensor([0, 1]),
    } | change
    with pytest.raises(ValueError) as error:
        ibrl_select(**given)
    assert str(error.value) == message
