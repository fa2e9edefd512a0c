"""Reads a capture beside the user: scans and verifies it, takes the sender's fingerprint, finds the bookmarks.

All of this is done by one thread, which hands over to the app what is to be shown.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from ..analysis import about, arrivals, facts, guest
from ..analysis.film import film, wrong_over_time
from ..analysis.top import Order, top
from ..errors import XbrleError
from ..sender.fingerprint import fingerprint
from ..source.sources import MappedSource
from ..verify.checker import found_in
from ..verify.status import of_scan
from ..verify.verdict import verdict
from . import bookmarks
from .findingtree import branches
from .session import TICK, Session
from .thumbnail import thumbnail, with_trouble

_HOT = 1000  # hottest pages that are kept


class ReadingHost(Protocol):
    """What the reader needs of the app. Only ``post`` is called by the reader's thread itself."""

    @property
    def session(self) -> Session:
        """What is shown."""

    @property
    def following(self) -> bool:
        """Whether to wait for more to be written whenever all was read."""

    @property
    def settled(self) -> threading.Event:
        """Set when all was read, or reading has failed."""

    @property
    def left(self) -> threading.Event:
        """Set when the user has left."""

    def post(self, what: Callable[..., None], *arguments: object) -> None:
        """Have the thread that draws call something. Nothing happens where the user has left."""

    def grow(self) -> None:
        """Show what was added since."""

    def succeed(self, session: Session) -> None:
        """Show this session instead of the one before."""

    def stop_growing(self) -> None:
        """Look no longer at what was added."""

    def say(self, message: str, severity: str = "information") -> None:
        """Show a message for a moment."""

    def end_unreadable(self, message: str) -> None:
        """End, because the capture cannot be read."""

    def end_failed(self, error: Exception) -> None:
        """End, because of a fault of this program."""


def read(host: ReadingHost) -> None:
    """Read all, and again whenever more was written to a capture that is followed. This is the thread's work."""
    try:
        ended = _read_all(host, host.session)
        while _more_came(host, ended):
            host.settled.clear()
            ended = _read_all(host, Session(host.session.capture.again()))
    except XbrleError as error:
        host.post(host.end_unreadable, str(error))
    except Exception as error:  # raised where the app ends, so that it is seen once the terminal is restored
        host.post(host.end_failed, error)
    finally:
        host.settled.set()


def _more_came(host: ReadingHost, ended: bool) -> bool:
    """Wait until there is more than was read. False where nothing more is waited for, or the user has left.

    ``ended``: all that there was by then was read. Of a pipe all is waited for: what is said is of the whole.
    """
    capture = host.session.capture
    while True:
        coming = capture.coming()  # before the look at the bytes, which then sees the last
        ended = not capture.grown() and ended
        if not ended and (host.following or not coming):
            return True
        if (ended and not host.following and not coming) or host.left.wait(TICK):
            return False


def _read_all(host: ReadingHost, session: Session) -> bool:
    """Read what was written by now. A new session is shown once it has at least as much as the one before.

    Gives whether that was all. Nothing is worked out where it was not.
    """
    _scan(host, session)
    coming = session.capture.coming() and not host.following
    if session.capture.grown() or coming:
        return False
    for step, work in _STEPS:
        session.begin_step(step)
        work(session)
    session.begin_step("bookmarks")
    _open_bookmarks(host, session)
    session.end_steps()
    host.post(host.grow)
    if not host.following:
        host.post(host.stop_growing)
    host.settled.set()
    return True


def _scan(host: ReadingHost, session: Session) -> None:
    for reached in session.capture.load(session.begin):
        session.read()
        session.reached = reached
        if len(session) >= len(host.session):
            _show(host, session)
    session.read()
    session.finish()
    _show(host, session)
    host.post(host.grow)


def _show(host: ReadingHost, session: Session) -> None:
    if session is not host.session:
        host.post(host.succeed, session)


def _sum_up(session: Session) -> None:
    """Work out what several screens show of the whole stream."""
    try:
        session.film = film(session.capture.stream)
        session.hot = top(session.capture.stream).sorted(Order.RESENDS, _HOT)
        session.thumbnail = thumbnail(session.capture.stream)
    except XbrleError as error:
        session.trouble = str(error)


def _describe(session: Session) -> None:
    """Put in words what the scan shows, as `info` does."""
    capture = session.capture
    try:
        _write_about(session, None, None)
    except XbrleError as error:
        session.trouble = f"{capture.name}: {error}"


def _look_into_memory(session: Session) -> None:
    """Find out where memory lies, and what guest it is."""
    try:
        _write_about(session, *about.memory_and_guest(session.capture.stream))
    except XbrleError as error:
        session.trouble = str(error)


def _write_about(session: Session, physical: dict[str, Any] | None, who: dict[str, Any] | None) -> None:
    capture = session.capture
    overview = facts.overview_of(capture.facts, session.stats)
    told = facts.as_json(overview, capture.source, capture.channels, about.came_back(capture.source))
    status, why = of_scan(capture.facts)
    told |= {"verdict": {"status": status, "summary": why}, "arrival": _arrival(session)}
    lines = about.summary(told, facts.dialect_words(capture.facts.reading))
    if physical is not None:
        lines += [*about.placing(physical), *about.placed(physical)]
    session.about = lines + (guest.words(who) if who is not None else [])


def _arrival(session: Session) -> dict[str, Any] | None:
    """When the bytes came, where a file beside the capture says it."""
    source = session.capture.source
    try:
        found = arrivals.beside(source) if isinstance(source, MappedSource) else None
    except XbrleError:
        return None
    return None if found is None else arrivals.as_json(found)


def _verify(session: Session) -> None:
    try:
        found = found_in(session.capture.stream)
        concluded = verdict(found)
        session.take_findings(concluded.shared or ())
        listed = zip(session.findings.listed, session.findings.causes, strict=True)
        session.branches = branches(concluded, listed, lambda _: True)
        rows, records = session.findings.suspect_rows(), session.capture.stream.records
        session.wrong_in = Counter(
            zip(records.columns.block[rows].tolist(), records.passes_of(rows).tolist(), strict=True)
        )
        if session.thumbnail is not None:
            session.thumbnail = with_trouble(session.thumbnail, session.capture.stream, rows, concluded.wrong)
        session.verdict = concluded
        session.level = wrong_over_time(session.capture.stream, rows)
    except (XbrleError, OSError) as error:  # OSError: the temporary folder cannot take the findings
        session.trouble = f"not verified: {error}"
    session.verified = True


def _take_fingerprint(session: Session) -> None:
    try:
        session.fingerprint = fingerprint(session.capture.stream)
    except XbrleError as error:
        session.no_fingerprint = str(error)


#: What is worked out once all was read, in this order, and how it is called meanwhile.
_STEPS: tuple[tuple[str, Callable[[Session], None]], ...] = (
    ("adding up", _sum_up),
    ("describing", _describe),
    ("verifying", _verify),
    ("the sender's fingerprint", _take_fingerprint),
    ("guest and places of memory", _look_into_memory),
)


def _open_bookmarks(host: ReadingHost, session: Session) -> None:
    """Find the bookmarks that belong to this capture."""
    try:
        session.open_bookmarks(bookmarks.digest(session.capture.data))
    except XbrleError as error:
        host.post(host.say, str(error), "warning")
