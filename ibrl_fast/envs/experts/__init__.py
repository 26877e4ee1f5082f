"""Scripted experts: policies that solve a task from its state, for demonstrations and tests."""

from __future__ import annotations

from ibrl_fast.envs.experts.metaworld import Expert, make_expert

__all__ = ["Expert", "make_expert"]
