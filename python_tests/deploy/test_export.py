"""Exported files: equal to the agent, complete, loadable without this package, and written as a whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from policies import (
    ACTION_DIM,
    make_agent,
    make_bc_policy,
    margin,
    pixel_contract,
    random_obs,
    state_contract,
)

import ibrl_fast
from ibrl_fast.agents import IBRLConfig, IBRLRPLConfig, ProposalRule, ResFiTConfig, RPLConfig, TD3Config
from ibrl_fast.deploy import ObservationContract, ObservationField, PolicyFileError, load_policy
from ibrl_fast.deploy.export import contract_from_space, export_policy, make_policy_module, script_policy

ROOT = Path(ibrl_fast.__file__).parents[1]

FORMATS = ["torchscript", pytest.param("aoti", marks=pytest.mark.slow)]
SUFFIX = {"torchscript": ".pt", "aoti": ".pt2"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AOTInductor package of an imitation policy, compiled once for this file."""
    contract = state_contract(stack=1)
    path = tmp_path_factory.mktemp("package") / "policy.pt2"
    return export_policy(make_policy_module(make_bc_policy(contract), contract), path, format="aoti")


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("contract", "num_critics", "rule"),
    [
        (state_contract(stack=1), 2, ProposalRule()),
        (state_contract(stack=3), 5, ProposalRule("paired", std_factor=0.1, margin=0.001)),
        (pixel_contract(stack=3), 2, ProposalRule()),
    ],
    ids=["state E=2 stack 1", "state E=5 stack 3", "pixels"],
)
def test_file_acts_as_the_agent(
    contract: ObservationContract, num_critics: int, rule: ProposalRule, file_format: str, tmp_path: Path
) -> None:
    agent = make_agent(contract, IBRLConfig(acting_rule=rule), num_critics)
    path = tmp_path / f"policy{SUFFIX[file_format]}"
    assert export_policy(agent, path, format=file_format, contract=contract) == path
    policy = load_policy(path)
    assert policy.contract == contract
    assert policy.format == file_format

    for batch in (64, 1, 2):
        obs = random_obs(contract, batch, seed=batch)
        action, source = policy.act_with_source(obs)
        expected = agent.act(obs, explore=False)
        # rounding may swap proposals of equal value, nothing else
        clear = margin(agent, obs) > 1e-5 if rule.is_paper else torch.ones(batch, dtype=torch.bool)
        assert clear.float().mean() > 0.9
        torch.testing.assert_close(action[clear], expected.action[clear], atol=1e-5, rtol=0)
        assert torch.equal(source[clear], expected.source[clear])
        if batch == 64:
            assert 0 < int(source.sum()) < 64


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("kind", ["state", "pixels"])
@pytest.mark.parametrize(
    "config",
    [RPLConfig(), ResFiTConfig(action_scale=0.3), IBRLRPLConfig()],
    ids=["rpl", "resfit", "ibrl_rpl"],
)
def test_residual_policies(config: TD3Config, kind: str, file_format: str, tmp_path: Path) -> None:
    """The imitation policy is in the file beside the actor that corrects it."""
    contract = state_contract() if kind == "state" else pixel_contract()
    agent = make_agent(contract, config)
    path = tmp_path / f"policy{SUFFIX[file_format]}"
    policy = load_policy(export_policy(agent, path, format=file_format, contract=contract))
    for batch in (64, 1):
        obs = random_obs(contract, batch, seed=batch)
        action, source = policy.act_with_source(obs)
        expected = agent.act(obs, explore=False)
        clear = margin(agent, obs) > 1e-5 if isinstance(config, IBRLConfig) else torch.ones(batch) > 0
        torch.testing.assert_close(action[clear], expected.action[clear], atol=1e-5, rtol=0)
        assert torch.equal(source[clear], expected.source[clear])
        # a correction, not the imitation policy's action
        corrected = action[source == 0] - agent.bc_policy(obs)[source == 0]
        assert batch == 1 or float(corrected.abs().mean()) > 1e-2


@pytest.mark.parametrize("file_format", FORMATS)
def test_imitation_policy_alone(file_format: str, tmp_path: Path) -> None:
    contract = state_contract()
    bc_policy = make_bc_policy(contract)
    path = tmp_path / f"policy{SUFFIX[file_format]}"
    policy = load_policy(export_policy(bc_policy, path, format=file_format, contract=contract))
    obs = random_obs(contract, 64)
    torch.testing.assert_close(policy.act(obs), bc_policy(obs).detach(), atol=1e-5, rtol=0)
    assert policy.act_with_source(obs)[1].tolist() == [1] * 64


def test_torchscript_file_runs_without_this_package(tmp_path: Path) -> None:
    contract = pixel_contract()
    agent = make_agent(contract, IBRLConfig())
    export_policy(agent, tmp_path / "policy.pt", contract=contract)
    obs = random_obs(contract, 8)
    torch.save(obs, tmp_path / "obs.pt")
    code = """
import json, sys, torch
folder = sys.argv[1]
policy = torch.jit.load(folder + "/policy.pt")
obs = torch.load(folder + "/obs.pt", weights_only=True)
action, source = policy.act(obs)
assert torch.equal(policy(obs), action)
torch.save((action, source, json.loads(policy.contract_json)["action_dim"]), folder + "/result.pt")
assert "ibrl_fast" not in sys.modules
try:
    import ibrl_fast
except ImportError:
    print("not importable")
"""
    empty = tmp_path / "empty"
    empty.mkdir()
    # -S leaves out site-packages, so that only torch and what it needs are found
    packages = {str(Path(torch.__file__).parents[1])}
    code = f"import sys; sys.path += {sorted(packages)!r}\nsys.modules['ibrl_fast'] = None\n" + code.replace(
        'assert "ibrl_fast" not in sys.modules', 'assert sys.modules["ibrl_fast"] is None'
    )
    result = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", code, str(tmp_path)],
        cwd=empty,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "not importable"
    action, source, action_dim = torch.load(tmp_path / "result.pt", weights_only=True)
    expected = agent.act(obs, explore=False)
    torch.testing.assert_close(action, expected.action, atol=1e-5, rtol=0)
    assert torch.equal(source, expected.source)
    assert action_dim == ACTION_DIM


def test_contract_from_a_gymnasium_space() -> None:
    space = {
        "state": gymnasium.spaces.Box(-np.inf, np.inf, (39,), np.float32),
        "wrist": gymnasium.spaces.Box(0, 255, (3, 84, 84), np.uint8),
    }
    contract = contract_from_space(
        space, {"state": 3}, 4, control_period=0.0125, action_repeat=2, metadata={"task": "assembly"}
    )
    fields = {
        "state": ObservationField((39,), "float32", 3),
        "wrist": ObservationField((3, 84, 84), "uint8", 1, 0.0, 255.0),
    }
    assert contract.observations == fields
    assert list(contract.observations) == ["state", "wrist"]
    assert (contract.control_period, contract.action_repeat) == (0.0125, 2)
    assert contract.metadata == {"task": "assembly"}
    with pytest.raises(
        ValueError, match=r"stacks: expected names among \['state', 'wrist'\], got \['stat'\]"
    ):
        contract_from_space(space, {"stat": 3}, 4)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    contract = state_contract()
    bc_policy = make_bc_policy(contract)
    module = make_policy_module(bc_policy, contract)
    with pytest.raises(ValueError, match="contract: expected an ObservationContract"):
        export_policy(bc_policy, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="contract: expected None"):
        export_policy(module, tmp_path / "a.pt", contract=contract)
    with pytest.raises(ValueError, match="format: expected torchscript or aoti, got onnx"):
        export_policy(module, tmp_path / "a.pt", format="onnx")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"path: expected a name that ends in \.pt2"):
        export_policy(module, tmp_path / "a.pt", format="aoti")
    assert list(tmp_path.iterdir()) == []


def test_failed_export_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = state_contract()
    module = make_policy_module(make_bc_policy(contract), contract)
    path = export_policy(module, tmp_path / "new" / "policy.pt")
    before = path.read_bytes()

    write = Path.write_bytes

    def fail(target: Path, content: bytes) -> None:
        write(target, content[:100])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        export_policy(module, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["policy.pt"]


def test_aoti_without_a_compiler_says_so(tmp_path: Path) -> None:
    from torch._inductor import config

    contract = state_contract()
    module = make_policy_module(make_bc_policy(contract), contract)
    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(RuntimeError, match=r"export_aoti: expected a C\+\+ compiler, got none"),
    ):
        export_policy(module, tmp_path / "policy.pt2", format="aoti")


@pytest.mark.parametrize("compiler", ["/nonexistent", "folder", "broken"])
def test_aoti_with_a_compiler_that_fails_is_one_error(tmp_path: Path, compiler: str) -> None:
    """In a process of its own: torch asks for the compiler once."""
    if compiler == "folder":
        compiler = str(tmp_path)
    if compiler == "broken":
        path = tmp_path / "broken"
        path.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "x.cpp:1: error: no" >&2\nexit 1\n')
        path.chmod(0o755)
        compiler = str(path)
    here = str(Path(__file__).parent)
    code = f"""
import sys
sys.path.append({here!r})
from policies import make_bc_policy, state_contract
from ibrl_fast.deploy.export import ExportError, export_policy, make_policy_module
contract = state_contract()
module = make_policy_module(make_bc_policy(contract), contract)
try:
    export_policy(module, {str(tmp_path / "policy.pt2")!r}, format="aoti")
except ExportError as error:
    print(error)
"""
    environment = {
        **os.environ,
        "CXX": compiler,
        "PYTHONPATH": str(ROOT),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    message = ended.stdout.strip()
    assert message.startswith("export_aoti: expected ") and message.count("\n") == 0
    assert "or export as torchscript" in message
    assert not (tmp_path / "policy.pt2").exists()


@pytest.mark.slow
def test_package_takes_strided_tensors_and_arrays(package: Path) -> None:
    policy = load_policy(package)
    obs = random_obs(policy.contract, 12)["state"]
    expected = policy.act({"state": obs})
    strided = torch.empty(5, 12).T.copy_(obs)
    assert not strided.is_contiguous()
    assert torch.equal(policy.act({"state": strided}), expected)
    assert torch.equal(policy.act({"state": np.asfortranarray(obs.numpy())}), expected)


@pytest.mark.slow
def test_package_for_another_machine_is_refused_before_it_is_loaded(package: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="expected a package for cuda, got one for cpu"):
        load_policy(package, device="cuda")

    # the same package, said to be compiled for other processors
    for key, value in (("processor", "avx1024"), ("system", "pdp11")):
        other = tmp_path / "policy.pt2"
        with zipfile.ZipFile(package) as source, zipfile.ZipFile(other, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name.endswith("_metadata.json"):
                    metadata = json.loads(content)
                    needed = json.loads(metadata["target"])
                    needed[key].append(value)
                    content = json.dumps({**metadata, "target": json.dumps(needed)}).encode()
                elif name.endswith(".so"):
                    content = b"never loaded"
                target.writestr(name, content)
        with pytest.raises(
            PolicyFileError, match=rf"native code for this machine's {key}, got code that needs \['{value}'\]"
        ):
            load_policy(other)


@pytest.mark.slow
def test_package_loads_without_a_compiler(package: Path, tmp_path: Path) -> None:
    code = f"""
from ibrl_fast.deploy import load_policy
import numpy as np
print(load_policy({str(package)!r}).step({{"state": np.zeros(5, np.float32)}}).shape)
"""
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"({ACTION_DIM},)"


@pytest.mark.cuda
def test_both_formats_on_a_gpu(tmp_path: Path) -> None:
    contract = pixel_contract()
    agent = make_agent(contract, IBRLConfig())
    module = make_policy_module(agent, contract)
    obs = random_obs(contract, 64)
    expected = module(obs)
    clear = margin(agent, obs) > 1e-4

    # a file written on the CPU runs on the GPU; a package has to be compiled for it
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    script = load_policy(export_policy(module, tmp_path / "policy.pt"), device="cuda")
    package = export_policy(module.cuda(), tmp_path / "policy.pt2", format="aoti")
    for policy in (script, load_policy(package, device="cuda")):
        assert policy.act(obs).is_cuda
        torch.testing.assert_close(policy.act(obs).cpu()[clear], expected[clear], atol=1e-5, rtol=0)
    with pytest.raises(PolicyFileError, match="expected a package for cpu, got one for cuda"):
        load_policy(package)


def test_saved_script_needs_no_gradient(tmp_path: Path) -> None:
    contract = state_contract()
    scripted = script_policy(make_policy_module(make_agent(contract, IBRLConfig()), contract))
    torch.jit.save(scripted, tmp_path / "policy.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(tmp_path / "policy.pt")
    assert not loaded(random_obs(contract, 2)).requires_grad


@pytest.mark.parametrize("file_format", FORMATS)
def test_file_holds_the_policy_alone(file_format: str, tmp_path: Path) -> None:
    # the encoder shares its storage with critics that the policy does not have
    contract = pixel_contract()
    agent = make_agent(contract, TD3Config(), num_critics=200)
    module = make_policy_module(agent, contract)
    path = export_policy(module, tmp_path / f"policy{SUFFIX[file_format]}", format=file_format)
    parameters = sum(4 * parameter.numel() for parameter in module.parameters())
    critics = sum(4 * parameter.numel() for parameter in agent.critic.parameters())
    assert parameters < 100_000 and critics > 1_500_000
    # beside parameters: code, in a package also machine code
    assert path.stat().st_size < parameters + {"torchscript": 500_000, "aoti": 5_000_000}[file_format]
    if file_format == "torchscript":
        for parameter in torch.jit.load(path).parameters():
            assert parameter.untyped_storage().nbytes() == 4 * parameter.numel()
