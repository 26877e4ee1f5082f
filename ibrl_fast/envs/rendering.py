"""What draws without a display: EGL (GPU or Mesa software) or OSMesa.

The platform is chosen here for both backends, once in a process and only when something is to be drawn.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, Protocol

from ibrl_fast.errors import ArgumentError, UserError

Platform = Literal["egl", "osmesa"]

_LOG = logging.getLogger(__name__)
_NO_WISH = ("enable", "enabled", "on", "true", "1")
_HELP = (
    "install `libegl1 libgl1-mesa-dri` (EGL on Debian and Ubuntu; `mesa-libEGL mesa-dri-drivers` on Fedora) "
    "or `libosmesa6` (OSMesa)"
)
_PROBE_SECONDS = 60


class RenderingUnavailableError(UserError, RuntimeError, OSError):
    """This machine cannot draw; the message names the packages to install."""


class RenderDeviceError(ArgumentError, RuntimeError):
    """A device to draw with that this machine does not have."""


class GLContextLike(Protocol):
    """An OpenGL context."""

    def make_current(self) -> None:
        """Make it the calling thread's."""

    def free(self) -> None:
        """Give it back; it is not used again."""


# ---- the choice of a platform ----


@functools.cache
def choose_platform() -> Platform:
    """Return what draws in this process: as `MUJOCO_GL` and `PYOPENGL_PLATFORM` wish, else EGL, else OSMesa.

    Raises:
        RenderingUnavailableError: a wish that cannot be met, or neither works; names the packages to install.
    """
    wish = _read_wish()
    if wish is not None:
        problem = _probe(wish).get("error")
        if problem is not None:
            raise RenderingUnavailableError(
                f"rendering: expected a working {wish} driver, got: {problem}; {_HELP}"
            )
        return wish
    egl = _probe("egl")
    if "error" not in egl:
        return "egl"
    osmesa = _probe("osmesa")
    if "error" not in osmesa:
        _LOG.warning("rendering: OSMesa draws, in software, since EGL does not: %s", egl["error"])
        return "osmesa"
    problems = f"{egl['error']}; {osmesa['error']}"
    if egl.get("missing") and osmesa.get("missing"):
        problems = "neither library"
    raise RenderingUnavailableError(f"rendering: expected EGL or OSMesa, got {problems}; {_HELP}")


def _read_wish() -> Platform | None:
    """Return the platform that environment variables ask for, if they do."""
    wishes: dict[str, Platform] = {}
    for variable in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        value = os.environ.get(variable, "").strip().lower()
        if value in ("egl", "osmesa"):
            wishes[variable] = "egl" if value == "egl" else "osmesa"
        elif value and not (variable == "MUJOCO_GL" and value in _NO_WISH):
            raise RenderingUnavailableError(
                f"{variable}: expected egl or osmesa, which draw without a window, got {value!r}"
            )
    if len(set(wishes.values())) > 1:
        raise RenderingUnavailableError(
            f"PYOPENGL_PLATFORM: expected {wishes['MUJOCO_GL']} as MUJOCO_GL says, "
            f"got {wishes['PYOPENGL_PLATFORM']}"
        )
    return next(iter(wishes.values()), None)


@functools.cache
def _probe(platform: Platform) -> dict[str, Any]:
    """Make a context on that platform, in a process of its own: a broken driver crashes or hangs it."""
    if not sys.executable:
        return {"devices": 64}  # an embedded interpreter: the first picture will tell
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("gl_probe.py")), platform]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"its driver has not answered for {_PROBE_SECONDS} s"}
    except OSError as error:
        return {"error": f"the driver could not be tried: {error}"}
    if done.returncode != 0:
        return {"error": f"its driver ended the process that tried it (exit status {done.returncode})"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def choose_device(render_device: int) -> int:
    """Return the index among EGL's devices to draw with; -1: the first that works.

    Raises:
        RenderDeviceError: it is not there.
    """
    wish = os.environ.get("MUJOCO_EGL_DEVICE_ID", "").strip()
    if choose_platform() == "osmesa":
        if render_device >= 0:
            raise RenderDeviceError(f"render_device: expected -1 with OSMesa, got {render_device}")
        return -1
    count = int(_probe("egl")["devices"])
    if render_device >= count:
        raise RenderDeviceError(f"render_device: expected -1 .. {count - 1}, got {render_device}")
    if render_device >= 0 or not wish:
        return render_device
    device = int(wish) if wish.isdecimal() else count
    if device >= count:
        raise RenderDeviceError(f"MUJOCO_EGL_DEVICE_ID: expected 0 .. {count - 1}, got {wish!r}")
    return device


@functools.cache
def _drawing_process() -> int:
    """Return the id of the process that drew first."""
    return os.getpid()


def make_gl_context(size: int) -> GLContextLike:
    """Return an OpenGL context without a display, current on this thread.

    Raises:
        RenderingUnavailableError: none works; names the packages to install.
    """
    platform = choose_platform()
    choose_device(-1)
    if _drawing_process() != os.getpid():
        # a driver's threads stay behind in a fork, where the driver would wait for them
        raise RenderingUnavailableError(
            "rendering: expected the process that drew first, got a fork of it; make pools that draw in "
            "processes started by 'spawn'"
        )
    try:
        # its way of importing the package, whatever MUJOCO_GL says
        from ibrl_fast.envs import mujoco_package  # noqa: F401

        if platform == "egl":
            from mujoco.egl import GLContext
        else:
            from mujoco.osmesa import GLContext
        context: GLContextLike = GLContext(size, size)
        context.make_current()
    except Exception as error:
        raise RenderingUnavailableError(
            f"rendering: expected a working {platform} driver, got {error!r}; {_HELP}"
        ) from error
    return context


def check_rendering() -> None:
    """Raise RenderingUnavailableError where no picture can be made."""
    make_gl_context(16).free()
