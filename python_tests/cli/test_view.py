"""`ibrl-fast view`: numbers as in the file, pictures as they were stored or as the environment draws them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
from cli_helpers import fails
from demonstration_files import make_demo

from ibrl_fast import collect_demonstrations, make_pool, read_demonstrations, write_demonstrations
from ibrl_fast.cli import main
from ibrl_fast.data import Demonstration
from ibrl_fast.envs.rendering import RenderingUnavailableError, check_rendering
from ibrl_fast.training.viewing.pictures import StoredPictures
from ibrl_fast.training.viewing.sheet import STEP_HEIGHT, TITLE_HEIGHT, cell_origin

Capsys = pytest.CaptureFixture[str]
Look = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures go to a folder of the test's own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def look(capsys: Capsys) -> Look:
    """Runs the command with --json and returns what it prints."""

    def run(*arguments: object) -> dict[str, Any]:
        main(["view", *map(str, arguments), "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three demonstrations with images, one of which fails, some of whose actions are at a bound."""
    demos = [make_demo(number, 5 + number, success=number != 1) for number in range(3)]
    actions = demos[2].actions.copy()
    actions[:3, 0], actions[0, 1] = 1.0, -1.0
    demos[2] = make_demo(2, 7, actions=actions)
    write_demonstrations(tmp_path / "mine.hdf5", demos, {"env_name": "x", "env_kwargs": {"control_freq": 20}})
    return tmp_path / "mine.hdf5"


def without(demo: Demonstration, *keys: str, **changes: Any) -> Demonstration:
    observations = {key: value for key, value in demo.observations.items() if key not in keys}
    fields = {name: getattr(demo, name) for name in ("actions", "rewards", "terminated", "truncated")}
    return Demonstration(**{"observations": observations, **fields, **changes})


# ---- numbers


def test_facts_are_those_of_the_file(file: Path, look: Look) -> None:
    found = look(file)
    with h5py.File(file) as stored:
        groups = [stored[f"data/demo_{number}"] for number in range(3)]
        actions = [group["actions"][()].astype(np.float64) for group in groups]
        starts = np.stack(
            [np.concatenate([group["obs/state"][0], group["obs/proprio"][0]]) for group in groups]
        )
        rewards = [float(group["rewards"][()].sum()) for group in groups]
    episodes = found["episodes"]
    assert [episode["episode"] for episode in episodes] == [0, 1, 2]
    assert [episode["steps"] for episode in episodes] == [5, 6, 7] and found["steps"] == 18
    assert [episode["success"] for episode in episodes] == [True, False, True] and found["successes"] == 2
    assert [episode["episode_return"] for episode in episodes] == rewards == [1.0, 0.0, 1.0]
    assert found["mean_return"] == pytest.approx(2 / 3)
    for episode, values in zip(episodes, actions, strict=True):
        assert episode["action_min"] == values.min(axis=0).tolist()
        assert episode["action_max"] == values.max(axis=0).tolist()
    assert episodes[2]["saturated"] == pytest.approx(4 / 28) and episodes[0]["saturated"] == 0.0
    assert found["action_saturated"] == pytest.approx([3 / 18, 1 / 18, 0, 0])
    assert found["action_mean"] == pytest.approx(np.concatenate(actions).mean(axis=0).tolist())
    assert found["initial_std"]["state"] == pytest.approx(starts[:, :7].std(axis=0), rel=1e-5)
    distances = np.sqrt(((starts - starts.mean(axis=0)) ** 2).sum(axis=1))
    # the order of the vectors does not change a distance
    assert [episode["start_distance"] for episode in episodes] == pytest.approx(distances, rel=1e-5)


def test_the_table_has_them_too(file: Path, capsys: Capsys, own_folder: Path) -> None:
    main(["view", str(file)])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.split()}
    assert max(map(len, lines[:25])) <= 80
    table = [line.split() for line in lines if re.match(r" +\d +\d+ +(yes|no) ", line)]
    assert [row[:4] for row in table] == [
        ["0", "5", "yes", "1"],
        ["1", "6", "no", "0"],
        ["2", "7", "yes", "1"],
    ]
    assert rows["all"][:5] == ["all", "3", "18", "2", "(67%)"]
    for name in ("signals.png", "contact_sheet.png", "demonstrations.mp4"):
        assert (own_folder / "views" / "mine" / name).is_file() and f"views/mine/{name}" in lines


def test_a_file_for_imitation_alone_is_not_judged(tmp_path: Path, file: Path, look: Look) -> None:
    with h5py.File(file, "r+") as stored:
        for number in range(3):
            del stored[f"data/demo_{number}/rewards"]
        stored.visititems(lambda _, item: item.attrs.pop("crc32", None) and None)
    found = look(file, "--episodes", "0")
    assert found["successes"] is None and found["mean_return"] is None
    assert "they serve imitation alone" in found["notes"][0]


# ---- pictures


def tiles(sheet: np.ndarray, rows: int, columns: int, height: int, width: int) -> list[list[np.ndarray]]:
    origins = [[cell_origin(row, column, height, width) for column in range(columns)] for row in range(rows)]
    return [[sheet[y : y + height, x : x + width] for y, x in row] for row in origins]


def test_stored_images_are_enlarged_and_nothing_else(file: Path, look: Look) -> None:
    found = look(file, "--episodes", "0", "2", "--size", "24", "--fps", "10")
    sheet = imageio.imread(found["files"][1])
    film = imageio.imread(found["files"][2])
    assert imageio.immeta(found["files"][2])["fps"] == 10
    with h5py.File(file) as stored:
        # images of 6 x 8 pixels: enlarged three times
        frames = []
        for number in (0, 2):
            group = stored[f"data/demo_{number}"]
            images = np.concatenate([group["obs/corner2_image"][()], group["next_obs/corner2_image"][-1:]])
            frames.append(np.kron(images, np.ones((1, 3, 3, 1), np.uint8)))
    assert sheet.shape[0] == 4 + 2 * (TITLE_HEIGHT + 18 + STEP_HEIGHT + 4)
    for row, (shown, images) in enumerate(zip(tiles(sheet, 2, 8, 18, 24), frames, strict=True)):
        steps = [0, 1, 2, 3, 4, 5] if row == 0 else range(8)
        for picture, step in zip(shown, steps):
            np.testing.assert_array_equal(picture, images[step])
    # each episode ends on half a second of its last frame
    assert film.shape == (6 + 5 + 8 + 5, 18 + TITLE_HEIGHT, 24, 3)
    error = np.abs(film[8 + 5, TITLE_HEIGHT:].astype(int) - frames[1][2]).mean()
    other = np.abs(film[8 + 5, TITLE_HEIGHT:].astype(int) - frames[0][2]).mean()
    assert error < other


def needs_rendering() -> None:
    try:
        check_rendering()
    except RenderingUnavailableError as error:
        pytest.skip(str(error))


def test_states_are_drawn_as_the_environment_was(tmp_path: Path, look: Look) -> None:
    """The same pictures come from a pool that is led through the episode by its seed and actions."""
    needs_rendering()
    demos = collect_demonstrations("coffee-push", 1, seed=5)
    write_demonstrations(tmp_path / "demos.hdf5", demos, demos.env_args)
    found = look(tmp_path / "demos.hdf5", "--size", "64", "--out", tmp_path / "out")
    assert "pictures are drawn from stored states, camera corner2" in found["notes"]
    (demo,) = read_demonstrations(tmp_path / "demos.hdf5")
    pool = make_pool("coffee-push")
    pool.reset(seed=[demo.seed])
    frames = []
    for action in demo.actions:
        frames.append(pool.render_frames(image_size=64)[0].copy())
        pool.step(action[None])
    steps = np.linspace(0, len(frames) - 1, 8).round().astype(int)
    ((*shown,),) = tiles(imageio.imread(tmp_path / "out" / "contact_sheet.png"), 1, 8, 64, 64)
    for picture, step in zip(shown, steps, strict=True):
        np.testing.assert_array_equal(picture, frames[step])
    # two control steps of 12.5 ms each
    assert imageio.immeta(tmp_path / "out" / "demonstrations.mp4")["fps"] == 40


def test_a_camera_that_is_not_stored_is_drawn(tmp_path: Path, look: Look, capsys: Capsys) -> None:
    needs_rendering()
    demos = collect_demonstrations("reach", 1, seed=5, observation="both", image_size=32)
    write_demonstrations(tmp_path / "demos.hdf5", demos, demos.env_args)
    flags = ("--size", "32")
    stored = look(tmp_path / "demos.hdf5", *flags)
    assert "pictures are stored images of corner2, 32 x 32 pixels" in stored["notes"]
    other = look(tmp_path / "demos.hdf5", *flags, "--camera", "topview")
    assert "pictures are drawn from stored states, camera topview" in other["notes"]
    assert Path(other["files"][1]).parent.name == "demos_2"
    first, second = (tiles(imageio.imread(found["files"][1]), 1, 1, 32, 32) for found in (stored, other))
    assert np.abs(first[0][0].astype(int) - second[0][0]).mean() > 5
    message = fails(capsys, "view", str(tmp_path / "demos.hdf5"), "--camera", "nowhere")
    assert "cameras: expected names among " in message or "camera: expected" in message


@pytest.mark.parametrize(
    ("env_args", "states", "reason"),
    [
        ({}, False, "neither images nor simulator states are stored"),
        ({"env_name": "metaworld/assembly"}, True, "the layout of the stored states is not this package's"),
        (
            {"env_name": "gym:Evil-v0", "env_kwargs": {"state_layout": {"a": [11]}}},
            True,
            "their task gym:Evil-v0 cannot be drawn here",
        ),
    ],
)
def test_without_pictures_there_is_a_plot_and_one_line(
    tmp_path: Path,
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
    env_args: dict[str, Any],
    states: bool,
    reason: str,
) -> None:
    def build(*_: object, **__: object) -> None:
        raise AssertionError("an environment was built")

    monkeypatch.setattr("ibrl_fast.training.viewing.pictures.make_pool", build)
    demo = make_demo(0, 9)
    write_demonstrations(
        tmp_path / "x.hdf5", [without(demo, "corner2", states=demo.states if states else None)], env_args
    )
    found = look(tmp_path / "x.hdf5")
    assert [Path(name).name for name in found["files"]] == ["signals.png"]
    (note,) = found["notes"]
    assert note.startswith("no film and no contact sheet: ") and reason in note
    picture = imageio.imread(found["files"][0])[..., :3]
    assert picture.shape[1] > 800 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_states_of_another_layout_are_one_line(tmp_path: Path, look: Look) -> None:
    demo = make_demo(0, 9)
    layout = {"env_name": "metaworld/assembly", "env_kwargs": {"state_layout": {"physics": [11]}}}
    write_demonstrations(tmp_path / "x.hdf5", [without(demo, "corner2", states=demo.states)], layout)
    (note,) = look(tmp_path / "x.hdf5")["notes"]
    assert note.startswith("no film and no contact sheet: episode 0, step 0: state_layout: expected ")


def test_only_the_first_dozen_is_drawn_unless_more_are_chosen(tmp_path: Path, look: Look) -> None:
    demos = [make_demo(number, 2) for number in range(14)]
    write_demonstrations(tmp_path / "many.hdf5", demos)
    found = look(tmp_path / "many.hdf5", "--size", "16")
    assert len(found["episodes"]) == 14 and "drawn are the first 12 of 14 demonstrations" in found["notes"]
    chosen = look(tmp_path / "many.hdf5", "--size", "16", "--episodes", *range(14))
    assert not [note for note in chosen["notes"] if "drawn are" in note]
    rows = [(imageio.imread(each["files"][1]).shape[0] - 4) / 54 for each in (found, chosen)]
    assert rows == [12, 14]


# ---- where they are written


def test_nothing_is_overwritten_in_silence(file: Path, tmp_path: Path, look: Look, capsys: Capsys) -> None:
    flags = ("--episodes", "0", "--size", "16")
    first, second = look(file, *flags), look(file, *flags)
    assert [Path(found["files"][0]).parent for found in (first, second)] == [
        Path("views/mine"),
        Path("views/mine_2"),
    ]
    out = tmp_path / "out"
    look(file, *flags, "--out", out)
    before = (out / "contact_sheet.png").read_bytes()
    message = fails(capsys, "view", str(file), "--out", str(out), "--episodes", "1")
    expected = "folder without demonstrations.mp4, contact_sheet.png, signals.png"
    assert f"out: expected a {expected}, got {out}; --overwrite replaces them" in message
    assert (out / "contact_sheet.png").read_bytes() == before
    look(file, "--episodes", "1", "--size", "16", "--out", out, "--overwrite")
    assert (out / "contact_sheet.png").read_bytes() != before


def test_ctrl_c_leaves_what_was_written(
    file: Path, own_folder: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, calls = StoredPictures.frame, []

    def interrupted(self: StoredPictures, number: int, step: int) -> Any:
        calls.append((number, step))
        if len(calls) == 6 + 7 + 8 + 4:
            raise KeyboardInterrupt
        return frame(self, number, step)

    monkeypatch.setattr(StoredPictures, "frame", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["view", str(file), "--fps", "1"])
    assert end.value.code == 130
    captured = capsys.readouterr()
    assert "views/mine/contact_sheet.png" in captured.out and "interrupted" in captured.err
    folder = own_folder / "views" / "mine"
    assert sorted(path.name for path in folder.iterdir()) == [
        "contact_sheet.png",
        "demonstrations.mp4",
        "signals.png",
    ]
    assert len(imageio.imread(folder / "demonstrations.mp4")) == 3


# ---- what can be looked at


def test_a_runs_folder(tmp_path: Path, file: Path, look: Look) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    (run / "demos.hdf5").write_bytes(file.read_bytes())
    (run / "rollouts.mp4").write_bytes(b"film")
    found = look(run, "--episodes", "0", "--size", "16")
    assert found["source"] == str(run / "demos.hdf5") and Path(found["files"][0]).parent == Path("views/run")
    assert f"the run's evaluation is filmed in {run / 'rollouts.mp4'}" in found["notes"]


def test_a_minari_data_set(tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    minari_sets = pytest.importorskip("minari_sets", reason="the package minari is not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    minari_sets.create_arm("arm/mixed-v0", [minari_sets.arm_episode(1, 6, 3)])
    found = look("minari:arm/mixed-v0", "--camera", "wrist", "--size", "18")
    assert found["episodes"][0]["success"] is True and found["episodes"][0]["steps"] == 6
    assert Path(found["files"][0]).parent == Path("views/mixed-v0")
    wrist = minari_sets.arm_episode(1, 6, 3)["observations"]["wrist_image"].transpose(0, 2, 3, 1)
    (shown,) = tiles(imageio.imread(found["files"][1]), 1, 7, 16, 18)
    for picture, image in zip(shown, wrist, strict=True):
        np.testing.assert_array_equal(picture, np.kron(image, np.ones((2, 2, 1), np.uint8)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "3"], r"episodes: expected numbers in \[0, 2\], got \[3\]"),
        (["--episodes", "-1"], r"episodes: expected numbers of at least 0, got \[-1\]"),
        (["--size", "2"], "size: expected 16 to 2048, got 2"),
        (["--fps", "0"], "fps: expected 0.1 to 1000, got 0"),
        (["--camera", "side"], "camera: expected one of corner2, got side"),
        (["--out", "/dev/null/x"], "out: "),
    ],
)
def test_one_message(file: Path, capsys: Capsys, arguments: list[str], message: str) -> None:
    assert re.search(message, fails(capsys, "view", str(file), *arguments))


def test_what_is_not_there(tmp_path: Path, capsys: Capsys) -> None:
    assert "file: expected a file, got none" in fails(capsys, "view", str(tmp_path / "nothing.hdf5"))
    (tmp_path / "config.json").write_text("{}")
    message = fails(capsys, "view", str(tmp_path))
    assert f"view: expected a run's folder with demos.hdf5, got {tmp_path}" in message
