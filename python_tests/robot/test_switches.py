"""Emergency stops and dead-man switches; time is a number."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ibrl_fast.errors import FileError
from ibrl_fast.robot import DeadManFile, KeyboardSwitch, RobotError, SocketSwitch, StopFile
from ibrl_fast.robot.switches import StopLatch


def test_stop_file(tmp_path: Path) -> None:
    switch = StopFile(tmp_path / "STOP")
    assert switch.check(0.0) is None
    (tmp_path / "STOP").symlink_to("nowhere")  # even a dangling link stops
    assert "STOP" in switch.check(1.0)
    (tmp_path / "STOP").unlink()
    assert switch.check(2.0) is None
    # what cannot be looked at stops
    (tmp_path / "file").touch()
    assert "Not a directory" in StopFile(tmp_path / "file" / "STOP").check(0.0)


def test_dead_man_file_counts_changes_not_the_time_of_day(tmp_path: Path) -> None:
    file = tmp_path / "ALIVE"
    switch = DeadManFile(file, 0.5)
    assert "No such file" in switch.check(0.0)
    file.touch()
    assert switch.check(1.0) is None
    assert switch.check(1.5) is None
    assert "not operated for 0.60 s" in switch.check(1.6)
    # any change counts, also a clock that was set back by years
    os.utime(file, (1.0, 1.0))
    assert switch.check(1.7) is None
    assert switch.check(2.3) is not None


def test_socket_switch(tmp_path: Path) -> None:
    path = tmp_path / "switch"
    switch = SocketSwitch(path, alive_within=0.5)
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(path))
        assert switch.check(0.0) is None
        sender.send(b"alive")
        assert switch.check(0.6) is None
        assert "not operated" in switch.check(1.2)
        sender.send(b"alive\n")
        assert switch.check(1.3) is None
        sender.send(b"stop\n")
        assert "stop" in switch.check(1.4)
        sender.send(b"alive")
        assert "stop" in switch.check(1.5)
        sender.send(b"release")
        assert switch.check(1.6) is None
        sender.send(os.urandom(60))  # anything else is a sign of life, no more
        assert switch.check(1.7) is None
    SocketSwitch(path).close()  # what a killed process left is replaced
    assert not path.exists()
    with pytest.raises(FileError, match="switch socket"):
        SocketSwitch(tmp_path / "none" / "switch")


def test_keyboard_switch() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as stream:
        switch = KeyboardSwitch(stream, alive_within=0.5)
        assert switch.check(0.0) is None
        os.write(writer, b"xx")
        assert switch.check(0.6) is None
        assert "not operated" in switch.check(1.2)
        os.write(writer, b"x ")
        assert switch.check(1.3) == "keyboard: stop"
        assert switch.check(1.4) == "keyboard: stop"
        os.write(writer, b"r")
        assert switch.check(1.5) is None
        os.close(writer)
        assert switch.check(1.6) == "keyboard: end of input"
        switch.close()


def test_a_terminal_comes_back_as_it_was() -> None:
    termios = pytest.importorskip("termios")
    outer, inner = os.openpty()
    with os.fdopen(inner, "r") as stream:
        before = termios.tcgetattr(inner)
        switch = KeyboardSwitch(stream)
        os.write(outer, b"q")  # no line end needed
        assert switch.check(0.0) == "keyboard: stop"
        switch.close()
        assert termios.tcgetattr(inner) == before
    os.close(outer)


def test_the_latch_keeps_the_first_reason(tmp_path: Path) -> None:
    one, other = tmp_path / "ONE", tmp_path / "OTHER"
    with StopLatch([StopFile(one), StopFile(other)]) as latch:
        assert latch.check(0.0) is None
        other.touch()
        assert "OTHER" in latch.check(1.0)
        other.unlink()
        one.touch()
        assert "OTHER" in latch.check(2.0)
        with pytest.raises(RobotError, match="ONE"):
            latch.release(3.0)
        one.unlink()
        assert "OTHER" in latch.check(4.0)
        latch.release(5.0)
        assert latch.check(6.0) is None
        latch.trip("a fault")
        assert latch.check(7.0) == "a fault"
