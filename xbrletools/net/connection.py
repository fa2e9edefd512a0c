"""One connection of a tap: finds out what it is, then passes on and records its two directions."""

import contextlib
import errno
import select
import socket
import struct
import threading
from pathlib import Path

from ..source.beside import REVERSE
from .address import Address, connected
from .kinds import Kind, kind_of
from .migration import Migration
from .recording import Recording, Writer

PIECE = 1 << 20
TICK = 0.2  # seconds between looks at whether anything has changed
TRIES = 10
_RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends a reset
_SHOWN = 8  # bytes of what is turned away


class Connection:
    """A connection from ``source``, and where the tap forwards, the one to the destination.

    That one is made when this one is known to be a channel, or may be one that is still quiet: a destination takes the
    first connection that comes for the migration.
    """

    def __init__(self, migration: Migration, number: int, source: socket.socket, peer: str) -> None:
        self._migration, self._number, self._source, self._peer = migration, number, source, peer
        self._host = peer.rpartition(":")[0]
        self._target: socket.socket | None = None
        self._kind: Kind | None = None
        self._ending = ""  # of its files' names
        self._known = threading.Event()
        self._busy = False  # with bytes that do not wait in the socket any more
        self._cut: str | None = None
        self._connecting = threading.Lock()
        self._ended = False  # the way from the source
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        migration.enter(number, self._host, self._connect_quiet)

    def start(self) -> None:
        """Begin to listen to it.

        Raises:
            RuntimeError: there are no more threads.
        """
        self._threads[0].start()

    def is_over(self) -> bool:
        """Whether both directions have ended."""
        return not any(t.is_alive() for t in self._threads)

    def is_quiet(self) -> bool:
        """Whether it has not said what it is, goes nowhere, and is not being closed."""
        return not self._speaks() and self._kind is None and self._target is None and self._cut is None

    def holds_up(self) -> bool:
        """Whether the recording waits for it: for a channel to its end, for what has just spoken until it is known."""
        if self.is_over():
            return False
        return self._speaks() if self._kind is None else self._kind is not Kind.FOREIGN

    def cut(self, why: str) -> None:
        """End it. What came until now is still recorded."""
        self._cut = why
        for one in (self._source, self._target):
            if one is not None:
                _end(one)

    def join(self) -> None:
        """Wait for its end, and close it."""
        for thread in self._threads:  # the first may add the second
            thread.join()
        for one in (self._source, self._target):
            if one is not None:
                one.close()

    def _speaks(self) -> bool:
        waiting = _is_readable(self._source, 0)  # looked at first: what its thread took since then makes it busy
        return waiting or self._busy

    def _serve(self) -> None:
        """From the source to the destination."""
        try:
            head = self._head()
            admitted = None
            if kind := kind_of(head, over=True) if head else None:
                admitted = self._migration.admit(self._number, kind)
                if admitted is None:
                    self._turn_away(head)
            if admitted is None:
                return
            self._kind, self._ending = admitted
            self._known.set()
            forward = Recording(self._number, reverse=False, kind=self._kind)
            self._migration.recordings.append(forward)
            try:
                if self._kind is not Kind.MAIN and self._migration.forward is not None:
                    self._migration.let_main_go_first(self._number, self._host)
                self._connect()
            except OSError as error:
                forward.error = (
                    f"the destination {self._migration.forward} cannot be reached: {error.strerror or error}"
                )
                _reset(self._source)
                return
            finally:
                if self._kind is Kind.MAIN:
                    self._migration.main_connected.set()
            self._pump(self._source, self._target, forward, head)
        finally:
            self._known.set()
            self._migration.leave(self._number)
            with self._connecting:
                self._ended = True
                if self._kind is None and self._target is not None:
                    _end(self._target)

    def _head(self) -> bytes:
        """The first bytes, as many as show what it is, or all where no more come."""
        head = b""
        while kind_of(head) is None:
            try:
                if not _is_readable(self._source, TICK):
                    if self._migration.forward is not None and self._migration.is_after_main(self._number):
                        self._migration.let_main_go_first(self._number, self._host)
                        self._connect()
                    continue
                self._busy = True
                piece = self._source.recv(PIECE)
            except OSError:
                break
            if not piece:
                break
            head += piece
            self._busy = kind_of(head) is not None
        return head

    def _turn_away(self, head: bytes) -> None:
        shown = head[:_SHOWN].hex(" ")
        self._migration.note(f"a connection from {self._peer} was closed: not a migration (starts with {shown})")
        _reset(self._source)

    def _connect_quiet(self) -> None:
        """Connect to the destination before it has said anything. Where that fails, it will be said when it speaks."""
        with contextlib.suppress(OSError):
            self._connect()

    def _connect(self) -> None:
        """Connect to the destination, if there is one and it was not done before.

        Raises:
            OSError: it cannot be reached.
        """
        if self._migration.forward is None:
            return
        with self._connecting:  # others may do it, to have it done before theirs
            if self._target is None and not self._ended:
                self._target = self._connected(self._migration.forward)
                if self._cut is not None:  # meanwhile
                    _end(self._target)
                back = threading.Thread(target=self._answer, daemon=True)
                try:
                    back.start()
                except RuntimeError as error:
                    raise OSError(str(error)) from error
                self._threads.append(back)

    def _connected(self, where: Address) -> socket.socket:
        """A connection to the destination. Where there is no descriptor for it, some are given back first.

        Raises:
            OSError: it cannot be reached.
        """
        for left in reversed(range(TRIES)):
            try:
                target = connected(where)
                break
            except OSError as error:
                if not left or error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                self._migration.starved.set()
                self._migration.stopping.wait(TICK)
        for one in (self._source, target):  # small messages pass at once, as they do without the tap
            if one.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return target

    def _answer(self) -> None:
        """From the destination to the source. Without a byte it is mentioned only where it broke off."""
        assert self._target is not None
        recording = Recording(self._number, reverse=True)
        self._pump(self._target, self._source, recording)
        if recording.error and recording.kind is None and self._kind is not None:
            recording.kind = self._kind
            self._migration.recordings.append(recording)

    def _file(self, recording: Recording) -> tuple[int, Path]:
        """The file of a direction whose first byte is there.

        Raises:
            OSError: it cannot be opened.
        """
        self._known.wait()
        if recording.reverse:
            if self._kind is None:  # the source never spoke
                admitted = self._migration.admit(self._number, Kind.FOREIGN)
                self._kind, self._ending = admitted or (Kind.FOREIGN, "")
            recording.kind = self._kind
            self._migration.recordings.append(recording)
        return self._migration.outputs.open(self._ending + (REVERSE if recording.reverse else ""))

    def _pump(
        self, source: socket.socket, target: socket.socket | None, recording: Recording, piece: bytes = b""
    ) -> None:
        """Pass on and record one direction until it ends. ``piece`` has come already."""
        try:
            timed = not recording.reverse and self._kind is not Kind.FOREIGN
            open_times = self._migration.outputs.open_times if timed else None
            writer = Writer(recording, lambda: self._file(recording), target is None, open_times)
        except RuntimeError as error:  # there are no more threads
            recording.error = f"cannot be recorded: {error}"
            _reset(source)
            return
        broken = self._pass_on(source, target, writer, piece)
        broken = (recording.error if target is None else None) or self._cut or broken
        if broken:  # a source that waits to send more would learn of an orderly end late
            _reset(source)
        if target is not None:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR if broken else socket.SHUT_WR)
        writer.close()
        recording.error = recording.error or broken

    def _pass_on(self, source: socket.socket, target: socket.socket | None, writer: Writer, piece: bytes) -> str | None:
        """Move bytes until there are no more. Returns why it broke off, or None at an orderly end."""
        buffer = bytearray(PIECE)
        view = memoryview(buffer)
        while True:
            if piece:
                broken = _sent(target, piece)
                writer.put(piece)
                if broken or (target is None and writer.has_failed):
                    return broken
            try:
                count = source.recv_into(buffer)
            except OSError as error:
                return f"broke off: {error.strerror or error}"
            if not count:
                return None
            piece = bytes(view[:count])


def _sent(target: socket.socket | None, piece: bytes) -> str | None:
    try:
        if target is not None:
            target.sendall(piece)
    except OSError as error:
        return f"the other end is gone: {error.strerror or error}"
    return None


def _is_readable(one: socket.socket, seconds: float) -> bool:
    """Whether bytes, an end or an error wait there."""
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _reset(one: socket.socket) -> None:
    """End it, and have its closing send a reset."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    _end(one)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
