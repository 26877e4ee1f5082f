"""Fixtures of every test: the devices to run on, and skipping what needs a GPU where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ibrl_fast import _core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked cuda, with the reason, unless there is a GPU and the extension has CUDA kernels."""
    if not torch.cuda.is_available():
        reason = "no CUDA device"
    elif not _core.with_cuda:
        reason = "the extension was built without CUDA"
    else:
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device in turn."""
    return torch.device(request.param, 0) if request.param == "cuda" else torch.device(request.param)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """At least two CPU threads for the kernels, whatever the machine's setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def demos_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of metaworld/assembly from state, as written by the scripted expert."""
    from ibrl_fast import collect_demonstrations, write_demonstrations

    demos = collect_demonstrations("assembly", 2, seed=11)
    path = tmp_path_factory.mktemp("demos") / "demos.hdf5"
    write_demonstrations(path, demos, demos.env_args)
    return path
