"""The pixel critic's reduction of tokens against its reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ibrl_fast.ops import spatial_embedding as module
from ibrl_fast.ops.spatial_embedding import spatial_embedding, spatial_embedding_reference


def make(batch: int, proposals: int, embed_dim: int = 24) -> list[Tensor]:
    """Two critics, 7 tokens of 5 channels; the patch weight is a slice of a wider one, as in the critic."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        normal(batch, 7, 5),
        normal(2, proposals, batch, embed_dim),
        normal(2, embed_dim, 10)[:, :, :7],
        normal(2, embed_dim),
        normal(2, embed_dim),
        normal(2, 5, embed_dim),
    ]


@pytest.mark.parametrize("proposals", [1, 3])
@pytest.mark.parametrize("batch", [0, 1, 257])
@pytest.mark.parametrize("piece", [1, 1000, 2**19])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_values_and_gradients(
    proposals: int,
    batch: int,
    piece: int,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    given = [value.to(dtype).requires_grad_(True) for value in make(batch, proposals)]
    exact = [value.detach().double().requires_grad_(True) for value in given]
    got, wanted = spatial_embedding(*given), spatial_embedding_reference(*exact)
    assert got.shape == wanted.shape == (2, proposals, batch, 24) and got.dtype == dtype
    error = torch.randn(wanted.shape, dtype=torch.float64).to(dtype)
    ours = [got, *torch.autograd.grad(got, given, error)]
    expected = [wanted, *torch.autograd.grad(wanted, exact, error.double())]
    for a, b in zip(ours, expected, strict=True):
        assert float((a.double() - b).detach().norm()) <= tolerance * (1 + float(b.detach().norm()))


def test_bfloat16_is_as_exact_as_its_reference() -> None:
    exact = make(64, 2, embed_dim=256)
    wanted = spatial_embedding_reference(*exact)
    given = [value.float() for value in exact]
    given[1] = given[1].bfloat16()
    errors = []
    for function in (spatial_embedding, spatial_embedding_reference):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = function(*given)
        errors.append(float((got.double() - wanted).norm() / wanted.norm()))
    assert errors[0] <= 2 * errors[1] and errors[0] < 0.02


def test_frozen_weights_pass_the_gradient_to_the_action_alone() -> None:
    given = make(9, 1)
    expected = [value.clone().requires_grad_(True) for value in given]
    (wanted,) = torch.autograd.grad(spatial_embedding_reference(*expected).sum(), expected[1])
    given[1].requires_grad_(True)
    spatial_embedding(*given).sum().backward()
    torch.testing.assert_close(given[1].grad, wanted, rtol=1e-11, atol=1e-11)
    assert all(value.grad is None for value in (given[0], *given[2:]))


def test_wrong_sizes_are_refused() -> None:
    given = make(4, 1)
    with pytest.raises(ValueError, match=r"channel_weight: expected \[2, 5, 24\], got \[2, 6, 24\]"):
        spatial_embedding(*given[:5], torch.zeros(2, 6, 24))
    with pytest.raises(ValueError, match="patch_weight: expected"):
        spatial_embedding(given[0][:3], *given[1:])
