"""Findings, and the rules that make them. Each rule has an id that scripts rely on, and all that is said about it.

A new rule is one entry here, and the code that finds it. What stops a receiver was tried on the original programs
or follows from the posted patch: formats/README.md, "Receivers". QEMU's messages are what QEMU 7.2 to 11.1 printed
when they refused a stream [C].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from ..text import label


class Severity(Enum):
    """How much a finding matters: an error loses or falsifies memory, or keeps a receiver from loading."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Program(Enum):
    """The kinds of programs that load streams: ``stops`` of a rule names them. `receivers` has each as a value."""

    VANILLA = "vanilla"  # QEMU before the patch: reads no deltas
    DEFAULT = "default"  # the posted patch as it was built by default: looks at no checksum
    DEBUG = "debug"  # the posted patch with its debug define: rejects a wrong checksum
    QEMU = "qemu"  # QEMU since 2012, of any version: RAM version 4, XBZRLE


class Proof(StrEnum):
    """What shows that a delta's base was stale, from the strongest to the weakest."""

    CHECKSUM = "checksum"  # its stated sum holds for the sender's page, and not for the receiver's
    COLLISION = "collision"  # its stated sum holds for both pages, and they differ
    UNIFORM = "uniform"  # the receiver's page comes to one repeated byte, which no sender sends as a delta
    BUILD = "build"  # other deltas of the capture show that its sender forgets dup pages
    STRUCTURAL = "structural"  # only that senders of this dialect forget dup pages


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a capture that should not be there, or that a reader should know.

    ``rule`` is the rule's id. ``offset`` is the byte in the capture where it shows, ``record`` the record's number
    from 1, ``section`` the number of its section, ``block`` the RAM block's name as bytes, ``page`` the page's address
    in its block. Each is None where it does not apply. ``evidence`` holds the numbers and texts that show it, by name,
    ready for JSON.
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

    def __repr__(self) -> str:
        places = [] if self.offset is None else [f" at offset {self.offset:#x}"]
        places += [] if self.record is None else [f" record {self.record}"]
        return f"<Finding {self.rule} ({self.severity.value}){','.join(places)}: {label(self.message)}>"


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule: ``sentence`` says what breaking it means, ``stops`` which receivers stop there.

    ``rank`` is its place among the findings about one record. ``messages`` are QEMU's own where they are known, with
    {} for what varies. ``conclusions`` say what a finding's evidence amounts to, by its `Proof` or other certainty.
    `STATES_SUMS` is for dialects that state sums, `ANY` for all other cases.
    """

    id: str
    severity: Severity
    sentence: str
    stops: frozenset[Program]
    rank: int
    conclusions: Mapping[str, str]
    messages: tuple[str, ...]

    def finding(self, message: str, offset: int | None = None, **place: Any) -> Finding:
        """A finding of this rule, of the rule's own severity. ``place`` has other fields of `Finding` by name."""
        return Finding(self.id, self.severity, message, offset, **place)


ANY = ""  # the conclusion in any case without one of its own
STATES_SUMS = "states sums"  # the conclusion where the dialect's deltas state sums

_NOBODY: frozenset[Program] = frozenset()
_ALL = frozenset(Program)
_TODAY = frozenset((Program.QEMU,))
_POSTED = frozenset((Program.DEFAULT, Program.DEBUG))
_DECODING = _POSTED | _TODAY
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

#: Every rule by its id, in the order in which they stand below, which is that of findings about one record.
RULES: dict[str, Rule] = {}


def _rule(
    id_: str,
    severity: Severity,
    sentence: str,
    stops: frozenset[Program] = _NOBODY,
    conclusions: Mapping[str, str] | str | None = None,
    messages: tuple[str, ...] = (),
) -> Rule:
    """Make a rule and enter it. ``conclusions`` of one sentence is for any case."""
    cases = {ANY: conclusions} if isinstance(conclusions, str) else conclusions or {}
    RULES[id_] = Rule(id_, severity, sentence, stops, len(RULES), cases, messages)
    return RULES[id_]


_UNKNOWN_FLAGS = ("Unknown combination of migration flags: {}",)
_NOT_DECODED = "Failed to decompress XBZRLE page at {}"

# -- the container -----------------------------------------------------------------------------------------------------

TRUNCATED = _rule("truncated", _E, "the capture ends before the stream does", _ALL)
FILE_VERSION = _rule(
    "file-version",
    _E,
    "the container's version is not 3",
    _ALL,
    messages=(
        "SaveVM v2 format is obsolete and don't work anymore",
        "SaveVM v2 format is obsolete and no longer supported",
    ),
)
RAM_VERSION = _rule(
    "ram-version",
    _E,
    "the RAM section's version is neither 3 nor 4",
    _ALL,
    messages=("unsupported version {} for 'ram' v{}",),
)
BAD_SECTION_TYPE = _rule(
    "bad-section-type",
    _E,
    "no section begins with this byte",
    _ALL,
    messages=("Unknown savevm section type {}", "Unknown section type {}"),
)
UNKNOWN_SECTION = _rule(
    "unknown-section",
    _E,
    "a section's id was never announced",
    _ALL,
    messages=("Unknown savevm section {}", "Unknown section {}"),
)
UNKNOWN_OWNER = _rule("unknown-owner", _E, "a section that receivers do not handle", _ALL - _TODAY)
BAD_BLOCK_RECORD = _rule("bad-block-record", _E, "not a record of a block migration section", _ALL)
BAD_FOOTER = _rule(
    "bad-footer",
    _E,
    "a section's footer is missing or of another section",
    _TODAY,
    messages=(
        "Mismatched section id in footer for {} - read {} expected {}",
        "Missing section footer for {}",
        "Section footer error, section_id: {}",
    ),
)
BAD_PACKAGE = _rule("bad-package", _E, "a PACKAGED command does not end where a section ends", _TODAY)
MULTIFD_CHANNEL = _rule(
    "multifd-channel", _E, "a multifd channel is damaged or does not go with the main channel", _ALL
)
CHANNEL_MISSING = _rule(
    "channel-missing", _E, "pages came on a channel that is not here: from there on no page is known", _ALL
)
FOREIGN_CHANNEL = _rule("foreign-channel", _E, "a channel of another migration: no page is known", _ALL)
SYNC_WITH_PAGES = _rule("sync-with-pages", _W, "a SYNC that carries pages, which a destination of QEMU 9.2 drops")
RAM_ELSEWHERE = _rule("ram-elsewhere", _N, "RAM blocks that the stream leaves out, since the destination has them")
UNKNOWN_COMMAND = _rule(
    "unknown-command",
    _E,
    "a COMMAND of a number that receivers do not know",
    _TODAY,
    messages=("MIG_CMD {} unknown (len {})",),
)
COMMAND_LENGTH = _rule(
    "command-length",
    _E,
    "a COMMAND with more or fewer bytes of data than receivers ask for",
    _TODAY,
    messages=("{} received with bad length - expecting {}, got {}", "CMD_POSTCOPY_ADVISE invalid length ({})"),
)
COMMAND_ORDER = _rule(
    "command-order",
    _E,
    "a COMMAND that receivers refuse after the ones before it",
    _TODAY,
    messages=(
        "CMD_POSTCOPY_ADVISE in wrong postcopy state ({})",
        "CMD_POSTCOPY_RAM_DISCARD in wrong postcopy state ({})",
        "CMD_POSTCOPY_LISTEN in wrong postcopy state ({})",
        "CMD_POSTCOPY_RUN in wrong postcopy state ({})",
        "CMD_PING ({}) received with no return path",
    ),
)
BAD_DESCRIPTION = _rule("bad-description", _E, "the VM description is damaged; receivers do not look at it")
DESCRIPTION_MISMATCH = _rule(
    "description-mismatch",
    _W,
    "a device section, or the size of pages, is not as the VM description says; receivers do not look at that",
)
DEVICE_MISSING = _rule(
    "device-missing",
    _E,
    "the VM description names devices whose sections are not there: receivers load the rest, without their state",
)
DEVICE_NAME = _rule("device-name", _E, "a device section has another name than the VM description gives it", _ALL)
DEVICE_VALUE = _rule(
    "device-value",
    _W,
    "a field of a device holds what senders never write for its type: damage; receivers may refuse it",
)
SUBSECTION_PLACE = _rule(
    "subsection-place", _W, "a subsection that is not known, or not where it belongs; receivers may refuse it"
)
MISSING_PACKETS = _rule("missing-packets", _E, "bytes of the stream are not in the packet dump", _ALL)
PACKETS_DIFFER = _rule("packets-differ", _E, "the packet dump has bytes of the stream twice, and differently")
DUMP_CUT = _rule("dump-cut", _E, "the packet dump is cut or damaged, or not all of it is read")
PACKETS_ODD = _rule("packets-odd", _N, "packets of the dump that are not read, or a connection without its SYN")
UNFINISHED_SAVE = _rule("unfinished-save", _W, "a libvirt save file that is marked as unfinished")
UNFINISHED_BITMAP = _rule(
    "unfinished-bitmap",
    _E,
    "a mapped-ram file without RAM's END, before which the bitmaps are written: pages that no bit marks are unknown",
)
MAPPED_LAYOUT = _rule(
    "mapped-layout",
    _E,
    "the header of a mapped-ram block names another place of its bitmap or pages; QEMU reads other pages, or none",
)
SKIPPED = _rule("skipped", _E, "damaged bytes that salvage skipped", _ALL)
TRAILING_DATA = _rule("trailing-data", _W, "bytes follow the end of the stream")
DEVICE_TAIL_UNCHECKED = _rule(
    "device-tail-unchecked", _N, "device state without footers or description: damage in it cannot be seen"
)

# -- the RAM section's framing -----------------------------------------------------------------------------------------

BAD_RECORD = _rule("bad-record", _E, "not a record of a RAM section", _ALL)
BLOCK_LIST = _rule("block-list", _E, "the block list does not add up, or contradicts itself", _ALL)
BLOCK_LIST_FORM = _rule(
    "block-list-form", _W, "the block list repeats an entry, or comes again and differs; receivers let it pass"
)
DESTINATION_BLOCKS = _rule(
    "destination-blocks",
    _E,
    "the block list is not the destination's",
    _ALL,
    messages=(
        'Unknown ramblock "{}", cannot accept migration',
        "Size mismatch: {}: {} != {}",
        "Size too large: {}: {} > {}",
    ),
)
FLAGS_UNKNOWN = _rule(
    "flags-unknown", _N, "flag bits without a meaning, passed over by old receivers", messages=_UNKNOWN_FLAGS
)
FLAGS_COMBINED = _rule("flags-combined", _W, "more than one kind in a record's flags", _TODAY, messages=_UNKNOWN_FLAGS)
RDMA_HOOK = _rule(
    "rdma-hook",
    _E,
    "a HOOK, which only migrations over RDMA have: a stream of these lacks their pages, and QEMU before 8.2 refuses it",
)
END_ODD = _rule(
    "end-odd", _W, "an EOS has an address or CONTINUE, which senders do not write there; receivers pass over it"
)
NO_KIND = _rule("no-kind", _W, "a record of no kind, passed over by old receivers", _TODAY, messages=_UNKNOWN_FLAGS)
CONTINUE_WITHOUT_BLOCK = _rule(
    "continue-without-block",
    _E,
    "CONTINUE, and no record named a block yet",
    _ALL,
    messages=("Ack, bad migration stream!",),
)
UNKNOWN_BLOCK = _rule(
    "unknown-block",
    _E,
    "a record names a block that the block list does not have",
    _ALL,
    messages=("Can't find block {}",),
)
PAGE_OUT_OF_BOUNDS = _rule(
    "page-out-of-bounds",
    _E,
    "the page lies beyond its block; old receivers write there",
    _ALL,
    messages=("Illegal RAM offset {}",),
)

# -- the form of deltas ------------------------------------------------------------------------------------------------

UNREADABLE_DELTA = _rule("unreadable-delta", _E, "a delta that reads in no dialect", _ALL)
FORCED_READING = _rule("forced-reading", _W, "the dialect or byte order that was asked for is not what the deltas show")
DELTA_LENGTH = _rule(
    "delta-length",
    _E,
    "a delta longer than a receiver takes",
    _ALL,
    messages=("Failed to load XBZRLE page - len overflow!", _NOT_DECODED),
)
DELTA_HEADER = _rule(
    "delta-header",
    _E,
    "the delta's header lacks the flag that names its coding",
    _DECODING,
    messages=("Failed to load XBZRLE page - wrong compression!", _NOT_DECODED),
)
DELTA_FLAGS = _rule("delta-flags", _N, "header flag bits without a meaning")
DELTA_PADDING = _rule("delta-padding", _N, "the header's padding is not zero")
DELTA_ODD = _rule("delta-odd", _N, "an odd byte at the payload's end, passed over by receivers")
DELTA_FORM = _rule("delta-form", _N, "runs that the encoder would have written otherwise")
DELTA_STAGE = _rule("delta-stage", _N, "a delta outside stage 2, where these senders write none")

# -- what deltas and sums say of memory --------------------------------------------------------------------------------

DELTA_SIZE = _rule(
    "delta-size",
    _E,
    "the delta does not come to exactly one page",
    _DECODING,
    messages=("Failed to load XBZRLE page - decode error!", _NOT_DECODED),
)
DELTA_WITHOUT_BASE = _rule("delta-without-base", _E, "a delta to a page that was never sent in full")
COMPRESSED_PAGE = _rule("compressed-page", _E, "the zlib stream does not come to exactly one page")
COMPRESSED_PAGE_SUPERSEDED = _rule(
    "compressed-page-superseded", _N, "a damaged zlib stream whose page a later record gives again"
)
BASE_WRONG = _rule(
    "base-wrong",
    _E,
    "an XBZRLE run begins or ends with a byte that the page has already: the sender's page was another",
    conclusions="A sender begins and ends a run where its own copy of the page differs from the new one. So the page "
    "that it had is not the receiver's, and the bytes that the delta leaves alone may be wrong as well. A record of "
    "this page is missing before it or was damaged, or the sender's cache is at fault.",
)
CHECKSUM_MISMATCH = _rule(
    "checksum-mismatch",
    _E,
    "the page does not have the sum that its record states",
    conclusions={
        STATES_SUMS: "Look for stale-base or corrupt-page at the same record: they say why the sum does not hold."
    },
)
_COLLIDES = (
    "The stated sum holds for both ends' pages, which differ: a sum of bytes does not see where they stand. The base "
    "was stale as after any dup page; the sum cannot show it."
)
STALE_BASE = _rule(
    "stale-base",
    _E,
    "the delta's base is a page that the receiver lost to a dup page",
    conclusions={
        Proof.CHECKSUM: "The stated sum holds for the page that the sender held and not for the receiver's: the base "
        "was stale.",
        Proof.COLLISION: _COLLIDES,
        Proof.UNIFORM: "The stream states no sum here. The receiver's page comes to one repeated byte, and such a page "
        "is never sent as a delta: the sender's base was another, the page that it had sent before the dup page.",
        Proof.BUILD: "The stream states no sum here. Other deltas of this capture show that its sender forgets dup "
        "pages, so this one too is against what it sent before.",
        Proof.STRUCTURAL: "The stream states no sum here. Senders of the {dialect} dialect do not cache dup pages, so "
        "their next delta is against what they sent before. A sender that was changed to cache them would make the "
        "receiver's page right. Nothing in this stream tells the two apart.",
    },
)
CHECKSUM_COLLISION = _rule(
    "checksum-collision", _E, "a sum that holds although the receiver's page is wrong", conclusions=_COLLIDES
)
REPLAYED_SPAN = _rule(
    "replayed-span",
    _E,
    "records that repeat earlier ones byte for byte, deltas among them",
    conclusions="No sender writes a literal that is there already, and an XOR twice in a row undoes itself: the guest "
    "then changed the page back, which its sum, where one is stated, shows. Else the later span is the one too many.",
)
DELTA_UNDONE = _rule(
    "delta-undone",
    _N,
    "deltas that undo the ones before them; a replayed span would look the same",
    conclusions="An XOR twice in a row undoes itself. A page that changes and changes back is sent so; a span that "
    "came twice looks the same where no sum tells. Compare what follows: after a replay the sender's order goes on.",
)
CORRUPT_PAGE = _rule(
    "corrupt-page",
    _E,
    "damage: the page has the stated sum in no view",
    conclusions="The stated sum holds in neither view, so a stale base does not explain it: one of the records from "
    "the earliest named to this one was damaged, or one between them is missing.",
)
DROPPED_SPAN = _rule(
    "dropped-span",
    _E,
    "records that are missing, by the deltas that fail after them",
    conclusions="Damage to single deltas would not hit so many pages at once. Each was last right before this point, "
    "and none is after it; what is missing are these pages' records in between.",
)

# -- the whole ---------------------------------------------------------------------------------------------------------

ENDS_DISAGREE = _rule("ends-disagree", _E, "the two ends logged different sums of a page")
LOG_UNREAD = _rule("log-unread", _N, "lines of a mig.log whose records salvage did not read")
REFUSED_BY_ALL = _rule(
    "refused-by-all", _E, "every program that the stream was made for refuses it, and no other rule finds an error"
)
PAGE_NEVER_SENT = _rule("page-never-sent", _W, "pages that no record gave, in a stream that came to its end")

#: Rules that say of a record that the receiver's page is not the sender's after it.
PAGE_RULES = (
    STALE_BASE,
    CHECKSUM_COLLISION,
    CHECKSUM_MISMATCH,
    CORRUPT_PAGE,
    COMPRESSED_PAGE,
    BASE_WRONG,
    DELTA_SIZE,
    DELTA_WITHOUT_BASE,
    REPLAYED_SPAN,
    DROPPED_SPAN,
)
