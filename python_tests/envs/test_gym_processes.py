"""Several environments in processes of their own: equal to those of one process, and never in the way."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_envs import CameraEnv, FaultyEnv, ReachEnv

import ibrl_fast
from ibrl_fast import make_pool, register_env
from ibrl_fast.envs import AbilityError, registry
from ibrl_fast.envs.episodes import LocalEpisodes
from ibrl_fast.envs.gym.processes import ProcessEpisodes
from ibrl_fast.envs.gym.source import EnvFailedError

REACH = "gym:own_envs:ibrl-tests/Reach-v0"


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    yield


def differences(first: Any, second: Any) -> list[str]:
    """Where two results of a pool's call differ."""
    if isinstance(first, dict):
        assert set(first) == set(second)
        return [f"{key}{rest}" for key in first for rest in differences(first[key], second[key])]
    if isinstance(first, tuple):
        return [f"[{i}]{rest}" for i, pair in enumerate(zip(first, second)) for rest in differences(*pair)]
    same = first.dtype == second.dtype and np.array_equal(first, second)
    return [] if same else [f": {first} != {second}"]


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_processes_give_the_bits_of_one_process(autoreset: str) -> None:
    options = {"num_envs": 3, "action_repeat": 2, "max_episode_steps": 9, "frame_stack": 2, "seed": 4}
    together = make_pool(REACH, autoreset=autoreset, **options)
    alone = make_pool(REACH, autoreset=autoreset, backend="reference", **options)
    assert isinstance(together._episodes, ProcessEpisodes) and isinstance(alone._episodes, LocalEpisodes)
    assert differences(together.reset(), alone.reset()) == []
    random = np.random.default_rng(0)
    ends = 0
    for step in range(60):
        if step == 20:
            mask = {"reset_mask": np.array([False, True, False])}
            results = [pool.reset(seed=[None, 8, None], options=mask) for pool in (together, alone)]
            assert differences(*results) == []
        actions = random.uniform(-1, 1, (3, 2)).astype(np.float32)
        results = [pool.step(actions) for pool in (together, alone)]
        assert differences(*results) == []
        ends += int((results[0][2] | results[0][3]).sum())
    assert ends > 5
    frames = [pool.render_frames([2, 0], image_size=16) for pool in (together, alone)]
    np.testing.assert_array_equal(*frames)
    together.close()
    alone.close()


def test_images_come_through() -> None:
    register_env("own/cameras", CameraEnv)
    options = {
        "num_envs": 2,
        "observation": "both",
        "image_size": 5,
        "channels_last": True,
        "action_repeat": 1,
    }
    together, alone = (
        make_pool("own/cameras", **options),
        make_pool("own/cameras", backend="reference", **options),
    )
    assert differences(together.reset(seed=1), alone.reset(seed=1)) == []
    for _ in range(12):
        actions = np.zeros((2, 1), np.float32)
        assert differences(together.step(actions), alone.step(actions)) == []
    with pytest.raises(AbilityError, match="expected an environment with render_mode='rgb_array'"):
        together.render_frames()
    together.step(np.zeros((2, 1), np.float32))  # which leaves the pool as it was
    together.close()


def test_what_cannot_be_sent_steps_in_this_process(caplog: pytest.LogCaptureFixture) -> None:
    lock = threading.Lock()

    def make() -> ReachEnv:
        with lock:
            return ReachEnv()

    register_env("own/locked", make)
    pool = make_pool("own/locked", num_envs=2)
    assert isinstance(pool._episodes, LocalEpisodes)
    (record,) = caplog.records
    assert "own/locked: environments that cannot be sent to processes of their own" in record.getMessage()
    pool.reset(seed=0)
    pool.step(np.zeros((2, 2), np.float32))


# ---- environments that go wrong

ACTIONS = np.zeros((2, 1), np.float32)


def faulty_pool(fault: str, backend: str, **options: Any) -> Any:
    name = f"own/{fault}"
    register_env(name, functools.partial(FaultyEnv, fault))
    return make_pool(name, num_envs=2, action_repeat=1, backend=backend, **options)


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", "^own/raises: step: expected a result, got ZeroDivisionError: the arm is gone$"),
        ("shape", "^own/shape: state: expected 2 numbers as its space says, got 3$"),
        ("reset", r"^own/reset: reset: expected finite observations of at most .*, got nan in state\[1\]$"),
    ],
)
def test_an_environment_that_fails_is_one_message(backend: str, fault: str, message: str) -> None:
    pool = faulty_pool(fault, backend)
    with pytest.raises(EnvFailedError, match=message):
        pool.reset(seed=0)
        for _ in range(3):
            pool.step(ACTIONS)
    pool.close()


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("fault", ["observation", "reward"])
def test_what_is_not_finite_ends_the_episode_as_diverged(backend: str, fault: str) -> None:
    pool = faulty_pool(fault, backend, reward="dense", max_episode_steps=9, autoreset="disabled")
    pool.reset(seed=0)
    for _ in range(2):
        _, _, terminated, truncated, info = pool.step(ACTIONS)
        assert not (terminated | truncated | info["diverged"]).any()
    observations, reward, terminated, truncated, info = pool.step(ACTIONS)
    assert truncated.all() and info["diverged"].all() and not terminated.any()
    # the last good observation stays
    np.testing.assert_array_equal(observations["state"], np.full((2, 2), 2.0))
    np.testing.assert_array_equal(reward, [0.0, 0.0])
    pool.close()


@pytest.mark.parametrize(("fault", "status"), [("kills", -9), ("dies", 7)])
def test_a_process_that_ends_is_one_message(fault: str, status: int) -> None:
    register_env("own/whole", functools.partial(FaultyEnv, "none"))
    name = f"own/{fault}"
    register_env(name, functools.partial(FaultyEnv, fault))
    pool = make_pool(name, num_envs=2, action_repeat=1)
    pool.reset(seed=0)
    pool.step(ACTIONS)
    pool.step(ACTIONS)
    with pytest.raises(
        EnvFailedError, match=rf"{name}: step: .* got the end of environment 0 \(exit status {status}"
    ):
        pool.step(ACTIONS)
    with pytest.raises(EnvFailedError, match="expected all processes, got one that has ended"):
        pool.step(ACTIONS)
    pool.close()


def test_closing_waits_for_nobody() -> None:
    pool = faulty_pool("hangs", "auto")
    pool.reset(seed=0)
    processes = list(pool._episodes._vector.processes)
    pool.close()
    pool.close()
    assert not any(process.is_alive() for process in processes)


def test_ctrl_c_is_the_main_processs_to_handle() -> None:
    pool = faulty_pool("none", "auto")
    pool.reset(seed=0)
    for process in pool._episodes._vector.processes:
        os.kill(process.pid, signal.SIGINT)
    for _ in range(3):
        pool.step(ACTIONS)
    pool.close()


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from own_envs import ReachEnv
from ibrl_fast import make_pool, register_env
import numpy as np
{guard}
    register_env("own/reach", lambda: ReachEnv())
    pool = make_pool("own/reach", num_envs=2)
    pool.reset(seed=0)
    pool.step(np.zeros((2, 2), np.float32))
    print("pids", *[process.pid for process in pool._episodes._vector.processes], flush=True)
    {end}
"""


def run_script(tmp_path: Path, guard: str, end: str) -> subprocess.Popen[str]:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.format(tests=str(Path(__file__).parent), guard=guard, end=end))
    environment = {**os.environ, "PYTHONPATH": str(Path(ibrl_fast.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(file)], env=environment, text=True, **pipes)


def test_a_script_may_forget_to_close_but_not_the_guard(tmp_path: Path) -> None:
    done = run_script(tmp_path, 'if __name__ == "__main__":', "pass")
    out, errors = done.communicate(timeout=120)
    assert done.returncode == 0 and out.startswith("pids") and "Traceback" not in errors
    unguarded = run_script(tmp_path, "if True:", "pass")
    _, errors = unguarded.communicate(timeout=120)
    assert unguarded.returncode == 1
    assert 'needs `if __name__ == "__main__":` around what it does' in errors.splitlines()[-1]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_nothing_stays_behind_a_killed_script(tmp_path: Path) -> None:
    killed = run_script(tmp_path, 'if __name__ == "__main__":', "import time; time.sleep(600)")
    assert killed.stdout is not None
    pids = [int(word) for word in killed.stdout.readline().split()[1:]]
    assert len(pids) == 2 and all(map(is_running, pids))
    killed.kill()
    killed.communicate()
    for _ in range(300):
        if not any(map(is_running, pids)):
            break
        time.sleep(0.1)
    assert not any(map(is_running, pids))
