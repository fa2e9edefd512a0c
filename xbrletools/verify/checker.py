"""What is wrong with a capture: every rule over the table, and every delta and checksum against replayed memory.

Rules run on whole columns and leave marks (a rule, rows, columns of evidence); a Finding is built from a mark only when
it is given out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..codec import checksum, xbrle
from ..codec.layout import dtype_of
from ..codec.verdict import Verdict
from ..formats import block as block_format
from ..formats import ram
from ..formats.dialects import Checksum, Dialect, Encoding
from ..formats.qevm import SectionType
from ..formats.ram import Flag, Kind
from ..formats.xbrle import HeaderFlag
from ..memory.image import Image, State
from ..memory.replay import CHUNK, Layer, apply
from ..memory.reserve import reserve
from ..stream.records import NO_BLOCK, Columns, RecordTable
from ..stream.sections import Stage
from ..text import shown
from .rules import RULES, Finding, Severity

if TYPE_CHECKING:
    from ..capture import Capture

Ints = NDArray[np.int64]
_STRICT_BATCH = 256
_IS_DELTA = np.zeros(256, bool)
_IS_DELTA[list(ram.DELTA_KINDS)] = True
_CARRIES = np.zeros(256, bool)
_CARRIES[list(ram.PAGE_KINDS)] = True


@dataclass(frozen=True, slots=True)
class Mark:
    """A rule that some records broke. ``evidence`` has a column beside ``rows`` for each of its names; in columns of
    record numbers 0 stands for none. ``severity`` overrides the rule's, row by row.
    """

    rule: str
    rows: Ints
    message: str = ""
    evidence: dict[str, NDArray[Any]] = field(default_factory=dict)
    severity: list[Severity] | None = None


def verify(capture: "Capture", destination: dict[bytes, int] | None = None) -> Iterator[Finding]:
    """Every finding of a capture, in the order of their offsets.

    ``destination`` says which blocks, by name and length in bytes, the destination has; without it the stream's own
    list is taken as right.

    Raises:
        XbrleError: this is no migration stream.
    """
    table = capture.records
    marks = [*_record_marks(capture), *_Replay(capture).run()]
    loose = [*_problems(capture), *_destination(capture, destination), *_whole(capture, marks)]
    loose.sort(key=lambda f: f.offset if f.offset is not None else capture.scanned.end)
    yield from _merged(loose, marks, table)


def _merged(loose: list[Finding], marks: list[Mark], table: RecordTable) -> Iterator[Finding]:
    """Findings without a record among those of marks, by offset."""
    rows = np.concatenate([np.empty(0, np.int64), *(m.rows for m in marks)])
    which = np.repeat(np.arange(len(marks)), [len(m.rows) for m in marks])
    place = np.concatenate([np.empty(0, np.int64), *(np.arange(len(m.rows)) for m in marks)])
    order = np.argsort(rows, kind="stable")
    pending = iter(loose)
    next_loose = next(pending, None)
    for i in order.tolist():
        mark = marks[which[i]]
        found = _finding(mark, int(place[i]), table)
        while next_loose is not None and next_loose.offset is not None and next_loose.offset <= (found.offset or 0):
            yield next_loose
            next_loose = next(pending, None)
        yield found
    while next_loose is not None:
        yield next_loose
        next_loose = next(pending, None)


def _finding(mark: Mark, place: int, table: RecordTable) -> Finding:
    row = int(mark.rows[place])
    columns = table.columns
    rule = RULES[mark.rule]
    block = int(columns.block[row])
    paged = bool(_CARRIES[columns.kind[row]])
    evidence = {}
    for name, column in mark.evidence.items():
        value = column[place].item()
        evidence[name] = None if name.endswith("record") and not value else value
    message = mark.message or rule.meaning
    return Finding(
        rule=mark.rule,
        severity=mark.severity[place] if mark.severity is not None else rule.severity,
        message=message.format(**{k: "none" if v is None else v for k, v in evidence.items()}),
        offset=int(columns.offset[row]),
        record=int(table.number[row]) or None,
        section=int(table.section[row]),
        block=table.names[block] if paged and block < len(table.names) else None,
        page=int(columns.address[row]) if paged else None,
        evidence=evidence,
    )


# -- findings that are not about one record ----------------------------------------------------------------------------


def _problems(capture: "Capture") -> Iterator[Finding]:
    """What the scan met."""
    for problem in capture.problems:
        rule = RULES[problem.rule]
        yield Finding(
            rule.id, rule.severity, problem.message, problem.offset, section=_section(capture, problem.offset)
        )
    yield from _owners(capture)
    tail = capture.scanned.device_tail
    if tail is not None:
        rule = RULES["device-tail-unchecked"]
        message = f"{tail[1] - tail[0]} bytes of device state have no footers: damage in them cannot be seen"
        yield Finding(rule.id, rule.severity, message, tail[0], evidence={"start": tail[0], "end": tail[1]})


def _owners(capture: "Capture") -> Iterator[Finding]:
    """START sections of an old stream that no receiver of its time has a handler for."""
    rule = RULES["unknown-owner"]
    for section in capture.sections:
        owner = section.owner
        if section.type is not SectionType.START or owner is None or capture.scanned.footers:
            continue
        versions = {ram.IDSTR: (ram.VERSION_FLAT, ram.VERSION_NAMED), block_format.IDSTR: (block_format.VERSION,)}
        if owner.idstr not in versions:
            message = "no receiver has a handler for a live section of this name"
        elif owner.instance_id:
            message = f"instance {owner.instance_id} of this section, and receivers have instance 0"
        elif owner.idstr == block_format.IDSTR and owner.version_id not in versions[owner.idstr]:
            message = f"version {owner.version_id} of this section, and receivers know {block_format.VERSION}"
        else:
            continue
        evidence = {"idstr": shown(owner.idstr), "instance": owner.instance_id, "version": owner.version_id}
        yield Finding(rule.id, rule.severity, message, section.offset, section=section.index, evidence=evidence)


def _section(capture: "Capture", offset: int) -> int | None:
    index = capture.sections.at(offset)
    return index if index >= 0 else None


def _destination(capture: "Capture", destination: dict[bytes, int] | None) -> Iterator[Finding]:
    """Where the stream's block list is not what the destination has."""
    if destination is None:
        return
    rule = RULES["destination-blocks"]
    rows = np.flatnonzero(capture.records.columns.kind == Kind.MEM_SIZE)
    offset = int(capture.records.columns.offset[rows[0]]) if len(rows) else None
    declared = [b for b in capture.blocks if b.declared]
    if capture.scanned.ram_version == ram.VERSION_FLAT:
        total = sum(destination.values())
        if declared and declared[0].length != total:
            message = f"the stream's RAM is {declared[0].length:#x} bytes, the destination's {total:#x}"
            yield Finding(rule.id, rule.severity, message, offset)
        return
    for block in declared:
        have = destination.get(block.name)
        if have is None:
            yield Finding(rule.id, rule.severity, "the destination has no such block", offset, block=block.name)
        elif have != block.length:
            message = f"the block is {block.length:#x} bytes in the stream, {have:#x} at the destination"
            yield Finding(rule.id, rule.severity, message, offset, block=block.name)


def _whole(capture: "Capture", marks: list[Mark]) -> Iterator[Finding]:
    """Pages of a complete stream that no record gave, a finding a block."""
    if not capture.scanned.complete:
        return
    given = reserve((len(capture.space),), bool)
    rows = capture.space.rows(capture.records.columns)
    given[rows[rows >= 0]] = True
    rule = RULES["page-never-sent"]
    for i, block in enumerate(capture.space.blocks):
        mine = given[capture.space.slice(i)]
        missing = len(mine) - int(np.count_nonzero(mine))
        if missing:
            first = int(np.argmin(mine)) * capture.page_size
            message = f"{missing} of {len(mine)} pages were never sent, the first at {first:#x}"
            evidence = {"missing": missing, "pages": len(mine)}
            yield Finding(rule.id, rule.severity, message, block=block.name, page=first, evidence=evidence)


# -- rules over columns ------------------------------------------------------------------------------------------------


def _record_marks(capture: "Capture") -> Iterator[Mark]:
    """Every rule that looks at records one by one, without memory."""
    table, columns = capture.records, capture.records.columns
    version = capture.scanned.ram_version or ram.VERSION_NAMED
    known = ram.known_flags(version)
    flags, kind = columns.flags, columns.kind
    carries = _CARRIES[kind]

    yield Mark("flags-unknown", np.flatnonzero(flags & np.uint16(~int(known) & 0xFFFF)))
    kinds = int(Flag.COMPRESS | Flag.PAGE | ram.delta_flag(version) | Flag.MEM_SIZE | Flag.EOS)
    if version != ram.VERSION_FLAT:
        kinds |= int(Flag.COMPRESS_PAGE)
    several = np.bitwise_count(flags & np.uint16(kinds)) > 1
    yield Mark("flags-combined", np.flatnonzero(several))
    bare = (kind == Kind.NOOP) | ((kind == Kind.HOOK) & (version != ram.VERSION_FLAT) & (not capture.scanned.footers))
    yield Mark("no-kind", np.flatnonzero(bare))

    nameless = carries & (columns.block == NO_BLOCK)
    rows = np.flatnonzero(nameless)
    message = "CONTINUE, and no record named a block yet; so are {records} records in all"
    yield Mark("continue-without-block", rows[:1], message, {"records": np.full(1, len(rows))})
    declared = np.array([b.declared for b in capture.blocks] + [False], bool)
    lengths = np.array([b.length for b in capture.blocks] + [0], np.uint64)
    block = np.minimum(columns.block, len(capture.blocks)).astype(np.int64)
    names = (flags & np.uint16(Flag.CONTINUE)) == 0
    yield Mark("unknown-block", np.flatnonzero(carries & names & ~nameless & ~declared[block]))
    outside = carries & declared[block] & (columns.address >= lengths[block])
    rows = np.flatnonzero(outside)
    yield Mark("page-out-of-bounds", rows, evidence={"block_length": lengths[block[rows]]})

    deltas = np.flatnonzero(_IS_DELTA[kind])
    dialect = capture.dialect
    if dialect is not None and len(deltas):
        yield from _delta_marks(capture, dialect, deltas, table)


def _delta_marks(capture: "Capture", dialect: Dialect, deltas: Ints, table: RecordTable) -> Iterator[Mark]:
    """Rules about deltas that need no memory: header and form."""
    columns = table.columns
    flags = columns.header_flags[deltas]
    rows = deltas[(flags & HeaderFlag.XBRLE) == 0]
    yield Mark("delta-header", rows, evidence={"header_flags": columns.header_flags[rows]})
    meant = int(HeaderFlag.XBRLE) | (int(HeaderFlag.CHECKSUM) if dialect.checksum is Checksum.FLAGGED else 0)
    rows = deltas[(flags & np.uint8(~meant & 0xFF)) != 0]
    yield Mark("delta-flags", rows, evidence={"header_flags": columns.header_flags[rows]})
    header = dtype_of(dialect.header(capture.scanned.settings.endian))
    if header.fields is not None and "padding" in header.fields and dialect.checksum is not Checksum.COMPLEMENT:
        at = table.payload[deltas] - header.itemsize + header.fields["padding"][1]
        padding = capture.data[at]
        yield Mark("delta-padding", deltas[padding != 0], evidence={"padding": padding[padding != 0]})
    if dialect.encoding is Encoding.RLE:
        yield Mark("delta-odd", deltas[(columns.length[deltas] & 1) != 0])
        yield Mark("delta-form", deltas[_unusual(capture, deltas)])
    if dialect.encoding is not Encoding.ZRUN:
        yield Mark("delta-stage", deltas[table.stage[deltas] != Stage.PART])


def _unusual(capture: "Capture", deltas: Ints) -> NDArray[np.bool_]:
    """Whether each delta's runs are other than the encoder would write for the same page."""
    columns, payload = capture.records.columns, capture.records.payload
    out = np.zeros(len(deltas), bool)
    scratch = np.zeros((_STRICT_BATCH, capture.page_size), np.uint8)
    for start in range(0, len(deltas), _STRICT_BATCH):
        rows = deltas[start : start + _STRICT_BATCH]
        verdicts = xbrle.apply(
            capture.data, payload[rows], columns.length[rows].astype(np.int64), scratch[: len(rows)], strict=True
        )
        out[start : start + len(rows)] = (verdicts == Verdict.ZERO_RUN) | (verdicts == Verdict.NON_CANONICAL)
    return out


# -- rules against memory ----------------------------------------------------------------------------------------------


class _Replay:
    """One replay of everything, collecting what deltas and checksums show, in columns."""

    def __init__(self, capture: "Capture") -> None:
        self.capture = capture
        self.dialect = capture.dialect
        self.image = Image(capture.space)
        pages = len(capture.space)
        # Of each page the row, plus one, of its last full record, its last dup, and the last that was no dup.
        self.last_full = reserve((pages,), np.int64)
        self.last_dup = reserve((pages,), np.int64)
        self.last_sent = reserve((pages,), np.int64)
        self.base = 0
        self.columns: Columns = capture.records.columns
        self.undecoded: list[tuple[Ints, NDArray[np.uint8]]] = []
        self.baseless: list[Ints] = []
        self.wrong: list[tuple[Ints, NDArray[np.uint32], NDArray[np.uint32]]] = []
        self.suspects: list[tuple[Ints, Ints, Ints, Ints, NDArray[np.bool_]]] = []

    def run(self) -> Iterator[Mark]:
        """Replay every record, then give the marks."""
        capture = self.capture
        yield from self._page_sums()
        for start in range(0, len(self.columns), CHUNK):
            self.base = start
            piece = self.columns.take(slice(start, start + CHUNK))
            apply(self.image, capture.data, piece, self.dialect, self._observe)
        if self.undecoded:
            rows = np.concatenate([r for r, _ in self.undecoded])
            verdicts = np.concatenate([v for _, v in self.undecoded])
            names = np.array([v.name.lower() for v in Verdict])[verdicts]
            message = "the delta does not come to exactly one page: {verdict}"
            yield Mark("delta-size", rows, message, {"verdict": names})
        if self.baseless:
            yield Mark("delta-without-base", np.concatenate(self.baseless))
        if self.wrong:
            rows, stated, computed = (np.concatenate(c) for c in zip(*self.wrong, strict=True))
            message = "the header states the sum {stated:#x}, the page has {computed:#x}"
            yield Mark("checksum-mismatch", rows, message, {"stated": stated, "computed": computed})
        if self.suspects:
            yield self._stale()

    def _observe(self, layer: Layer) -> None:
        """Look at a layer's deltas while the image is as they left it, and remember what each page held last."""
        dialect = self.dialect
        where = layer.places + self.base
        if len(layer.deltas) and dialect is not None:
            rows, pages = where[layer.deltas], layer.rows[layer.deltas]
            bad = layer.verdicts != Verdict.OK
            if bad.any():
                self.undecoded.append((rows[bad], layer.verdicts[bad]))
            baseless = ~layer.based & (self.last_full[pages] == 0)
            if baseless.any():
                self.baseless.append(rows[baseless])
            good = ~bad & (self.image.state[pages] == State.KNOWN)
            self._sums(rows[good], pages[good], dialect)
        full = np.ones(len(where), bool)
        full[layer.deltas] = False
        dup = layer.kind == Kind.DUP
        self.last_full[layer.rows[full]] = where[full] + 1
        self.last_dup[layer.rows[dup]] = where[dup] + 1
        self.last_sent[layer.rows[~dup]] = where[~dup] + 1

    def _sums(self, rows: Ints, pages: Ints, dialect: Dialect) -> None:
        """Compare the stated sums of decoded deltas with their pages; note those whose base may be stale."""
        stated = self.columns.checksum[rows]
        if dialect.checksum is Checksum.FLAGGED:
            checked = (self.columns.header_flags[rows] & HeaderFlag.CHECKSUM) != 0
        else:
            checked = np.full(len(rows), dialect.checksum is not Checksum.NONE)
        agrees = np.ones(len(rows), bool)
        mine = np.flatnonzero(checked)
        if len(mine):
            computed = checksum.byte_sum(self.image.pages, pages[mine])
            if dialect.checksum is Checksum.COMPLEMENT:
                computed = ~computed
            agrees[mine] = computed == stated[mine]
            wrong = ~agrees[mine]
            if wrong.any():
                self.wrong.append((rows[mine][wrong], stated[mine][wrong], computed[wrong]))
        if not dialect.caches_dup:
            # A checksum that holds on the receiver's page shows a sender that did put the dup page into its cache.
            suspect = (self.last_dup[pages] > 0) & (self.last_dup[pages] == self.last_full[pages])
            suspect &= ~(checked & agrees)
            if suspect.any():
                p = pages[suspect]
                self.suspects.append((rows[suspect], p, self.last_dup[p] - 1, self.last_sent[p] - 1, checked[suspect]))

    def _stale(self) -> Mark:
        """Deltas against a base that the receiver had lost to a dup page, and what became of the page."""
        rows, pages, dups, bases, checked = (np.concatenate(c) for c in zip(*self.suspects, strict=True))
        number = self.capture.records.number.astype(np.int64)
        healed = self._next_full(rows, pages)
        severity = [Severity.WARNING if h >= 0 else Severity.ERROR for h in healed.tolist()]
        evidence = {
            "dup_record": number[dups],
            "base_record": np.where(bases >= 0, number[np.maximum(bases, 0)], 0),
            "healed_by_record": np.where(healed >= 0, number[np.maximum(healed, 0)], 0),
            "certainty": np.where(checked, "checksum", "structural"),
        }
        message = (
            "the sender's base is the page of record {base_record}; the receiver lost it to the dup page of record "
            "{dup_record}; healed by record: {healed_by_record}"
        )
        return Mark("stale-base", rows, message, evidence, severity)

    def _next_full(self, rows: Ints, pages: Ints) -> Ints:
        """The row of the first full record of each page after each row; -1 where there is none."""
        columns = self.columns
        space = self.capture.space
        wanted = reserve((len(space) + 1,), bool)
        wanted[pages] = True
        of = space.rows(columns)
        full = np.flatnonzero(wanted[of] & (of >= 0) & _CARRIES[columns.kind] & ~_IS_DELTA[columns.kind])
        order = np.lexsort((full, of[full]))
        key = of[full][order] * (len(columns) + 1) + full[order]
        place = np.searchsorted(key, pages * (len(columns) + 1) + rows, side="right")
        found = np.minimum(place, max(0, len(key) - 1))
        there = (place < len(key)) & (of[full][order][found] == pages) if len(key) else np.zeros(len(rows), bool)
        return np.where(there, full[order][found], -1) if len(key) else np.full(len(rows), -1, np.int64)

    def _page_sums(self) -> Iterator[Mark]:
        """PAGE records that carry a sum of their own, in the debug trees of November 2010."""
        if not self.capture.scanned.settings.page_sum:
            return
        table = self.capture.records
        rows = np.flatnonzero((self.columns.kind == Kind.PAGE) & (self.columns.length == self.capture.page_size))
        computed = np.empty(len(rows), np.uint32)
        size = self.capture.page_size
        for start in range(0, len(rows), _STRICT_BATCH):
            at = table.payload[rows[start : start + _STRICT_BATCH]]
            pages = self.capture.data[at[:, None] + np.arange(size)]
            computed[start : start + len(at)] = checksum.byte_sum(pages)
        stated = self.columns.checksum[rows]
        wrong = computed != stated
        message = "the record states the sum {stated:#x}, the page has {computed:#x}"
        yield Mark("checksum-mismatch", rows[wrong], message, {"stated": stated[wrong], "computed": computed[wrong]})
