"""Robotiq 2F-85 and 2F-140 grippers over Modbus RTU (RS-485 on a serial port, 115200 baud, 8N1).

After Robotiq's instruction manual for the 2F series, section 4 (control): output registers from 0x03E8,
input registers from 0x07D0, slave 9. Modbus functions 3 (read holding registers) and 16 (write registers).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from ibrl_fast.errors import expect
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.extras import need
from ibrl_fast.robot.robot import RobotError

SLAVE = 9
OUTPUT, INPUT = 0x03E8, 0x07D0
ACTIVATE, GO_TO = 0x01, 0x08
"""Bits rACT and rGTO of the action request."""
ACTIVATED = 3
"""Value of gSTA once activation has ended."""

_READ, _WRITE = 3, 16
_FAULTS = {
    0x05: "reactivate it first",
    0x07: "activate it first",
    0x08: "too hot",
    0x09: "no communication for a second",
    0x0A: "too low a voltage",
    0x0B: "automatic release",
    0x0C: "internal fault",
    0x0D: "activation fault",
    0x0E: "overcurrent",
    0x0F: "automatic release ended",
}


class Port(Protocol):
    """What carries bytes: a `serial.Serial`, or a test's."""

    def write(self, data: bytes) -> object:
        """Send bytes."""

    def read(self, size: int) -> bytes:
        """Return that many bytes, or fewer where they do not come in time."""

    def reset_input_buffer(self) -> None:
        """Forget what came before."""

    def close(self) -> None:
        """Let go."""


@dataclass(frozen=True)
class RobotiqStatus:
    """The gripper's input registers."""

    is_active: bool
    """gACT."""
    activation: int
    """gSTA: 3 once activated."""
    contact: int
    """gOBJ: 0 moving, 1 stopped while opening, 2 stopped while closing (an object), 3 at the position."""
    fault: int
    """gFLT, low half: 0 for none."""
    requested: int
    """gPR, 0 open to 255 closed."""
    position: int
    """gPO, 0 open to 255 closed."""


class RobotiqGripper:
    """A `Gripper` (`ibrl_fast.robot.gripper`).

    Args:
        port: name of a serial port (`/dev/ttyUSB0`), or an open `Port`.
        max_width: when open, m: 0.085 or 0.14.
        speed, force: 0 to 255.
        timeout: longest wait for an answer, s.
        activation_timeout: longest wait for the activation, s.
        clock: of waiting.
    """

    def __init__(
        self,
        port: str | Port,
        *,
        max_width: float = 0.085,
        speed: int = 255,
        force: int = 60,
        timeout: float = 0.2,
        activation_timeout: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        expect(max_width > 0.0, "max_width", "> 0 m", max_width)
        for name, value in (("speed", speed), ("force", force)):
            expect(0 <= value <= 255, name, "0 to 255", value)
        self._port_or_name = port
        self._port: Port | None = None if isinstance(port, str) else port
        self._max_width, self._speed, self._force = max_width, speed, force
        self._timeout, self._activation_timeout = timeout, activation_timeout
        self._clock = clock or MonotonicClock()

    def connect(self) -> float:
        """Open the port and activate the gripper unless it is active; it opens and closes then."""
        if self._port is None:
            serial = need("serial", "pyserial")
            try:
                self._port = serial.Serial(self._port_or_name, 115200, timeout=self._timeout)
            except (serial.SerialException, OSError) as error:
                raise RobotError(f"gripper {self._port_or_name}: {error}") from error
        if self.status().activation != ACTIVATED:
            self._request(0)
            self._request(ACTIVATE)
            end = self._clock.now() + self._activation_timeout
            while self.status().activation != ACTIVATED:
                if self._clock.now() > end:
                    raise RobotError(
                        f"gripper: expected to be active within {self._activation_timeout} s, got no end"
                    )
                self._clock.sleep(0.05)
        return self._max_width

    def width(self) -> float:
        """Measure the width, m; positions are taken as proportional to it."""
        status = self.status()
        if status.fault in _FAULTS:
            raise RobotError(f"gripper: fault {status.fault:#04x}, {_FAULTS[status.fault]}")
        return self._max_width * (1.0 - status.position / 255.0)

    def is_ready(self) -> bool:
        """Always: a new position replaces the last one."""
        return True

    def move(self, width: float) -> None:
        """Start to go to a width, m."""
        share = 1.0 - min(max(width / self._max_width, 0.0), 1.0)
        self._request(ACTIVATE | GO_TO, round(255.0 * share))

    def stop(self) -> None:
        """Stop where it is: active, and not going anywhere."""
        self._request(ACTIVATE)

    def close(self) -> None:
        """Close the port."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def status(self) -> RobotiqStatus:
        """Read the input registers."""
        body = self._ask(struct.pack(">BBHH", SLAVE, _READ, INPUT, 3), 3 + 6 + 2)
        expected = struct.pack(">BBB", SLAVE, _READ, 6)
        if body[:3] != expected:
            raise RobotError(f"gripper: expected an answer to a reading, got {body.hex()}")
        action, _, fault, requested, position, _ = body[3:]
        return RobotiqStatus(
            bool(action & 1), action >> 4 & 3, action >> 6 & 3, fault & 15, requested, position
        )

    def _request(self, action: int, position: int = 0) -> None:
        """Write the output registers."""
        head = struct.pack(">BBHH", SLAVE, _WRITE, OUTPUT, 3)
        values = bytes([action, 0, 0, position, self._speed, self._force])
        body = self._ask(head + bytes([len(values)]) + values, 8)
        if body != head:
            raise RobotError(f"gripper: expected an answer to a writing, got {body.hex()}")

    def _ask(self, body: bytes, size: int) -> bytes:
        """Send a message and return the body of its answer, `size` bytes with its checksum."""
        if self._port is None:
            raise RobotError("gripper: expected a connected one, got one that is not")
        try:
            self._port.reset_input_buffer()
            self._port.write(body + checksum(body))
            answer = self._port.read(5)
            # an exception has five bytes and the highest bit of the function set
            if len(answer) == 5 and not answer[1] & 0x80:
                answer += self._port.read(size - 5)
        except OSError as error:
            raise RobotError(f"gripper: {error}") from error
        if len(answer) < 5 or checksum(answer[:-2]) != answer[-2:]:
            raise RobotError(f"gripper: expected an answer of {size} bytes, got {answer.hex() or 'none'}")
        if answer[1] & 0x80:
            raise RobotError(f"gripper: Modbus exception {answer[2]}")
        if len(answer) != size:
            raise RobotError(f"gripper: expected an answer of {size} bytes, got {answer.hex()}")
        return answer[:-2]


def checksum(data: bytes) -> bytes:
    """Return the CRC-16 of Modbus (polynomial 0xA001, from 0xFFFF), low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)
