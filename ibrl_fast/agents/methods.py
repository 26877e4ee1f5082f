"""The table of methods. A method is one file, with its options and what is its own, and a line here."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from ibrl_fast.agents.config import MethodConfig
from ibrl_fast.errors import expect

if TYPE_CHECKING:
    from ibrl_fast.agents.learner import Learner, LearnerSetup

METHODS = {
    "ibrl": "ibrl_fast.agents.config:IBRLConfig",
    "td3": "ibrl_fast.agents.config:TD3Config",
    "rlpd": "ibrl_fast.agents.rlpd:RLPDConfig",
    "rpl": "ibrl_fast.agents.rpl:RPLConfig",
    "resfit": "ibrl_fast.agents.resfit:ResFiTConfig",
    "rft": "ibrl_fast.agents.rft:RFTConfig",
    "ibrl_rpl": "ibrl_fast.agents.ibrl_rpl:IBRLRPLConfig",
}
"""Name of a method to its configuration, `module:Class`, which is imported when it is asked for."""


def method_config(name: str) -> type[MethodConfig]:
    """Return the configuration's type of a method.

    Raises:
        ArgumentError: an unknown name; lists the valid ones.
    """
    expect(name in METHODS, "method", f"one of {', '.join(METHODS)}", name)
    config: type[MethodConfig] = _load(METHODS[name])
    return config


def convert(config: MethodConfig, name: str) -> MethodConfig:
    """Return another method with those options of both that are not at their defaults here."""
    target, defaults = method_config(name), type(config)()
    known = {entry.name for entry in dataclasses.fields(target)}
    values = {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(config)}
    chosen = {field: value for field, value in values.items() if value != getattr(defaults, field)}
    return target(**{field: value for field, value in chosen.items() if field in known})


def make_learner(config: MethodConfig, setup: LearnerSetup) -> Learner:
    """Return the learner of a method, untrained.

    Raises:
        ArgumentError: a configuration that does not fit the networks, or a teacher too many or too few.
    """
    learner: Learner = _load(config.learner).from_setup(config, setup)
    return learner


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
