"""Results of benches: from a clean commit, or marked as drafts; one name, one layout."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import machine  # noqa: E402
import record  # noqa: E402
from timing import Timing  # noqa: E402

SCRIPTS = sorted(BENCH.glob("bench_*.py"))


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in place of this one."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / "ibrl_fast").mkdir()
    (tmp_path / "ibrl_fast" / "__init__.py").write_text("")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine.ibrl_fast, "__file__", str(tmp_path / "ibrl_fast" / "__init__.py"))
    return tmp_path


def results(tree: Path, *words: str, device: str = "cpu", script: str = "bench_x.py") -> record.Results:
    options = record.bench_parser(None).parse_args(["--out", str(tree / "bench" / "results"), *words])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"/somewhere/bench/{script}", "--out", "/home/me/there", *words])
        patch.setattr(record, "machine_facts", lambda device: {"cpu": "a cpu"})
        made = record.Results(options, device)
        made.write({"times": {"a": Timing(1.0, 0.5, 2.0, 3, 4)}})
    return made


def test_a_clean_commit_is_named(tree: Path) -> None:
    written = json.loads(results(tree).path.read_text())
    assert list(written) == ["command", "commit", "time", "machine", "times"]
    assert git(tree, "rev-parse", "HEAD").startswith(written["commit"])
    assert written["machine"] == {"cpu": "a cpu"}
    assert written["times"]["a"] == {
        "median": 1.0,
        "low": 0.5,
        "high": 2.0,
        "rounds": 3,
        "calls_per_round": 4,
    }
    # names instead of paths, which are this machine's own matter
    assert written["command"] == "python bench/bench_x.py --out there"


def test_results_are_no_changes(tree: Path) -> None:
    """Several benches can follow each other from one commit."""
    for _ in range(2):
        assert "draft" not in json.loads(results(tree).path.read_text())


@pytest.mark.parametrize("change", ["changed", "new"])
def test_changes_are_refused_or_make_a_draft(tree: Path, change: str) -> None:
    (tree / ("code.py" if change == "changed" else "other.py")).write_text("a = 2\n")
    with pytest.raises(SystemExit, match=r"source tree: expected a clean commit \(or --draft\), got .*\.py"):
        results(tree)
    assert json.loads(results(tree, "--draft").path.read_text())["draft"] is True


def test_a_change_while_it_is_measured_makes_a_draft(tree: Path) -> None:
    made = results(tree)
    (tree / "code.py").write_text("a = 3\n")
    assert made.write({})["draft"] is True


def test_no_repository_and_another_package_are_refused(
    tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(machine.ibrl_fast, "__file__", "/elsewhere/ibrl_fast/__init__.py")
    with pytest.raises(SystemExit, match="installed elsewhere"):
        results(tree)
    monkeypatch.setattr(machine, "ROOT", tmp_path_factory.mktemp("none"))
    with pytest.raises(SystemExit, match="no commit here"):
        results(tree)
    assert json.loads(results(tree, "--draft").path.read_text())["commit"] == "unknown"


def test_names_of_results(tree: Path) -> None:
    assert results(tree).path.name == "bench_x.json"
    assert results(tree, "--variant", "2threads").path.name == "bench_x_2threads.json"
    assert results(tree, device="cuda").path.name == "bench_x_cuda.json"
    assert results(tree, "--variant", "h100", device="cuda").path.name == "bench_x_h100.json"
    assert results(tree, script="bench_y.py").picture.name == "bench_y.png"


def test_earlier_results_are_read(tree: Path) -> None:
    options = record.bench_parser(None).parse_args(["--out", str(tree), "--variant", "none"])
    assert record.Results(options).earlier() == {}
    assert results(tree).earlier()["times"]["a"]["median"] == 1.0


def test_facts_of_this_machine() -> None:
    facts = machine.machine_facts()
    assert facts["threads"] == torch.get_num_threads() and facts["torch"] == torch.__version__
    json.dumps(facts)


# --- what is committed


def committed() -> list[Path]:
    return sorted((BENCH / "results").glob("*.json"))


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.stem)
def test_a_committed_result_says_where_it_is_from(path: Path) -> None:
    """Its bench exists, and without a commit it is a draft."""
    content: dict[str, Any] = json.loads(path.read_text())
    assert any(path.stem == script.stem or path.stem.startswith(f"{script.stem}_") for script in SCRIPTS)
    assert content["command"].startswith("python bench/bench_") and content["machine"]["cpu"]
    assert content.get("draft") is True or content["commit"] not in ("", "unknown")
    assert "dirty" not in content["commit"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_bench_imports_another_and_all_write_alike(script: Path) -> None:
    tree = ast.parse(script.read_text())
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in modules + names if name.startswith("bench_")]
    assert "record" in modules and "matplotlib" not in " ".join(modules + names)
