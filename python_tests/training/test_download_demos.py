"""Published files of demonstrations: from a copy of the Hub's repository, without any network."""

import sys
import types

import numpy as np
import pytest

from ibrl_fast.data.demonstration_set import Demonstration
from ibrl_fast.data.demonstrations import read_demonstrations, write_demonstrations
from ibrl_fast.envs import resolve_task
from ibrl_fast.envs.suite import MissingPackageError
from ibrl_fast.errors import FileError
from ibrl_fast.training.download_demos import download_demonstrations, published_files

NAME = "can-ph"


def fill(place, count, *, env_name="PickPlaceCan", action_dim=7):
    """A file as the Hub has it, of one step each."""
    task = resolve_task(published_files()[NAME].task)
    parts = task.split("state", np.linspace(0, 1, 23, dtype=np.float32)[None].repeat(2, 0))
    flag = np.array([True])
    demo = Demonstration(parts, np.zeros((1, action_dim)), np.ones(1), flag, ~flag)
    env_args = {"env_name": env_name, "type": 1, "env_version": "1.5.1", "env_kwargs": {"control_freq": 20}}
    place.parent.mkdir(parents=True, exist_ok=True)
    write_demonstrations(place, [demo] * count, env_args)


@pytest.fixture
def copy(tmp_path):
    """A folder laid out as the repository, without its files."""
    return tmp_path / "copy", tmp_path / "copy" / published_files()[NAME].path


def test_a_file_of_a_copy_is_checked_and_written(copy, tmp_path):
    source, place = copy
    fill(place, 200)
    out = tmp_path / "out" / "can.hdf5"
    assert download_demonstrations(NAME, out, source=source) == 200
    assert out.read_bytes() == place.read_bytes() and len(read_demonstrations(out)) == 200


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"count": 3}, "expected 200 demonstrations, got 3"),
        ({"count": 200, "env_name": "Lift"}, "expected task robosuite/can as in the run, got task Lift"),
        ({"count": 200, "action_dim": 6}, "actions: expected 7 numbers, got 6"),
    ],
)
def test_another_file_is_refused(copy, tmp_path, made, message):
    source, place = copy
    fill(place, **made)
    with pytest.raises(ValueError, match=message):
        download_demonstrations(NAME, tmp_path / "out.hdf5", source=source)
    assert not (tmp_path / "out.hdf5").exists()


def test_a_missing_file_says_how_to_get_it(copy, tmp_path):
    with pytest.raises(FileError, match=r"expected a file, got none.*by hand: v1.5/can/ph/low_dim_v15.hdf5"):
        download_demonstrations(NAME, tmp_path / "out.hdf5", source=copy[0])
    with pytest.raises(ValueError, match=r"dataset: expected one of lift-ph, .*got 'can'"):
        download_demonstrations("can", tmp_path / "out.hdf5")


def test_the_hubs_client_fetches_it(copy, tmp_path, monkeypatch):
    fill(copy[1], 200)
    asked = []

    def fetch(repository, path, *, repo_type):
        """The client's call, answered by the copy."""
        asked.append((repository, path, repo_type))
        return str(copy[1])

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=fetch))
    assert download_demonstrations(NAME, tmp_path / "out.hdf5") == 200
    assert asked == [("robomimic/robomimic_datasets", "v1.5/can/ph/low_dim_v15.hdf5", "dataset")]


def test_without_network_or_client_it_says_how(tmp_path, monkeypatch):
    def fetch(*args, **kwargs):
        """What the client does without a network."""
        raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=fetch))
    with pytest.raises(FileError, match=r"can-ph: could not be fetched: no route to host; by hand: "):
        download_demonstrations(NAME, tmp_path / "out.hdf5")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'ibrl_fast\[hub\]', or by hand: "):
        download_demonstrations(NAME, tmp_path / "out.hdf5")
