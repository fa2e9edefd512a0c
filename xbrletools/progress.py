"""How far long work is, and what it wants said before, for whoever listens: the command line. Else it costs nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

#: Called with what is done, how much of it is done and how much there is (None: not known), and the unit of both.
Telling = Callable[[str, int, "int | None", str], None]
T = TypeVar("T")


class _Listener:
    """Who listens."""

    tells: Telling | None = None
    notes: Callable[[str], None] | None = None


@contextmanager
def listening(tells: Telling | None, notes: Callable[[str], None] | None = None) -> Iterator[None]:
    """Have ``tells`` called as work goes on in the block, and ``notes`` with what a person must know before it does."""
    before = _Listener.tells, _Listener.notes
    _Listener.tells, _Listener.notes = tells, notes
    try:
        yield
    finally:
        _Listener.tells, _Listener.notes = before


def tell(what: str, done: int, total: int | None = None, unit: str = "bytes") -> None:
    """Say how far the work is."""
    if _Listener.tells is not None:
        _Listener.tells(what, done, total, unit)


def note(text: str) -> None:
    """Say something that a person must know before the work is done."""
    if _Listener.notes is not None:
        _Listener.notes(text)


def along(what: str, items: Sequence[T], unit: str = "parts") -> Iterator[T]:
    """The items. How many are done is said before each."""
    for done, item in enumerate(items):
        tell(what, done, len(items), unit)
        yield item


def overall(what: str, items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The items, of which there are ``total``. How many came is said, and not how far the work on each of them is."""
    tells, _Listener.tells = _Listener.tells, None
    try:
        for done, item in enumerate(items, 1):
            if tells is not None:
                tells(what, done, total, unit)
            yield item
    finally:
        _Listener.tells = tells
