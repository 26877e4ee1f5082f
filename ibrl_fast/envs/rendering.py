"""Upright offscreen pictures of MuJoCo models, on EGL (GPU or Mesa software) or OSMesa, without a display.

The platform is chosen here for both backends, once in a process and only when something is to be drawn.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.exclusive import PoolInUseError
from ibrl_fast.envs.mujoco_package import mujoco
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


class _GLContext(Protocol):
    def make_current(self) -> None: ...
    def free(self) -> None: ...


# ---- the choice of a platform ----


@functools.cache
def choose_platform() -> Platform:
    """What draws in this process: as `MUJOCO_GL` and `PYOPENGL_PLATFORM` wish, else EGL, else OSMesa.

    Errors:
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
    """The platform that the environment asks for, if it does."""
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
    """Makes a context on that platform, in a process of its own: drivers that are not well crash or hang."""
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
    """The index among EGL's devices to draw with; -1: the first that works.

    Errors:
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
    """The process that drew first."""
    return os.getpid()


def make_gl_context(size: int) -> _GLContext:
    """An OpenGL context without a display, current on this thread.

    Errors:
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
        if platform == "egl":
            from mujoco.egl import GLContext
        else:
            from mujoco.osmesa import GLContext
        context: _GLContext = GLContext(size, size)
        context.make_current()
    except Exception as error:
        raise RenderingUnavailableError(
            f"rendering: expected a working {platform} driver, got {error!r}; {_HELP}"
        ) from error
    return context


def check_rendering() -> None:
    """Raises RenderingUnavailableError where no picture can be made."""
    make_gl_context(16).free()


_FORGOTTEN: list[Any] = []
"""Contexts of other threads, which only those could free."""


class Renderer:
    """Square pictures of any model that shares its meshes and textures with the one given.

    Args:
        model: gives meshes, textures and lights.
        image_size: height and width in pixels.
        shadows: cast shadows and smooth edges as MuJoCo does by default; takes ten times as long in software.
        shadow_size: with shadows, side of the shadow map in pixels; 0 takes the model's own.
        multisample: samples per pixel; -1 takes none without shadows and the model's own with them.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        image_size: int,
        *,
        shadows: bool,
        shadow_size: int = 0,
        multisample: int = -1,
    ) -> None:
        self._size = image_size
        self._thread = threading.get_ident()
        self._gl: _GLContext | None = make_gl_context(image_size)

        # the offscreen buffer is no larger than the picture; shadow maps and multisampling only on request
        visual = model.vis
        saved = (
            visual.global_.offwidth,
            visual.global_.offheight,
            visual.quality.shadowsize,
            visual.quality.offsamples,
        )
        visual.global_.offwidth, visual.global_.offheight = image_size, image_size
        if not shadows:
            visual.quality.shadowsize, visual.quality.offsamples = 0, 0
        if shadow_size > 0:
            visual.quality.shadowsize = shadow_size
        if multisample >= 0:
            visual.quality.offsamples = multisample
        try:
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except mujoco.FatalError as error:
            raise RenderingUnavailableError(
                f"rendering: expected a driver that draws {image_size} x {image_size} pixels, got: {error}"
            ) from error
        finally:
            visual.global_.offwidth, visual.global_.offheight = saved[0], saved[1]
            visual.quality.shadowsize, visual.quality.offsamples = saved[2], saved[3]
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        if not shadows:
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._viewport = mujoco.MjrRect(0, 0, image_size, image_size)
        self._pixels = np.empty((image_size, image_size, 3), dtype=np.uint8)

        # a renderer that nobody closed must go before the interpreter takes OpenGL apart
        reference = weakref.ref(self)

        def close_at_exit() -> None:
            renderer = reference()
            if renderer is not None:
                renderer.close()

        self._close_at_exit = atexit.register(close_at_exit)

    def render(self, model: mujoco.MjModel, data: Any, camera_id: int) -> npt.NDArray[np.uint8]:
        """Upright picture uint8 [H, W, 3]; a view that the next call may overwrite."""
        if self._gl is None:
            raise RuntimeError("rendering: expected an open renderer, got one that was closed")
        if threading.get_ident() != self._thread:
            raise PoolInUseError(
                "rendering: expected the thread that drew first, got another "
                "(the native backend draws for any)"
            )
        self._gl.make_current()
        self._camera.fixedcamid = camera_id
        mujoco.mjv_updateScene(
            model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)

        # OpenGL's rows run bottom-up; a camera mounted upside down needs half a turn more: mirrored columns
        upside_down = is_upside_down(model, camera_id)
        return self._pixels[:, ::-1] if upside_down else self._pixels[::-1]

    def close(self) -> None:
        """Frees OpenGL's resources; harmless when repeated. Another thread can but forget them."""
        if self._gl is not None and threading.get_ident() != self._thread:
            _FORGOTTEN.append((self._context, self._gl))
            self._gl = None
            atexit.unregister(self._close_at_exit)
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None
            atexit.unregister(self._close_at_exit)


def turn_camera(model: mujoco.MjModel, camera_id: int, quaternion: npt.NDArray[np.float64]) -> None:
    """Turns a camera that is fixed in the world to a quaternion [4] (w, x, y, z)."""
    fixed = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)
    if model.cam_bodyid[camera_id] != 0 or model.cam_mode[camera_id] != fixed:
        name = model.camera(camera_id).name
        raise ArgumentError(f"camera_quaternions: expected a camera that is fixed in the world, got {name!r}")
    model.cam_quat[camera_id] = quaternion
    mujoco.mju_quat2Mat(model.cam_mat0[camera_id], quaternion)


def is_upside_down(model: mujoco.MjModel, camera_id: int) -> bool:
    """Whether a camera fixed in the world points its up axis at the floor, as the corner cameras do."""
    up_z = float(model.cam_mat0[camera_id].reshape(3, 3)[2, 1])
    return int(model.cam_bodyid[camera_id]) == 0 and up_z < -0.1
