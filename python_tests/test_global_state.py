"""Importing the package changes nothing that belongs to others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ibrl_fast

ROOT = Path(ibrl_fast.__file__).parents[1]

CODE = """
import importlib, locale, logging, os, pkgutil, random, signal, sys, warnings
import matplotlib, numpy, torch, gymnasium

matplotlib.use("svg")
locale.setlocale(locale.LC_ALL, "C")
torch.set_num_threads(3)


def state():
    return {
        "matplotlib": (matplotlib.get_backend(), dict(matplotlib.rcParams)),
        "torch": (torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state().tolist(),
                  torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
                  torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark),
        "numpy": (numpy.random.get_state()[1].tolist(), numpy.geterr(), numpy.get_printoptions()),
        "random": random.getstate(),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "hooks": (sys.excepthook, sys.unraisablehook, sys.getrecursionlimit()),
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": (os.umask(0o22), os.umask(0o22)),
        "warnings": len(warnings.filters),
    }


# what the libraries themselves do when they are imported is theirs
import h5py, imageio, metaworld.env_dict, metaworld.policies, mujoco, rich.progress, tyro
import torch._inductor.cpp_builder, torch.utils.tensorboard, torch.profiler

before = state()
import ibrl_fast

for module in pkgutil.walk_packages(ibrl_fast.__path__, "ibrl_fast."):
    importlib.import_module(module.name)
for name in ibrl_fast.__all__:
    getattr(ibrl_fast, name)
after = state()
print([name for name in before if before[name] != after[name]])
"""


def test_importing_every_module_changes_nothing_global() -> None:
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "[]\n"
