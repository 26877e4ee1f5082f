"""Task names and facts."""

import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from ibrl_fast.envs import TaskNotAvailableError, list_tasks, make_pool, resolve_task
from ibrl_fast.envs.metaworld.tasks import count_objects, published_name


def test_lists_every_published_task_with_the_papers_first():
    names = list_tasks()
    assert names[:4] == (
        "metaworld/assembly",
        "metaworld/box-close",
        "metaworld/coffee-push",
        "metaworld/stick-pull",
    )
    names = [name for name in names if resolve_task(name).suite == "metaworld"]
    assert {published_name(resolve_task(name)) for name in names} == set(ALL_V3_ENVIRONMENTS)
    assert len(names) == len(set(names)) == 50


def test_short_and_full_names_are_the_same_task():
    assert resolve_task("assembly") == resolve_task("metaworld/assembly")
    assert resolve_task("assembly").short_name == "assembly"


@pytest.mark.parametrize("name", ["robot/lift", "real_robot/drawer", "hang", "ToolHang"])
def test_planned_suites_are_said_to_be_unavailable(name):
    with pytest.raises(TaskNotAvailableError, match="not available yet"):
        make_pool(name)


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match=r"did you mean 'metaworld/assembly'.*metaworld/stick-pull") as error:
        resolve_task("asembly")
    assert not isinstance(error.value, TaskNotAvailableError)
    with pytest.raises(TypeError, match="task: expected str"):
        resolve_task(3)


def test_state_scale_masks_quaternions_previous_frame_and_unused_objects(published):
    for name in ("assembly", "stick-pull", "hammer", "door-open"):
        info = resolve_task(name)
        scale = info.scale_of("state")
        # the published environment tells how many objects it observes
        env = published(published_name(info), 0)
        env.reset()
        num_objects = env._get_pos_objects().size // 3
        expected = np.zeros(39, np.float32)
        expected[[0, 1, 2]], expected[3], expected[36:] = 0.1, 0.3, 0.1
        for index in range(num_objects):
            expected[4 + 7 * index : 7 + 7 * index] = 0.1
        np.testing.assert_array_equal(scale, expected)
        assert scale.dtype == np.float32


@pytest.mark.slow
def test_number_of_objects_holds_for_every_task(published):
    for name in list_tasks():
        info = resolve_task(name)
        if info.suite != "metaworld":
            continue
        env = published(published_name(info), 0)
        assert env._get_pos_objects().size // 3 == count_objects(info), name
