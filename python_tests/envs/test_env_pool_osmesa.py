"""Pictures where EGL is absent: OSMesa serves, and a machine with neither says what to install.

A library is hidden by a broken file of its name in front of it on the loader's path, in a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ibrl_fast.envs.env_pool")

EGL = ("libEGL.so.1",)
OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
SCRIPT = """
import sys
import numpy as np
from ibrl_fast.envs import make_pool
options = {"observation": "both", "cameras": ("corner2", "topview"), "image_size": 30, "num_envs": 3}
pool = make_pool("assembly", backend="native", num_threads=2, **options)
arrays = {f"first/{key}": value.copy() for key, value in pool.reset()[0].items()}
for _ in range(2):
    obs, *_ = pool.step(np.full((3, 4), 0.5, np.float32))
arrays |= {f"last/{key}": value.copy() for key, value in obs.items()}
arrays["frames"] = pool.render_frames([2, 0], camera="corner", image_size=21)
np.savez(sys.argv[1], platform=pool._pool.render_info[0], **arrays)
pool.close()
"""


def exists(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def run(script: str, hidden: tuple[str, ...], folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    for name in hidden:
        (folder / name).write_text("not a library")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH", "")]))
    # what an earlier test drew with is no wish of this one
    chosen = ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    environment = {key: value for key, value in os.environ.items() if key not in chosen}
    environment |= {"LD_LIBRARY_PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *arguments]
    # not in the source tree: what is installed is tested
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the loader's path works differently here")
@pytest.mark.skipif(not any(map(exists, OSMESA)), reason="libOSMesa is not installed (libosmesa6)")
def test_osmesa_draws_where_egl_is_absent(tmp_path: Path) -> None:
    """From several threads, several cameras; equal to EGL's software pictures where both are Mesa's."""
    results = {}
    for platform, hidden in (("osmesa", EGL), ("egl", ())):
        folder = tmp_path / platform
        folder.mkdir()
        done = run(SCRIPT, hidden, folder, str(folder / "result.npz"))
        if platform == "egl" and done.returncode != 0:
            return  # a machine without EGL: that OSMesa drew at all is what could be tested
        assert done.returncode == 0, done.stderr
        results[platform] = dict(np.load(folder / "result.npz"))
        assert str(results[platform].pop("platform")) == platform
    for key, value in results["osmesa"].items():
        assert not key.endswith("corner2") or value.std() > 5, "a picture of something"
        if "llvmpipe" in done.stderr or key.endswith("state"):
            np.testing.assert_array_equal(value, results["egl"][key], err_msg=key)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the loader's path works differently here")
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_machine_with_neither_library_names_the_packages(backend: str, tmp_path: Path) -> None:
    script = f"from ibrl_fast.envs import make_pool; make_pool('assembly', backend='{backend}'"
    state_only = run(script + ").reset()", EGL + OSMESA, tmp_path)
    assert state_only.returncode == 0, state_only.stderr
    done = run(script + ", observation='pixels')", EGL + OSMESA, tmp_path)
    assert done.returncode != 0
    last_line = done.stderr.strip().splitlines()[-1]
    assert "rendering: expected EGL or OSMesa, got neither library; install" in last_line
    assert "libegl1 libgl1-mesa-dri" in last_line and "libosmesa6" in last_line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the loader's path works differently here")
@pytest.mark.skipif(not any(map(exists, OSMESA)), reason="libOSMesa is not installed (libosmesa6)")
def test_osmesa_has_no_devices_to_choose_from(tmp_path: Path) -> None:
    script = (
        "from ibrl_fast.envs import make_pool\n"
        "make_pool('assembly', backend='native', observation='pixels', render_device=0)"
    )
    done = run(script, EGL, tmp_path)
    assert "render_device: expected -1 with OSMesa, got 0" in done.stderr
