"""`make_pool`: the one door to environments; everything above it sees the same face whatever steps below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.envs.options import (
    DEFAULT_CAMERA_POSITIONS,
    Autoreset,
    NativeOptions,
    Observation,
    PoolOptions,
    Reward,
    check_choice,
)
from ibrl_fast.envs.reference_pool import ReferencePool
from ibrl_fast.envs.registry import resolve_task
from ibrl_fast.errors import ArgumentError

Backend = Literal["auto", "reference", "native"]


def make_pool(
    task: str,
    *,
    num_envs: int = 1,
    seed: int = 0,
    observation: Observation = "state",
    cameras: Sequence[str] = ("corner2",),
    image_size: int = 84,
    action_repeat: int = 2,
    max_episode_steps: int = 100,
    backend: Backend = "auto",
    num_threads: int | None = None,
    reward: Reward = "sparse",
    terminate_on_success: bool = True,
    fixed_goals: bool = False,
    autoreset: Autoreset = "same_step",
    camera_positions: Mapping[str, tuple[float, float, float]] | None = None,
    camera_quaternions: Mapping[str, tuple[float, float, float, float]] | None = None,
    frame_stack: int | Mapping[str, int] = 1,
    channels_last: bool = False,
    shadows: bool = False,
    shadow_size: int = 0,
    multisample: int = -1,
    batch_size: int | None = None,
    pin_memory: bool = False,
    render_device: int = -1,
    settle_ahead: bool | None = None,
) -> BasePool:
    """A Gymnasium `VectorEnv` over environments of one task (`BasePool` describes what it returns).

    The defaults are the paper's: sparse reward, 1 in the step that succeeds, which ends the episode; 100
    agent steps of two simulation steps. Meta-World's original is `reward="dense"`,
    `terminate_on_success=False`, `action_repeat=1`, `max_episode_steps=500`.

    Args:
        task: name such as `metaworld/assembly` or `assembly`; `list_tasks()` gives all.
        num_envs: environments in the pool.
        seed: decides every start and goal; environment i gets its own stream, `derive_env_seed(seed, i)`.
        observation: `state` (float32 [39]), `pixels` (the cameras, uint8 [3, H, W]) or `both`.
        cameras: camera names of the task's model; the first one also serves `render`.
        image_size: height and width in pixels.
        action_repeat: simulation steps (12.5 ms each) per agent step; stops at a success that ends it.
        max_episode_steps: agent steps after which an episode is truncated.
        backend: `reference` steps the published Python environments, `native` the C++ pool, equal to them bit
            for bit; `auto` takes the native one for the tasks that it has. The native pool returns views of
            its own buffers, valid during the next call: copy what must live longer.
        num_threads: threads of the native pool; the reference pool has one.
        reward: `sparse` (1 on success) or `dense` (the published reward, summed over the repeated actions).
        terminate_on_success: whether success ends the episode.
        fixed_goals: every environment repeats the start and goal that its seed draws first.
        autoreset: `same_step` (Gymnasium's SAME_STEP), `next_step` or `disabled`.
        camera_positions: positions in metres that replace the model's; None moves `corner2` to
            [0.75, 0.075, 0.7]; {} moves none.
        camera_quaternions: orientations (w, x, y, z) that replace the model's; a camera looks along its -z.
        frame_stack: observations hold the last k frames, newest first, an episode's first one repeated: state
            [k * 39], pictures [k * 3, H, W]. A number for all keys, or a number by key (the others: 1).
        channels_last: pictures [H, W, k * 3] instead of [k * 3, H, W].
        shadows: render shadows and smooth edges (slow in software).
        shadow_size: with shadows, side of the shadow map in pixels; 0 takes the model's own.
        multisample: samples per pixel; -1 takes none without shadows and the model's own with them.
        batch_size: native alone: results that one `recv` gives (default: all environments).
        pin_memory: native alone: results lie in page-locked memory, ready for asynchronous copies to a GPU
            (needs CUDA).
        render_device: native alone: index among EGL's devices; -1 takes the first GPU that works, then
            software.
        settle_ahead: native alone: threads without work settle the scene of each environment's next episode,
            so that its reset is a copy. Changes no result; tasks whose scenes all settle alike need no such
            work. None: where episodes follow by themselves and more than one thread may run.

    Errors:
        ValueError: unknown task (lists the valid ones), camera or option; native backend not in this build.
        RuntimeError: pictures are asked for and no OpenGL works; names the packages to install.
    """
    info = resolve_task(task)
    positions = DEFAULT_CAMERA_POSITIONS if camera_positions is None else camera_positions
    options = PoolOptions(
        num_envs=num_envs,
        seed=seed,
        observation=observation,
        cameras=cameras,  # type: ignore[arg-type]
        image_size=image_size,
        action_repeat=action_repeat,
        max_episode_steps=max_episode_steps,
        reward=reward,
        terminate_on_success=terminate_on_success,
        fixed_goals=fixed_goals,
        autoreset=autoreset,
        camera_positions=positions,
        camera_quaternions={} if camera_quaternions is None else camera_quaternions,
        frame_stack=frame_stack,
        channels_last=channels_last,
        shadows=shadows,
        shadow_size=shadow_size,
        multisample=multisample,
        num_threads=num_threads,
    )
    native_options = NativeOptions(
        batch_size=batch_size,
        pin_memory=pin_memory,
        render_device=render_device,
        settle_ahead=settle_ahead,
    )
    check_choice("backend", backend, get_args(Backend))
    if backend == "auto":
        backend = "native" if _has_native(info.name) else "reference"
    if backend == "reference":
        native_options.check_unused("reference")
        return ReferencePool(info, options)
    try:
        from ibrl_fast.envs.env_pool import NativePool
    except ImportError as error:
        raise ArgumentError(
            f"backend: expected 'reference', got 'native', which is not installed ({error})"
        ) from error
    pool: BasePool = NativePool(info, options, native_options)
    return pool


def _has_native(task: str) -> bool:
    """Whether this installation has the native backend, and that backend the task."""
    try:
        from ibrl_fast.envs.env_pool import list_native_tasks
    except ImportError:
        return False
    return task in list_native_tasks()
