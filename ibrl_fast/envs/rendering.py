"""Upright offscreen pictures of MuJoCo models, on EGL (GPU or Mesa software) or OSMesa, without a display."""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from typing import Any, Protocol

import mujoco
import numpy as np
import numpy.typing as npt

from ibrl_fast.errors import ArgumentError, UserError

_LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}
_HELP = (
    "install `libegl1 libgl1-mesa-dri` (EGL on Debian and Ubuntu; `mesa-libEGL mesa-dri-drivers` on Fedora) "
    "or `libosmesa6` (OSMesa)"
)


class RenderingUnavailableError(UserError, RuntimeError, OSError):
    """This machine cannot draw; the message names the packages to install."""


class RenderDeviceError(ArgumentError, RuntimeError):
    """A device to draw with that this machine does not have."""


class _GLContext(Protocol):
    def make_current(self) -> None: ...
    def free(self) -> None: ...


def _library_exists(names: tuple[str, ...]) -> bool:
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def make_gl_context(size: int) -> _GLContext:
    """An OpenGL context without a display: EGL if its library is there, OSMesa otherwise.

    Errors:
        RenderingUnavailableError: neither works; names the packages to install.
    """
    # PyOpenGL can serve one platform per process: respect a choice made before us
    chosen = os.environ.get("PYOPENGL_PLATFORM", "").lower()
    platforms = [name for name in _LIBRARIES if chosen in ("", name)]
    platform = next((name for name in platforms if _library_exists(_LIBRARIES[name])), None)
    if platform is None:
        found = f"PYOPENGL_PLATFORM={chosen}" if chosen else "neither library"
        raise RenderingUnavailableError(f"rendering: expected EGL or OSMesa, got {found}; {_HELP}")
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
        """Frees OpenGL's resources; harmless when repeated."""
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
