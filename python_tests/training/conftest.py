"""Fixtures of the tests of graph capture: a GPU's formulas, and its rules, without a GPU.

Helpers of the tests of data serve here too.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from ibrl_fast import _core
from ibrl_fast.nn.ensemble_mlp import mlp_in_batches
from ibrl_fast.nn.reduce_tokens import reduce_at_once

sys.path.append(str(Path(__file__).parents[1] / "data"))


class TorchWithoutDeviceGenerators:
    """PyTorch, but a generator is one of the CPU whatever the device."""

    def Generator(self, device: torch.device) -> torch.Generator:
        return torch.Generator()

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.fixture
def cuda_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formulas for CUDA on every device; those for the CPU look at values on the host."""
    monkeypatch.setattr("ibrl_fast.nn.layers.prefers_fused_mlp", lambda *sizes: False)
    monkeypatch.setattr("ibrl_fast.nn.layers.prefers_ensemble_mlp", lambda x: True)
    monkeypatch.setattr("ibrl_fast.nn.layers.ensemble_mlp", mlp_in_batches)
    monkeypatch.setattr("ibrl_fast.nn.critics.prefers_reduce_tokens", lambda x: True)
    monkeypatch.setattr("ibrl_fast.nn.critics.reduce_tokens", reduce_at_once)


@pytest.fixture
def meta_device(monkeypatch: pytest.MonkeyPatch, cuda_formulas: None) -> torch.device:
    """A device whose tensors have no values: what waits for a value fails, and what is written is lost.

    Its generators live on the CPU, it has no autocast, and its kernels' scratch memory is the CPU's.
    """
    monkeypatch.setattr("ibrl_fast.data.row_storage.make_write_queue", MagicMock())
    channels_last = partial(torch.Tensor.contiguous, memory_format=torch.channels_last)
    monkeypatch.setattr("ibrl_fast.nn.encoders.image_layout", channels_last)
    scratch = _core.spatial_embed_scratch_cpu
    monkeypatch.setattr(_core, "spatial_embed_scratch_meta", scratch, raising=False)
    monkeypatch.setattr("ibrl_fast.agents.random_source.torch", TorchWithoutDeviceGenerators())
    return torch.device("meta")
