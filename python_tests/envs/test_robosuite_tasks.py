"""Names and facts of robosuite's tasks, which need no robosuite."""

import numpy as np
import pytest

from ibrl_fast.envs import TaskNotAvailableError, resolve_task
from ibrl_fast.envs.registry import find_suite, full_name
from ibrl_fast.training.presets import preset


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("robosuite/can", "robosuite/can"),
        ("can", "robosuite/can"),
        ("PickPlaceCan", "robosuite/can"),
        ("robosuite/PickPlaceCan", "robosuite/can"),
        ("square", "robosuite/square"),
        ("robosuite/NutAssemblySquare", "robosuite/square"),
        ("Lift", "robosuite/lift"),
    ],
)
def test_tasks_go_by_their_own_and_by_robosuites_names(name, expected):
    assert resolve_task(name).name == full_name(name) == expected


def test_an_alias_belongs_to_its_suite():
    assert full_name("metaworld/PickPlaceCan") == "metaworld/PickPlaceCan"
    with pytest.raises(ValueError, match="unknown name"):
        resolve_task("metaworld/PickPlaceCan")
    with pytest.raises(TaskNotAvailableError):
        resolve_task("robot/lift")


@pytest.mark.parametrize("name", ["robomimic_state", "robomimic_pixel"])
def test_presets_find_their_task(name):
    assert preset(name).env.task == "robosuite/can"


@pytest.mark.parametrize(("name", "size"), [("lift", 19), ("can", 23), ("square", 23)])
def test_vectors_are_joined_of_robomimics_entries(name, size):
    info = resolve_task(name)
    assert {key: len(units) for key, units in info.observations.items()} == {"state": size, "proprio": 9}
    state = np.arange(size)
    parts = info.split("state", state)
    assert list(parts) == ["robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object"]
    np.testing.assert_array_equal(np.concatenate(list(parts.values())), state)
    proprio = np.concatenate(list(info.split("proprio", state[:9]).values()))
    np.testing.assert_array_equal(proprio, state[:9])


def test_published_files_lie_where_the_hub_has_them():
    datasets = find_suite("robosuite").datasets
    assert set(datasets) == {f"{task}-{kind}" for task in ("lift", "can", "square") for kind in ("ph", "mh")}
    assert datasets["can-ph"].path == "v1.5/can/ph/low_dim_v15.hdf5"
    assert (datasets["can-ph"].episodes, datasets["square-mh"].episodes) == (200, 300)
