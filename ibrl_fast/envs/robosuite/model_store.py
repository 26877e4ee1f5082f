"""Models and facts of the tasks on disk: made once with robosuite, then loaded without it.

    <cache>/ibrl_fast/robosuite-1.5.2_mujoco-3.3.0_format-2/
        can-<crc32>.mjb     the compiled model, as a reset leaves it; the name holds its checksum
        can-<crc32>.xml     the same as MJCF, for files of demonstrations; meshes lie in robosuite's folder
        can.json            facts (`facts`), with file, bytes and crc32 of both, and a seal

`<cache>` is $XDG_CACHE_HOME or ~/.cache. The models are there before the JSON that names them, each file
appears whole, and what does not fit its checksum is made again: any number of processes may write at once.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.robosuite.facts import describe
from ibrl_fast.envs.robosuite.package import VERSION, hide_collision_geoms, make_published, quiet
from ibrl_fast.envs.robosuite.tasks import published_of
from ibrl_fast.envs.suite import TaskInfo
from ibrl_fast.errors import FileError
from ibrl_fast.files import read_json, user_cache_folder, write_bytes, write_json

FORMAT = 2
"""Of the files; what was written in another one is not looked at."""


@dataclass(frozen=True)
class StoredModel:
    """A task's model and facts."""

    path: Path
    """The compiled model (MJB)."""
    xml_path: Path
    """The model as MJCF."""
    facts: dict[str, Any]
    """As `facts.describe` says."""

    def load(self) -> mujoco.MjModel:
        """Load the model."""
        return mujoco.MjModel.from_binary_path(str(self.path))


def store_folder() -> Path:
    """Return the folder of this version's models, which need not be there."""
    return user_cache_folder() / f"robosuite-{VERSION}_mujoco-{mujoco.__version__}_format-{FORMAT}"


def find_model(task: TaskInfo) -> StoredModel:
    """Return a task's model, made with robosuite if no whole one is in the store.

    Raises:
        MissingPackageError, RobosuiteVersionError: it must be made, and robosuite cannot be used.
        FileError: the store cannot be written to.
    """
    folder = store_folder()
    stored = _read(folder, task)
    return _make(folder, task) if stored is None else stored


def _read(folder: Path, task: TaskInfo) -> StoredModel | None:
    """Return what is stored, or None where something is missing or damaged."""
    place = folder / f"{task.short_name}.json"
    if not place.is_file():
        return None
    try:
        facts = read_json(place)
        path, xml_path = _whole_file(folder, facts["model"]), _whole_file(folder, facts["xml"])
    except (FileError, OSError, KeyError, TypeError):
        return None
    return None if path is None or xml_path is None else StoredModel(path, xml_path, facts)


def _whole_file(folder: Path, entry: dict[str, Any]) -> Path | None:
    """Return the path of a file that fits what the facts say of it."""
    path = folder / str(entry["file"])
    content = path.read_bytes()
    is_whole = len(content) == entry["bytes"] and zlib.crc32(content) == entry["crc32"]
    return path if is_whole and path.parent == folder else None


def _make(folder: Path, task: TaskInfo) -> StoredModel:
    published = published_of(task)
    env = make_published(published.env_name, seed=0)
    try:
        # a reset hides what robosuite shows for debugging and puts the parts of the scene in place
        with quiet():
            env.reset()
        model = env.sim.model._model
        hide_collision_geoms(model)
        facts = describe(env, published)
        model_entry = _write(folder, task, ".mjb", _as_bytes(model))
        xml_entry = _write(folder, task, ".xml", _relative(env.sim.model.get_xml()).encode())
    finally:
        env.close()

    versions = {"format": FORMAT, "robosuite": VERSION, "mujoco": mujoco.__version__}
    whole = {"task": task.name, **versions, "model": model_entry, "xml": xml_entry, **facts}
    write_json(folder / f"{task.short_name}.json", whole)
    return StoredModel(folder / model_entry["file"], folder / xml_entry["file"], whole)


def _write(folder: Path, task: TaskInfo, suffix: str, content: bytes) -> dict[str, Any]:
    """Write a file under a name that its content decides; return what the facts say of it."""
    checksum = zlib.crc32(content)
    name = f"{task.short_name}-{checksum:08x}{suffix}"
    write_bytes(folder / name, content)
    return {"file": name, "bytes": len(content), "crc32": checksum}


def _as_bytes(model: mujoco.MjModel) -> bytes:
    content = np.zeros(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, content)
    return content.tobytes()


def _relative(xml: str) -> str:
    """Leave out where the package is installed; robosuite finds its files from the last `robosuite` on."""
    return re.sub(r'"[^"]*/robosuite/models/', '"robosuite/models/', xml)
