"""What a tap knows of the migration so far. All of its connections share it."""

import threading
from collections.abc import Callable

from .address import CONNECT_MAX, Address
from .kinds import Kind
from .outputs import Outputs
from .recording import Recording

NOTES_MAX = 20


class Migration:
    """Which connection is the main channel, how many others there are, and where all goes.

    ``recordings`` has each direction that is recorded. ``notes`` are sentences about what is not, the first `NOTES_MAX`
    of them. ``left_out`` counts the rest. ``starved`` is set where a connection lacks a descriptor. ``main_connected``
    is set when the main channel has, or has failed to get, its connection to the destination.
    """

    def __init__(self, outputs: Outputs, forward: Address | None) -> None:
        self.outputs = outputs
        self.forward = forward
        self.recordings: list[Recording] = []
        self.notes: list[str] = []
        self.left_out = 0
        self.has_come = False
        self.stopping = threading.Event()
        self.starved = threading.Event()
        self.main_connected = threading.Event()
        self._lock = threading.Lock()
        self._quiet: dict[int, tuple[str, Callable[[], None]]] = {}
        self._main: int | None = None
        self._channels = 0
        self._foreign = 0

    def enter(self, number: int, host: str, connect: Callable[[], None]) -> None:
        """A connection from ``host`` is there, and has said nothing. ``connect`` connects it to the destination."""
        with self._lock:
            self._quiet[number] = host, connect

    def leave(self, number: int) -> None:
        """A connection is over."""
        with self._lock:
            self._quiet.pop(number, None)

    def let_main_go_first(self, number: int, host: str) -> None:
        """Return when a channel may be connected to the destination, which may take the first that comes for the main.

        A source connects the main channel first, but its first bytes may come after those of others. So where it is not
        known yet, it is one that is quiet, came earlier and from the same host: those are connected before.
        """
        with self._lock:
            known = self._main is not None
            earlier = [(n, connect) for n, (h, connect) in self._quiet.items() if n < number and h == host]
        if known:
            self.main_connected.wait(CONNECT_MAX)
            return
        for _, connect in sorted(earlier, key=lambda e: e[0]):
            connect()

    def admit(self, number: int, kind: Kind) -> tuple[Kind, str] | None:
        """What connection ``number`` is taken for, and the ending of its files' names. None: it is turned away.

        Before the main channel has come, only what begins as a channel does is let in. After it, everything is: it may
        be a kind of channel that is not known here.
        """
        with self._lock:
            self._quiet.pop(number, None)
            if kind in (Kind.FOREIGN, Kind.PREEMPT) and self._main is None:
                return None
            if kind is Kind.MAIN and self._main is not None:
                kind = Kind.FOREIGN  # another migration's
            if kind is Kind.FOREIGN:
                self._foreign += 1
                return kind, f".foreign.{self._foreign}"
            self.has_come = True
            if kind is Kind.MAIN:
                self._main = number
                return kind, ""
            self._channels += 1
            return kind, f".{self._channels}"

    def is_after_main(self, number: int) -> bool:
        """Whether connection ``number`` came after the main channel's, and so may be a channel that is still quiet."""
        return self._main is not None and number > self._main

    def note(self, text: str) -> None:
        """Keep a sentence for the user, once."""
        with self._lock:
            if text in self.notes:
                return
            if len(self.notes) < NOTES_MAX:
                self.notes.append(text)
            else:
                self.left_out += 1
