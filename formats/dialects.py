"""The twelve dialects of a delta record: which header, which coding, which checksum, and what the sender cached.

Facts: README.md, "Dialects"; all but xbzrle-rfc are seen in captures made by those trees [C].
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from . import Grammar, xbrle, xbzrle


class Encoding(Enum):
    """How a delta's payload reads."""

    RLE = "(run, byte) pairs over old XOR new"
    DOUBLED = "doubled bytes with a count, over old XOR new"
    DOUBLED_NEXT = "doubled bytes, then the byte after the run and a count, over old XOR new"
    ZRUN = "ULEB128 runs with the new bytes"


class Checksum(Enum):
    """What the header's checksum field holds."""

    NONE = "no checksum"
    SUM = "byte sum of the new page"
    COMPLEMENT = "complement of the byte sum"
    FLAGGED = "byte sum of the new page, valid where flag 0x2 is set"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way in which delta records were written.

    ``header`` takes the byte order of the host and gives the header's grammar; where ``host_endian`` is false both
    orders give the same. ``length_counts`` is how many bytes of the header its length field counts. ``page_limit`` is
    the longest payload that a receiver takes, in pages. ``caches_dup``: whether the sender's next delta after a dup
    page is against that dup page; where it is not, bases go stale. ``configured``: whether a tree that writes
    CONFIGURATION, which came with 2.4 [R], has it; the others had gone by then.
    """

    name: str
    ram_version: int
    header: Callable[[str], Grammar]
    encoding: Encoding
    checksum: Checksum
    host_endian: bool = True
    length_counts: int = 0
    page_limit: int = 1
    page_sum: bool = False
    caches_dup: bool = True
    configured: bool = False


_V3, _V4 = 3, 4

DIALECTS: dict[str, Dialect] = {
    d.name: d
    for d in (
        Dialect(
            "sep10",
            _V3,
            xbrle.header_3,
            Encoding.DOUBLED,
            Checksum.NONE,
            host_endian=False,
            length_counts=3,
            caches_dup=False,
        ),
        Dialect("sep20", _V3, xbrle.header_4, Encoding.DOUBLED_NEXT, Checksum.NONE, length_counts=4),
        Dialect("nov03a", _V3, xbrle.header_8, Encoding.RLE, Checksum.COMPLEMENT, page_limit=2),
        Dialect("nov03b", _V3, xbrle.header_12, Encoding.RLE, Checksum.COMPLEMENT, page_limit=2),
        Dialect("nov09", _V3, xbrle.header_8, Encoding.RLE, Checksum.SUM, page_sum=True),
        Dialect("m115", _V3, xbrle.header_8, Encoding.RLE, Checksum.SUM),
        Dialect("m115dbg", _V3, xbrle.header_8, Encoding.RLE, Checksum.SUM, page_sum=True),
        Dialect("lm2", _V4, xbrle.header_4, Encoding.RLE, Checksum.NONE),
        Dialect("lm2dbg", _V4, xbrle.header_8, Encoding.RLE, Checksum.SUM),
        Dialect("posted", _V4, xbrle.header_8, Encoding.RLE, Checksum.FLAGGED, caches_dup=False),
        Dialect("xbzrle-rfc", _V4, xbzrle.header_rfc, Encoding.ZRUN, Checksum.NONE, host_endian=False),
        Dialect("xbzrle", _V4, xbzrle.header, Encoding.ZRUN, Checksum.NONE, host_endian=False, configured=True),
    )
}
