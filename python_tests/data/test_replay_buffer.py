"""The replay buffer's promises, one test each."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_buffers import (
    SPACE,
    assert_same,
    fill,
    is_demo,
    make_buffer,
    make_demo,
    num_online,
    observation,
    proposals,
    step_arguments,
)

from ibrl_fast.data import BufferPlan, ObsSpec, ReplayBuffer, observation_specs
from ibrl_fast.data import row_storage as row_storage_module


def assert_same_batch(a, b):
    assert_same(vars(a), vars(b))


# Memory.


def test_required_bytes_are_those_allocated():
    parameters = {
        "capacity": 500,
        "max_episode_steps": 20,
        "num_envs": 3,
        "demo_capacity": 50,
        "num_demos": 4,
    }
    plan = BufferPlan(SPACE, 2, **parameters)
    buffer = ReplayBuffer(plan)
    index = (buffer._index.table, buffer._index._slot)
    allocated = buffer._storage.nbytes + sum(array.nbytes for array in index)
    assert plan.required_bytes == allocated
    state = BufferPlan({"state": SPACE["state"]}, 2, **parameters).required_bytes
    images = allocated - state
    # 54 demonstration rows; 166 steps, 34 tails and 22 rows of slack for each environment.
    assert images == (54 + 3 * (166 + 34 + 22)) * 3 * 8 * 8


def test_refuses_what_cannot_fit():
    space = {"front": ObsSpec((3, 96, 96), torch.uint8)}
    plan = BufferPlan(space, 2, capacity=10**9, max_episode_steps=100)
    with pytest.raises(MemoryError, match=r"expected at most \d+ bytes .* got a need of \d+") as caught:
        ReplayBuffer(plan)
    assert plan.required_bytes > 10**13
    assert "free on cpu" in str(caught.value)


def test_available_memory_respects_a_full_device(monkeypatch):
    """On CUDA the device's own free memory counts."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert row_storage_module.available_bytes(torch.device("cuda", 0)) == 1000
    with pytest.raises(MemoryError, match="at most 1000 bytes"):
        row_storage_module.require_memory({torch.device("cuda", 0): 1001})
    row_storage_module.require_memory({torch.device("cuda", 0): 1000})


# Capacity and eviction.


@pytest.mark.parametrize("length", [3, 4, 7, 10])
def test_holds_capacity_before_anything_is_evicted(length):
    """Episodes of a quarter of the longest or more: the whole capacity is there."""
    buffer, rng = make_buffer(), np.random.default_rng(0)
    fill(buffer, rng, 30, length)
    assert num_online(buffer) == 60
    # One more step evicts the oldest whole episode.
    if 30 % length == 0:
        buffer.start_episode(None, observation(rng, 2), proposals(rng, 2))
    buffer.append(**step_arguments(rng))
    assert num_online(buffer) == 60 - 2 * length + 2


def test_demonstrations_outlive_every_eviction():
    buffer, rng = make_buffer(demo_capacity=13, num_demos=2), np.random.default_rng(0)
    demos = [make_demo(rng, 6), make_demo(rng, 7)]
    buffer.add_demonstrations(demos, [proposals(rng, 7), proposals(rng, 8)])
    fill(buffer, rng, 400)
    assert (buffer.num_demo_steps, len(buffer)) == (13, 73)
    batch = buffer.sample(300, 1.0)
    stored = {tuple(action) for demo in demos for action in demo.actions.tolist()}
    assert {tuple(action) for action in batch.action.tolist()} == stored


def test_demonstrations_that_do_not_fit_are_refused_whole():
    buffer, rng = make_buffer(demo_capacity=13, num_demos=2), np.random.default_rng(0)
    for demos in ([make_demo(rng, 14)], [make_demo(rng, 2)] * 3):
        with pytest.raises(ValueError, match="demos: expected at most 2 more with 13 steps"):
            buffer.add_demonstrations(demos, [proposals(rng, len(demo) + 1) for demo in demos])
    assert len(buffer) == 0


def test_running_episode_is_sampled_and_bootstraps_at_its_newest_observation():
    buffer, rng = make_buffer(num_envs=1, gamma=0.5), np.random.default_rng(0)
    buffer.start_episode([0], observation(rng, 1), proposals(rng, 1))
    newest = step_arguments(rng, 1)
    buffer.append(**newest)
    batch = buffer.sample(4)
    assert batch.discount.tolist() == [0.5] * 4
    assert torch.equal(batch.next_obs["state"][0], torch.from_numpy(newest["next_obs"]["state"][0]))
    assert torch.equal(batch.il_action_next[0], torch.from_numpy(newest["il_action_next"][0]))
    assert torch.equal(batch.reward, torch.full((4,), float(newest["reward"][0])))


def test_restarted_episode_keeps_its_steps_and_their_bootstrap():
    buffer, rng = make_buffer(num_envs=1), np.random.default_rng(0)
    for _ in range(3):
        buffer.start_episode([0], observation(rng, 1), proposals(rng, 1))
    buffer.append(**step_arguments(rng, 1))
    buffer.start_episode([0], observation(rng, 1), proposals(rng, 1))
    assert len(buffer) == 1
    assert buffer.sample(2).discount[0] == pytest.approx(0.99)


# Sampling.


def test_sampling_is_uniform():
    buffer, rng = make_buffer(demo_capacity=6, num_demos=1), np.random.default_rng(0)
    buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
    fill(buffer, rng, 47)
    counts = torch.zeros(1000)
    draws = 400
    for _ in range(draws):
        counts += torch.bincount(buffer.sample(256).rows, minlength=1000)
    seen = counts[counts > 0].double()
    assert len(seen) == len(buffer)
    expected = draws * 256 / len(buffer)
    chi_square = float(((seen - expected) ** 2 / expected).sum())
    freedom = len(buffer) - 1
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    ("batch_size", "fraction", "demos"), [(7, 0.5, 4), (256, 0.25, 64), (5, 0.0, 0), (5, 1.0, 5)]
)
def test_mixed_sizes_are_exact(batch_size, fraction, demos):
    buffer, rng = make_buffer(demo_capacity=6, num_demos=1), np.random.default_rng(0)
    buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
    fill(buffer, rng, 20)
    batch = buffer.sample(batch_size, fraction)
    assert len(batch) == batch_size
    assert is_demo(buffer, batch.rows).tolist() == [True] * demos + [False] * (batch_size - demos)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_all_of_a_mixed_batch_are_demonstrations_while_no_online_step_is_held(fraction):
    buffer, rng = make_buffer(demo_capacity=6, num_demos=1), np.random.default_rng(0)
    buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
    for _ in range(2):
        assert is_demo(buffer, buffer.sample(64, fraction).rows).all()
        buffer.start_episode(None, observation(rng, 2), proposals(rng, 2))
    buffer.append(**step_arguments(rng))
    first = round(64 * fraction)
    assert is_demo(buffer, buffer.sample(64, fraction).rows).tolist() == [True] * first + [False] * (
        64 - first
    )


def test_a_share_of_demonstrations_needs_some_also_beside_online_steps():
    buffer, rng = make_buffer(demo_capacity=6, num_demos=1), np.random.default_rng(0)
    fill(buffer, rng, 5)
    buffer.check_can_sample(4)
    buffer.check_can_sample(4, 0.0)
    assert not is_demo(buffer, buffer.sample(4, 0.0).rows).any()
    with pytest.raises(ValueError, match=r"demo_fraction: expected demonstrations .*, got none"):
        buffer.sample(4, 0.5)


def test_sampling_from_nothing_is_an_error():
    buffer = make_buffer(demo_capacity=6, num_demos=1)
    with pytest.raises(ValueError, match="at least one of the transitions"):
        buffer.sample(4)
    for call in (buffer.sample, buffer.check_can_sample):
        with pytest.raises(ValueError, match=r"demo_fraction: expected demonstrations .* for 0\.5, got none"):
            call(4, 0.5)
        with pytest.raises(ValueError, match="at least one of the transitions"):
            call(4, 0.0)
    for size in (0, -1):
        with pytest.raises(ValueError, match="batch_size: expected at least 1"):
            buffer.sample(size)
    with pytest.raises(TypeError, match="batch_size: expected an integer"):
        buffer.sample(1.5)
    with pytest.raises(ValueError, match="demo_fraction"):
        buffer.sample(4, 1.5)


def test_same_seed_same_batches_other_seed_others():
    batches = []
    for seed in (5, 5, 6):
        buffer, rng = make_buffer(seed=seed), np.random.default_rng(0)
        fill(buffer, rng, 30)
        batches.append((buffer.sample(32), buffer.sample(32)))
    assert_same_batch(batches[0][0], batches[1][0])
    assert_same_batch(batches[0][1], batches[1][1])
    assert not torch.equal(batches[0][0].rows, batches[0][1].rows)
    assert not torch.equal(batches[0][0].rows, batches[2][0].rows)


def test_images_are_shifted_alike_in_a_stack_and_independently_for_the_next_observation():
    buffer = make_buffer(stacks={"front": 3}, random_shift_pad=2, num_envs=1)
    rng = np.random.default_rng(0)
    fill(buffer, rng, 10, count=1)
    plain = make_buffer(stacks={"front": 3}, random_shift_pad=0, num_envs=1)
    plain.load_state_dict(buffer.state_dict())
    shifted, whole = buffer.sample(64), plain.sample(64)
    assert torch.equal(shifted.rows, whole.rows)

    def shift_of(image, original):
        padded = torch.nn.functional.pad(original[None], (2, 2, 2, 2), mode="replicate")[0]
        found = [(y, x) for y in range(5) for x in range(5) if image.equal(padded[:, y : y + 8, x : x + 8])]
        assert len(found) == 1
        return found[0]

    now = [shift_of(a, b) for a, b in zip(shifted.obs["front"], whole.obs["front"])]
    later = [shift_of(a, b) for a, b in zip(shifted.next_obs["front"], whole.next_obs["front"])]
    assert len(set(now)) > 15
    assert sum(a != b for a, b in zip(now, later)) > 48


def test_image_dtype_and_batch_conversion():
    buffer, rng = make_buffer(image_dtype=torch.bfloat16), np.random.default_rng(0)
    fill(buffer, rng, 10)
    batch = buffer.sample(8)
    assert batch.obs["front"].dtype == torch.bfloat16
    assert batch.obs["state"].dtype == torch.float32
    wide = batch.to(torch.float64)
    assert wide.obs["front"].dtype == wide.reward.dtype == wide.il_action.dtype == torch.float64
    assert wide.rows.dtype == torch.int64
    assert torch.equal(wide.action, batch.action.double())
    with pytest.raises(ValueError, match="target"):
        batch.to(torch.int64)


def test_without_imitation_policy():
    buffer, rng = make_buffer(num_il_samples=0), np.random.default_rng(0)
    buffer.start_episode(None, observation(rng, 2))
    arguments = step_arguments(rng)
    with pytest.raises(ValueError, match="il_action: expected None"):
        buffer.append(**arguments)
    buffer.append(**(arguments | {"il_action_next": None}))
    assert buffer.sample(3).il_action_next.shape == (3, 0, 2)


def test_host_storage_gives_the_same_batches():
    batches = []
    for storage in ("device", "host"):
        buffer, rng = make_buffer(storage=storage), np.random.default_rng(0)
        fill(buffer, rng, 30)
        batches.append(buffer.sample(16))
    assert_same_batch(*batches)


# Checkpoints.


def test_checkpoint_continues_bit_for_bit():
    options = {"demo_capacity": 13, "num_demos": 2, "stacks": {"state": 3}}
    buffer, rng = make_buffer(**options), np.random.default_rng(0)
    buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
    fill(buffer, rng, 95, length=8)
    buffer.sample(16)

    # Through a file, as the trainer does, into a buffer that held something else.
    file = io.BytesIO()
    torch.save(buffer.state_dict(), file)
    file.seek(0)
    other, noise = make_buffer(**(options | {"seed": 99})), np.random.default_rng(9)
    fill(other, noise, 40, length=5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_same(buffer.state_dict(), other.state_dict())

    # Both go on in the middle of an episode.
    for one in (buffer, other):
        rng = np.random.default_rng(1)
        buffer_batches = []
        for _ in range(60):
            arguments = step_arguments(rng, truncated=rng.random() < 0.3)
            try:
                one.append(**arguments)
            except ValueError:
                one.start_episode(None, observation(rng, 2), proposals(rng, 2))
            buffer_batches.append(one.sample(16))
        one.add_demonstrations([make_demo(rng, 7)], [proposals(rng, 8)])
        buffer_batches.append(one.sample(16, 0.5))
        one.batches = buffer_batches
    for a, b in zip(buffer.batches, other.batches, strict=True):
        assert_same_batch(a, b)
    assert_same(buffer.state_dict(), other.state_dict())


def test_checkpoint_of_another_buffer_is_refused():
    buffer, other = make_buffer(), make_buffer(capacity=80)
    fill(buffer, np.random.default_rng(0), 5)
    state = buffer.state_dict()
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"capacity 80.*got one with.*capacity 60"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="without"):
        other.load_state_dict({"format": 1})
    assert_same(other.state_dict(), before)

    # A checkpoint whose parts do not fit together.
    for name, value in (
        ("table", state["index"]["table"] + 10**6),
        ("table", state["index"]["table"].float()),
        ("counts", state["index"]["counts"] * 1000),
        ("current", state["index"]["current"][:1]),
        ("episodes", None),
    ):
        with pytest.raises(ValueError, match="index"):
            make_buffer().load_state_dict(state | {"index": state["index"] | {name: value}})
    state["columns"]["action"] = state["columns"]["action"][:-1]
    with pytest.raises(ValueError, match=r"columns.*action"):
        make_buffer().load_state_dict(state)


# Threads.


def test_appends_beside_samples():
    """Every batch that another thread draws is made of whole transitions."""
    space = {"state": ObsSpec((1,))}
    sizes = {"capacity": 200, "max_episode_steps": 10, "num_envs": 2}
    buffer = ReplayBuffer(BufferPlan(space, 1, **sizes, nstep=1, num_il_samples=0))
    stop, failures = threading.Event(), []

    def check():
        while not stop.is_set():
            if len(buffer) == 0:
                continue
            batch = buffer.sample(64)
            # The reward repeats the state, the next state is the state plus one.
            whole = torch.equal(batch.reward, batch.obs["state"][:, 0]) and torch.equal(
                batch.next_obs["state"], batch.obs["state"] + 1
            )
            if not whole:
                failures.append(batch)

    threads = [threading.Thread(target=check) for _ in range(2)]
    for thread in threads:
        thread.start()
    value = np.zeros(2, dtype=np.float32)
    for t in range(4000):
        if t % 10 == 0:
            value = np.asarray([t, -t], dtype=np.float32)
            buffer.start_episode(None, {"state": value[:, None]})
        buffer.append(
            np.zeros((2, 1)), value, np.full(2, False), np.full(2, t % 10 == 9), {"state": value[:, None] + 1}
        )
        value = value + 1
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


# Bad input.


def test_bad_steps_leave_the_buffer_unchanged():
    buffer, rng = make_buffer(), np.random.default_rng(0)
    fill(buffer, rng, 15)
    before = buffer.state_dict()
    good = step_arguments(rng)
    state, front = good["next_obs"]["state"], good["next_obs"]["front"]
    nan_state = state.copy()
    nan_state[1, 2] = np.nan
    for change, error, message in (
        ({"action": good["action"] * 1000}, ValueError, r"action: expected values in \[-1, 1\]"),
        ({"action": np.full((2, 2), np.nan)}, ValueError, r"action: expected values in \[-1, 1\]"),
        ({"action": good["action"][:1]}, ValueError, r"action: expected \[2, 2\], got \[1, 2\]"),
        ({"action": np.zeros((2, 2), dtype=np.int64)}, TypeError, "action: expected floating"),
        ({"reward": np.asarray([0.0, np.inf])}, ValueError, "reward: expected finite"),
        ({"reward": np.zeros((2, 1))}, ValueError, r"reward: expected \[2\], got \[2, 1\]"),
        ({"reward": np.asarray(["a", "b"])}, TypeError, "reward: expected numbers"),
        ({"terminated": np.zeros(2)}, TypeError, "terminated: expected bool, got float64"),
        ({"truncated": np.zeros(3, dtype=bool)}, ValueError, r"truncated: expected \[2\]"),
        ({"next_obs": {"state": state}}, ValueError, "next_obs: expected an entry 'front'"),
        (
            {"next_obs": {"state": nan_state, "front": front}},
            ValueError,
            r"next_obs\['state'\]: expected finite",
        ),
        (
            {"next_obs": {"state": state, "front": front / 255}},
            TypeError,
            r"next_obs\['front'\]: expected uint8",
        ),
        (
            {"next_obs": {"state": state, "front": front.transpose(0, 2, 3, 1)}},
            ValueError,
            r"next_obs\['front'\]: expected \[2, 3, 8, 8\], got \[2, 8, 8, 3\]",
        ),
        ({"il_action_next": None}, ValueError, "next_il_action: expected 1 proposals"),
        ({"il_action_next": proposals(rng, 2) * 5}, ValueError, "next_il_action: expected values"),
        ({"env_ids": [0, 0]}, ValueError, "env_ids: expected different"),
        ({"env_ids": [0, 2]}, ValueError, r"env_ids: expected different numbers in \[0, 1\], got \[0, 2\]"),
    ):
        with pytest.raises(error, match=message):
            buffer.append(**(good | change))
        assert_same(buffer.state_dict(), before)


def test_steps_out_of_order_are_errors():
    buffer, rng = make_buffer(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="start_episode first, got no episode in environment 0"):
        buffer.append(**step_arguments(rng))
    fill(buffer, rng, 10)
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="start_episode first, got no episode in environment 0"):
        buffer.append(**step_arguments(rng))
    assert_same(buffer.state_dict(), before)
    fill(buffer, rng, 10, length=100)
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="max_episode_steps = 10 steps, got one more in environment 0"):
        buffer.append(**step_arguments(rng))
    assert_same(buffer.state_dict(), before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"capacity": 19}, ValueError, r"capacity: expected at least num_envs \* max_episode_steps = 20"),
        ({"capacity": 100.0}, TypeError, "capacity: expected an integer"),
        ({"num_envs": 0}, ValueError, "num_envs: expected at least 1"),
        ({"nstep": 0}, ValueError, "nstep: expected at least 1"),
        ({"demo_capacity": 5}, ValueError, "num_demos: expected 1 to demo_capacity"),
        ({"gamma": 1.1}, ValueError, "gamma"),
        ({"gamma": 0.0}, ValueError, r"gamma: expected a value in \(0, 1\], got 0.0"),
        ({"stacks": None}, TypeError, "stacks: expected a dict, got NoneType"),
        ({"stacks": {"stat": 3}}, ValueError, r"stacks: expected keys of .*got \['stat'\]"),
        ({"stacks": {"state": 0}}, ValueError, "stacks"),
        ({"storage": "disk"}, ValueError, "storage: expected one of"),
        ({"storage": "pinned"}, ValueError, "storage: expected 'device' or 'host' on cpu"),
        ({"image_dtype": torch.int8}, ValueError, "image_dtype"),
    ],
)
def test_bad_parameters_are_named(change, error, message):
    with pytest.raises(error, match=message):
        make_buffer(**change)


def test_observation_specs_of_a_gymnasium_space():
    box = SimpleNamespace
    space = SimpleNamespace(
        spaces={
            "state": box(shape=(39,), dtype=np.dtype(np.float64)),
            "corner2": box(shape=(3, 84, 84), dtype=np.dtype(np.uint8)),
        }
    )
    assert observation_specs(space) == {
        "state": ObsSpec((39,)),
        "corner2": ObsSpec((3, 84, 84), torch.uint8),
    }
    with pytest.raises(ValueError, match="Dict space"):
        observation_specs(box(shape=(3,)))
    with pytest.raises(ValueError, match="shape"):
        ObsSpec((3, 84), torch.uint8)
    with pytest.raises(ValueError, match="dtype"):
        ObsSpec((3,), torch.float64)
