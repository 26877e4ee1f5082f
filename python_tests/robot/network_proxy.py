"""A network that can be cut and slowed, between a client and a server: bytes of TCP, in threads."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class NetworkProxy:
    """Forwards connections to a port; what it takes is delayed, and swallowed while it is cut."""

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.is_cut = False
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                # nothing is lost on a TCP line that comes back, it only comes late
                while self.is_cut:
                    time.sleep(0.005)
                target.sendall(data)

    def close(self) -> None:
        self.is_cut = False
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
