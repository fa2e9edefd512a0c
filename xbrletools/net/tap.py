"""The tap: takes the connections of a migration, as its destination or between the two ends, and records each.

What comes in is passed on first and written second, as it came, by a thread of its own: whichever side dies, the files
hold what was seen, and a slow or full disk holds nothing up. Anyone may connect to a port. So a connection that does
not begin as a migration does is turned away until the migration has come, and none such keeps the recording from
ending.
"""

import errno
from collections.abc import Callable
from pathlib import Path

from ..errors import XbrleError
from .address import Address, Listener
from .connection import TICK, Connection
from .migration import Migration
from .outputs import Outputs
from .recording import Recording

QUIET_MAX = 256  # connections that have said nothing; QEMU does not open more channels than that
DROPPED = 16  # of them at a time
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Tap:
    """Opens its files, then listens. `run` records until the migration is over, or `stop` was called.

    Raises:
        XbrleError: ``out`` cannot be written, or exists and ``force`` is not given, or it cannot listen there.
    """

    def __init__(self, listen: Address, out: Path, forward: Address | None = None, force: bool = False) -> None:
        if listen == forward and (listen.path is not None or listen.port):
            raise XbrleError(f"{listen} cannot be forwarded to itself")
        self._outputs = Outputs(out, force, two_ways=forward is not None)
        try:
            self._listener = Listener(listen, TICK)
        except XbrleError:
            self._outputs.discard()
            raise
        self.address = self._listener.address
        self.migration = Migration(self._outputs, forward)
        self._connections: list[Connection] = []
        self._taken = 0
        self._over = False
        self._asked = False  # to end

    @property
    def recordings(self) -> list[Recording]:
        """Each direction of each connection that is recorded."""
        return self.migration.recordings

    def run(self, tick: Callable[[Migration], None] = lambda _: None) -> list[Recording]:
        """Record until all channels of the migration are closed. ``tick`` is called several times a second."""
        try:
            while not self._over and not self._asked:
                taken = self._accept()  # one may still wait to be taken when the last has ended
                self._tidy()
                tick(self.migration)
                self._over = not taken and self.migration.has_come and not any(c.holds_up() for c in self._connections)
        finally:
            self.close()
        return self.recordings

    def stop(self) -> None:
        """Have `run` end soon. A signal's handler may call it, and at any time, so it takes no lock."""
        self._asked = True

    def close(self) -> None:
        """Stop listening, end what is open, and wait for its last bytes to be in the files."""
        self.migration.stopping.set()
        self._listener.close()
        open_ones = list(self._connections)
        for one in open_ones:
            one.cut("still open when the migration ended" if self._over else "interrupted: the recording is incomplete")
        for one in open_ones:
            one.join()
        self._outputs.discard()
        for recording in self.recordings:
            if not recording.size:
                recording.path = None

    def _accept(self) -> bool:
        """Take one connection, if one comes within a tick. Returns whether one came."""
        try:
            source, peer = self._listener.accept()
        except TimeoutError:
            return False
        except OSError as error:  # whatever it is, others may still come
            if not self._asked:
                self.migration.note(f"a connection could not be taken: {error.strerror or error}")
                if error.errno in _SCARCE:
                    self._drop_quiet()
                self.migration.stopping.wait(TICK if error.errno in _SCARCE else TICK / 20)
            return False
        one = Connection(self.migration, self._taken, source, peer)
        self._taken += 1
        try:
            one.start()
        except RuntimeError as error:  # there are no more threads
            self.migration.note(f"a connection could not be taken: {error}")
            source.close()
            return True
        self._connections.append(one)
        return True

    def _drop_quiet(self) -> None:
        """Close the oldest connections that have said nothing and go nowhere, if there are any."""
        for one in [c for c in self._connections if c.is_quiet()][:DROPPED]:
            one.cut("")

    def _tidy(self) -> None:
        """Forget what is over, so that any number of connections costs nothing, and make room where it is needed."""
        over = [c for c in self._connections if c.is_over()]
        self._connections = [c for c in self._connections if c not in over]
        for one in over:
            one.join()
        if len(self._connections) > QUIET_MAX and sum(c.is_quiet() for c in self._connections) > QUIET_MAX:
            self.migration.note(f"over {QUIET_MAX} connections have said nothing: the oldest are closed")
            self._drop_quiet()
        if self.migration.starved.is_set():
            self.migration.starved.clear()
            self._drop_quiet()
