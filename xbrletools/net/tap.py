"""The tap: takes the connections of a migration, as its destination or as a proxy, and records each.

Incoming bytes are passed on first. A thread of its own then writes them, so that a slow or full disk delays nothing.
The files hold what was seen, whichever side dies. Multifd opens several connections: the main one begins with the
stream's magic.
"""

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import XbrleError
from ..formats import qevm

PIECE = 1 << 20
HOLD_MAX = 256 << 20  # bytes that a recording may fall behind
TICK = 0.2  # seconds between two checks whether all connections are closed
LOOPBACK = "127.0.0.1"
_MAGIC = struct.pack(">I", qevm.MAGIC)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to connect: ``path`` of a Unix socket, or ``host`` and ``port``."""

    host: str = LOOPBACK
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path is not None else f"tcp:{self.host}:{self.port}"


def address(text: str) -> Address:
    """``tcp:HOST:PORT`` or ``unix:PATH``, as QEMU writes them; without a host, the loopback.

    Raises:
        XbrleError: it is not written that way.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Address(path=rest)
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise XbrleError(f"invalid address {text!r}: use tcp:127.0.0.1:4444 or unix:PATH")
    return Address(host.strip("[]") or LOOPBACK, int(port))


@dataclass(slots=True)
class Recording:
    """One direction of one connection: its file (None before the first byte), and how it ended.

    ``error`` says why it broke off; None if it was closed in order.
    """

    connection: int
    reverse: bool
    path: Path | None = None
    size: int = 0
    error: str | None = None
    main: bool = False


@dataclass(slots=True)
class _Names:
    """Gives each recording its file. Existing files are never overwritten."""

    out: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    main: int | None = None

    def path(self, recording: Recording, head: bytes) -> Path:
        with self.lock:
            if self.main is None and not recording.reverse and head.startswith(_MAGIC):
                self.main = recording.connection
            recording.main = recording.connection == self.main
        name = self.out.name if recording.main else f"{self.out.name}.{recording.connection}"
        return self.out.with_name(name + (".reverse" if recording.reverse else ""))

    def settle(self, recording: Recording) -> None:
        """Rename the main connection's reverse file, if it was opened before the stream's magic came."""
        recording.main = recording.connection == self.main
        better = self.out.with_name(f"{self.out.name}.reverse")
        if recording.main and recording.reverse and recording.path is not None and not better.exists():
            recording.path = recording.path.rename(better)


class Tap:
    """Listens at once; `run` records until every connection has been closed.

    Raises:
        XbrleError: it cannot listen there, or ``out`` exists.
    """

    def __init__(self, listen: Address, out: Path, forward: Address | None = None) -> None:
        if out.exists():
            raise XbrleError(f"{out}: exists already. Remove it, or choose another name")
        if not out.parent.is_dir():
            raise XbrleError(f"{out.parent}: is not a directory")
        self.recordings: list[Recording] = []
        self._forward = forward
        self._names = _Names(out)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._count = 0
        self._listener = _listening(listen)
        self._listener.settimeout(TICK)
        port = listen.port if listen.path is not None else int(self._listener.getsockname()[1])
        self.address = Address(listen.host, port, listen.path)

    def run(self, tick: Callable[[list[Recording]], None] = lambda _: None) -> list[Recording]:
        """Record until all connections are closed; ``tick`` sees the recordings several times a second.

        An interrupt ends it too, with everything recorded so far in the files.
        """
        try:
            while True:  # a connection may wait to be accepted when the last one has ended
                came = self._accept()
                tick(self.recordings)
                if not came and self._threads and not any(t.is_alive() for t in self._threads):
                    break
        finally:
            self.close()
        return self.recordings

    def close(self) -> None:
        """Stop listening, end open connections, and wait until their last bytes are in the files."""
        path = self.address.path
        self._listener.close()
        if path is not None:
            Path(path).unlink(missing_ok=True)
        for one in self._sockets:
            _end(one)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()
        self._sockets.clear()
        for recording in self.recordings:
            self._names.settle(recording)

    def _accept(self) -> bool:
        """Accept one connection, if one comes within a tick. Returns whether one came."""
        try:
            source, _ = self._listener.accept()
        except TimeoutError:
            return False
        source.settimeout(None)
        number, self._count = self._count, self._count + 1
        self._sockets.append(source)
        forth = Recording(number, reverse=False)
        self.recordings.append(forth)
        if self._forward is None:
            self._start(source, None, forth)
            return True
        try:
            destination = _connected(self._forward)
        except OSError as error:
            forth.error = f"the destination {self._forward} cannot be reached: {error.strerror or error}"
            source.close()
            self._threads.append(_ended())
            return True
        self._sockets.append(destination)
        for one in (source, destination):  # pass small messages on at once, as without the tap
            if one.family != socket.AF_UNIX:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = Recording(number, reverse=True)
        self.recordings.append(back)
        self._start(source, destination, forth)
        self._start(destination, source, back)
        return True

    def _start(self, source: socket.socket, target: socket.socket | None, recording: Recording) -> None:
        thread = threading.Thread(target=self._pump, args=(source, target, recording), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: socket.socket, target: socket.socket | None, recording: Recording) -> None:
        """Pass on and record one direction until it ends."""
        buffer = bytearray(PIECE)
        view = memoryview(buffer)
        writer = _Writer(self._names, recording, patient=target is None)
        while not (broken := recording.error if target is None else None):
            try:
                count = source.recv_into(buffer)
            except OSError as error:
                broken = f"broke off: {error.strerror or error}"
                break
            if not count:
                break
            if target is not None:
                try:
                    target.sendall(view[:count])
                except OSError as error:
                    broken = f"the other end is gone: {error.strerror or error}"
            writer.put(bytes(view[:count]))
            if broken:
                break
        if broken:  # reset at close: a source that is still sending would notice an orderly end late
            with contextlib.suppress(OSError):
                source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _end(source)
        if target is not None:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR if broken else socket.SHUT_WR)
        writer.close()
        recording.error = recording.error or broken


class _Writer:
    """Writes one recording, in a thread of its own.

    A ``patient`` writer makes the sender wait for the disk. Another one stops recording when it is more than `HOLD_MAX`
    bytes behind. The first bytes of the stream decide the file's name.
    """

    def __init__(self, names: _Names, recording: Recording, patient: bool) -> None:
        self._names, self._recording, self._patient = names, recording, patient
        self._held: deque[bytes] = deque()
        self._behind = 0
        self._open = True
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, piece: bytes) -> None:
        """Queue these bytes for writing."""
        with self._change:
            while self._patient and self._behind > HOLD_MAX and not self._recording.error:
                self._change.wait()
            if self._recording.error:
                return
            if self._behind > HOLD_MAX:
                self._recording.error = f"recording ended: the disk is {self._behind >> 20} MiB behind"
                return
            self._held.append(piece)
            self._behind += len(piece)
            self._change.notify_all()

    def close(self) -> None:
        """Wait until all is written."""
        with self._change:
            self._open = False
            self._change.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            head = self._head()
            if head:
                self._recording.path = self._names.path(self._recording, head)
                with self._recording.path.open("xb", buffering=0) as file:
                    self._recording.size = _written(file.write, head)
                    while piece := self._next():
                        self._recording.size += _written(file.write, piece)
        except OSError as error:
            with self._change:
                self._recording.error = f"{self._recording.path}: {error.strerror or error}"
                self._held.clear()
                self._change.notify_all()

    def _head(self) -> bytes:
        """The first bytes: at least as many as the magic has, unless the stream is shorter."""
        head = b""
        while len(head) < len(_MAGIC) and (piece := self._next()):
            head += piece
        return head

    def _next(self) -> bytes:
        """The next bytes to write; none at the end."""
        with self._change:
            while not self._held and self._open:
                self._change.wait()
            piece = self._held.popleft() if self._held else b""
            self._behind -= len(piece)
            self._change.notify_all()
            return piece


def _written(write: Callable[[bytes], int | None], piece: bytes) -> int:
    """Write all of ``piece`` to an unbuffered file; returns its size."""
    at = 0
    while at < len(piece):
        at += write(piece[at:]) or 0
    return at


def _ended() -> threading.Thread:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    return thread


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _listening(where: Address) -> socket.socket:
    try:
        if where.path is not None:
            listener = socket.socket(socket.AF_UNIX)
            try:
                listener.bind(where.path)
            except OSError:
                listener.close()
                raise
            listener.listen()
            return listener
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        return socket.create_server((where.host, where.port), family=family)
    except OSError as error:
        raise XbrleError(f"cannot listen at {where}: {error.strerror or error}") from error


def _connected(where: Address) -> socket.socket:
    if where.path is not None:
        one = socket.socket(socket.AF_UNIX)
        try:
            one.connect(where.path)
        except OSError:
            one.close()
            raise
        return one
    return socket.create_connection((where.host, where.port))
