"""Three hundred damaged copies of every kind of file: refused with one message, or read as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demonstration_files import make_demo

from ibrl_fast.data import read_demonstrations, write_demonstrations
from ibrl_fast.deploy import ObservationContract, ObservationField
from ibrl_fast.deploy.export import export_torchscript, make_policy_module
from ibrl_fast.deploy.policy import load_policy
from ibrl_fast.errors import UserError
from ibrl_fast.files import read_json, write_json
from ibrl_fast.nn.policies import RL_SOURCE, SinglePolicy
from ibrl_fast.training.records.checkpoint import load_checkpoint, save_checkpoint
from ibrl_fast.training.records.metrics import MetricsLogger, read_metrics

COPIES = 300


def damage(whole: bytes, rng: np.random.Generator, number: int) -> bytes:
    """One of six kinds in turn: a bit, a byte, an exponent's bits, a burst, zeros, a part missing."""
    damaged = bytearray(whole)
    start = int(rng.integers(len(whole)))
    kind = number % 6
    if kind == 0:
        damaged[start] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        damaged[start] = (damaged[start] + int(rng.integers(1, 256))) % 256
    elif kind == 2:
        for place in range(start, min(start + 4096, len(whole)), 4):
            damaged[place] ^= 0x40
    elif kind == 3:
        length = len(damaged[start : start + 64])
        damaged[start : start + 64] = rng.bytes(length)
    elif kind == 4:
        length = len(damaged[start : start + 512])
        damaged[start : start + 512] = bytes(length)
    else:
        del damaged[start : start + int(rng.integers(1, len(whole)))]
    return bytes(damaged)


def plain(value: Any) -> Any:
    """Nested content with its bytes, for comparing."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().view(torch.uint8).numpy().tobytes())
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


# ---- every kind of file: how it is written, and what is read from it


def write_checkpoint(path: Path) -> None:
    tensors = {f"layer{n}": torch.randn(50, n + 1) for n in range(8)}
    save_checkpoint(
        path, {"agent": tensors, "config": '{"seed": 1}', "counters": {"rounds": 12, "rate": 0.5}}
    )


def write_policy(path: Path) -> None:
    contract = ObservationContract({"state": ObservationField((5,), "float32")}, 5)
    export_torchscript(make_policy_module(SinglePolicy(StateLayer(), RL_SOURCE), contract), path)


class StateLayer(torch.nn.Module):
    """The smallest actor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(5, 5)

    def forward(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.tanh(self.layer(obs["state"]))


def read_policy(path: Path) -> Any:
    policy = load_policy(path)
    obs = {"state": torch.linspace(-1, 1, 15).reshape(3, 5)}
    return [policy.act(obs), policy.contract.to_json()]


def write_demos(path: Path) -> None:
    write_demonstrations(path, [make_demo(0, 5), make_demo(1, 9)], {"env_name": "x"}, masks={"one": [1]})


def read_demos(path: Path) -> Any:
    read = [read_demonstrations(path), read_demonstrations(path, filter_key="one")]
    return [[[vars(demo) for demo in demos], demos.env_args] for demos in read]


def write_config(path: Path) -> None:
    write_json(path, {"seed": 1, "env": {"task": "assembly", "gamma": 0.99}, "hidden": [8, 8], "label": None})


def write_metrics(path: Path) -> None:
    logger = MetricsLogger(path.parent, tensorboard=False)
    for number in range(12):
        logger.log("train", 100 * number, {"critic_loss": 0.1 * number, "q": None, "counts": [1, 2]})
    logger.close()


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "checkpoint.pt": (write_checkpoint, load_checkpoint),
    "policy.pt": (write_policy, read_policy),
    "demos.hdf5": (write_demos, read_demos),
    "config.json": (write_config, read_json),
    "metrics.jsonl": (write_metrics, read_metrics),
}


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_never_believed(tmp_path: Path, name: str) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    torch.manual_seed(0)
    write(path)
    whole, content, rng = path.read_bytes(), plain(read(path)), np.random.default_rng(0)
    refused = 0
    for number in range(COPIES):
        damaged = damage(whole, rng, number)
        path.write_bytes(damaged)
        try:
            found = plain(read(path))
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error), f"copy {number}: {error}"
            refused += 1
            continue
        if name == "metrics.jsonl" and whole.startswith(damaged):
            # cut off, as by a crash: what is left is the beginning of the same
            assert found == content[: len(found)] and len(found) >= damaged.count(b"\n"), f"copy {number}"
        else:
            assert found == content, f"copy {number}"
    assert refused > COPIES // 5


def test_every_flipped_exponent_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.ones(1024)})
    whole = path.read_bytes()
    path.write_bytes(
        whole.replace(torch.ones(1024).numpy().tobytes(), torch.full((1024,), 2.0).numpy().tobytes())
    )
    assert path.read_bytes() != whole
    with pytest.raises(UserError, match=rf"checkpoint {path}: .* a wrong checksum in its record data/0$"):
        load_checkpoint(path)


# ---- JSON


def test_json_by_hand_and_older(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_json(path, {"a": 1.0, "b": [1, None, "ü"]})
    content = json.loads(path.read_text())
    assert list(content) == ["a", "b", "crc32"]

    # another layout of the same content, and the content of an older version
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read_json(path) == {"a": 1.0, "b": [1, None, "ü"]}
    path.write_text('{"a": 2}')
    assert read_json(path) == {"a": 2}

    path.write_text(json.dumps(content | {"a": 2.0}))
    with pytest.raises(UserError) as caught:
        read_json(path)
    assert str(caught.value) == (
        f"{path}: expected content that fits its crc32, got other content: damaged, or edited by hand "
        "(then remove its crc32)"
    )


@pytest.mark.parametrize(
    "text", [b"", b"3", b"[1]", b"\xff{}", b"{", b'{"a": ' + b"9" * 5000 + b"}", b"[" * 10**5]
)
def test_what_is_no_json_object(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(UserError, match=rf"^{tmp_path}/a.json: expected a JSON object, got ") as caught:
        read_json(tmp_path / "a.json")
    assert len(str(caught.value)) < 300


# ---- metrics


def record(env_steps: int) -> str:
    return json.dumps({"kind": "train", "env_steps": env_steps, "critic_loss": 0.5})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"3", "expected a JSON object, got int"),
        (b"", "expected a JSON object, got Expecting value"),
        (b'{"kind": "train", "env_st', "expected a JSON object, got Unterminated string"),
        (b'{"kind": "\xff", "env_steps": 1}', "expected a JSON object, got bytes that are no UTF-8 at 10"),
        (b'{"kind": "train"}', "expected a kind and env_steps, got 'train' and None"),
        (b'{"kind": 3, "env_steps": 1}', "expected a kind and env_steps, got '3' and 1"),
        (b'{"kind": "train", "env_steps": "1"}', "expected a kind and env_steps, got 'train' and str"),
        (b'{"kind": "train", "env_steps": 1' + b"0" * 400 + b"}", "an integer of more than 64 bits"),
        (
            b'{"kind": "train", "env_steps": 1' + b"0" * 5000 + b"}",
            "expected a JSON object, got Exceeds the limit",
        ),
        (
            b'{"kind": "train", "env_steps": 1, "q": 1' + b"0" * 400 + b"}",
            "q: expected a number or null, got an int",
        ),
        (b'{"kind": "train", "env_steps": 1, "q": "x"}', "q: expected a number or null, got str"),
        (b'{"kind": "train", "env_steps": 1, "q": [{}]}', "q: expected a number or null, got dict"),
        (b"[" * 100_000, "expected a JSON object, got too many brackets"),
    ],
)
def test_bad_line_in_metrics_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join([record(1).encode(), line, record(2).encode(), b""]))
    with pytest.raises(UserError) as caught:
        read_metrics(path)
    assert str(caught.value).startswith(f"{path}: line 2: ") and message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_last_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    """Wherever it was cut; with a checksum and, as in older files, without."""
    write_metrics(tmp_path / "metrics.jsonl")
    sealed = (tmp_path / "metrics.jsonl").read_bytes()
    older = (record(1) + "\n" + record(2) + "\n").encode()
    for whole in (older, sealed):
        (tmp_path / "metrics.jsonl").write_bytes(whole)
        records = read_metrics(tmp_path)
        begin = whole[:-1].rindex(b"\n") + 1
        for end in range(begin, len(whole)):
            (tmp_path / "metrics.jsonl").write_bytes(whole[:end])
            complete = end >= len(whole) - 1
            assert read_metrics(tmp_path) == (records if complete else records[:-1]), end


def test_resuming_without_room_leaves_the_metrics(tiny_disk: Path) -> None:
    logger = MetricsLogger(tiny_disk, tensorboard=False)
    for number in range(33):
        logger.log("train", number, {"values": list(range(200))})
    before = (tiny_disk / "metrics.jsonl").read_bytes()
    with (tiny_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space"):
        filler.write(bytes(1 << 20))
    with pytest.raises(UserError, match=f"{tiny_disk}/metrics.jsonl: No space left on device; make room"):
        MetricsLogger(tiny_disk, kept=13, env_steps=12, tensorboard=False)
    assert (tiny_disk / "metrics.jsonl").read_bytes() == before

    # a record that finds no room leaves no part of a line, and the file may be closed
    with pytest.raises(UserError, match=f"{tiny_disk}/metrics.jsonl: No space left on device; make room"):
        for number in range(100):
            logger.log("train", 33 + number, {"values": list(range(200))})
    logger.close()
    assert (tiny_disk / "metrics.jsonl").read_bytes().startswith(before)
    assert (tiny_disk / "metrics.jsonl").read_bytes().endswith(b"}\n")
    (tiny_disk / "filler").unlink()
    MetricsLogger(tiny_disk, kept=13, env_steps=12, tensorboard=False).close()
    assert len(read_metrics(tiny_disk)) == 13
