"""Which platform draws: one choice for both backends, and one message where none can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ibrl_fast

pytest.importorskip("ibrl_fast.envs.env_pool")

NO_EGL = {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent.json", "__EGL_EXTERNAL_PLATFORM_CONFIG_DIRS": "/"}

# Both backends in one process: what each draws, on which platform, or why not; states come first.
SCRIPT = """
import json, os
from ibrl_fast.envs import make_pool, rendering
answers = []
for backend in ("native", "reference"):
    state_pool = make_pool("assembly", backend=backend)
    state_pool.reset(seed=0)
    try:
        pool = make_pool("assembly", backend=backend, observation="pixels", image_size=20)
        picture = pool.reset(seed=0)[0]["corner2"]
        video = state_pool.render_frames(image_size=20)
        answers.append([rendering.choose_platform(), int(picture.sum()), int(video.sum())])
    except rendering.RenderingUnavailableError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def run(*command: str, **wishes: str) -> subprocess.CompletedProcess[str]:
    root = Path(ibrl_fast.__file__).parents[1]
    ours = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")
    environment = {key: value for key, value in os.environ.items() if key not in ours} | wishes
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *sys.path])
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=root, capture_output=True, text=True, timeout=600
    )


def draw(**wishes: str) -> tuple[list, str]:
    done = run("-c", SCRIPT, **wishes)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def works(platform: str, **wishes: str) -> bool:
    from ibrl_fast.envs import gl_probe

    return "error" not in json.loads(run("-I", gl_probe.__file__, platform, **wishes).stdout)


needs_osmesa = pytest.mark.skipif(not works("osmesa"), reason="OSMesa does not work here (libosmesa6)")


@needs_osmesa
@pytest.mark.skipif(works("egl", **NO_EGL), reason="EGL cannot be hidden here")
def test_osmesa_draws_where_egl_has_no_device_and_says_so_once() -> None:
    (native, reference), said = draw(**NO_EGL)
    assert native == reference and native[0] == "osmesa"
    assert said.count("OSMesa draws, in software, since EGL does not") == 1


@needs_osmesa
@pytest.mark.parametrize("variable", [pytest.param("MUJOCO_GL", marks=pytest.mark.slow), "PYOPENGL_PLATFORM"])
def test_a_wish_is_obeyed_by_both_backends(variable: str) -> None:
    (native, reference), said = draw(**{variable: "osmesa"})
    assert native == reference and native[0] == "osmesa"
    assert "since EGL does not" not in said


UNMET = (
    ({"MUJOCO_GL": "nonsense"}, "MUJOCO_GL: expected egl or osmesa, which draw without a window, got"),
    ({"MUJOCO_GL": "off"}, "MUJOCO_GL: expected egl or osmesa"),
    ({"PYOPENGL_PLATFORM": "x11"}, "PYOPENGL_PLATFORM: expected egl or osmesa"),
    (
        {"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "osmesa"},
        "PYOPENGL_PLATFORM: expected egl as MUJOCO_GL says, got osmesa",
    ),
    ({"MUJOCO_GL": "egl", **NO_EGL}, "rendering: expected a working egl driver"),
)


@pytest.mark.parametrize(
    ("wishes", "message"), [UNMET[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in UNMET[1:])]
)
def test_a_wish_that_cannot_be_met_is_one_message_and_states_need_none(
    wishes: dict[str, str], message: str
) -> None:
    if wishes.get("MUJOCO_GL") == "egl" and "PYOPENGL_PLATFORM" not in wishes and works("egl", **NO_EGL):
        pytest.skip("EGL cannot be hidden here")
    (native, reference), _ = draw(**wishes)
    assert native == reference and native.startswith(message), native


def test_demonstrations_of_pictures_where_nothing_draws_end_in_one_message(tmp_path: Path) -> None:
    code = "from ibrl_fast.cli import main; main()"
    words = ("demos", "assembly", "--observation", "pixels", "--out", str(tmp_path / "demos.hdf5"))
    done = run("-c", code, *words, MUJOCO_GL="nonsense")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "MUJOCO_GL: expected egl or osmesa" in done.stderr + done.stdout


CRASHING = """
import ctypes, sys
sys.argv = ["gl_probe.py", "egl"]
ctypes.string_at(0)
"""


def test_a_driver_that_crashes_or_hangs_takes_the_probe_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibrl_fast.envs import rendering

    for script, words in (
        (CRASHING, "ended the process that tried it"),
        ("import time; time.sleep(60)", "answered"),
    ):
        (tmp_path / "gl_probe.py").write_text(script)
        monkeypatch.setattr(rendering, "__file__", str(tmp_path / "rendering.py"))
        monkeypatch.setattr(rendering, "_PROBE_SECONDS", 1)
        assert words in rendering._probe.__wrapped__("egl")["error"]
