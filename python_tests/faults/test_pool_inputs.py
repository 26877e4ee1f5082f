"""Whatever a caller gives to a pool ends in one message and changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ibrl_fast.envs.env_pool")

from ibrl_fast import _core
from ibrl_fast.envs import checks as pool_checks
from ibrl_fast.envs import make_pool
from ibrl_fast.envs.pool_arrays import PoolArrays
from ibrl_fast.errors import ArgumentError, OutOfMemoryError, UserError

BACKENDS = ("native", "reference")
HUGE = 10**5000


def make(backend: str = "native", **options: Any):
    return make_pool("coffee-push", **{"backend": backend, "num_envs": 2, **options})


@pytest.fixture(scope="module", params=BACKENDS)
def pool(request: pytest.FixtureRequest):
    """A pool that has been reset; tests leave it as it was."""
    made = make(request.param)
    made.reset(seed=1)
    yield made
    made.close()


def assert_unchanged(pool: Any, before: dict[str, np.ndarray]) -> None:
    for key, value in pool.get_state().items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)


# ---- options ----

BAD_OPTIONS: dict[str, tuple[Any, ...]] = {
    "num_envs": (0, -1, 2**31, HUGE, 1.5, np.nan, "2", None, True),
    "seed": (-1, -HUGE, 0.5, "1", None, True),
    "image_size": (0, -84, 16_385, HUGE, 8.0, "84", None),
    "action_repeat": (0, -1, 10_001, 99_999_999_999, np.inf, "x"),
    "max_episode_steps": (0, -1, 2_147_483_648, HUGE, 1.5, None),
    "num_threads": (0, -1, 4097, 100_000, HUGE, 1.5, "2", True),
    "frame_stack": (0, -1, 1025, HUGE, 1.5, None, "2", {"state": 0}, {"state": HUGE}, {3: 1}),
    "observation": ("image", 3, None, ["state"], np.array(["state", "both"])),
    "reward": ("shaped", 0, None),
    "autoreset": ("never", True, None),
    "backend": ("gpu", 1, None),
    "terminate_on_success": (1, "yes", None, np.nan),
    "fixed_goals": (1, "yes", None),
    "shadows": (1, None),
    "channels_last": (1, None),
    "shadow_size": (-1, 16_385, 512, "1"),
    "multisample": (-2, 65, HUGE, 0.5),
    "cameras": ((), 5, ("corner", "corner"), (1, 2), ("corner\0",), [["corner"]]),
    "camera_positions": (
        5, [1], {"corner2": None}, {"corner2": (1.0, 2.0)}, {"corner2": (np.nan, 0, 0)},
        {"corner2": ("a", "b", "c")}, {"corner2": (1e300, 0, 0)}, {"corner2": [[1], [2, 3], 4]},
        {3: (0, 0, 0)}, {"nowhere": (0, 0, 0)},
    ),
    "camera_quaternions": (
        5, {"corner2": (0, 0, 0, 0)}, {"corner2": (1, 1, 0, 0)}, {"corner2": (np.inf, 0, 0, 0)},
        {"corner2": "wxyz"}, {"nowhere": (1.0, 0, 0, 0)},
    ),
}  # fmt: skip
NATIVE_OPTIONS: dict[str, tuple[Any, ...]] = {
    "batch_size": (0, -1, 3, HUGE, 1.5, "1", True),
    "render_device": (-2, 1024, HUGE, 0.0, "0", None),
    "pin_memory": (1, "yes", None),
    "settle_ahead": (1, "yes"),
}


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *((backend, name) for backend in BACKENDS for name in BAD_OPTIONS),
        *(("native", name) for name in NATIVE_OPTIONS),
    ],
)
def test_every_option_is_checked(backend: str, name: str) -> None:
    """Wrong types and values out of range end in one message that names the option."""
    for value in (BAD_OPTIONS | NATIVE_OPTIONS)[name]:
        extra = {"observation": "both"} if name == "cameras" else {}
        with pytest.raises(ArgumentError) as caught:
            make(**{"backend": backend, **extra, name: value})
        message = str(caught.value)
        assert message.startswith((name, "cameras: expected names")) and "expected" in message, (
            value,
            message,
        )
        assert len(message) < 700, value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [
        {"num_envs": 100_000_000},
        {"num_envs": 2_000_000_000},
        {"num_envs": 100_000, "observation": "pixels", "image_size": 4096, "frame_stack": 1024},
    ],
    ids=["many", "very many", "large pictures"],
)
def test_a_pool_that_cannot_fit_is_refused_before_it_is_made(backend: str, options: dict[str, Any]) -> None:
    with pytest.raises(OutOfMemoryError, match=r"num_envs: expected .*GiB.* got \d+ environments.*GiB"):
        make(backend, **options)


def test_an_estimate_beyond_what_is_free_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibrl_fast.envs.checks.available_host_bytes", lambda: 10_000)
    with pytest.raises(OutOfMemoryError, match=r"got 1 environments"):
        make(num_envs=1)
    pool_checks.check_memory(1, 9_999)


# ---- actions, seeds, masks, random vectors, pictures ----

BAD_ACTIONS = (
    None, "text", 3.0, [[0.0] * 4], [[0.0] * 4, [0.0] * 3], np.zeros((2, 3)), np.zeros((4, 2)), np.zeros(8),
    np.zeros((2, 4, 1)), np.full((2, 4), np.nan), np.full((2, 4), -np.inf, np.float32),
    np.zeros((2, 4), np.complex64), np.zeros((2, 4), "M8[s]"), np.full((2, 4), None), np.full((2, 4), "0"),
    np.zeros((2, 4), [("x", "f4")]), {"a": 1},
)  # fmt: skip


@pytest.mark.parametrize("call", ["step", "send"])
def test_bad_actions(pool: Any, call: str) -> None:
    if not hasattr(pool, call):
        pytest.skip("the reference backend has no send")
    before = pool.get_state()
    for actions in BAD_ACTIONS:
        with pytest.raises(ArgumentError, match=r"^actions: expected"):
            getattr(pool, call)(actions)
    assert_unchanged(pool, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_actions_of_any_layout_are_the_same_actions(backend: str) -> None:
    plain = np.random.default_rng(0).uniform(-1, 1, (2, 4)).astype(np.float32)
    wide = np.zeros((4, 8), np.float32)
    wide[::2, ::2] = plain
    buffer = bytearray(1 + plain.nbytes)
    buffer[1:] = plain.tobytes()
    misaligned = np.frombuffer(buffer, np.float32, offset=1).reshape(2, 4)
    read_only = plain.copy()
    read_only.setflags(write=False)
    layouts = {
        "Fortran": np.asfortranarray(plain), "strided": wide[::2, ::2],
        "reversed": plain[:, ::-1].copy()[:, ::-1],
        "big endian": plain.astype(">f4"), "float64": plain.astype(np.float64), "list": plain.tolist(),
        "misaligned": misaligned, "read only": read_only, "subclass": plain.view(np.matrix),
    }  # fmt: skip
    pool = make(backend)
    pool.reset(seed=3)
    start = pool.get_state()
    expected = pool.step(plain)[0]["state"].copy()
    for name, actions in layouts.items():
        pool.set_state(start)
        np.testing.assert_array_equal(pool.step(actions)[0]["state"], expected, err_msg=name)
    for large, limit in ((1e300, 1.0), (-(2**62), -1.0)):
        pool.set_state(start)
        clipped = pool.step(np.full((2, 4), limit))[0]["state"].copy()
        pool.set_state(start)
        np.testing.assert_array_equal(pool.step(np.full((2, 4), large))[0]["state"], clipped)


def test_bad_seeds_and_masks(pool: Any) -> None:
    before = pool.get_state()
    for seed in (-1, -HUGE, 1.5, "12", b"12", {0: 1}, [1], [1, 2, 3], [1, -2], [1, "2"], [1, 2.0], [True, 1],
                 np.array(3.0), np.zeros((2, 2)), object()):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"^seed: expected"):
            pool.reset(seed=seed)
    for mask in (None, [True], [1, 0], np.zeros(2, np.bool_), np.ones((2, 1), np.bool_), "yes", [True, None],
                 [[True], [True, False]], np.ones(2, np.float32)):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"^reset_mask: expected"):
            pool.reset(options={"reset_mask": mask})
    for options in (5, "reset_mask", [1], {"unknown": 1}, {"reset_mask": [True] * 2, "mask": [True] * 2}):
        with pytest.raises(ArgumentError, match=r"^options: expected"):
            pool.reset(options=options)
    assert_unchanged(pool, before)


def test_huge_seeds_serve(pool: Any) -> None:
    before = pool.get_state()
    assert np.isfinite(pool.reset(seed=HUGE)[0]["state"]).all()
    assert np.isfinite(pool.reset(seed=[2**64, None])[0]["state"]).all()
    pool.set_state(before)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -11.0, "a", None, 1j])
def test_bad_random_vectors(value: Any) -> None:
    pool = make()
    pool.reset(seed=1)
    before = pool.get_state()
    vectors = np.full((2, 6), 0.5, object)
    vectors[1, 2] = value
    with pytest.raises(ArgumentError, match=r"^rand_vec: expected finite values \[2, 6\]"):
        pool.reset(options={"rand_vec": vectors.tolist()})
    for shape in ((6,), (1, 6), (2, 5), (2, 6, 1), ()):
        with pytest.raises(ArgumentError, match=r"^rand_vec: expected"):
            pool.reset(options={"rand_vec": np.zeros(shape)})
    assert_unchanged(pool, before)


def test_one_refused_random_vector_leaves_every_environment_alone() -> None:
    pool = make(num_envs=4, num_threads=2)
    pool.reset(seed=1)
    before = pool.get_state()
    vectors = np.tile([0.0, 0.55, 0.0, 0.0, 0.74, 0.0], (4, 1))
    vectors[2, 3:5] = [0.0, 0.56]
    with pytest.raises(ArgumentError, match="environment 2: rand_vec"):
        pool.reset(options={"rand_vec": vectors})
    assert_unchanged(pool, before)


def test_bad_requests_for_pictures(pool: Any) -> None:
    for ids in ([2], [-1], [0.0], ["0"], 0, [[0]], [None], [2**70], {"a": 1}, "01"):
        with pytest.raises(ArgumentError, match=r"^env_ids: expected"):
            pool.render_frames(ids)
    for size in (0, -1, 16_385, HUGE, 8.0, "8", True):
        with pytest.raises(ArgumentError, match=r"^image_size: expected"):
            pool.render_frames(image_size=size)
    for camera in ("nowhere", 3, "", "corner2\0", ["corner2"]):
        with pytest.raises(ArgumentError, match=r"^cameras: expected names among"):
            pool.render_frames(camera=camera)


def test_bad_environments_to_send() -> None:
    pool = make(num_envs=3)
    pool.reset()
    for ids in ([0, 0], [3], [-1], [0.5], ["0"], 1, [True], [[0]]):
        with pytest.raises(ArgumentError, match=r"^env_ids: expected different"):
            pool.send(np.zeros((1, 4)), ids)
    pool.send(np.zeros((0, 4)), [])
    assert pool._pool.in_flight == 0


# ---- states ----


def spoil(state: dict[str, np.ndarray], key: str, value: Any) -> dict[str, Any]:
    """A state whose last number of `key` in environment 1 is another."""
    rows = state[key].tolist()
    inner = rows
    index = 1
    while isinstance(inner[index], list):
        inner, index = inner[index], -1
    inner[index] = value
    return {**state, key: rows}


ENTRIES = ("physics", "body_pos", "site_pos", "rng", "rand_vec", "prev_frame", "path_length", "elapsed_steps",
           "episode_return", "observation", "needs_reset", "task/_target_pos")  # fmt: skip


@pytest.mark.parametrize("key", ENTRIES)
def test_bad_numbers_in_a_state_are_named_and_change_nothing(pool: Any, key: str) -> None:
    """Text, objects, NaN, infinities, in environment 1 of 2: neither environment changes."""
    before = pool.get_state()
    for value in ("text", None, object(), np.nan, np.inf, -np.inf, 1e39, 1j, {"a": 1}, [1, 2]):
        with pytest.raises(ArgumentError) as caught:
            pool.set_state(spoil(before, key, value))
        assert str(caught.value).startswith(f"state[{key!r}]"), (value, str(caught.value))
        assert "environment 1" in str(caught.value) or not np.isscalar(value), (value, str(caught.value))
        assert_unchanged(pool, before)


def test_states_of_other_shapes_names_and_types(pool: Any) -> None:
    before = pool.get_state()
    physics = before["physics"]
    wrong: dict[str, Any] = {
        "shorter": physics[:, :-1], "longer": np.hstack([physics, physics]), "one environment": physics[:1],
        "flat": physics.ravel(), "bytes": physics.tobytes(), "truncated": physics.tobytes()[:-3],
        "None": None,
        "text": "physics", "number": 3.0, "ragged": [[1.0], [1.0, 2.0]], "records": np.zeros(2, "f8,i4"),
        "object": object(), "empty": [],
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(ArgumentError, match=r"^state\['physics'\]"):
            pool.set_state({**before, "physics": value})
            pytest.fail(name)
    for value in (None, 5, "state", [before], before["physics"]):
        with pytest.raises(ArgumentError, match=r"^state: expected a mapping"):
            pool.set_state(value)
    for value in ({}, {"physics": physics}, {**before, "extra": 1}, {**before, 7: 1}):
        with pytest.raises(ArgumentError, match=r"^state: expected the entries of metaworld/coffee-push"):
            pool.set_state(value)
    other = make_pool("stick-pull", backend="native", num_envs=2)
    other.reset()
    with pytest.raises(ArgumentError, match=r"^state"):
        pool.set_state(other.get_state())
    assert_unchanged(pool, before)


def test_generators_that_would_draw_for_ever_are_refused(pool: Any) -> None:
    """An increment of zero repeats one draw; counters and flags have their ranges."""
    before = pool.get_state()
    for word, value in ((3, 0), (3, 2), (4, 2), (5, 2**32)):
        rng = before["rng"].copy()
        rng[1, word] = value
        with pytest.raises(ArgumentError, match=r"state\['rng'\]: expected .*environment 1"):
            pool.set_state({**before, "rng": rng})
    for key in ("elapsed_steps", "path_length"):
        for value in (-1, 2**62):
            with pytest.raises(ArgumentError, match=f"{key}.*environment 1"):
                pool.set_state({**before, key: np.array([0, value])})
    assert_unchanged(pool, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_state_does_not_start_a_fresh_pool(backend: str) -> None:
    source = make(backend)
    source.reset(seed=5)
    state = source.get_state()
    fresh, other = make(backend, seed=9), make(backend, seed=9)
    with pytest.raises(ArgumentError):
        fresh.set_state({**state, "physics": state["physics"] * np.nan})
    with pytest.raises(RuntimeError, match="has not been reset"):
        fresh.step(np.zeros((2, 4)))
    np.testing.assert_array_equal(fresh.reset()[0]["state"], other.reset()[0]["state"])


@pytest.mark.parametrize("key", ["physics", "body_pos", "site_pos", "prev_frame", "observation"])
def test_numbers_of_any_size_neither_crash_nor_leave_infinities(key: str) -> None:
    pool = make(max_episode_steps=10)
    pool.reset(seed=0)
    state = pool.get_state()
    rng = np.random.default_rng(0)
    largest = {"physics": 3e38, "body_pos": 900.0, "site_pos": 900.0}.get(key, 9e9)
    for scale in (10.0, 900.0, 1e5, 9e9, 1e15, 1e30, 3e38):
        values = state[key] + rng.uniform(-1, 1, state[key].shape) * min(scale, largest)
        obs = pool.set_state({**state, key: values})
        for _ in range(2):
            obs, reward, *_ = pool.step(np.ones((2, 4)))
            assert np.isfinite(reward).all()
            assert np.isfinite(obs["state"]).all()


def test_frames_of_a_state_are_checked() -> None:
    pool = make(frame_stack=3)
    pool.reset()
    before = pool.get_state()
    frames = before["frames/state"]
    for value in (frames[:, :2], frames * np.nan, frames.astype(str), None):
        with pytest.raises(ArgumentError, match=r"^state\['frames/state'\]"):
            pool.set_state({**before, "frames/state": value})
    assert_unchanged(pool, before)


# ---- below the checks ----


def test_the_extension_refuses_what_python_would_have_refused() -> None:
    """Nobody should call it directly; who does gets an exception too."""
    pool = make(num_envs=3)
    pool.reset()
    native, batch = pool._pool, pool._sets[0].batch
    actions = np.zeros((3, 4), np.float32)
    small = PoolArrays(pool.entry_spaces, pool.options, 2, pin_memory=False).batch
    state = {key: value[0] for key, value in pool.get_state().items()}
    calls = (
        lambda: native.reset([3], [None], [None], batch),
        lambda: native.reset([-1], [None], [None], batch),
        lambda: native.reset([0, 0], [None] * 2, [None] * 2, batch),
        lambda: native.reset([0], [], [], batch),
        lambda: native.reset([0], [None], [[0.0] * 5], batch),
        lambda: native.reset([0], [[1, 2]], [None], batch),
        lambda: native.reset([0], [None], [None], small),
        lambda: native.step(actions[:2], batch),
        lambda: native.step(actions.ravel(), batch),
        lambda: native.step(actions, small),
        lambda: native.step(None, batch),
        lambda: native.step(actions, _core.EnvBatch({}, [], [])),
        lambda: native.send(actions, [0, 1, 2]),
        lambda: native.recv(1, batch),
        lambda: native.observe([], batch),
        lambda: native.observe([np.zeros(3, np.uint8)], batch),
        lambda: native.get_stack(1),
        lambda: native.get_stack(-1),
        lambda: native.get_state(7),
        lambda: native.set_state(7, state),
        lambda: native.set_state(0, {**state, "physics": state["physics"][:-1]}),
        lambda: native.set_state(0, {**state, "physics": "text"}),
        lambda: native.set_state(0, {**state, "rng": state["rng"][:3]}),
        lambda: native.set_state(0, {**state, "path_length": None}),
        lambda: native.set_state(0, {}),
        lambda: native.set_home(small),
        lambda: native.render_frames([9], "corner2", 16, "egl", -1),
        lambda: native.render_frames([0], "corner2", -5, "egl", -1),
        lambda: native.render_frames([0], "nowhere", 16, "egl", -1),
        lambda: native.render_frames([0], "corner2", 16, "glx", -1),
        lambda: _core.EnvBatch({"state": np.zeros((3, 39))}, [], []),
        lambda: _core.EnvBatch({"state": None}, [], []),
        lambda: _core.EnvBatch({"reward": np.zeros(3)}, [], []),
        lambda: _core.EnvBatch({}, [np.zeros((3, 39))], []),
        lambda: native.reset([0], [None], [None], _core.EnvBatch({}, [np.zeros((3, 39 * 4), np.uint8)], [])),
        lambda: _core.EnvPool({}),
        lambda: _core.EnvPool({"task": "metaworld/assembly", "assets": 3}),
    )  # fmt: skip
    for number, call in enumerate(calls):
        with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)):
            call()
            pytest.fail(f"call {number} was accepted")
    pool.step(actions)


def test_result_arrays_cannot_be_taken_away() -> None:
    pool = make()
    obs, _ = pool.reset()
    with pytest.raises(ValueError):
        obs["state"].resize((1, 1), refcheck=False)
    pool.step(np.zeros((2, 4)))


def test_devices_to_draw_with_are_checked_when_the_pool_is_made() -> None:
    for observation in ("state", "pixels"):
        with pytest.raises(UserError, match=r"render_device: expected -1"):
            make(observation=observation, render_device=63)
