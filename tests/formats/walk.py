"""A slow reader of whole streams that uses the grammars alone, and builds again all that it reads."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from construct import StreamError

from xbrletools import Capture
from xbrletools.formats import block as block_format
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import Encoding
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import DELTA_KINDS, Flag, Kind


@dataclass
class Walk:
    """What the grammars make of a stream: each RAM record with its offset and size, and the bytes built again.

    ``end`` is where the grammars end: at the first section that has none and no known length, or at the capture's end.
    """

    rebuilt: bytearray = field(default_factory=bytearray)
    records: list[tuple[int, int, Any]] = field(default_factory=list)
    end: int = 0
    cut: bool = False


def walk(capture: Capture) -> Walk:
    """Read the capture through the grammars, with the dialect, byte order and page size that the scan found.

    Sections without a grammar are passed over where a footer ends them, and copied.
    """
    data = capture.data.tobytes()
    stream, out = io.BytesIO(data), Walk()
    version = capture.facts.ram_version
    record = ram.record(version, capture.dialect, capture.evidence.endian or "little", capture.page_size)
    if capture.dialect is None and capture.facts.reading.page_sum:
        raise AssertionError("a capture with page sums and no deltas needs a dialect")
    ends = {section.offset: section.end for section in capture.sections}
    owners: dict[int, bytes] = {}

    def take(grammar: Any) -> Any:
        parsed = grammar.parse_stream(stream)
        out.rebuilt += grammar.build(parsed)
        return parsed

    try:
        take(qevm.FileHeader)
        while stream.tell() < len(data):
            at = stream.tell()
            kind = data[at]
            if kind == SectionType.CONFIGURATION:
                out.rebuilt.append(stream.read(1)[0])
                take(qevm.Configuration)
            elif kind == SectionType.EOF:
                out.rebuilt.append(stream.read(1)[0])
            elif kind == SectionType.VMDESCRIPTION:
                out.rebuilt.append(stream.read(1)[0])
                take(qevm.VmDescription)
            elif kind == SectionType.FOOTER:
                take(qevm.Footer)
            else:
                header = take(qevm.SectionHeader)
                if header.start is not None:
                    owners[header.start.section_id] = header.start.idstr
                owner = owners[(header.start or header.part).section_id]
                if kind != SectionType.FULL and owner == ram.IDSTR:
                    _records(stream, out, record, take, capture.page_size)
                elif kind != SectionType.FULL and owner == block_format.IDSTR:
                    while not take(block_format.Record).word & block_format.Flag.EOS:
                        pass
                elif capture.facts.footers:
                    out.rebuilt += stream.read(ends[at] - stream.tell())
                else:
                    del out.rebuilt[at:]
                    stream.seek(at)
                    break
    except StreamError:
        out.cut = True
    out.end = len(out.rebuilt)
    return out


def _records(stream: io.BytesIO, out: Walk, record: Any, take: Any, page_size: int) -> None:
    while True:
        at = stream.tell()
        parsed = take(record)
        out.records.append((at, stream.tell() - at, parsed))
        if parsed.word & (page_size - 1) & Flag.EOS:
            return


def columns(capture: Capture, walked: Walk) -> dict[str, np.ndarray]:
    """The record table's columns as the grammars' records give them."""
    version, mask = capture.facts.ram_version, capture.page_size - 1
    dialect = capture.dialect
    delta_kind = Kind.XBZRLE if dialect is not None and dialect.encoding is Encoding.ZRUN else Kind.XBRLE
    index = {b.name: i for i, b in enumerate(capture.blocks)}
    selected = 0
    rows = []
    for at, size, r in walked.records:
        flags = r.word & mask
        kind = ram.kind_of(flags, version, delta_kind)
        selected = selected if r.name is None else index[r.name]
        length, checksum, header_flags = 0, 0, 0
        if kind is Kind.MEM_SIZE:
            length = size - ram.Word.sizeof()
        elif kind is Kind.DUP:
            length = 1
        elif kind is Kind.PAGE:
            length, checksum = len(r.body.data), r.body.get("checksum", 0)
        elif kind in DELTA_KINDS:
            length = len(r.body.payload)
            header_flags, checksum = r.body.header.flags, r.body.header.get("checksum", 0)
        block = selected if kind in ram.PAGE_KINDS else 0xFFFF
        rows.append((at, r.word & ~mask, length, checksum, flags, block, size - length, kind, header_flags))
    names = ("offset", "address", "length", "checksum", "flags", "block", "head", "kind", "header_flags")
    return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
