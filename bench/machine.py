"""Facts that a reader needs to judge a number: the machine, and the commit that was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

import ibrl_fast
from ibrl_fast import _core

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("torch", "numpy", "mujoco", "metaworld", "torchrl")


class Tree(NamedTuple):
    """The source tree that is measured.

    Attributes:
        commit: its abbreviated hash; `unknown` outside git.
        changes: why the commit alone does not say what was measured; empty where it does.
    """

    commit: str
    changes: tuple[str, ...]


def source_tree() -> Tree:
    """Look at the tree; files under bench/results do not count, because benches write them."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    if commit is None:
        return Tree("unknown", ("no commit here",))
    changes = (_git("status", "--porcelain", "--", ".", ":!bench/results") or "").splitlines()
    package = Path(ibrl_fast.__file__).resolve().parents[1]
    if package != ROOT:
        changes.append("ibrl_fast is installed elsewhere (set PYTHONPATH to the repository)")
    return Tree(commit, tuple(change.strip() for change in changes))


def machine_facts(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Describe processor, GPU, threads, versions of packages, and how busy the machine is."""
    device = torch.device(device)
    facts: dict[str, Any] = {
        "cpu": _processor(),
        "cpu_isa": ("portable", "avx2", "avx512")[_core.get_cpu_isa()],
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "ibrl_fast": ibrl_fast.__version__,
        **_versions(),
        "device": str(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "gpu_multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return facts


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip()
    except (OSError, subprocess.CalledProcessError):
        return None
