"""Threads, forks and the interpreter's end against every call of a pool, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ibrl_fast

pytest.importorskip("ibrl_fast.envs.env_pool")

# each test takes seconds to start a process: the ordinary run has those of the native backend
BACKENDS = ("native", pytest.param("reference", marks=pytest.mark.slow))

# What every script begins with: a pool in use by threads, and what a call may raise then.
PREAMBLE = """
import os, signal, sys, threading, time
import numpy as np
from ibrl_fast.envs import make_pool
from ibrl_fast.envs.exclusive import PoolInUseError

BACKEND = sys.argv[1]
def make(**options):
    return make_pool("coffee-push", **{"backend": BACKEND, "num_envs": 3, "max_episode_steps": 20, **options})

ZERO = np.zeros((3, 4), np.float32)
"""


def run(script: str, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own; its end must be an orderly one."""
    root = Path(ibrl_fast.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    command = [sys.executable, "-X", "faulthandler", "-c", PREAMBLE + script, *arguments]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


ALL_AGAINST_ALL = """
pool = make(**({"num_threads": 2, "batch_size": 1} if BACKEND == "native" else {}))
pool.reset(seed=0)
state = pool.get_state()

def send_and_receive():
    pool.send(ZERO[:1], [0])
    pool.recv()

calls = {
    "step": lambda: pool.step(ZERO),
    "reset": lambda: pool.reset(),
    "get_state": lambda: pool.get_state(),
    "set_state": lambda: pool.set_state(state),
    "send": send_and_receive,
}
if BACKEND == "reference":
    del calls["send"]
deadline = time.monotonic() + 1.5
done, refused, failures = dict.fromkeys(calls, 0), set(), []

def work(name, call):
    while time.monotonic() < deadline:
        try:
            call()
            done[name] += 1
        except PoolInUseError as error:
            assert "one thread at a time" in str(error) and str(error).split(":")[0] in (name, "recv"), error
            refused.add(name)
        except RuntimeError as error:
            # another thread's results are still to be received, or were received by it
            if "recv" not in str(error) and "in flight" not in str(error):
                failures.append(repr(error))
        except BaseException as error:
            failures.append(repr(error))
        time.sleep(0.0005)

threads = [threading.Thread(target=work, args=item) for item in calls.items()]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failures, failures
assert sum(done.values()) > 5 and refused, (done, refused)
if BACKEND == "native":
    while pool._pool.in_flight:
        pool.recv()

# afterwards it is a sound pool: the same steps as one that nobody has disturbed
other = make()
for each in (pool, other):
    each.reset(seed=7)
for step in range(5):
    actions = np.random.default_rng(step).uniform(-1, 1, (3, 4))
    np.testing.assert_array_equal(pool.step(actions)[0]["state"], other.step(actions)[0]["state"])
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_against_every_call(backend: str) -> None:
    run(ALL_AGAINST_ALL, backend)


CLOSE_DURING = """
for name in sys.argv[2].split(","):
    pool = make(num_envs=3, action_repeat=200)
    pool.reset(seed=0)
    state = pool.get_state()
    calls = {
        "step": lambda: pool.step(ZERO),
        "reset": lambda: pool.reset(),
        "get_state": lambda: pool.get_state(),
        "set_state": lambda: pool.set_state(state),
        "render_frames": lambda: pool.render_frames(image_size=16),
        "render": lambda: pool.render(),
        "recv": lambda: (pool.send(ZERO), pool.recv()),
    }
    if BACKEND == "reference":
        del calls["recv"]
    seen, begun = [], threading.Event()
    def work():
        begun.set()
        while not seen:
            try:
                calls[name]()
            except PoolInUseError as error:
                assert "by another thread" in str(error)  # which is closing it
            except Exception as error:
                seen.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    time.sleep(0.03)
    pool.close()
    pool.close()
    thread.join()
    assert "closed" in str(seen[0]), repr(seen)
    for use in calls.values():
        try:
            use()
        except RuntimeError as error:
            assert "expected an open pool" in str(error), error
        else:
            raise SystemExit("a closed pool was used")
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_closing_waits_for_the_call_of_another_thread(backend: str) -> None:
    calls = "step,reset,get_state,set_state" + (",recv" if backend == "native" else "")
    run(CLOSE_DURING, backend, calls)


@pytest.mark.slow
def test_closing_waits_for_pictures() -> None:
    from ibrl_fast.envs.rendering import RenderingUnavailableError, check_rendering

    try:
        check_rendering()
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    run(CLOSE_DURING, "native", "render_frames,render")


CLOSE_FROM_HANDLER = """
pool = make(action_repeat=300)
pool.reset(seed=0)
said = []
def handle(*_):
    for call in (pool.close, lambda: pool.step(ZERO)):
        try:
            call()
        except PoolInUseError as error:
            said.append(str(error))
signal.signal(signal.SIGALRM, handle)
# a handler runs between Python's instructions: inside a call of the reference backend, or after it
signal.setitimer(signal.ITIMER_REAL, 0.05)
end = time.monotonic() + 0.5
while time.monotonic() < end and not pool.closed:
    pool.step(ZERO)
assert pool.closed or (said and "in use by this thread" in said[0]), said
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_handler_that_closes_the_pool_does_not_wait_for_itself(backend: str) -> None:
    run(CLOSE_FROM_HANDLER, backend)


AT_EXIT_CALLS = ("reset", "state", "recv", "make")
AT_EXIT = """
pool = make(action_repeat=int(sys.argv[3]))
pool.reset(seed=0)
state = pool.get_state()
calls = {
    "step": lambda: pool.step(ZERO),
    "reset": lambda: pool.reset(),
    "state": lambda: pool.set_state(pool.get_state()),
    "recv": lambda: (pool.send(ZERO), pool.recv()),
    "make": lambda: make().close(),
}
begun = threading.Event()
def work():
    while True:
        calls[sys.argv[2]]()
        begun.set()
for _ in range(1 if sys.argv[2] != "make" else 2):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "call",
    ["step", *(pytest.param(call, marks=pytest.mark.slow) for call in ("reset", "state", "recv", "make"))],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_interpreter_ends_cleanly_while_a_daemon_thread_uses_a_pool(backend: str, call: str) -> None:
    if backend == "reference" and call == "recv":
        pytest.skip("the reference backend has no recv")
    repeats = ("100", "1") if backend == "native" and call == "step" else ("1",)
    for repeat in repeats:
        assert run(AT_EXIT, backend, call, repeat).stderr == ""


EXTENSION_AT_EXIT = """
pool = make()
pool.reset(seed=0)
native, batch = pool._pool, pool._sets[0].batch
def work():
    while True:
        native.step(ZERO, batch)
threading.Thread(target=work, daemon=True).start()
threading.excepthook = lambda args: None
time.sleep(0.05)
"""


def test_the_interpreter_ends_cleanly_while_a_daemon_thread_uses_the_extension() -> None:
    run(EXTENSION_AT_EXIT, "native")


EXTENSION_THREADS = """
pool = make()
pool.reset(seed=0)
pool.send(ZERO); pool.recv()
native, batch = pool._pool, pool._sets[0].batch
state = {key: value[0] for key, value in pool.get_state().items()}
deadline, failures, refused = time.monotonic() + 1.0, [], []
calls = [
    lambda: native.step(ZERO, batch), lambda: native.reset([0], [None], [None], batch),
    lambda: native.set_state(0, state), lambda: native.get_state(1), lambda: native.observe([None], batch),
    lambda: native.send(ZERO[:1], [0]), lambda: native.recv(1, batch), lambda: native.in_flight,
]
def work(call):
    while time.monotonic() < deadline:
        try:
            call()
        except PoolInUseError as error:
            refused.append(str(error))
        except RuntimeError as error:
            if "in flight" not in str(error):
                failures.append(repr(error))
threads = [threading.Thread(target=work, args=(call,)) for call in calls]
[thread.start() for thread in threads]
time.sleep(0.8)
native.close()
[thread.join() for thread in threads]
failures = [text for text in failures if "closed" not in text]
assert not failures, failures[:3]
assert refused and "one call at a time" in refused[0]
"""


@pytest.mark.slow
def test_threads_against_every_call_of_the_extension() -> None:
    run(EXTENSION_THREADS, "native")


FORK = """
import warnings
warnings.simplefilter("ignore")
pool = make()
pool.reset(seed=0)
state = pool.get_state()
stop = threading.Event()
def work():
    while not stop.is_set():
        pool.step(ZERO)
thread = threading.Thread(target=work)
thread.start()
time.sleep(0.02)
child = os.fork()
if child == 0:
    calls = [lambda: pool.step(ZERO), pool.reset, pool.get_state, lambda: pool.set_state(state), pool.render,
             pool.render_frames]
    if BACKEND == "native":
        calls += [lambda: pool.send(ZERO), pool.recv]
    for call in calls:
        try:
            call()
            os._exit(3)
        except PoolInUseError as error:
            if "expected the process that made it, got a fork; make a pool in the child" not in str(error):
                os._exit(4)
    pool.close()
    own = make()
    own.reset(seed=0)
    own.step(ZERO)
    own.close()
    sys.exit(0)
stop.set()
thread.join()
deadline = time.monotonic() + 300
while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
    time.sleep(0.02)
if done[0] == 0:
    os.kill(child, signal.SIGKILL)
    raise SystemExit("the child hangs")
assert os.waitstatus_to_exitcode(done[1]) == 0, done
pool.step(ZERO)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_is_told_in_every_call_and_can_make_a_pool(backend: str) -> None:
    """Also while another thread is in the middle of a call, whose lock nobody in the child would open."""
    run(FORK, backend)


LITTLE_MEMORY = """
import resource
from ibrl_fast.errors import UserError
pool = make(num_envs=4, num_threads=1)
pool.reset(seed=0)
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20,) * 2)
for options in ({"num_envs": 16, "num_threads": 16}, {"num_envs": 4000, "num_threads": 1}):
    try:
        make(**options)
    except UserError as error:
        print(type(error).__name__, error)
    else:
        raise SystemExit("made without memory")
pool.step(np.zeros((4, 4)))
"""
# threads take the stack that the program was started with
LARGE_STACKS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_STACK, (4 << 30, resource.getrlimit(resource.RLIMIT_STACK)[1]))
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[2:]])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits work differently here")
def test_threads_or_memory_that_the_system_refuses_are_an_exception() -> None:
    said = run(LARGE_STACKS, "native", PREAMBLE + LITTLE_MEMORY, "native", "7000").stdout.splitlines()
    assert said[0].startswith("ArgumentError num_threads: expected at most"), said
    assert said[1].startswith("OutOfMemoryError pool: expected memory"), said


CLOSE_IS_NEXT = """
pool = make()
pool.reset(seed=0)
plain, inside, go_on, seen = pool._is_plain, threading.Event(), threading.Event(), []
def slow(*arguments):
    inside.set()
    go_on.wait()
    return plain(*arguments)
pool._is_plain = slow
def use():
    for _ in range(1000):
        try:
            pool.step(ZERO)
        except RuntimeError as error:
            seen.append(error)
threads = [threading.Thread(target=use), threading.Thread(target=pool.close)]
threads[0].start()
inside.wait()
threads[1].start()
while not pool._guard.is_closing:
    time.sleep(0.001)
pool._is_plain = plain
try:
    pool.get_state()
except PoolInUseError as error:
    assert "one thread at a time" in str(error)
else:
    raise SystemExit("a call began although a thread waits to close the pool")
go_on.set()
[thread.join() for thread in threads]
assert pool.closed and len(seen) == 999, len(seen)  # the first step was under way, no other began
"""


def test_a_thread_that_never_pauses_cannot_keep_another_from_closing() -> None:
    run(CLOSE_IS_NEXT, "native")
