"""Upright offscreen pictures of MuJoCo models."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.exclusive import PoolInUseError
from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.rendering import GLContextLike, RenderingUnavailableError, make_gl_context
from ibrl_fast.errors import ArgumentError

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
        self._gl: GLContextLike | None = make_gl_context(image_size)

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
        """Return an upright picture uint8 [H, W, 3]; a view that the next call may overwrite."""
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
        """Free OpenGL's resources; harmless when repeated. Another thread can only forget them."""
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
    """Turn a camera that is fixed in the world to a unit quaternion [4] (w, x, y, z).

    Raises:
        ArgumentError: the camera moves with a body.
    """
    fixed = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)
    if model.cam_bodyid[camera_id] != 0 or model.cam_mode[camera_id] != fixed:
        name = model.camera(camera_id).name
        raise ArgumentError(f"camera_quaternions: expected a camera that is fixed in the world, got {name!r}")
    model.cam_quat[camera_id] = quaternion
    mujoco.mju_quat2Mat(model.cam_mat0[camera_id], quaternion)


def is_upside_down(model: mujoco.MjModel, camera_id: int) -> bool:
    """Return whether a camera fixed in the world points its up axis at the floor."""
    up_z = float(model.cam_mat0[camera_id].reshape(3, 3)[2, 1])
    return int(model.cam_bodyid[camera_id]) == 0 and up_z < -0.1
