"""A suite of one's own: a point in the plane, without any simulator, behind the same door as all others."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from point_suite import PointEnv, point_suite

import ibrl_fast
from ibrl_fast.envs import (
    AbilityError,
    Suite,
    TaskInfo,
    episode_seeds,
    evaluate_policy,
    list_tasks,
    make_expert,
    make_pool,
    register_suite,
    registry,
    resolve_task,
)
from ibrl_fast.envs.suite import MissingPackageError

ROOT = Path(ibrl_fast.__file__).parent


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Registers a suite for one test."""
    monkeypatch.setattr(registry, "_REGISTERED", {})
    yield register_suite


def test_a_registered_suite_is_stepped_like_any_other(registered: Any) -> None:
    registered(point_suite(saves_state=True))
    assert list_tasks()[-1] == "point/origin" and resolve_task("origin").name == "point/origin"
    pool = make_pool("origin", num_envs=3, action_repeat=1, frame_stack=2)
    assert pool.single_observation_space["state"].shape == (6,)
    assert pool.state_scale.tolist() == [1.0, 1.0, 0.0]

    expert = make_expert("point/origin")
    seeds = episode_seeds(3, 7)
    result = evaluate_policy(pool, lambda seen: np.stack([expert(row) for row in seen["state"]]), seeds)
    assert result.success_rate == 1.0 and max(result.lengths) < 20
    # the episodes depend on their seeds alone
    alone = make_pool("origin", action_repeat=1, autoreset="disabled")
    same = evaluate_policy(alone, lambda seen: np.stack([expert(row) for row in seen["state"]]), seeds)
    assert same.lengths == result.lengths and same.returns == result.returns


def test_its_state_is_saved_if_it_says_so(registered: Any) -> None:
    registered(point_suite(saves_state=True))
    pool, other = make_pool("origin", num_envs=2), make_pool("origin", num_envs=2, seed=9)
    pool.reset()
    pool.step(np.ones((2, 2), np.float32))
    state = pool.get_state()
    observations = other.set_state(state)
    np.testing.assert_array_equal(observations["state"][:, :2], state["position"].astype(np.float32))
    actions = -np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(other.step(actions)[0]["state"], pool.step(actions)[0]["state"])


def test_dense_rewards_action_repeat_and_time_limits_are_the_pools(registered: Any) -> None:
    registered(point_suite())
    pool = make_pool("origin", reward="dense", action_repeat=3, max_episode_steps=2, autoreset="disabled")
    start, _ = pool.reset(seed=1)
    position = start["state"][0, :2].astype(np.float64)
    action = np.array([[0.5, -0.5]], np.float32)
    _, reward, _, truncated, _ = pool.step(action)
    distances = [np.hypot(*(position + 0.1 * (step + 1) * action[0])) for step in range(3)]
    np.testing.assert_allclose(reward, -sum(distances), rtol=1e-6)
    assert not truncated and pool.step(action)[3]


@pytest.mark.parametrize(
    ("abilities", "act", "message"),
    [
        (
            {},
            lambda pool: pool.get_state(),
            "get_state: expected a task with the ability saves_state, got",
        ),
        ({}, lambda pool: pool.set_state({}), "set_state: expected a task with the ability saves_state"),
        (
            {"seeds": False},
            lambda pool: pool.reset(seed=3),
            "reset with a seed: .* ability seeds, got",
        ),
        (
            {},
            lambda pool: pool.render_frames(),
            "render_frames: expected a task with cameras, got",
        ),
    ],
)
def test_what_it_cannot_do_is_one_message(registered: Any, abilities: Any, act: Any, message: str) -> None:
    registered(point_suite(**abilities))
    pool = make_pool("origin")
    pool.reset()
    pool.step(np.zeros((1, 2), np.float32))
    with pytest.raises(AbilityError, match=message):
        act(pool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 2}, "num_envs: expected 1 for point/origin, got 2"),
        ({"fixed_goals": True}, "fixed_goals: expected False for point/origin, got True"),
        ({"observation": "both"}, "observation: expected one of state for point/origin, got 'both'"),
        ({"observation": "pixels"}, "observation: expected one of state for point/origin, got 'pixels'"),
        ({"backend": "native"}, "backend: expected 'reference' for the tasks of point, got 'native'"),
    ],
)
def test_options_that_it_cannot_meet(registered: Any, options: dict[str, Any], message: str) -> None:
    registered(point_suite(parallel=False))
    with pytest.raises(ValueError, match=message):
        make_pool("origin", **options)


def test_names_that_are_taken_or_of_another_suite(registered: Any) -> None:
    registered(point_suite())
    with pytest.raises(ValueError, match=r"suite: expected a name other than .*point, got point"):
        registered(point_suite())
    with pytest.raises(ValueError, match="tasks: expected names other/TASK, got point/origin"):
        registered(Suite("other", point_suite().tasks, PointEnv))
    with pytest.raises(AbilityError, match="expert: expected a suite with scripted experts, got plain"):
        registered(Suite("plain", (TaskInfo("plain/x", {"state": (1.0,)}, 1, 0.1),), PointEnv))
        make_expert("plain/x")


def test_installed_packages_bring_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(registry, "_installed", lambda: {"point": point_suite})
    assert make_pool("origin").task.name == "point/origin"


def test_a_missing_package_is_one_message_that_says_what_to_install(registered: Any) -> None:
    suite = point_suite()
    registered(Suite("point", suite.tasks, PointEnv, packages=("no_such_package",), install="pip install it"))
    with pytest.raises(MissingPackageError, match="expected the package no_such_package, found none; pip"):
        make_pool("origin")


# ---- nothing general knows a suite ----

# where a suite may be named: its folder and the table of suites; presets are of suites
NAMING = ("envs/metaworld/", "envs/suites.py", "training/presets.py")
# and users' Gymnasium environments: in their folder and the lists of names; Minari records Gymnasium's ids
OWN_DOOR = (
    *("envs/gym/", "envs/suites.py", "envs/__init__.py", "envs/task_facts.py"),
    "data/minari_demonstrations.py",
)
WORDS = re.compile("metaworld|meta-world|sawyer|corner2", re.IGNORECASE)


def code_of(file: Path) -> str:
    """What a file does and says to users: its code without comments and documentation."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        for statements in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(statements, list):
                texts = [entry for entry in statements if isinstance(entry, ast.Expr)]
                for entry in texts:
                    if isinstance(entry.value, ast.Constant) and isinstance(entry.value.value, str):
                        entry.value = ast.Constant(None)
    return ast.unparse(tree)


def test_no_general_file_names_a_suite() -> None:
    files = [file.relative_to(ROOT) for file in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.pyi")])]
    general = [file for file in files if not file.as_posix().startswith(NAMING)]
    assert len(general) > 50
    assert [str(file) for file in general if WORDS.search(code_of(ROOT / file))] == []
    # nor that of users' Gymnasium environments, whose door is in the public list of this part
    others = [file for file in files if not file.as_posix().startswith(OWN_DOOR)]
    own_door = re.compile(r"envs\.gym\b|['\"]gym['\":]|is_success|robotics", re.IGNORECASE)
    assert [str(file) for file in others if own_door.search(code_of(ROOT / file))] == []
    # files of this part do not even mention one
    own = [file for file in general if file.parts[0] == "envs"]
    assert [str(file) for file in own if WORDS.search((ROOT / file).read_text())] == []


HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Hide())
"""


def run_without(hidden: tuple[str, ...], script: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT.parent), *sys.path])}
    command = [sys.executable, "-c", HIDE.format(hidden=hidden) + script]
    root = ROOT.parent
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_else_works_without_the_suites_packages(tmp_path: Path) -> None:
    """Configurations, networks, training code and a suite of one's own need no simulator at all."""
    script = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
import ibrl_fast
from ibrl_fast.envs import list_tasks, make_pool, register_suite
from ibrl_fast.training import presets, trainer
for name in ibrl_fast.__all__: getattr(ibrl_fast, name)
assert presets.preset("quickstart").env.task in list_tasks()
from point_suite import point_suite
register_suite(point_suite())
make_pool("origin").reset()
for wanted in (make_pool, ibrl_fast.envs.make_expert):
    try:
        wanted(list_tasks()[0])
    except ImportError as error:
        print(type(error).__name__, error)
assert not {{"metaworld", "mujoco"}} & set(sys.modules)
"""
    lines = run_without(("metaworld", "mujoco"), script).splitlines()
    expected = "MissingPackageError metaworld: expected the package metaworld, found none; pip install"
    assert len(lines) == 2 and all(line.startswith(expected) for line in lines), lines


def test_importing_environments_imports_no_suite() -> None:
    code = "import sys, ibrl_fast.envs as e; e.make_pool; e.Suite\n"
    code += "print([name for name in sys.modules if 'metaworld' in name or name == 'mujoco'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]", done.stderr
