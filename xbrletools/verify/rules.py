"""Findings and the rules that make them: each rule has a stable id, a severity, and the receivers that it stops.

What stops a receiver was tried on the original programs, or follows from the posted patch: formats/README.md,
"Receivers".
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Severity(Enum):
    """How much a finding matters: an error loses or falsifies memory, or keeps a receiver from loading."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Receiver(Enum):
    """A destination whose verdict on a stream can be told."""

    VANILLA = "vanilla"  # QEMU before the patch: knows no delta
    DEFAULT = "default"  # the posted patch as it was built by default: looks at no checksum
    DEBUG = "debug"  # the posted patch with its debug define: rejects a wrong checksum
    TODAY = "today"  # QEMU of today: RAM version 4, XBZRLE


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a capture that should not be there, or that a reader should know.

    ``offset`` is the byte in the capture where it shows; ``record`` the record's number from 1; ``section`` that of its
    section; ``block`` the RAM block's name as bytes; ``page`` the page's address in its block. Each is None where it
    does not apply. ``evidence`` holds numbers and texts that show it, by name, ready for JSON.
    """

    rule: str
    severity: Severity
    message: str
    offset: int | None = None
    record: int | None = None
    section: int | None = None
    block: bytes | None = None
    page: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule means, in a line, and which receivers stop at it."""

    id: str
    severity: Severity
    meaning: str
    stops: frozenset[Receiver] = frozenset()


_ALL = frozenset(Receiver)
_POSTED = frozenset((Receiver.DEFAULT, Receiver.DEBUG))
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

RULES: dict[str, Rule] = {
    r.id: r
    for r in (
        # the container
        Rule("truncated", _E, "the capture ends before the stream does", _ALL),
        Rule("file-version", _E, "the container's version is not 3", _ALL),
        Rule("ram-version", _E, "the RAM section's version is neither 3 nor 4", _ALL),
        Rule("bad-section-type", _E, "no section begins with this byte", _ALL),
        Rule("unknown-section", _E, "a section's id was never announced", _ALL),
        Rule("unknown-owner", _E, "a section that receivers have no handler for", frozenset(_ALL - {Receiver.TODAY})),
        Rule("bad-block-record", _E, "not a record of a block migration section", _ALL),
        Rule("bad-footer", _E, "a section's footer is missing or of another section", frozenset((Receiver.TODAY,))),
        Rule("bad-package", _E, "a PACKAGED command does not end where a section ends", frozenset((Receiver.TODAY,))),
        Rule("multifd-channel", _E, "a multifd channel is damaged or does not go with the main channel", _ALL),
        Rule("unfinished-save", _W, "a libvirt save file that is marked as unfinished"),
        Rule("skipped", _E, "damaged bytes that salvage skipped", _ALL),
        Rule("trailing-data", _W, "bytes follow the end of the stream"),
        Rule("device-tail-unchecked", _N, "device state without footers or description: damage in it cannot be seen"),
        # the RAM section's framing
        Rule("bad-record", _E, "not a record of a RAM section", _ALL),
        Rule("block-list", _E, "the block list does not add up, or contradicts itself", _ALL),
        Rule(
            "block-list-form", _W, "the block list repeats an entry, or comes again and differs; receivers let it pass"
        ),
        Rule("destination-blocks", _E, "the block list is not the destination's", _ALL),
        Rule("unknown-block", _E, "a record names a block that the block list does not have", _ALL),
        Rule("continue-without-block", _E, "CONTINUE, and no record named a block yet", _ALL),
        Rule("page-out-of-bounds", _E, "the page lies beyond its block; old receivers write there", _ALL),
        Rule("flags-unknown", _N, "flag bits without a meaning, passed over by old receivers"),
        Rule("flags-combined", _W, "more than one kind in a record's flags", frozenset((Receiver.TODAY,))),
        Rule("no-kind", _W, "a record of no kind, passed over by old receivers", frozenset((Receiver.TODAY,))),
        # deltas
        Rule("unreadable-delta", _E, "a delta that reads in no dialect", _ALL),
        Rule("forced-reading", _W, "the dialect or byte order that was asked for is not what the deltas show"),
        Rule("delta-length", _E, "a delta longer than a receiver takes", _ALL),
        Rule("delta-header", _E, "the delta's header lacks the flag that names its coding", _POSTED | {Receiver.TODAY}),
        Rule("delta-size", _E, "the delta does not come to exactly one page", _POSTED | {Receiver.TODAY}),
        Rule("delta-without-base", _E, "a delta to a page that was never sent in full"),
        Rule("checksum-mismatch", _E, "the page does not have the sum that its record states"),
        Rule("stale-base", _E, "the delta's base is a page that the receiver lost to a dup page"),
        Rule("checksum-collision", _E, "a sum that holds although the receiver's page is wrong"),
        Rule("corrupt-page", _E, "damage: the page has the stated sum in no view"),
        Rule("replayed-span", _E, "records that repeat earlier ones byte for byte, deltas among them"),
        Rule("delta-undone", _N, "deltas that undo the ones before them; a replayed span would look the same"),
        Rule("dropped-span", _E, "records that are missing, by the deltas that fail after them"),
        Rule("delta-flags", _N, "header flag bits without a meaning"),
        Rule("delta-padding", _N, "the header's padding is not zero"),
        Rule("delta-odd", _N, "an odd byte at the payload's end, passed over by receivers"),
        Rule("delta-form", _N, "runs that the encoder would have written otherwise"),
        Rule("delta-stage", _N, "a delta outside stage 2, where these senders write none"),
        # pages as zlib streams
        Rule("compressed-page", _E, "the zlib stream does not come to exactly one page"),
        Rule("compressed-page-superseded", _N, "a damaged zlib stream whose page a later record gives again"),
        # the whole
        Rule("ends-disagree", _E, "the two ends logged different sums of a page"),
        Rule("log-unread", _N, "lines of a mig.log whose records salvage did not read"),
        Rule("page-never-sent", _W, "pages that no record gave, in a stream that came to its end"),
    )
}
