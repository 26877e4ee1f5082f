"""What holds for every op: torch.library's checks, torch.compile, CUDA graphs, threads, instruction sets."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch
from op_cases import NAMES, cases
from torch.utils._python_dispatch import TorchDispatchMode

from ibrl_fast import _core, ops


class Recorded(TorchDispatchMode):
    """Notes the ibrl_fast ops that are called, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "ibrl_fast":
            self.calls.append((function, args))
        return function(*args, **(kwargs or {}))


def copies(outputs):
    return [tensor.clone() for tensor in outputs]


def test_every_public_op_has_a_case() -> None:
    assert set(NAMES) == set(ops.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_library_checks(device, name) -> None:
    if name == "mlp" and device.type == "cuda":
        pytest.skip("a composition on CUDA")
    with Recorded() as recorded:
        cases(device)[name].run()
    assert [function.name() for function, _ in recorded.calls] == [f"ibrl_fast::{name}"]
    for function, args in recorded.calls:
        torch.library.opcheck(function, args)


@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_graph_breaks(device, name) -> None:
    case, plain = cases(device)[name], cases(device)[name]
    expected = plain.run()
    torch._dynamo.reset()
    torch.compile(case.function, fullgraph=True, backend="aot_eager")(*case.args, **case.kwargs)
    assert all(torch.equal(a, b) for a, b in zip(case.outputs, expected))


def test_inductor_fuses_around_an_op(device) -> None:
    q, reward, discount, subset = cases(device)["ibrl_target"].args

    def loss(q, reward, discount):
        target, _ = ops.ibrl_target(q + 1.0, reward, discount, subset)
        return (target - q[0, 0]).square().mean()

    torch._dynamo.reset()
    # Inductor's cache on disk keeps vector code of another run, whose instruction set this one may not have
    compiled = torch.compile(loss, fullgraph=True, options={"fx_graph_cache": False})
    torch.testing.assert_close(compiled(q, reward, discount), loss(q, reward, discount))


@pytest.mark.parametrize("name", NAMES)
def test_out_is_what_a_call_without_out_returns(device, name) -> None:
    if name in ("adam_update", "scatter_rows"):
        pytest.skip("works in place")
    case = cases(device)[name]
    expected = case.run()
    result = case.function(*case.args, **{key: value for key, value in case.kwargs.items() if key != "out"})
    result = (result,) if isinstance(result, torch.Tensor) else result
    assert all(torch.equal(a, b) for a, b in zip(result, expected))


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_equals_cpu(name) -> None:
    expected = cases(torch.device("cpu"))[name].run()
    got = cases(torch.device("cuda", 0))[name].run()
    # LayerNorm's sums over a row are in another order
    tolerance = 1e-5 if name in ("spatial_embed", "ensemble_norm_relu", "mlp") else 0.0
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=tolerance, atol=tolerance)


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_captured_in_a_cuda_graph(name) -> None:
    device = torch.device("cuda", 0)
    case, eager = cases(device)[name], cases(device)[name]
    counter = case.kwargs.get("counter")
    before = copies(case.outputs)
    case.run()
    torch.cuda.synchronize()
    for output, value in zip(case.outputs, before):
        output.copy_(value)

    # two replays with the counter moved between them equal two eager calls
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        case.run()
        if counter is not None:
            counter.add_(1)
    for _ in range(2):
        graph.replay()
        eager.run()
        if "counter" in eager.kwargs:
            eager.kwargs["counter"].add_(1)
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(case.outputs, eager.outputs))


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_current_stream_without_synchronising(name) -> None:
    device = torch.device("cuda", 0)
    expected = copies(cases(device)[name].run())
    case = cases(device)[name]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        torch.cuda.set_sync_debug_mode("error")
        try:
            case.run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert not stream.query(), "the call waited for the stream"
    stream.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(case.outputs, expected))


@pytest.mark.parametrize("name", NAMES)
def test_number_of_threads_changes_nothing(name) -> None:
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(copies(cases(torch.device("cpu"), batch=3000)[name].run()))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize("name", ["adam_update", "random_shift_gather"])
def test_instruction_set_changes_nothing(name) -> None:
    results = []
    try:
        for isa in range(_core.get_cpu_isa() + 1):
            _core.limit_cpu_isa(isa)
            results.append(copies(cases(torch.device("cpu"))[name].run()))
    finally:
        _core.limit_cpu_isa(-1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_calls_from_several_threads_at_once(two_threads) -> None:
    expected = cases(torch.device("cpu"), batch=500)["random_shift_gather"].run()
    wrong: list[str] = []

    def work() -> None:
        for _ in range(20):
            case = cases(torch.device("cpu"), batch=500)["random_shift_gather"]
            if not all(torch.equal(a, b) for a, b in zip(case.run(), expected)):
                wrong.append("differs")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_child_has_a_pool_of_its_own(two_threads) -> None:
    case = cases(torch.device("cpu"), batch=500)["random_shift_gather"]
    expected = copies(case.run())
    for output in case.outputs:
        output.share_memory_().zero_()
    # the child runs nothing but the op (torch's own threads do not survive a fork) and may not hang
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        case.run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert all(torch.equal(a, b) for a, b in zip(case.outputs, expected))


@pytest.mark.skipif(_core.with_cuda, reason="this build has CUDA kernels")
def test_cuda_tensors_without_cuda_kernels_are_refused() -> None:
    from ibrl_fast.ops._registry import launch_cuda

    with pytest.raises(RuntimeError, match="ibrl_target: this build of ibrl_fast has no CUDA kernels"):
        launch_cuda("ibrl_target", None, dict, 0)
