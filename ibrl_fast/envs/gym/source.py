"""Where environments come from: a function that makes one, and what their user says about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ibrl_fast.envs.suite import Expert
from ibrl_fast.errors import ArgumentError, UserError, first_line

SuccessRule: TypeAlias = Callable[[float, bool, bool, dict[str, Any]], bool]
"""(reward, terminated, truncated, info) of a control step, as the environment gave them -> success."""


class EnvFailedError(UserError, RuntimeError):
    """A user's environment that raised an error, or gave what its spaces do not say."""


@dataclass(frozen=True)
class EnvSource:
    """A user's environments."""

    make: Callable[[], Any]
    """Make one, a `gymnasium.Env`."""
    success: SuccessRule | None = None
    """What counts as success; None: what `info` reports."""
    expert: Expert | None = None
    """A scripted expert, `state` to action in [-1, 1]; None: there is none."""

    def open(self, name: str) -> Any:
        """Make an environment.

        Args:
            name: the task's, for messages.

        Raises:
            ArgumentError: none comes of it.
        """
        import gymnasium

        try:
            env = self.make()
        except UserError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise ArgumentError(f"{name}: expected an environment, got {reason}") from error
        if not isinstance(env, gymnasium.Env):
            raise ArgumentError(f"{name}: expected a gymnasium.Env, got {type(env).__name__}")
        return env
