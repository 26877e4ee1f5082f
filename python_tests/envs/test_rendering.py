"""Pictures against MuJoCo's own renderer with the same settings; cameras, orientation, missing libraries."""

import functools
import importlib

import mujoco
import numpy as np
import pytest

from ibrl_fast.envs import make_pool, rendering
from ibrl_fast.envs.renderer import Renderer

# These tests are of the reference backend, whatever the default is
make_pool = functools.partial(make_pool, backend="reference")


@pytest.fixture(scope="module", autouse=True)
def _needs_gl():
    try:
        rendering.make_gl_context(8).free()
    except RuntimeError as error:
        pytest.skip(str(error))


def plain_picture(env, camera, size, *, shadows, monkeypatch):
    """uint8 [H, W, 3] by `mujoco.Renderer`, as the camera sees it."""
    module = importlib.import_module(f"mujoco.{rendering.choose_platform()}")
    monkeypatch.setattr(mujoco.gl_context, "GLContext", module.GLContext, raising=False)
    quality = env.model.vis.quality
    saved = quality.shadowsize, quality.offsamples
    if not shadows:
        quality.shadowsize, quality.offsamples = 0, 0
    renderer = mujoco.Renderer(env.model, size, size)
    quality.shadowsize, quality.offsamples = saved
    renderer.update_scene(env.data, camera=camera)
    if not shadows:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
    picture = renderer.render().copy()
    renderer.close()
    return picture


@pytest.mark.parametrize(
    ("task", "shadows"),
    [("assembly", True), ("box-close", False), ("coffee-push", False), ("stick-pull", False)],
)
def test_pictures_equal_mujocos_renderer(task, shadows, published, monkeypatch):
    pool = make_pool(
        task,
        observation="both",
        seed=4,
        action_repeat=1,
        shadows=shadows,
        cameras=("corner2", "behindGripper"),
    )
    env = published(f"{task}-v3", pool._env_seeds(4)[0])
    env.reset()
    env.model.cam_pos[env.model.camera("corner2").id] = [0.75, 0.075, 0.7]
    observations, _ = pool.reset(seed=4)
    # a reset leaves the published kinematics behind the state; the pool's first picture shows the state
    for step in range(2):
        if step > 0:
            observations, *_ = pool.step(np.full((1, 4), 0.5))
            env.step(np.full(4, 0.5, np.float32))
        else:
            mujoco.mj_kinematics(env.model, env.data)
            mujoco.mj_camlight(env.model, env.data)
        for camera, half_turn in (("corner2", True), ("behindGripper", False)):
            picture = plain_picture(env, camera, 84, shadows=shadows, monkeypatch=monkeypatch)
            expected = np.rot90(picture, 2) if half_turn else picture
            got = observations[camera][0].transpose(1, 2, 0)
            np.testing.assert_array_equal(got, expected)


def test_corner2_is_upright():
    """The hand is above the table: raising it moves its pixels towards the picture's first rows."""
    pool = make_pool("assembly", observation="pixels", image_size=64, fixed_goals=True)
    heights = []
    for lift in (-1.0, 1.0):
        pool.reset(seed=0)
        for _ in range(8):
            observations, *_ = pool.step(np.array([[0.0, 0.0, lift, -1.0]]))
        heights.append(observations["corner2"][0].astype(np.float64))
    # where the pictures differ, the arm's red is higher up after lifting
    red = [np.clip(picture[0] - picture[1:].max(axis=0), 0, None) for picture in heights]
    rows = np.arange(64)
    gained, lost = (
        np.clip(red[1] - red[0], 0, None).sum(axis=1),
        np.clip(red[0] - red[1], 0, None).sum(axis=1),
    )
    assert (gained * rows).sum() / gained.sum() < (lost * rows).sum() / lost.sum() - 2


def test_observation_keys_shapes_and_render_frames():
    pool = make_pool(
        "assembly", num_envs=2, observation="pixels", cameras=("corner2", "topview"), image_size=48
    )
    observations, _ = pool.reset(seed=0)
    assert list(observations) == ["corner2", "topview"]
    assert all(image.shape == (2, 3, 48, 48) and image.dtype == np.uint8 for image in observations.values())
    assert pool.observation_space.contains(observations)
    # two environments show two goals, two cameras two views
    assert not np.array_equal(observations["corner2"][0], observations["corner2"][1])
    assert not np.array_equal(observations["corner2"], observations["topview"])
    np.testing.assert_array_equal(np.stack(pool.render()).transpose(0, 3, 1, 2), observations["corner2"])
    frames = pool.render_frames([1], camera="topview", image_size=32)
    assert frames.shape == (1, 32, 32, 3) and frames.std() > 10
    with pytest.raises(ValueError, match="cameras: expected names among"):
        pool.render_frames(camera="nowhere")
    pool.close()
    with pytest.raises(RuntimeError, match="expected an open pool"):
        pool.render()


def test_state_pools_render_on_request_and_restored_pictures_are_equal():
    pool = make_pool("stick-pull", observation="both", image_size=40)
    pool.reset(seed=1)
    observations, *_ = pool.step(np.ones((1, 4)))
    other = make_pool("stick-pull", observation="both", image_size=40)
    restored = other.set_state(pool.get_state())
    for key, value in observations.items():
        np.testing.assert_array_equal(restored[key], value)
    state_pool = make_pool("stick-pull")
    state_pool.set_state(pool.get_state())
    np.testing.assert_array_equal(state_pool.render_frames(image_size=40), pool.render_frames())


def test_camera_positions_can_be_kept_or_changed():
    default = make_pool("assembly", observation="pixels", image_size=32)
    published_pose = make_pool("assembly", observation="pixels", image_size=32, camera_positions={})
    higher = make_pool(
        "assembly", observation="pixels", image_size=32, camera_positions={"corner2": (0.75, 0.075, 0.9)}
    )
    pictures = [pool.reset(seed=0)[0]["corner2"] for pool in (default, published_pose, higher)]
    assert not np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_a_machine_without_opengl_names_the_packages(monkeypatch):
    rendering.choose_platform.cache_clear()
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)  # what an earlier test drew with is no wish
    monkeypatch.setattr(rendering, "_probe", lambda platform: {"error": "no library", "missing": True})
    with pytest.raises(RuntimeError, match=r"libegl1 libgl1-mesa-dri.*libosmesa6"):
        make_pool("assembly", observation="pixels")
    # a state-only pool needs none of it
    make_pool("assembly").reset(seed=0)


def test_a_driver_that_fails_names_the_packages(monkeypatch):
    module = importlib.import_module(f"mujoco.{rendering.choose_platform()}")

    def fail(*_):
        raise ImportError("Cannot initialize a EGL device display")

    monkeypatch.setattr(module, "GLContext", fail)
    with pytest.raises(RuntimeError, match=r"Cannot initialize.*libegl1"):
        make_pool("assembly", observation="pixels")


def test_renderers_come_and_go():
    pool = make_pool("assembly")
    pool.reset(seed=0)
    for _ in range(5):
        renderer = Renderer(pool._episodes[0].env.published.model, 16, shadows=False)
        renderer.close()
        renderer.close()
    with pytest.raises(RuntimeError, match="expected an open renderer"):
        renderer.render(pool._episodes[0].env.published.model, pool._episodes[0].env.published.data, 0)
