"""Models on disk: made once, whole, in spite of damage and of other writers, and loaded without robosuite."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robosuite_helpers import make_plain, need_robosuite, reset_plain

import ibrl_fast
from ibrl_fast.envs import resolve_task
from ibrl_fast.envs.robosuite import model_store
from ibrl_fast.envs.robosuite.cube import resize_cube
from ibrl_fast.envs.robosuite.package import hide_collision_geoms

need_robosuite()

ROOT = Path(ibrl_fast.__file__).parents[1]
TASK = resolve_task("lift")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A user's cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def arrays_of(model):
    """Every array of a model by name, and its statistics."""
    names = [name for name in dir(model) if not name.startswith("_")]
    arrays = {name: getattr(model, name) for name in names if isinstance(getattr(model, name), np.ndarray)}
    statistics = ("meaninertia", "meanmass", "meansize", "extent", "center")
    return {**arrays, **{name: np.array(getattr(model.stat, name)) for name in statistics}}


def test_a_damaged_model_is_made_again(cache):
    first = model_store.find_model(TASK)
    assert first.path.parent == cache / "ibrl_fast" / first.path.parent.name
    before = first.path.read_bytes()

    # a flipped bit in the model, then an edited number in the facts
    damaged = bytearray(before)
    damaged[len(damaged) // 2] ^= 1
    first.path.write_bytes(damaged)
    assert model_store.find_model(TASK).path.read_bytes() == before
    place = first.path.parent / "lift.json"
    facts = json.loads(place.read_text())
    facts["arm"]["noise"] = 0.5
    place.write_text(json.dumps(facts))
    assert model_store.find_model(TASK).facts["arm"]["noise"] == 0.02


def test_writers_at_once_leave_one_whole_model(cache):
    code = (
        "from ibrl_fast.envs import resolve_task\n"
        "from ibrl_fast.envs.robosuite.model_store import find_model\n"
        "print(find_model(resolve_task('lift')).load().nq)\n"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[0].strip() for run in runs] == ["16", "16"]
    folder = model_store.store_folder()
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".mjb", ".xml"]


def test_a_stored_model_is_loaded_without_robosuite():
    model_store.find_model(TASK)
    code = (
        "import sys\n"
        "from ibrl_fast.envs.robosuite import SUITE\n"
        "from ibrl_fast.envs.robosuite.model_store import find_model\n"
        "find_model(SUITE.tasks[0]).load()\n"
        "print('robosuite' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False" and done.stderr == ""


def test_the_cube_is_resized_as_robosuite_compiles_it():
    stored = model_store.find_model(TASK)
    cube = stored.facts["cube"]
    env = make_plain("lift", seed=5)
    for _ in range(2):
        reset_plain(env)
        expected = env.sim.model._model
        hide_collision_geoms(expected)
        size = expected.geom_size[cube["geom_ids"][0]].copy()
        assert ((size >= cube["size_low"]) & (size <= cube["size_high"])).all()
        model = stored.load()
        assert not np.array_equal(model.geom_size[cube["geom_ids"][0]], size)
        resize_cube(model, cube, size)
        expected_arrays = arrays_of(expected)
        for name, array in arrays_of(model).items():
            np.testing.assert_array_equal(array, expected_arrays[name], err_msg=name)


@pytest.mark.parametrize("task", ["can", "square"])
def test_a_stored_model_is_robosuites(task):
    env = make_plain(task, seed=1)
    reset_plain(env)
    expected = env.sim.model._model
    hide_collision_geoms(expected)
    expected_arrays = arrays_of(expected)
    for name, array in arrays_of(model_store.find_model(resolve_task(task)).load()).items():
        np.testing.assert_array_equal(array, expected_arrays[name], err_msg=name)
