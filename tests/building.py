"""Small streams, built piece by piece from the grammars, for tests that must run without real captures."""

import zlib
from collections.abc import Sequence

from construct import Int32ub

from xbrletools.formats import qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

PAGE = ram.PAGE_SIZE
HEADER = qevm.FileHeader.build({"version": qevm.VERSION})
EOF = bytes([SectionType.EOF])
EOS = ram.Word.build(Flag.EOS)
FOOTED_ID = 2


def start(
    idstr: bytes = b"ram",
    section_id: int = FOOTED_ID,
    version: int = 4,
    kind: SectionType = SectionType.START,
    instance: int = 0,
):
    """The header of a START or FULL section."""
    fields = {"section_id": section_id, "idstr": idstr, "instance_id": instance, "version_id": version}
    return bytes([kind]) + qevm.SectionStart.build(fields)


def part(section_id: int = FOOTED_ID, kind: SectionType = SectionType.PART) -> bytes:
    """The header of a PART or END section."""
    return bytes([kind]) + qevm.SectionPart.build({"section_id": section_id})


def footer(section_id: int = FOOTED_ID) -> bytes:
    """A section's footer."""
    return qevm.Footer.build({"section_id": section_id})


def block_list(blocks: Sequence[tuple[bytes, int]], extra: Sequence[bytes] = ()) -> bytes:
    """MEM_SIZE with its blocks. ``extra`` are bytes after each entry."""
    out = ram.Word.build(sum(length for _, length in blocks) | Flag.MEM_SIZE)
    for i, (name, length) in enumerate(blocks):
        out += ram.BlockEntry.build({"idstr": name, "length": length}) + (extra[i] if extra else b"")
    return out


def record(flag: int, address: int, payload: bytes, name: bytes | None = None) -> bytes:
    """One record with a page. Without ``name`` it continues in the block before."""
    flag |= 0 if name else Flag.CONTINUE
    return ram.Word.build(address | flag) + (qevm.IdStr.build(name) if name else b"") + payload


def page(address: int, content: bytes, name: bytes | None = None) -> bytes:
    """A PAGE record."""
    return record(Flag.PAGE, address, content, name)


def zero(address: int, name: bytes | None = None) -> bytes:
    """A ZERO record."""
    return record(Flag.COMPRESS, address, b"\0", name)


def packed(address: int, content: bytes, name: bytes | None = None) -> bytes:
    """A COMPRESS_PAGE record of the zlib stream of ``content``."""
    stream = zlib.compress(content)
    return record(Flag.COMPRESS_PAGE, address, Int32ub.build(len(stream)) + stream, name)


def configuration(machine: bytes = b"pc", subsections: bytes = b"") -> bytes:
    """CONFIGURATION, with its subsections as bytes."""
    return bytes([SectionType.CONFIGURATION]) + Int32ub.build(len(machine)) + machine + subsections


def subsection(name: bytes, data: bytes) -> bytes:
    """A subsection of CONFIGURATION or of a device."""
    return bytes([SectionType.SUBSECTION]) + qevm.IdStr.build(name) + Int32ub.build(1) + data


def command(number: int, data: bytes = b"", after: bytes = b"") -> bytes:
    """A COMMAND. ``after`` is what PACKAGED carries outside its length."""
    return bytes([SectionType.COMMAND]) + qevm.CommandHeader.build({"command": number, "data": data}) + after


def stream(
    *records: bytes, blocks: Sequence[tuple[bytes, int]] = ((b"pc.ram", 16 * PAGE),), last: bytes = EOF
) -> bytes:
    """A whole stream with footers: START with the block list, one PART with ``records``, an empty END, EOF."""
    return b"".join(
        (
            HEADER,
            configuration(),
            start() + block_list(blocks) + EOS + footer(),
            part() + b"".join(records) + EOS + footer(),
            part(kind=SectionType.END) + EOS + footer(),
            last,
        )
    )


def patterned(seed: int) -> bytes:
    """A page that no other seed has and that is not of one byte."""
    return bytes((seed * 7 + i * (seed % 5 + 1)) & 0xFF for i in range(PAGE))
