"""MuJoCo installed elsewhere, in another version, or not at all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ibrl_fast

pytest.importorskip("ibrl_fast.envs.env_pool")

from ibrl_fast import _core

VERSION = _core.mujoco_version()
# Packages that are hidden count as not installed.
PREAMBLE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mujoco":
            raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")
"""


def run(script: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    root = Path(ibrl_fast.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*folders, root, *sys.path]))}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=os.sep,  # nothing of the package lies there
        capture_output=True,
        text=True,
        timeout=600,
    )


def mujoco_folder() -> Path:
    spec = importlib.util.find_spec("mujoco")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def copy_package(target: Path, library: str | None) -> None:
    """The installed package by links, its library under another name or left out."""
    (target / "mujoco").mkdir(parents=True)
    for entry in mujoco_folder().iterdir():
        if not entry.name.startswith("libmujoco.so."):
            (target / "mujoco" / entry.name).symlink_to(entry)
        elif library is not None:
            (target / "mujoco" / library).symlink_to(entry)


def test_mujoco_is_found_wherever_it_is_installed(tmp_path: Path) -> None:
    """As after `pip install --target`: the package of this extension is not beside it."""
    copy_package(tmp_path / "elsewhere", f"libmujoco.so.{VERSION}")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "ibrl_fast").symlink_to(Path(ibrl_fast.__file__).parent)
    script = (
        "import ibrl_fast.envs.suite as s; from ibrl_fast.envs import make_pool\n"
        "make_pool('assembly', backend='native').reset(); print(s.find_package('mujoco'))"
    )
    done = run(script, tmp_path / "elsewhere", tmp_path / "package")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "elsewhere" / "mujoco")


def test_another_version_is_one_message(tmp_path: Path) -> None:
    copy_package(tmp_path, "libmujoco.so.3.9.1")
    script = (
        "from ibrl_fast.errors import UserError\nimport ibrl_fast.ops\n"
        "try:\n    import ibrl_fast.envs.env_pool\nexcept UserError as error:\n    print(error)"
    )
    done = run(script, tmp_path)
    assert f"mujoco: expected {VERSION}, got 3.9.1" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_library_that_is_another_than_its_name_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"not a library"):
        library = tmp_path / f"libmujoco.so.{VERSION}"
        library.write_bytes(content)
        script = f"from ibrl_fast import _core; _core.load_mujoco({str(library)!r})"
        done = run(script)
        assert "MujocoVersionError: mujoco: could not load its library" in done.stderr, done.stderr


@pytest.mark.slow
def test_a_pool_before_the_library_is_an_exception() -> None:
    script = (
        "from ibrl_fast import _core\n"
        "options = dict(task='metaworld/assembly', assets='', num_envs=1, num_threads=1, action_repeat=1,\n"
        "    max_episode_steps=1, reward='sparse', terminate_on_success=True, fixed_goals=False,\n"
        "    autoreset='disabled', settle_ahead=False, vectors=['state'], stacks=[1], cameras=[],\n"
        "    camera_positions={}, camera_quaternions={}, image_size=1, channels_last=False,\n"
        "    shadows=False, shadow_size=0, multisample=-1, render_platform='', render_device=-1)\n"
        "_core.EnvPool(options)"
    )
    assert "expected load_mujoco() before a pool is made" in run(script).stderr


OTHER_PARTS = ("nn", "deploy", "data", "agents")


@pytest.mark.parametrize(
    "part", ["ops", *(pytest.param(part, marks=pytest.mark.slow) for part in OTHER_PARTS)]
)
def test_parts_without_environments_import_without_mujoco(part: str) -> None:
    script = PREAMBLE + (
        f"sys.meta_path.insert(0, Hide())\nimport ibrl_fast.{part}\n"
        "assert 'libmujoco' not in open('/proc/self/maps').read()\n"
        "try:\n    import ibrl_fast.envs.env_pool\nexcept ImportError as error:\n    print(error)"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "mujoco" in done.stdout
