"""The process that owns the hardware: msgpack over one ZeroMQ socket, a watchdog, one client in control.

It listens on this machine alone unless told otherwise; elsewhere it wants CURVE keys or a token. The loop
thread answers requests and streams states, a second thread is the watchdog, a third does resets; what is slow
in the hardware (cameras, gripper) runs in threads of the adapter's.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibrl_fast.errors import ArgumentError, UserError, expect, first_line
from ibrl_fast.files import kind_of
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.extras import need
from ibrl_fast.robot.limits import SafetyLimits
from ibrl_fast.robot.robot import Robot, RobotError
from ibrl_fast.robot.service import RobotService
from ibrl_fast.robot.watchdog import Watchdog
from ibrl_fast.robot.wire import EXTRA, MAX_REQUEST, WireError, pack, unpack

ADDRESS = "tcp://127.0.0.1:5757"
MIN_TOKEN = 16
"""Fewest characters of a token."""

_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class CurveKeys:
    """Files of a server's CURVE keys, as `zmq.auth.create_certificates` writes them."""

    secret: Path
    """The server's own secret key (`server.key_secret`)."""
    clients: Path
    """A folder with the public key (`*.key`) of every client that may connect."""


class RobotServer:
    """Serves a robot; `run` until `stop`, or as a context in a thread of its own.

    Args:
        robot: the hardware.
        limits: what every command is held to here, whatever clients do.
        address: `tcp://HOST:PORT` or `ipc://PATH`; port 0 takes a free one.
        token: what clients must bring; travels unencrypted unless there are `curve` keys.
        curve: keys: encrypts, and lets known clients in alone.
        hold_after: silence of the client in control after which the robot holds, s.
        stop_after: silence after which it is stopped, s.
        max_command_age: oldest observation that a command may answer, s.
        control_timeout: silence after which another client may take control, s.
        clock: of the robot.
        say: receives one line for every event worth a log.

    Raises:
        ArgumentError: an address beyond this machine without `token` or `curve`; a token that is too short.
        MissingExtraError: pyzmq or msgpack is not installed.
    """

    def __init__(
        self,
        robot: Robot,
        limits: SafetyLimits,
        *,
        address: str = ADDRESS,
        token: str | None = None,
        curve: CurveKeys | None = None,
        hold_after: float = 0.3,
        stop_after: float = 1.0,
        max_command_age: float = 0.3,
        control_timeout: float = 5.0,
        clock: Clock | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        need("zmq", EXTRA), need("msgpack", EXTRA)
        if token is not None:
            expect(len(token) >= MIN_TOKEN, "token", f"at least {MIN_TOKEN} characters", len(token))
        if not is_local(address) and token is None and curve is None:
            raise ArgumentError(
                f"address: expected a token or CURVE keys beyond this machine, got none for {address}"
            )
        self.address = address
        """Where it listens; with the port that was taken once it runs."""
        self.malformed = 0
        """Messages that were none."""
        self._clock = clock or MonotonicClock()
        self._curve, self._say = curve, say
        self._service = RobotService(
            robot,
            limits,
            token=token,
            watchdog=Watchdog(hold_after, stop_after),
            max_command_age=max_command_age,
            control_timeout=control_timeout,
            say=say,
        )
        self._wish = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        # where each session listens, and resets that have ended: (where, reply)
        self._peers: dict[bytes, bytes] = {}
        self._ended: list[tuple[bytes, dict[str, Any]]] = []

    def __enter__(self) -> RobotServer:
        """Start in a thread; return once it listens."""
        self._thread = threading.Thread(target=self._run_kept, name="robot server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and wait for the end."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Ask `run` to end; from any thread."""
        self._wish.set()

    def run(self) -> None:
        """Serve until `stop`; the robot is stopped and closed at the end, whatever the end is.

        Raises:
            RobotError: the robot cannot be connected, or the address not be listened on.
        """
        zmq = need("zmq", EXTRA)
        context = zmq.Context()
        watcher = threading.Thread(target=self._watch, name="robot watchdog", daemon=True)
        keys = None
        try:
            keys, socket = self._listen(zmq, context)
            self._service.connect()
            watcher.start()
            self._ready.set()
            self._say(f"listening on {self.address}")
            while not self._wish.is_set():
                if socket.poll(1e3 * _POLL_SECONDS):
                    self._receive(zmq, socket)
                self._send_ended(zmq, socket)
                self._stream(zmq, socket)
        finally:
            self._wish.set()
            with suppress(UserError):
                self._service.close()
            if watcher.is_alive():
                watcher.join()
            if keys is not None:
                keys.stop()
            context.destroy(linger=0)

    def _run_kept(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    def _listen(self, zmq: Any, context: Any) -> tuple[Any, Any]:
        """Return the thread that looks at clients' keys, if any, and the socket."""
        socket = context.socket(zmq.ROUTER)
        socket.set(zmq.LINGER, 0)
        # what is larger closes its connection before it is read
        socket.set(zmq.MAXMSGSIZE, MAX_REQUEST)
        # nobody who does not listen fills the memory
        socket.set(zmq.SNDHWM, 8)
        socket.set(zmq.RCVHWM, 64)
        socket.set(zmq.HANDSHAKE_IVL, 5000)
        keys = None
        if self._curve is not None:
            keys = _let_in(self._curve, context, socket)
        try:
            socket.bind(self.address)
        except zmq.ZMQError as error:
            if keys is not None:
                keys.stop()
            raise RobotError(f"address {self.address}: {error}") from error
        self.address = socket.get(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        return keys, socket

    def _receive(self, zmq: Any, socket: Any) -> None:
        """Answer one message."""
        frames = socket.recv_multipart()
        peer = frames[0]
        try:
            if len(frames) != 2:
                raise WireError(f"message: expected one part, got {len(frames) - 1}")
            request = unpack(frames[1], MAX_REQUEST)
        except WireError as error:
            self.malformed += 1
            self._send(
                zmq, socket, peer, {"id": 0, "ok": False, "code": "malformed", "error": first_line(error)}
            )
            return
        reply = self._service.answer(request, self._clock.now())
        if reply.get("code") == "malformed":
            self.malformed += 1
        if reply.get("ok") and request["type"] in ("hello", "subscribe"):
            session = reply.get("session") or request["session"]
            self._peers = {key: at for key, at in self._peers.items() if key in self._service.sessions} | {
                session: peer
            }
        if reply.pop("begins_reset", False):
            threading.Thread(target=self._reset, args=(peer, reply), name="robot reset", daemon=True).start()
            return
        self._send(zmq, socket, peer, reply)

    def _reset(self, peer: bytes, reply: dict[str, Any]) -> None:
        """Reset the robot and leave the reply for the loop to send."""
        try:
            self._service.reset()
            reply["now"] = self._clock.now()
        except Exception as error:  # whatever an adapter raises, the client is answered
            self._say(f"reset: {first_line(error)}")
            reply = {"id": reply["id"], "ok": False, "code": "robot", "error": first_line(error)}
        self._ended.append((peer, reply))

    def _send_ended(self, zmq: Any, socket: Any) -> None:
        while self._ended:
            self._send(zmq, socket, *self._ended.pop(0))

    def _stream(self, zmq: Any, socket: Any) -> None:
        """Send the state to those who asked for it and are due."""
        if self._service.is_resetting:
            return
        due = self._service.streams(self._clock.now())
        if due:
            try:
                message = self._service.state_message()
            except RobotError:
                return
            for session in due:
                if session in self._peers:
                    self._send(zmq, socket, self._peers[session], message)

    def _send(self, zmq: Any, socket: Any, peer: bytes, reply: dict[str, Any]) -> None:
        """Send, unless the peer takes nothing."""
        with suppress(zmq.Again):
            socket.send_multipart([peer, pack(reply)], flags=zmq.DONTWAIT)

    def _watch(self) -> None:
        """Run the watchdog until the server ends, whatever the loop is doing."""
        while not self._wish.wait(0.01):
            try:
                self._service.watch(self._clock.now())
            except Exception as error:  # whatever an adapter raises, the watchdog goes on
                self._say(f"watchdog: {first_line(error)}")


def is_local(address: str) -> bool:
    """Say whether an address is reached from this machine alone.

    Raises:
        ArgumentError: no address of a kind that is known.
    """
    kind, _, rest = address.partition("://")
    if kind in ("ipc", "inproc") and rest:
        return True
    host, _, port = rest.rpartition(":")
    expect(
        kind == "tcp" and host != "" and port.isdecimal(),
        "address",
        "tcp://HOST:PORT or ipc://PATH",
        address,
    )
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """Read a token from a file, without the white space around it.

    Raises:
        ArgumentError: no regular file, or one that others can read.
    """
    expect(kind_of(path) == "a regular file", "token", "a file", f"{kind_of(path)} at {path}")
    mode = path.stat().st_mode & 0o777
    expect(mode & 0o077 == 0, "token", f"a file for its owner alone (chmod 600 {path})", f"mode {mode:o}")
    return path.read_text().strip()


def _let_in(curve: CurveKeys, context: Any, socket: Any) -> Any:
    """Give a socket its keys; return the thread that lets known clients in."""
    auth = need("zmq.auth", EXTRA)
    threads = need("zmq.auth.thread", EXTRA)
    try:
        public, secret = auth.load_certificate(curve.secret)
        expect(secret is not None, "curve.secret", "a secret key", f"a public one in {curve.secret}")
        expect(curve.clients.is_dir(), "curve.clients", "a folder of public keys", curve.clients)
        keys = threads.ThreadAuthenticator(context)
        keys.start()
        keys.configure_curve(domain="*", location=str(curve.clients))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"curve: expected keys, got {first_line(error)}") from error
    socket.curve_publickey, socket.curve_secretkey, socket.curve_server = public, secret, True
    return keys
