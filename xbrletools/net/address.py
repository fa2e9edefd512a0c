"""Where to listen and where to connect, as QEMU writes it, and the sockets for both."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import XbrleError

LOOPBACK = "127.0.0.1"
CONNECT_MAX = 10  # seconds that the other end may take to answer


@dataclass(frozen=True, slots=True)
class Address:
    """``path`` of a Unix socket, or ``host`` and ``port`` of TCP."""

    host: str = LOOPBACK
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path is not None else f"tcp:{self.host}:{self.port}"


def address(text: str) -> Address:
    """``tcp:HOST:PORT`` or ``unix:PATH``, as QEMU writes them. Without a host it is the loopback.

    Raises:
        XbrleError: it is neither.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Address(path=rest)
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 0xFFFF:
        raise XbrleError(f"invalid address {text!r}: use tcp:127.0.0.1:4444 or unix:PATH")
    return Address(host.strip("[]") or LOOPBACK, int(port))


class Listener:
    """A socket that listens. It removes the path of a Unix socket only while that is the socket it made itself.

    Raises:
        XbrleError: it cannot listen there.
    """

    def __init__(self, where: Address, timeout: float) -> None:
        self._path = where.path
        try:
            self._socket = _bound(where)
        except (OSError, UnicodeError) as error:
            raise XbrleError(f"cannot listen at {where}: {_reason(error)}") from error
        self._own = _identity(where.path) if where.path is not None else None
        self._socket.settimeout(timeout)
        port = where.port if where.path is not None else int(self._socket.getsockname()[1])
        self.address = Address(where.host, port, where.path)

    def accept(self) -> tuple[socket.socket, str]:
        """The next connection, and who it is from.

        Raises:
            TimeoutError: nobody came in time.
            OSError: a connection could not be taken.
        """
        one, peer = self._socket.accept()
        one.settimeout(None)
        return one, f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "this machine"

    def close(self) -> None:
        """Stop listening. The inode stays ours until the socket is closed, so the path is looked at before that."""
        if self._path is not None and self._own is not None and _identity(self._path) == self._own:
            with suppress(OSError):
                Path(self._path).unlink()
        self._own = None
        self._socket.close()


def connected(where: Address) -> socket.socket:
    """A connection to ``where``.

    Raises:
        OSError: nobody listens there, or nobody answers within `CONNECT_MAX` seconds.
    """
    if where.path is None:
        try:
            one = socket.create_connection((where.host, where.port), CONNECT_MAX)
        except UnicodeError as error:  # a name that cannot be one
            raise OSError(str(error)) from error
    else:
        one = socket.socket(socket.AF_UNIX)
        try:
            one.settimeout(CONNECT_MAX)
            one.connect(where.path)
        except OSError:
            one.close()
            raise
    one.settimeout(None)
    return one


def _bound(where: Address) -> socket.socket:
    if where.path is None:
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        return socket.create_server((where.host, where.port), family=family)
    one = socket.socket(socket.AF_UNIX)
    try:
        one.bind(where.path)
        one.listen()
    except OSError:
        one.close()
        raise
    return one


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what is at ``path``, None where nothing is."""
    try:
        there = os.lstat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
