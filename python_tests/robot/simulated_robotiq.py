"""The registers of a Robotiq 2F gripper behind a port, after its manual; knows nothing of the driver."""

from __future__ import annotations


def crc16(data: bytes) -> int:
    """Modbus's checksum, bit by bit in the order of the wire."""
    remainder = 0xFFFF
    for bit in (byte >> shift & 1 for byte in data for shift in range(8)):
        carry = (remainder ^ bit) & 1
        remainder >>= 1
        if carry:
            remainder ^= 0b1010000000000001
    return remainder


class SimulatedRobotiq:
    """Answers Modbus RTU frames as slave 9; moves by `speed` positions at every frame that it hears."""

    def __init__(self, speed: int = 40, object_at: int | None = None) -> None:
        self.outputs = bytearray(6)  # action request, -, -, position, speed, force
        self.speed, self.object_at = speed, object_at
        self.position, self.activation, self.contact, self.fault = 0, 0, 0, 0
        self.frames: list[bytes] = []
        self.is_silent = self.is_garbled = self.is_closed = False
        self._answer = b""

    # ---- the port

    def write(self, data: bytes) -> None:
        self.frames.append(data)
        self._tick()
        body, given = data[:-2], int.from_bytes(data[-2:], "little")
        if body[0] != 9 or crc16(body) != given or self.is_silent:
            return
        function, start, count = body[1], int.from_bytes(body[2:4], "big"), int.from_bytes(body[4:6], "big")
        if function == 3 and (start, count) == (2000, 3):
            self._reply(bytes([9, 3, 6]) + self._inputs())
        elif function == 16 and (start, count) == (1000, 3) and body[6] == 6:
            self._written(body[7:13])
            self._reply(body[:6])
        else:
            self._reply(bytes([9, function | 0x80, 2]))

    def read(self, size: int) -> bytes:
        part, self._answer = self._answer[:size], self._answer[size:]
        return part

    def reset_input_buffer(self) -> None:
        self._answer = b""

    def close(self) -> None:
        self.is_closed = True

    # ---- the gripper

    def _reply(self, body: bytes) -> None:
        self._answer += body + crc16(body).to_bytes(2, "little")
        if self.is_garbled:
            self._answer = bytes([self._answer[0] ^ 1]) + self._answer[1:]

    def _inputs(self) -> bytes:
        action = self.outputs[0]
        status = action & 1 | (action & 8) | self.activation << 4 | self.contact << 6
        return bytes([status, 0, self.fault, self.outputs[3], self.position, 10])

    def _written(self, values: bytes) -> None:
        self.outputs[:] = values
        if not values[0] & 1:
            self.activation = 0
        elif self.activation == 0:
            self.activation = 1

    def _tick(self) -> None:
        if self.activation in (1, 2):
            self.activation += 1
        if self.activation != 3 or not self.outputs[0] & 8:
            return
        target = self.outputs[3]
        step = max(-self.speed, min(self.speed, target - self.position))
        reached = self.position + step
        blocked = self.object_at is not None and step > 0 and reached > self.object_at
        self.position = self.object_at if blocked else reached
        self.contact = 2 if blocked else 3 if self.position == target else 0
