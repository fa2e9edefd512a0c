"""The dialects of a delta record: header, coding and checksum, and what is special about their senders.

Facts: README.md, "Dialects". All but xbzrle-rfc were seen in captures that those trees made [C].
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from . import Grammar, statistics, xbrle, xbzrle
from .statistics import Form


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


class Loader(Enum):
    """The receivers that load deltas of more than their own tree."""

    POSTED = "both builds of the patch as posted"
    QEMU = "QEMU since 2012"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way in which delta records were written.

    How they read:

    - ``ram_version``: the version of the RAM section that they stand in.
    - ``header`` takes the byte order of the host and gives the header's grammar. Where ``host_endian`` is false both
      orders give the same.
    - ``length_counts``: how many bytes of the header its length field counts.
    - ``page_limit``: the longest payload that a receiver takes, in pages.
    - ``page_sum``: whether each PAGE has its byte sum before its data.
    - ``loader``: which receivers load them beside those of the same tree, if any do.

    What tells them from others:

    - ``always_sums``: whether every delta states its sum and sets no flag that says so. Among dialects of one layout
      this tells a debug build's from one whose flags say it.
    - ``last_choice``: whether the dialect is chosen only where no other one fits as well.
    - ``configured``: whether a tree that writes CONFIGURATION, which came with 2.4 [R], has it. The others had gone by
      then.

    How their sender worked:

    - ``debug_build``: whether only debug builds wrote them.
    - ``caches_dup``: whether the next delta after a dup page is against that dup page. Where it is not, bases go stale.
    - ``samples``: whether the sender looks at a sample of the page before it tries a delta.
    - ``cache_known``: whether the cache has bytes / (2 x page size) buckets.
    - ``form``: how the build printed its statistics.
    """

    name: str
    ram_version: int
    header: Callable[[str], Grammar]
    encoding: Encoding
    checksum: Checksum
    form: Form
    host_endian: bool = True
    length_counts: int = 0
    page_limit: int = 1
    page_sum: bool = False
    loader: Loader | None = None
    always_sums: bool = False
    last_choice: bool = False
    configured: bool = False
    debug_build: bool = False
    caches_dup: bool = True
    samples: bool = True
    cache_known: bool = True


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
            statistics.M115,
            host_endian=False,
            length_counts=3,
            caches_dup=False,
            samples=False,
            cache_known=False,
        ),
        Dialect(
            "sep20",
            _V3,
            xbrle.header_4,
            Encoding.DOUBLED_NEXT,
            Checksum.NONE,
            statistics.M115,
            length_counts=4,
            cache_known=False,
        ),
        Dialect("nov03a", _V3, xbrle.header_8, Encoding.RLE, Checksum.COMPLEMENT, statistics.NOV03, page_limit=2),
        Dialect(
            "nov03b",
            _V3,
            xbrle.header_12,
            Encoding.RLE,
            Checksum.COMPLEMENT,
            statistics.NOV03,
            page_limit=2,
            cache_known=False,
        ),
        Dialect(
            "nov09",
            _V3,
            xbrle.header_8,
            Encoding.RLE,
            Checksum.SUM,
            statistics.M115,
            page_sum=True,
            debug_build=True,
            last_choice=True,
        ),
        Dialect("m115", _V3, xbrle.header_8, Encoding.RLE, Checksum.SUM, statistics.M115),
        Dialect(
            "m115dbg",
            _V3,
            xbrle.header_8,
            Encoding.RLE,
            Checksum.SUM,
            statistics.M115,
            page_sum=True,
            debug_build=True,
        ),
        Dialect("lm2", _V4, xbrle.header_4, Encoding.RLE, Checksum.NONE, statistics.LM2),
        Dialect(
            "lm2dbg",
            _V4,
            xbrle.header_8,
            Encoding.RLE,
            Checksum.SUM,
            statistics.LM2,
            loader=Loader.POSTED,
            always_sums=True,
            debug_build=True,
        ),
        Dialect(
            "posted",
            _V4,
            xbrle.header_8,
            Encoding.RLE,
            Checksum.FLAGGED,
            statistics.POSTED,
            loader=Loader.POSTED,
            caches_dup=False,
        ),
        Dialect(
            "xbzrle-rfc",
            _V4,
            xbzrle.header_rfc,
            Encoding.ZRUN,
            Checksum.NONE,
            statistics.POSTED,
            host_endian=False,
        ),
        Dialect(
            "xbzrle",
            _V4,
            xbzrle.header,
            Encoding.ZRUN,
            Checksum.NONE,
            statistics.POSTED,
            host_endian=False,
            loader=Loader.QEMU,
            configured=True,
        ),
    )
}


def statistics_form(dialect: Dialect | None, ram_version: int) -> Form:
    """How the sender's build printed its statistics. Without a dialect: how most builds of that RAM version did."""
    if dialect is not None:
        return dialect.form
    return statistics.M115 if ram_version == _V3 else statistics.POSTED
