"""The Robotiq driver against simulated registers, and the thread in which the newest command wins."""

from __future__ import annotations

import threading

import pytest
from simulated_robotiq import SimulatedRobotiq, crc16

from ibrl_fast.robot import ManualClock, MonotonicClock, RobotError
from ibrl_fast.robot.adapters.robotiq import RobotiqGripper, checksum
from ibrl_fast.robot.gripper import GripperThread


def test_frames_as_in_the_manual() -> None:
    # activation request, status request and their checksums as printed there
    assert (
        bytes.fromhex("0910 03E8 0003 06 0000 0000 0000").hex()
        + checksum(bytes.fromhex("091003E80003060000 00000000".replace(" ", ""))).hex()
        == "091003e800030600000000000073" + "30"
    )
    for text in ("123456789", "", "\xff\x00"):
        data = text.encode("latin1")
        assert int.from_bytes(checksum(data), "little") == crc16(data)
    assert crc16(b"123456789") == 0x4B37  # the check value of CRC-16/MODBUS


def test_activation_motion_and_contact() -> None:
    port = SimulatedRobotiq(object_at=120)
    gripper = RobotiqGripper(port, clock=ManualClock(), force=30, speed=100)
    assert gripper.connect() == 0.085
    assert port.activation == 3 and gripper.width() == 0.085
    gripper.move(0.0)
    assert list(port.outputs) == [0x09, 0, 0, 255, 100, 30]
    widths = [gripper.width() for _ in range(5)]
    assert widths == sorted(widths, reverse=True)
    # the block is held: static, and wider than commanded
    assert widths[-1] == widths[-2] == pytest.approx(0.085 * (1 - 120 / 255))
    assert gripper.status().contact == 2 and gripper.status().requested == 255
    gripper.move(0.085)
    assert [gripper.width() for _ in range(5)][-1] == 0.085
    gripper.move(0.0)
    gripper.stop()
    before = gripper.width()
    assert gripper.width() == gripper.width() == before
    gripper.move(9.9)
    assert port.outputs[3] == 0
    gripper.close()
    assert port.is_closed


def test_an_active_gripper_is_not_activated_again() -> None:
    port = SimulatedRobotiq()
    port.activation, port.position = 3, 100
    RobotiqGripper(port, clock=ManualClock()).connect()
    assert [frame[1] for frame in port.frames] == [3]


def test_faults_are_errors() -> None:
    port = SimulatedRobotiq()
    gripper = RobotiqGripper(port, clock=ManualClock())
    gripper.connect()
    port.is_silent = True
    with pytest.raises(RobotError, match="expected an answer of 11 bytes, got none"):
        gripper.width()
    port.is_silent, port.is_garbled = False, True
    with pytest.raises(RobotError, match="expected an answer"):
        gripper.move(0.0)
    port.is_garbled, port.fault = False, 0x0E
    with pytest.raises(RobotError, match="fault 0x0e, overcurrent"):
        gripper.width()
    port.fault = 0
    # another register than the gripper has
    with pytest.raises(RobotError, match="Modbus exception 2"):
        gripper._ask(bytes([9, 4, 0, 0, 0, 1]), 7)
    gripper.close()
    with pytest.raises(RobotError, match="connected"):
        gripper.width()
    stuck = SimulatedRobotiq()
    stuck._tick = lambda: None  # type: ignore[method-assign]
    with pytest.raises(RobotError, match="expected to be active within"):
        RobotiqGripper(stuck, clock=ManualClock()).connect()


def test_the_newest_command_wins() -> None:
    port = SimulatedRobotiq()
    port.activation = 3
    thread = GripperThread(RobotiqGripper(port, clock=ManualClock()), ManualClock())
    thread._gripper.connect()
    for width in (0.01, 0.02, 0.03, 0.0425):
        thread.move(width)
    assert thread.state().target == 0.0425  # known at once
    port.frames.clear()
    thread.step()
    writes = [frame for frame in port.frames if frame[1] == 16]
    assert len(writes) == 1 and writes[0][10] == 128  # one write, the newest
    thread.step()
    assert len([frame for frame in port.frames if frame[1] == 16]) == 1  # and only once
    # a stop takes back what was not sent
    thread.move(0.0)
    thread.stop()
    thread.step()
    assert port.outputs[0] == 1


def test_a_command_waits_for_a_gripper_that_takes_one_at_a_time() -> None:
    port = SimulatedRobotiq()
    port.activation = 3
    gripper = RobotiqGripper(port, clock=ManualClock())
    thread = GripperThread(gripper, ManualClock())
    is_ready = False
    gripper.is_ready = lambda: is_ready  # type: ignore[method-assign]
    for width in (0.01, 0.02, 0.0425):
        thread.move(width)
        thread.step()
    assert not [frame for frame in port.frames if frame[1] == 16]
    is_ready = True
    thread.step()
    writes = [frame for frame in port.frames if frame[1] == 16]
    assert len(writes) == 1 and writes[0][10] == 128
    # a stop does not wait
    is_ready = False
    thread.stop()
    thread.step()
    assert port.outputs[0] == 1


def test_the_thread_measures_and_reports_errors() -> None:
    port = SimulatedRobotiq(speed=255)
    thread = GripperThread(RobotiqGripper(port), pause=0.001)
    thread.start()
    assert thread.max_width == 0.085
    thread.move(0.0)
    clock = MonotonicClock()
    end = clock.now() + 30.0
    while thread.state().width > 0.0:
        assert clock.now() < end
        clock.sleep(0.002)
    assert thread.state().time <= clock.now()
    port.is_silent = True
    with pytest.raises(RobotError, match="gripper: gripper: expected an answer"):
        while clock.now() < end:
            thread.state()
            clock.sleep(0.002)
    thread.close()
    assert port.is_closed
    assert not any(thread.name == "gripper" for thread in threading.enumerate())
