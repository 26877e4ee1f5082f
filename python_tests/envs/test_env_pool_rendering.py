"""Pictures of the native pool against mujoco.Renderer and the reference pool, pixel for pixel."""

from __future__ import annotations

import importlib

import mujoco
import numpy as np
import pytest

pytest.importorskip("ibrl_fast.envs.env_pool")

from ibrl_fast.envs import make_pool

CAMERAS = ("corner2", "corner", "behindGripper")


@pytest.fixture(scope="module", autouse=True)
def rendering() -> None:
    """Skips where no OpenGL is; which one is there does not matter."""
    try:
        make_pool("assembly", backend="native", observation="pixels", image_size=16).close()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("task", ["assembly", "box-close", "coffee-push", "stick-pull"])
def test_pictures_equal_the_reference_pool(task: str) -> None:
    """Several cameras, sizes that are no multiple of four, states and final observations in one run."""
    common = {
        "num_envs": 2, "seed": 3, "observation": "both", "cameras": CAMERAS, "image_size": 42,
        "max_episode_steps": 3,
    }  # fmt: skip
    reference = make_pool(task, backend="reference", **common)
    native = make_pool(task, backend="native", num_threads=2, **common)
    assert_equal(reference.reset()[0], native.reset()[0])
    rng = np.random.default_rng(0)
    for _ in range(5):
        actions = rng.uniform(-1, 1, (2, 4))
        expected, got = reference.step(actions), native.step(actions)
        assert_equal(expected[0], got[0])
        assert ("final_obs" in expected[4]) == ("final_obs" in got[4])
        if "final_obs" in expected[4]:
            assert_equal(expected[4]["final_obs"], got[4]["final_obs"])
    np.testing.assert_array_equal(
        native.render_frames([1, 0], camera="topview", image_size=33),
        reference.render_frames([1, 0], camera="topview", image_size=33),
    )
    reference.close(), native.close()


@pytest.mark.parametrize("shadows", [False, True])
def test_pictures_equal_mujocos_own_renderer(shadows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model and state through mujoco.Renderer, with the same quality settings."""
    size = 48
    reference = make_pool("stick-pull", backend="reference")
    quality = {"shadows": True, "shadow_size": 512, "multisample": 4} if shadows else {"multisample": 0}
    native = make_pool(
        "stick-pull", backend="native", observation="pixels", cameras=("corner2", "topview"),
        image_size=size, **quality,
    )  # fmt: skip
    reference.reset(seed=4)
    pictures, _ = native.reset(seed=4)

    # mujoco.Renderer takes its platform from an environment variable at import; here from the pool's choice
    platform = native._pool.render_info[0]
    context = importlib.import_module(f"mujoco.{platform}").GLContext
    monkeypatch.setattr(importlib.import_module("mujoco.gl_context"), "GLContext", context)
    env = reference._episodes[0].env
    model = env.model
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    model.vis.quality.shadowsize = 512 if shadows else 0
    model.vis.quality.offsamples = 4 if shadows else 0
    with mujoco.Renderer(model, size, size) as renderer:
        for camera, is_upside_down in (("corner2", True), ("topview", False)):
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = int(shadows)
            renderer.update_scene(env.data, camera)
            expected = renderer.render()
            expected = expected[::-1, ::-1] if is_upside_down else expected
            assert expected.std() > 5, "a picture of something"
            np.testing.assert_array_equal(pictures[camera][0], expected.transpose(2, 0, 1))
    native.close()


def test_layout_and_threads_change_nothing_else() -> None:
    def run(num_threads: int, channels_last: bool) -> np.ndarray:
        pool = make_pool(
            "assembly", backend="native", num_envs=3, observation="pixels", image_size=24, seed=2,
            num_threads=num_threads, channels_last=channels_last,
        )  # fmt: skip
        pool.reset()
        for _ in range(3):
            obs, *_ = pool.step(np.full((3, 4), 0.7))
        assert pool.observation_space.contains(obs)
        pictures = obs["corner2"].copy()
        pool.close()
        return pictures.transpose(0, 3, 1, 2) if channels_last else pictures

    expected = run(1, False)
    assert len(np.unique(expected, axis=0)) == 3
    np.testing.assert_array_equal(run(3, False), expected)
    np.testing.assert_array_equal(run(2, True), expected)


def test_every_option_of_pictures_means_the_same_on_both_backends() -> None:
    """Poses, shadows, samples, layout, stacks; each of them changes the picture."""
    turned = tuple(np.array([0.9, 0.1, 0.2, 0.3]) / np.linalg.norm([0.9, 0.1, 0.2, 0.3]))
    upside_down = (0.0, 1.0, 0.0, 0.0)
    variants = {
        "as it comes": {},
        "moved": {"camera_positions": {}},
        "turned": {"camera_quaternions": {"topview": turned}},
        "upside down": {"camera_quaternions": {"corner2": upside_down}},
        "shadows": {"shadows": True, "shadow_size": 256},
        "larger shadow map": {"shadows": True, "shadow_size": 1024},
        "no samples": {"shadows": True, "shadow_size": 256, "multisample": 0},
        "samples": {"multisample": 4},
    }
    common = {
        "num_envs": 2, "seed": 3, "observation": "both", "cameras": ("corner2", "topview"), "image_size": 36,
        "action_repeat": 3, "frame_stack": {"corner2": 2}, "channels_last": True,
    }  # fmt: skip
    pictures = {}
    for name, options in variants.items():
        results = []
        for backend in ("reference", "native"):
            pool = make_pool("assembly", backend=backend, **common, **options)
            pool.reset()
            results.append({key: value.copy() for key, value in pool.step(np.ones((2, 4)))[0].items()})
            pool.close()
        assert_equal(*results)
        pictures[name] = np.concatenate([results[1]["corner2"].ravel(), results[1]["topview"].ravel()])
    assert len(np.unique(np.stack(list(pictures.values())), axis=0)) == len(variants)


def test_send_and_recv_carry_pictures() -> None:
    options = {"num_envs": 3, "observation": "both", "image_size": 24, "max_episode_steps": 2}
    sync = make_pool("assembly", backend="native", num_threads=2, **options)
    asynchronous = make_pool("assembly", backend="native", num_threads=2, batch_size=1, **options)
    sync.reset(), asynchronous.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4))
    for action in actions:
        expected, *_, expected_info = sync.step(action)
        asynchronous.send(action)
        for _ in range(3):
            obs, *_, info = asynchronous.recv()
            env = info["env_id"][0]
            for key, value in expected.items():
                np.testing.assert_array_equal(obs[key][0], value[env])
            if "final_obs" in expected_info:
                for key, value in expected_info["final_obs"].items():
                    np.testing.assert_array_equal(info["final_obs"][key][0], value[env])


def test_missing_devices_are_named() -> None:
    with pytest.raises(RuntimeError, match=r"render_device: expected -1 \.\."):
        make_pool("assembly", backend="native", observation="pixels", image_size=16, render_device=63)


def assert_equal(expected: dict, got: dict) -> None:
    assert set(expected) == set(got)
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)
