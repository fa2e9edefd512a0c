"""Small streams of the posted and the xbzrle dialect, built from the grammars, for tests that need an odd one."""

from collections.abc import Sequence

import numpy as np

from xbrletools.codec import deltas
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

PAGE = ram.PAGE_SIZE
EOS = ram.Word.build(Flag.EOS)


def _record(flag: int, name: bytes, address: int, body: bytes) -> bytes:
    return ram.Word.build(address | flag) + qevm.IdStr.build(name) + body


def page(address: int, content: bytes, name: bytes = b"pc.ram") -> bytes:
    """A PAGE record."""
    return _record(Flag.PAGE, name, address, content)


def dup(address: int, fill: int, name: bytes = b"pc.ram") -> bytes:
    """A dup page."""
    return _record(Flag.COMPRESS, name, address, bytes([fill]))


def raw_delta(address: int, payload: bytes, new: bytes | None = None, name: bytes = b"pc.ram") -> bytes:
    """A posted delta with this payload, and with the sum of ``new`` where that is given."""
    flags, checksum = (3, sum(new)) if new is not None else (1, 0)
    fields = {"flags": flags, "padding": 0, "length": len(payload), "checksum": checksum}
    return _record(Flag.XBRLE, name, address, DIALECTS["posted"].header("little").build(fields) + payload)


def delta(address: int, old: bytes, new: bytes, name: bytes = b"pc.ram", summed: bool = True) -> bytes:
    """A posted delta from ``old`` to ``new``."""
    return raw_delta(address, encoded("posted", old, new), new if summed else None, name)


def xbzrle_delta(address: int, payload: bytes, name: bytes = b"pc.ram") -> bytes:
    """An xbzrle delta with this payload."""
    header = DIALECTS["xbzrle"].header("big").build({"flags": 1, "length": len(payload)})
    return _record(Flag.XBRLE, name, address, header + payload)


def encoded(dialect: str, old: bytes, new: bytes) -> bytes:
    """The payload of a delta."""
    arrays = [np.frombuffer(p, np.uint8).reshape(1, -1).copy() for p in (old, new)]
    return deltas.encode(DIALECTS[dialect].encoding, arrays[0], arrays[1], None)[0].tobytes()


def stream(records: Sequence[bytes], blocks: Sequence[tuple[bytes, int]] = ((b"pc.ram", 8 * PAGE),)) -> bytes:
    """A whole stream: the block list in START, all records in one PART, an empty END and no device."""
    listed = ram.Word.build(sum(n for _, n in blocks) | Flag.MEM_SIZE)
    listed += b"".join(ram.BlockEntry.build({"idstr": name, "length": n}) for name, n in blocks)
    head = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": ram.VERSION_NAMED}
    follows = qevm.SectionPart.build({"section_id": 2})
    return b"".join(
        (
            qevm.FileHeader.build({"version": qevm.VERSION}),
            bytes([SectionType.START]) + qevm.SectionStart.build(head) + listed + EOS,
            bytes([SectionType.PART]) + follows + b"".join(records) + EOS,
            bytes([SectionType.END]) + follows + EOS,
            bytes([SectionType.EOF]),
        )
    )
