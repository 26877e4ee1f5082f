"""The policy at run time: frame stacking, checks of observations, wrong and damaged files, independence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from policies import ACTION_DIM, make_agent, make_bc_policy, pixel_contract, random_obs, state_contract

import ibrl_fast
from ibrl_fast.agents import IBRLConfig
from ibrl_fast.deploy import (
    ObservationContract,
    ObservationField,
    Policy,
    PolicyFileError,
    load_policy,
)
from ibrl_fast.deploy.export import export_policy, make_policy_module
from ibrl_fast.envs.stacking import ObservationStacker


@pytest.fixture
def state_policy(tmp_path: Path) -> Policy:
    """A hybrid policy on a stacked state."""
    contract = state_contract(stack=3)
    return load_policy(
        export_policy(make_agent(contract, IBRLConfig()), tmp_path / "s.pt", contract=contract)
    )


@pytest.fixture
def pixel_policy(tmp_path: Path) -> Policy:
    """An imitation policy on a camera and stacked proprioception."""
    contract = pixel_contract(stack=3)
    return load_policy(export_policy(make_bc_policy(contract), tmp_path / "p.pt", contract=contract))


def frames(contract: ObservationContract, count: int) -> list[dict[str, np.ndarray]]:
    """Random single frames, as a robot would measure them."""
    rng = np.random.default_rng(0)
    return [
        {
            key: rng.integers(0, 256, spec.shape, dtype=np.uint8)
            if spec.dtype == "uint8"
            else rng.standard_normal(spec.shape, dtype=np.float32)
            for key, spec in contract.observations.items()
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("stack", [1, 3])
def test_step_stacks_frames_as_training_does(stack: int, tmp_path: Path) -> None:
    contract = ObservationContract(
        {
            "wrist": ObservationField((3, 36, 36), "uint8", stack=2),
            "proprio": ObservationField((4,), stack=stack),
        },
        ACTION_DIM,
    )
    policy = load_policy(export_policy(make_bc_policy(contract), tmp_path / "p.pt", contract=contract))
    stacker = ObservationStacker(1, {"wrist": 2, "proprio": stack})
    for _ in range(2):
        policy.reset()
        assert policy.source is None
        for index, frame in enumerate(frames(contract, 6)):
            batched = {key: value[None] for key, value in frame.items()}
            stacked = stacker.reset(batched) if index == 0 else stacker.push(batched)
            action = policy.step(frame)
            assert action.dtype == np.float32 and action.shape == (ACTION_DIM,)
            np.testing.assert_allclose(action, policy.act(stacked)[0].numpy(), atol=1e-6)
            assert policy.source == 1


def test_step_keeps_no_reference_to_its_input_and_output(state_policy: Policy) -> None:
    first, second, third = frames(state_policy.contract, 3)
    clean = [state_policy.step(dict(frame)).copy() for frame in (first, second, third)]
    state_policy.reset()
    buffer = {"state": np.empty(5, np.float32)}
    actions = []
    for frame in (first, second, third):
        buffer["state"][:] = frame["state"]
        actions.append(state_policy.step(buffer))
    np.testing.assert_array_equal(np.stack(actions), np.stack(clean))


def run_in_threads(work, count: int = 4) -> list[BaseException]:
    """Runs work(thread number) in threads that start together; returns what they raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def body(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_that_share_a_policy_get_an_error_or_the_right_action(state_policy: Policy) -> None:
    frame = frames(state_policy.contract, 1)[0]
    expected = state_policy.step(frame)
    refused: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            try:
                # every frame is the same, so whoever got through has this action
                np.testing.assert_array_equal(state_policy.step(frame), expected)
            except RuntimeError as error:
                assert "step: expected one call of step or reset at a time" in str(error)
                refused.append(number)

    assert run_in_threads(work) == []
    # the errors end with the overlap
    np.testing.assert_array_equal(state_policy.step(frame), expected)


@pytest.mark.parametrize("call", ["step", "reset"])
def test_a_second_thread_inside_step_is_refused(state_policy: Policy, call: str) -> None:
    first, second = frames(state_policy.contract, 2)
    clean = [state_policy.step(frame) for frame in (first, second)]
    inside, go_on = threading.Event(), threading.Event()
    run = state_policy._run

    def slow(obs):
        inside.set()
        assert go_on.wait(10)
        return run(obs)

    state_policy.reset()
    state_policy._run = slow  # type: ignore[method-assign]
    actions: list[np.ndarray] = []
    stepping = threading.Thread(target=lambda: actions.append(state_policy.step(first)))
    stepping.start()
    assert inside.wait(10)
    with pytest.raises(RuntimeError, match=f"{call}: expected one call of step or reset at a time"):
        state_policy.step(second) if call == "step" else state_policy.reset()
    go_on.set()
    stepping.join()
    # the refused call left no trace, and the policy goes over to this thread
    actions.append(state_policy.step(second))
    np.testing.assert_array_equal(np.stack(actions), np.stack(clean))


def test_a_refused_frame_or_action_does_not_lock_the_policy(state_policy: Policy) -> None:
    frame = frames(state_policy.contract, 1)[0]
    expected = state_policy.step(frame)
    for _ in range(2):
        with pytest.raises(ValueError, match="got missing"):
            state_policy.step({})
    np.testing.assert_array_equal(state_policy.step(frame), expected)


def test_threads_act_at_once(state_policy: Policy) -> None:
    obs = [random_obs(state_policy.contract, 5, seed) for seed in range(4)]
    expected = [state_policy.act(each) for each in obs]

    def work(number: int) -> None:
        for _ in range(100):
            assert torch.equal(state_policy.act(obs[number]), expected[number])

    assert run_in_threads(work) == []


def test_act_takes_tensors_and_arrays_and_leaves_step_alone(state_policy: Policy) -> None:
    obs = random_obs(state_policy.contract, 5)
    frame = frames(state_policy.contract, 1)[0]
    first = state_policy.step(frame)
    action = state_policy.act(obs)
    assert torch.equal(action, state_policy.act({"state": obs["state"].numpy()}))
    assert not action.requires_grad
    action.clamp_(-0.1, 0.1)  # an ordinary tensor
    np.testing.assert_array_equal(state_policy.step(frame), first)


def test_wrong_frame_gets_one_clear_error_and_changes_nothing(pixel_policy: Policy) -> None:
    good, after = frames(pixel_policy.contract, 2)
    pixel_policy.step(good)
    expected = pixel_policy.step(after)
    pixel_policy.reset()
    pixel_policy.step(good)

    image, proprio = good["wrist"], good["proprio"]
    nan = proprio.copy()
    nan[2] = np.nan
    infinite = proprio.copy()
    infinite[0] = -np.inf
    cases: list[tuple[type[Exception], str, dict[str, object]]] = [
        (ValueError, r"obs: expected \['wrist', 'proprio'\], got missing \['proprio'\]", {"wrist": image}),
        (ValueError, r"unknown \['depth'\]", {**good, "depth": image}),
        (
            ValueError,
            r"obs\['proprio'\]: expected \[4\] float32, got \[3\] float32",
            {"proprio": proprio[:3]},
        ),
        (ValueError, r"expected \[4\] float32, got \[1, 4\] float32", {"proprio": proprio[None]}),
        (ValueError, r"expected \[4\] float32, got \[4\] float64", {"proprio": proprio.astype(np.float64)}),
        (
            ValueError,
            r"obs\['wrist'\]: expected \[3, 36, 36\] uint8, got \[36, 36, 3\] uint8",
            {"wrist": image.T},
        ),
        (ValueError, r"uint8, got \[3, 36, 36\] float32", {"wrist": image.astype(np.float32)}),
        (ValueError, r"obs\['proprio'\]: expected finite numbers, got inf or nan", {"proprio": nan}),
        (ValueError, r"obs\['proprio'\]: expected finite numbers, got inf or nan", {"proprio": infinite}),
        (TypeError, r"obs\['proprio'\]: expected a NumPy array, got list", {"proprio": proprio.tolist()}),
    ]
    for error, message, change in cases:
        obs = change if "depth" in change or "missing" in message else {**good, **change}
        with pytest.raises(error, match=message):
            pixel_policy.step(obs)  # type: ignore[arg-type]
    np.testing.assert_array_equal(pixel_policy.step(after), expected)


def test_wrong_batch_gets_one_clear_error(pixel_policy: Policy) -> None:
    good = random_obs(pixel_policy.contract, 4)
    wrong = {
        r"obs\['proprio'\]: expected \[4, 12\] float32, got \[3, 12\] float32": good["proprio"][:3],
        r"obs\['proprio'\]: expected \[4, 12\] float32, got \[4, 4\] float32": good["proprio"][:, :4],
        r"expected \[4, 12\] float32, got \[4, 12\] float16": good["proprio"].half(),
        r"obs\['proprio'\]: expected finite": good["proprio"] * torch.inf,
    }
    for message, value in wrong.items():
        with pytest.raises(ValueError, match=message):
            pixel_policy.act({**good, "proprio": value})
    with pytest.raises(
        ValueError, match=r"obs\['wrist'\]: expected a batch of at least 1, got \[0, 3, 36, 36\]"
    ):
        pixel_policy.act({key: value[:0] for key, value in good.items()})
    with pytest.raises(TypeError, match="expected a tensor or a NumPy array, got int"):
        pixel_policy.act({**good, "proprio": 1})  # type: ignore[dict-item]


def test_values_outside_the_contract_are_refused(tmp_path: Path) -> None:
    contract = ObservationContract({"state": ObservationField((5,), low=-1.0, high=2.0)}, ACTION_DIM)
    policy = load_policy(export_policy(make_bc_policy(contract), tmp_path / "p.pt", contract=contract))
    policy.step({"state": np.array([-1, 2, 0, 0, 0], np.float32)})
    with pytest.raises(ValueError, match=r"obs\['state'\]: expected in \[-1.0, 2.0\], got \[0, 2.5\]"):
        policy.step({"state": np.array([0, 2.5, 0, 0, 0], np.float32)})


def test_action_that_is_not_finite_is_never_returned(tmp_path: Path) -> None:
    contract = state_contract()
    bc_policy = make_bc_policy(contract)
    with torch.no_grad():
        bc_policy.actor.mlp.output.bias.fill_(torch.nan)
    path = export_policy(bc_policy, tmp_path / "p.pt", contract=contract)
    with pytest.raises(PolicyFileError, match="action: expected finite numbers"):
        load_policy(path)


def test_contract_survives_json_and_refuses_nonsense() -> None:
    contract = state_contract()
    assert ObservationContract.from_json(contract.to_json()) == contract
    assert ObservationContract.from_json(pixel_contract().to_json()).observations["wrist"].kind == "image"
    field = contract.observations["state"]
    assert (field.kind, field.stacked_shape) == ("vector", (15,))

    values = json.loads(contract.to_json())
    for text in (
        "{",
        "[]",
        "{}",
        json.dumps({**values, "surprise": 1}),
        json.dumps({**values, "action_dim": 0}),
    ):
        with pytest.raises(ValueError, match=r"contract: expected one of version 1"):
            ObservationContract.from_json(text)
    with pytest.raises(ValueError, match="contract: expected version 1, got 99"):
        ObservationContract.from_json(json.dumps({**values, "contract_version": 99}))

    wrong_fields = {
        "shape: expected": {"shape": (3, 4)},
        "dtype: expected float32 or uint8, got float64": {"dtype": "float64"},
        "stack: expected an integer >= 1, got 0": {"stack": 0},
        "low: expected a finite number": {"low": -np.inf},
        "high: expected more than low 1.0, got 0.0": {"low": 1.0, "high": 0.0},
    }
    for message, change in wrong_fields.items():
        with pytest.raises(ValueError, match=message):
            ObservationField(**{"shape": (3,), **change})
    wrong_contracts = {
        "observations: expected at least one": {"observations": {}},
        "action_dim: expected >= 1": {"action_dim": 0},
        "action_high: expected more than": {"action_low": 1.0},
        "control_period: expected > 0": {"control_period": 0.0},
        "action_repeat: expected >= 1": {"action_repeat": 0},
    }
    for message, change in wrong_contracts.items():
        with pytest.raises(ValueError, match=message):
            ObservationContract(**{"observations": {"s": field}, "action_dim": 1, **change})


def test_wrong_files_get_one_clear_error(tmp_path: Path) -> None:
    contract = state_contract()
    good = export_policy(make_bc_policy(contract), tmp_path / "good.pt", contract=contract).read_bytes()

    torch.save({"agent": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path, "checkpoint.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.pt").write_bytes(good[: len(good) // 2])
    # more than the 64 bytes that may pad an archive's entries, which no checksum covers
    flipped = bytearray(good)
    middle = slice(len(good) // 2, len(good) // 2 + 256)
    flipped[middle] = bytes(byte ^ 0xFF for byte in flipped[middle])
    (tmp_path / "flipped.pt").write_bytes(flipped)

    messages = {
        "checkpoint.pt": "expected an exported policy, got a torch.save file",
        "script.pt": "expected an exported policy that runs, got: .*contract_json",
        "archive.zip": "expected an exported policy, got an archive without a policy",
        "text.pt": "expected an exported policy, got another kind of file",
        "empty.pt": "expected an exported policy, got another kind of file",
        "cut.pt": "expected an exported policy, got a damaged file",
        "flipped.pt": "wrong checksum|a damaged file",
    }
    for name, message in messages.items():
        with pytest.raises(PolicyFileError, match=message) as caught:
            load_policy(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no file at"):
        load_policy(tmp_path / "nothing.pt")


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    contract = state_contract(stack=1)
    module = make_policy_module(make_bc_policy(contract), contract)
    good = export_policy(module, tmp_path / "good.pt").read_bytes()
    expected = load_policy(tmp_path / "good.pt").act(random_obs(contract, 4))
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(good), 400):
        bad = bytearray(good)
        bad[position] ^= 1 << rng.integers(0, 8)
        (tmp_path / "bad.pt").write_bytes(bad)
        # refused, or a byte that nobody reads: padding between entries
        try:
            policy = load_policy(tmp_path / "bad.pt")
        except PolicyFileError:
            continue
        assert torch.equal(policy.act(random_obs(contract, 4)), expected)


def test_policy_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    contract = state_contract()
    export_policy(make_agent(contract, IBRLConfig()), tmp_path / "policy.pt", contract=contract)
    code = f"""
import sys
others = ["mujoco", "metaworld", "gymnasium", "h5py", "tyro", "rich", "tensorboard", "matplotlib", "nvtx"]
sys.modules.update(dict.fromkeys([*others, "ibrl_fast._core"]))
import numpy
from ibrl_fast.deploy import load_policy
print(load_policy({str(tmp_path / "policy.pt")!r}).step({{"state": numpy.zeros(5, "f4")}}).shape)
print(*sorted(name for name in sys.modules if name.startswith("ibrl_fast") and sys.modules[name]))
"""
    root = Path(ibrl_fast.__file__).parents[1]
    environment = {"PYTHONPATH": str(root)}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    shape, modules = result.stdout.strip().splitlines()
    assert shape == f"({ACTION_DIM},)"
    parts = ("", ".deploy", ".deploy.contract", ".deploy.policy", ".errors", ".lazy")
    assert modules.split() == [f"ibrl_fast{part}" for part in parts]
