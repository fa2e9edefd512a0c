"""Whether what a user forced is what a capture shows by itself. A wrong dialect or byte order falsifies the rest."""

from collections.abc import Iterator

from ..errors import XbrleError
from ..model import Stream
from ..scan.strict import Scanner
from ..source.sources import MappedSource
from .rules import FORCED_READING, Finding


def forced(stream: Stream) -> Iterator[Finding]:
    """A finding where the dialect or the byte order was given, and the capture's deltas show another."""
    dialect, endian = stream.forced
    if dialect is None and endian is None:
        return
    main = stream.data[: stream.records.main_size]
    scan = Scanner(MappedSource(stream.name, main.data, start=stream.facts.start), page_size=stream.page_size)
    try:
        for _ in scan:
            if scan.reading.evidence.name is not None:
                break
    except XbrleError:
        return
    shows = scan.reading.evidence
    differing = []
    if dialect is not None and shows.name not in (None, dialect) and dialect not in shows.candidates:
        differing.append((f"dialect {dialect}", f"{shows.name}"))
    worse = stream.reading.evidence.decoded < shows.decoded  # a length can be the same in both byte orders
    if endian is not None and worse and shows.endian not in (None, endian):
        differing.append((f"byte order {endian}", f"{shows.endian}"))
    for asked, shown in differing:
        message = f"read in {asked}, as was asked for; by itself the capture shows {shown}: {'; '.join(shows.reasons)}"
        yield FORCED_READING.finding(message, shows.offset, evidence={"shows": shown})
