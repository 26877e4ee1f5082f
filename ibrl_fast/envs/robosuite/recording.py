"""The tasks in files of demonstrations: robomimic's `env_args`, rows of `states`, `model_file`, and back.

A row is [time, qpos, qvel]. What it lacks to decide the future is taken from the row before it, or as a reset
leaves it; an episode's first row is such a reset. Observations are of the row's own positions (robosuite's
running environment observes poses one physics step older).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.rng_words import generator_words
from ibrl_fast.envs.robosuite.model_store import find_model
from ibrl_fast.envs.robosuite.package import VERSION
from ibrl_fast.envs.robosuite.poses import pose_in_hand
from ibrl_fast.envs.robosuite.state import read_physics
from ibrl_fast.envs.robosuite.tasks import CONTROL_PERIOD, PROPRIO_DIM, published_of
from ibrl_fast.envs.suite import EnvState, TaskInfo
from ibrl_fast.errors import ArgumentError, expect

Vector = npt.NDArray[np.float64]

ROBOSUITE_TYPE = 1
"""robomimic's number for environments of robosuite."""

_CUBE_SIZE = re.compile(r'(<geom name="cube_g0(?:_vis)?"[^>]*? size=")([^"]*)(")')


class RobosuiteRecording:
    """How files hold one of the suite's tasks (`suite.Recording`)."""

    def __init__(self, task: TaskInfo) -> None:
        self._task = task
        self._stored = find_model(task)
        self._facts = self._stored.facts
        self._xml = self._stored.xml_path.read_text()
        self._model: mujoco.MjModel | None = None

    def env_args(self, options: PoolOptions) -> dict[str, Any]:
        """Return what robomimic and robosuite make the environment from."""
        kwargs: dict[str, Any] = {
            "robots": ["Panda"],
            "controller_configs": self._facts["controller_configs"],
            "control_freq": round(1 / CONTROL_PERIOD),
            "lite_physics": True,
            "use_object_obs": True,
            "reward_shaping": options.reward == "dense",
            "ignore_done": True,
            "has_renderer": False,
            "has_offscreen_renderer": bool(options.image_keys),
            "use_camera_obs": bool(options.image_keys),
            "camera_depths": False,
            "camera_heights": options.image_size,
            "camera_widths": options.image_size,
        }
        if options.image_keys:
            kwargs["camera_names"] = list(options.image_keys)
        return {
            "env_name": published_of(self._task).env_name,
            "env_version": VERSION,
            "type": ROBOSUITE_TYPE,
            "env_kwargs": kwargs,
        }

    def remarks(self, env_args: Mapping[str, Any]) -> tuple[str, ...]:
        """Say what differs in a file of an older robosuite."""
        version = env_args.get("env_version")
        if not isinstance(version, str) or not re.match(r"(0|1\.[0-4])(\.|$)", version):
            return ()
        recorded = f"recorded with robosuite {version}"
        lines = [f"{recorded}: actions played back in {VERSION} drift from the recorded states"]
        if len(self._facts["observation"]["object_layout"]) == 4:
            lines.append(
                f"{recorded}: `object` begins with the object's pose there, with the pose relative to the "
                f"hand in {VERSION}; `ibrl-fast demos convert` makes it anew from the states"
            )
        return tuple(lines)

    def row(self, state: EnvState) -> Vector:
        """Return [time, qpos, qvel]."""
        return np.array(state["physics"][: self._row_size], dtype=np.float64)

    def model_file(self, state: EnvState) -> str:
        """Return the MJCF, with the cube's present size."""
        if "cube_size" not in state:
            return self._xml
        size = " ".join(repr(float(value)) for value in state["cube_size"])
        return _CUBE_SIZE.sub(lambda match: match[1] + size + match[3], self._xml)

    def restore(self, row: Vector, model_file: str | None, previous: EnvState | None) -> EnvState:
        """Return the whole state from a row.

        Raises:
            ArgumentError: a row of another size, or a model without its cube.
        """
        expect(row.shape == (self._row_size,), "states", f"[{self._row_size}]", list(row.shape))
        if self._model is None:
            self._model = self._stored.load()
            self._data = mujoco.MjData(self._model)
        model, data, arm = self._model, self._data, self._facts["arm"]
        sizes = self._facts["sizes"]
        mujoco.mj_resetData(model, data)
        data.time = row[0]
        data.qpos[:] = row[1 : 1 + sizes["nq"]]
        data.qvel[:] = row[1 + sizes["nq"] :]
        mujoco.mj_kinematics(model, data)

        state: EnvState = {
            "physics": read_physics(model, data),
            "kinematics_qpos": data.qpos.copy(),
            "rng": generator_words(np.random.default_rng(0)),
            "observation": self._observe(data, previous),
        }
        if previous is None:
            state["initial_joint"] = data.qpos[arm["qpos"]].copy()
            state["gripper_action"] = np.zeros(2)
            state["control_steps"] = np.array(0, dtype=np.int64)
            if "cube" in self._facts:
                state["cube_size"] = self._cube_size(model_file)
            return state

        # fingers that stand still are where they were told to be
        gripper = self._facts["gripper"]
        low, high = np.array(gripper["ctrl_low"]), np.array(gripper["ctrl_high"])
        command = (2 * data.qpos[gripper["qpos"]] - low - high) / (high - low)
        state["gripper_action"] = np.clip(command, -1.0, 1.0)
        state["initial_joint"] = previous["initial_joint"]
        state["control_steps"] = previous["control_steps"] + 1
        if "cube" in self._facts:
            state["cube_size"] = previous["cube_size"]
        return state

    @property
    def _row_size(self) -> int:
        sizes = self._facts["sizes"]
        return int(1 + sizes["nq"] + sizes["nv"])

    def _observe(self, data: mujoco.MjData, previous: EnvState | None) -> Vector:
        """Return `state` as robosuite observes these poses after the observation of `previous`."""
        facts = self._facts["observation"]
        hand = data.site_xpos[facts["eef_site_id"]], data.xquat[facts["eef_body_id"]][[1, 2, 3, 0]]
        thing = data.xpos[facts["object_body_id"]], data.xquat[facts["object_body_id"]][[1, 2, 3, 0]]
        proprio = [*hand, data.qpos[self._facts["gripper"]["qpos"]]]
        if "cube" in self._facts:
            return np.concatenate([*proprio, *thing, thing[0] - hand[0]])
        if previous is None:
            return np.concatenate([*proprio, np.zeros(7), *thing])
        last = previous["observation"][PROPRIO_DIM + 7 :]
        return np.concatenate([*proprio, *pose_in_hand(hand, (last[:3], last[3:])), *thing])

    def _cube_size(self, model_file: str | None) -> Vector:
        """Return the half sizes of the cube in a model, the stored model's where there is none."""
        if model_file is None:
            return np.array(self._facts["cube"]["size"])
        match = _CUBE_SIZE.search(model_file) or re.search(
            r'(<geom (?=[^>]*name="cube_g0")[^>]*size=")([^"]*)(")', model_file
        )
        words = [] if match is None else match[2].split()
        try:
            size = np.array([float(word) for word in words])
        except ValueError:
            size = np.empty(0)
        if size.shape != (3,) or not ((size > 0) & (size < 1)).all():
            raise ArgumentError(f"model_file: expected a geom cube_g0 of three sizes in m, got {words}")
        return size
