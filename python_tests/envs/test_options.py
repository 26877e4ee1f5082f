"""Bad input to `make_pool` gives one clear error before an environment is built."""

import functools

import pytest

from ibrl_fast.envs import make_pool

# These tests are of the reference backend, whatever the default is
make_pool = functools.partial(make_pool, backend="reference")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs: expected at least 1, got 0"),
        ({"action_repeat": 0}, "action_repeat: expected at least 1, got 0"),
        ({"max_episode_steps": -1}, "max_episode_steps: expected at least 1, got -1"),
        ({"image_size": 0}, "image_size: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"num_threads": 0}, "num_threads: expected at least 1, got 0"),
        ({"num_threads": 2}, "num_threads: expected None or 1 for the reference backend, got 2"),
        (
            {"observation": "image"},
            "observation: expected one of state, pixels, both, proprio_pixels, got 'image'",
        ),
        (
            {"observation": "proprio_pixels"},
            "observation: expected one of state, pixels, both for metaworld/assembly, got 'proprio_pixels'",
        ),
        ({"image_siez": 84}, "options: expected names among num_envs, .*image_size.*, got 'image_siez'"),
        ({"reward": "shaped"}, "reward: expected one of sparse, dense, got 'shaped'"),
        ({"autoreset": "never"}, "autoreset: expected one of same_step, next_step, disabled, got 'never'"),
        ({"backend": "gpu"}, "backend: expected one of auto, reference, native, got 'gpu'"),
        ({"frame_stack": 0}, "frame_stack: expected at least 1, got 0"),
        ({"frame_stack": {"state": 0}}, r"frame_stack\['state'\]: expected at least 1, got 0"),
        ({"frame_stack": {"corner2": 2}}, "frame_stack: expected keys among state, got 'corner2'"),
        ({"shadow_size": 512}, "shadow_size: expected 0 without shadows, got 512"),
        ({"multisample": -2}, "multisample: expected at least -1, got -2"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": 1}, "batch_size: expected the default for the reference backend, got 1"),
        ({"pin_memory": True}, "pin_memory: expected the default for the reference backend, got True"),
        ({"render_device": 0}, "render_device: expected the default for the reference backend, got 0"),
        (
            {"pin_memory": True, "settle_ahead": False},
            "pin_memory, settle_ahead: expected the default for the reference backend, got True, False",
        ),
        ({"cameras": ()}, "cameras: expected different camera names"),
        ({"cameras": ("corner", "corner")}, "cameras: expected different camera names"),
        ({"cameras": ("state",)}, "cameras: expected names other than observation keys"),
        ({"cameras": ("corner9",)}, "cameras: expected names among .*corner2.*, got 'corner9'"),
        ({"camera_positions": {"corner2": (1.0, 2.0)}}, r"camera_positions\['corner2'\]: expected 3 finite"),
        (
            {"camera_quaternions": {"corner2": (1.0, 1.0, 0.0, 0.0)}},
            r"camera_quaternions\['corner2'\]: expected a unit quaternion",
        ),
        (
            {"camera_quaternions": {"gripperPOV": (1.0, 0.0, 0.0, 0.0)}},
            "camera_quaternions: expected a camera that is fixed in the world, got 'gripperPOV'",
        ),
        (
            {"camera_positions": {"nowhere": (0.0, 0.0, 0.0)}},
            "cameras: expected names among .*, got 'nowhere'",
        ),
    ],
)
def test_bad_values(options, message):
    with pytest.raises(ValueError, match=message):
        make_pool("assembly", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 1.5}, "num_envs: expected int, got 1.5"),
        ({"seed": True}, "seed: expected int, got True"),
        ({"fixed_goals": 1}, "fixed_goals: expected bool, got 1"),
        ({"terminate_on_success": "yes"}, "terminate_on_success: expected bool, got 'yes'"),
        ({"shadows": None}, "shadows: expected bool, got None"),
        ({"channels_last": 1}, "channels_last: expected bool, got 1"),
        ({"frame_stack": 1.5}, "frame_stack: expected int, got 1.5"),
        ({"frame_stack": {"state": True}}, r"frame_stack\['state'\]: expected int, got True"),
        ({"batch_size": 1.5}, "batch_size: expected int, got 1.5"),
        ({"settle_ahead": 1}, "settle_ahead: expected bool, got 1"),
    ],
)
def test_bad_types(options, message):
    with pytest.raises(TypeError, match=message):
        make_pool("assembly", **options)


def test_a_missing_native_backend_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ibrl_fast.envs.env_pool", None)
    with pytest.raises(ValueError, match="backend: expected 'reference', got 'native'"):
        make_pool("assembly", backend="native")
