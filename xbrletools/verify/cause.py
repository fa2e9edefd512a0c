"""What explains findings: the values that a verdict is made of. The words are fixed for scripts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class CauseName(StrEnum):
    """The word for a cause, as scripts read it."""

    STALE_BASE = "stale-base"
    CHECKSUM_FIELD = "checksum-field"
    PAYLOAD_VALUE = "payload-value"
    PAYLOAD_RUN = "payload-run"
    LENGTH_FIELD = "length-field"
    ADDRESS = "address"
    RECORD_FLAGS = "record-flags"
    BLOCK_NAME = "block-name"
    SECTION_FRAMING = "section-framing"
    PAGE_CONTENT = "page-content"
    RECORDS_MISSING = "records-missing"
    RECORDS_REPEATED = "records-repeated"
    RECORDS_REORDERED = "records-reordered"
    BYTES_INSERTED = "bytes-inserted"
    BYTES_MISSING = "bytes-missing"
    BYTES_OVERWRITTEN = "bytes-overwritten"
    SPLICED = "spliced"
    TRUNCATED = "truncated"
    HEAD_MISSING = "head-missing"
    CHANNEL_MISSING = "channel-missing"
    CHANNEL_DAMAGED = "channel-damaged"
    FOREIGN_CHANNEL = "foreign-channel"
    BASE_WRONG = "base-wrong"
    FORCED_READING = "forced-reading"
    UNKNOWN = "unknown"


#: What each cause says happened, in whole sentences.
MEANING: Mapping[CauseName, str] = {
    CauseName.STALE_BASE: "The sender made a delta against a page that the receiver had lost to a dup page. "
    "It is a fault of the sender, not of the capture.",
    CauseName.CHECKSUM_FIELD: "The sum that a record states was changed. Its page is right.",
    CauseName.PAYLOAD_VALUE: "A byte that a delta writes was changed.",
    CauseName.PAYLOAD_RUN: "The length of a run in a delta was changed.",
    CauseName.LENGTH_FIELD: "The length that a record states was changed.",
    CauseName.ADDRESS: "The page address of a record was changed.",
    CauseName.RECORD_FLAGS: "The flags of a record or of a delta's header were changed.",
    CauseName.BLOCK_NAME: "The name of a RAM block was changed, in a record or in the block list.",
    CauseName.SECTION_FRAMING: "The header, the footer or the end of a section was changed.",
    CauseName.PAGE_CONTENT: "The content of a page that was sent in full was changed.",
    CauseName.RECORDS_MISSING: "Records are missing.",
    CauseName.RECORDS_REPEATED: "Records came twice.",
    CauseName.RECORDS_REORDERED: "Records came in another order than they were sent.",
    CauseName.BYTES_INSERTED: "Bytes were inserted that the sender did not write.",
    CauseName.BYTES_MISSING: "Bytes are missing, and they were not whole records.",
    CauseName.BYTES_OVERWRITTEN: "Bytes were overwritten in place.",
    CauseName.SPLICED: "Parts of two streams were put together.",
    CauseName.TRUNCATED: "The capture ends before the stream does.",
    CauseName.HEAD_MISSING: "The capture begins after the stream does.",
    CauseName.CHANNEL_MISSING: "Pages came on a channel that was not given.",
    CauseName.CHANNEL_DAMAGED: "A channel is damaged, or does not go with the main channel.",
    CauseName.FOREIGN_CHANNEL: "A channel is of another migration.",
    CauseName.BASE_WRONG: "A delta was made against another page than the receiver has. "
    "A record of the page is missing before it or was damaged, or the sender's cache is at fault.",
    CauseName.FORCED_READING: "The dialect or the byte order that was asked for is not the one that the deltas show.",
    CauseName.UNKNOWN: "Nothing tells the cause.",
}


class Sure(StrEnum):
    """How sure a cause is. ``CERTAIN``: every other hypothesis was tested and fell. ``ONE_OF``: several stand."""

    CERTAIN = "certain"
    LIKELY = "likely"
    ONE_OF = "one-of"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Began:
    """Where a cause began.

    ``offset`` is a byte of the capture, ``record`` the record's number from 1, and ``bit`` the one that was changed in
    that byte (0 the lowest). Each is None where it cannot be told.
    """

    offset: int | None = None
    record: int | None = None
    bit: int | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """Bytes that would undo a damage: ``data`` takes the place of those at [``offset``, ``offset + replaced``).

    It is *inferred*, from the evidence that ``why`` names. Nothing becomes known by it.
    """

    offset: int
    replaced: int
    data: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What explains one or many findings. ``sentence`` says it to a person, ``evidence`` what shows it.

    ``candidates`` are the causes that stand where ``sure`` is `Sure.ONE_OF`. ``refuted`` are the hypotheses that fell,
    each with the reason. ``explains`` counts the findings that it explains, by rule. ``records`` counts the records
    that it made wrong, ``lasting`` the pages that are still wrong at the end because of it. ``affected`` are the
    offsets of records whose findings it explains, rising. ``onward`` is the offset from which on any finding can be its
    consequence, None where there is none.
    """

    name: CauseName
    sure: Sure
    sentence: str
    began: Began = Began()
    candidates: tuple[CauseName, ...] = ()
    refuted: tuple[tuple[CauseName, str], ...] = ()
    evidence: tuple[str, ...] = ()
    repair: Repair | None = None
    records: int = 0
    lasting: int = 0
    first_record: int | None = None
    first_offset: int | None = None
    explains: Mapping[str, int] = field(default_factory=dict)
    affected: tuple[int, ...] = ()
    onward: int | None = None
