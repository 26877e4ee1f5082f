"""What a learner is given must fit its networks. Shapes only, so that nothing waits for the device."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ibrl_fast.agents.config import TD3Config
from ibrl_fast.data import Batch
from ibrl_fast.errors import ArgumentError, expect


def check_setup(config: TD3Config, num_critics: int, teacher: nn.Module | None) -> int:
    """Refuse networks and a teacher that a configuration does not fit.

    Args:
        config: says how many critics a minimum has, and whether there is a teacher.
        num_critics: of the ensemble.
        teacher: the imitation policy; its attribute `num_samples` (1 without it) counts its proposals.

    Returns:
        S, the teacher's proposals for one observation; 0 without a teacher.
    """
    most = f"<= {num_critics} critics"
    expect(config.subset_size <= num_critics, "subset_size", most, config.subset_size)
    wanted = f"{'a policy' if config.needs_teacher else 'None'} for method {config.method}"
    got = "None" if teacher is None else type(teacher).__name__
    expect(config.needs_teacher == (teacher is not None), "bc_policy", wanted, got)
    if teacher is None:
        return 0
    samples = getattr(teacher, "num_samples", 1)
    good = isinstance(samples, int) and samples >= 1
    expect(good, "bc_policy.num_samples", "an integer of at least 1", samples)
    return int(samples)


def check_obs(obs: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], name: str = "obs") -> int:
    """Refuse observations that an encoder does not expect; return their number.

    Args:
        obs: each `[N, *shape]`.
        shapes: what the encoder reads, after stacking.
        name: of the argument, for messages.
    """
    if not shapes.keys() <= obs.keys():
        raise ArgumentError(f"{name}: expected keys {sorted(shapes)}, got {sorted(obs)}")
    size = int(next(iter(obs.values())).shape[0])
    for key, shape in shapes.items():
        if tuple(obs[key].shape) != (size, *shape):
            raise ArgumentError(f"{name}[{key}]: expected {[size, *shape]}, got {list(obs[key].shape)}")
    return size


def check_proposals(name: str, proposals: Tensor, size: int, action_dim: int) -> None:
    """Refuse proposals that are not `[size, samples, action_dim]` with at least one sample."""
    shape = tuple(proposals.shape)
    if len(shape) != 3 or shape[1] < 1 or (shape[0], shape[2]) != (size, action_dim):
        raise ArgumentError(f"{name}: expected {[size, 'S', action_dim]}, got {list(shape)}")


def check_batch(
    batch: Batch, shapes: Mapping[str, tuple[int, ...]], action_dim: int, num_il_samples: int
) -> None:
    """Refuse a batch whose parts do not fit together, stored proposals included where there are any."""
    size = check_obs(batch.obs, shapes)
    next_size = check_obs(batch.next_obs, shapes, "next_obs")
    if next_size != size:
        raise ArgumentError(f"next_obs: expected {size} rows, got {next_size}")
    for name, shape in (("action", (size, action_dim)), ("reward", (size,)), ("discount", (size,))):
        got = tuple(getattr(batch, name).shape)
        if got != shape:
            raise ArgumentError(f"{name}: expected {list(shape)}, got {list(got)}")
    if num_il_samples:
        check_proposals("il_action", batch.il_action, size, action_dim)
        check_proposals("il_action_next", batch.il_action_next, size, action_dim)
