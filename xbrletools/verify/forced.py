"""Whether what a user forced is what a capture shows by itself: a wrong dialect or byte order falsifies the rest."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import XbrleError
from ..stream.scan import Scanner
from .rules import RULES, Finding

if TYPE_CHECKING:
    from ..capture import Capture


def forced(capture: "Capture") -> Iterator[Finding]:
    """A finding where the dialect or the byte order was given, and the capture's deltas show another."""
    dialect, endian = capture.forced
    if dialect is None and endian is None:
        return
    scan = Scanner(capture.source, page_size=capture.page_size)
    try:
        for _ in scan:
            if scan.settings.evidence.name is not None:
                break
    except XbrleError:
        return
    shows = scan.settings.evidence
    others = []
    if dialect is not None and shows.name not in (None, dialect) and dialect not in shows.candidates:
        others.append((f"dialect {dialect}", f"{shows.name}"))
    worse = capture.evidence.decoded < shows.decoded  # a length can be the same in both byte orders
    if endian is not None and worse and shows.endian not in (None, endian):
        others.append((f"byte order {endian}", f"{shows.endian}"))
    rule = RULES["forced-reading"]
    for told, shown in others:
        message = f"read in {told}, as was asked for; by itself the capture shows {shown}: {'; '.join(shows.reasons)}"
        yield Finding(rule.id, rule.severity, message, shows.offset, evidence={"shows": shown})
