"""What is special about a page at a moment, in a sentence or two."""

import numpy as np

from ..memory.history import Content
from ..verify.rules import Severity
from .conclusion import shortened
from .pagemoment import PageMoment
from .session import Session
from .widgets.lines import Line
from .words import SEVERITY_MARK, SEVERITY_STYLE, counted, wrapped

_LINES, _LONG = 2, 70  # lines that it may take, and the cells of a line from which on those are enough
_HOT = 100  # pages that count as sent often


def special(session: Session, moment: PageMoment, content: Content) -> tuple[str, str]:
    """A text, and the style of what it says. Both are empty where the page is like any other."""
    found = session.findings.worst(moment.row) if moment.row is not None else None
    if found is not None:
        return f"{SEVERITY_MARK[found.severity]} {found.rule}: {found.message}", SEVERITY_STYLE[found.severity]
    out = [text for text in (_wrong_at(session, moment), _unknown(content), _sent(session, moment)) if text]
    if not out:
        out = [text for text in (_content(content),) if text]
    return "; ".join(out), "warning" if out and not content.recovered.all() else "dim"


def special_lines(session: Session, moment: PageMoment, content: Content, width: int) -> list[Line]:
    """The same in two lines of ``width`` cells, or three where they are short. None where there is nothing.

    What does not fit is left out by whole parts of its sentence.
    """
    text, shade = special(session, moment, content)
    most = _LINES if width >= _LONG else _LINES + 1
    while len(lines := wrapped(text, width)) > most and (shorter := shortened(text, len(text) - 1)) != text:
        text = shorter
    return [[(line, shade)] for line in lines[:most]] if text else []


def _wrong_at(session: Session, moment: PageMoment) -> str:
    """What findings say of other versions of it."""
    suspects = session.findings.suspect_rows()
    rows = moment.history.rows[np.isin(moment.history.rows, suspects)]
    if not len(rows):
        return ""
    number = moment.history.numbers[np.searchsorted(moment.history.rows, rows[0])]
    last = session.findings.worst(int(rows[-1]))
    lasts = last is not None and last.severity is Severity.ERROR and rows[-1] == moment.history.rows[-1]
    ends = f"it {'is' if session.knows_wrong else 'may be'} wrong at the end" if lasts else "later records gave it anew"
    return f"{len(rows)} of its {counted(len(moment.history), 'version')} are suspect, first record {number}; {ends}"


def _unknown(content: Content) -> str:
    count = int(np.count_nonzero(~content.recovered))
    return f"{counted(count, 'byte')} are not known at this moment" if count else ""


def _sent(session: Session, moment: PageMoment) -> str:
    """How often it was sent, where few pages were sent as often."""
    hot = session.hot
    if hot is None:
        return ""
    block, address = moment.place
    places = np.flatnonzero((hot.block[:_HOT] == block) & (hot.address[:_HOT] == address))
    if not len(places) or int(hot.resends[places[0]]) < 1:
        return ""
    place = int(places[0])
    rank = "the page that was sent most" if place == 0 else f"number {place + 1} of the pages that were sent most"
    return f"{rank}: {counted(int(hot.records[place]), 'record')}"


def _content(content: Content) -> str:
    """What its bytes are, where they are all alike."""
    first = int(content.data[0])
    if (content.data == first).all():
        return "every byte is zero" if not first else f"every byte is {first:#04x}"
    return ""
