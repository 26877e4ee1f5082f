"""The documentation as pages: `sphinx-build -W docs build/docs` (extra `docs`); needs no network."""

from __future__ import annotations

import importlib
from dataclasses import fields, is_dataclass
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import ibrl_fast

ROOMS = tuple(f"ibrl_fast.{room}" for room in ("agents", "data", "deploy", "envs", "nn", "ops", "robot"))
"""Packages whose public names have a page; `ibrl_fast` hands out some of them and describes the rest."""

project = "ibrl_fast"
author = "ibrl_fast authors"
version = release = ibrl_fast.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"ibrl_fast {version}"
myst_heading_anchors = 3
exclude_patterns: list[str] = []

# docstrings write `code` between single backticks, and sections as `Args:` and `Raises:`
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
python_maximum_signature_line_length = 90


def homes() -> dict[str, str]:
    """Return where each public name is described: its name -> its module."""
    found = dict.fromkeys(ibrl_fast.__all__, "ibrl_fast")
    for room in ROOMS:
        found |= dict.fromkeys(importlib.import_module(room).__all__, room)
    return found


def list_public_names(app: Sphinx, page: str, source: list[str]) -> None:
    """Write the names that `ibrl_fast` takes from its rooms into its page, with links."""
    if page == "api/ibrl_fast":
        names = [f"   ~{home}.{name}" for name, home in homes().items() if name in ibrl_fast.__all__]
        source[0] = source[0].replace("   PUBLIC_NAMES", "\n".join(n for n in names if "version" not in n))


def skip_elsewhere(app: Sphinx, kind: str, name: str, *_: object) -> bool | None:
    """Describe a name on one page alone: that of the package where it is at home."""
    is_top = kind == "module" and app.env.current_document.get("autodoc:module") == "ibrl_fast"
    return True if is_top and homes().get(name) in ROOMS else None


def find_undescribed(described: set[str]) -> list[str]:
    """Return the public names, and fields of public dataclasses, that no page describes."""
    missing = []
    for name, home in homes().items():
        value, full = getattr(importlib.import_module(home), name), f"{home}.{name}"
        # a module has its own page, a constant its comment in the source
        if isinstance(value, ModuleType) or not callable(value):
            continue
        missing += [] if full in described else [full]
        for field in fields(value) if is_dataclass(value) else ():
            is_own = field.name in vars(value).get("__annotations__", {}) and not field.name.startswith("_")
            in_text = f"{field.name}:" in (value.__doc__ or "")
            if is_own and not in_text and f"{full}.{field.name}" not in described:
                missing.append(f"{full}.{field.name}")
    return missing


def check_described(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of what the pages leave out: an error under `-W`."""
    described = {name for name, *_ in env.domains.python_domain.get_objects()}
    for name in find_undescribed(described):
        logging.getLogger(__name__).warning("public name without a description: %s", name)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", list_public_names)
    app.connect("autodoc-skip-member", skip_elsewhere)
    app.connect("env-check-consistency", check_described)
