"""QEMU's loader of RAM records, one record at a time, as `ram_load` reads them before postcopy runs [Q][C]."""

import errno

import numpy as np
from construct import Int32ub, Int64ub

from ...codec import xbzrle
from ...codec.verdict import Verdict
from ...errors import XbrleError
from ...formats import mapped_ram, ram
from ...formats.dialects import DIALECTS
from ...formats.ram import Flag
from ...ram.blocklist import IGNORE_SHARED
from ...source.changed import WRITTEN_TO
from .loading import Loading, signed
from .tape import Tape, c_string
from .words import CHAINED, Fault, Version, printed

HOOK_PASSES: Version = (8, 2)  # from here on HOOK without RDMA does nothing
FLUSH: Version = (8, 1)  # MULTIFD_FLUSH came with it
ZERO_ONLY: Version = (8, 2)  # from here on a dup page is a zero page
NO_COMPRESS: Version = (9, 1)  # COMPRESS_PAGE is gone
WORD_CHECKED: Version = (9, 0)  # the end of the stream is noticed before the word's flags are looked at
CLEAN_STACK: Version = (9, 0)  # a cut name is not printed over the one before
COMPRESSED_MAX = 4110  # bytes of a zlib stream that QEMU takes for a page of 4096: what zlib itself says is enough [Q]
RESIZABLE = b"/rom@"  # blocks that fw_cfg made; they may have another length
#: The most that such a block may have, where that is known [C].
LIMITS = {b"/rom@etc/acpi/tables": 0x200000, b"/rom@etc/table-loader": 0x10000, b"/rom@etc/acpi/rsdp": 0x1000}
_ADDRESS = (1 << 64) - 1
_HEADER = DIALECTS["xbzrle"].header("big")


def record(on: Loading, tape: Tape) -> Fault | bool:
    """Read one record. True: it ended the section."""
    word = tape.number(Int64ub)
    if tape.ended and on.version >= WORD_CHECKED:
        return printed("Getting RAM address failed", number=errno.EIO)
    flags = word & (on.stream.page_size - 1)
    address = word - flags
    packed = int(Flag.COMPRESS_PAGE)
    if flags & packed and on.version < NO_COMPRESS and not on.has("compress"):
        on.needs.add("compress")
        return printed("Received an unexpected compressed page")
    if on.has("mapped-ram") and (wrong := flags & _unmapped()):
        return printed(f"Unexpected RAM flags: {wrong}")
    paged = int(Flag.COMPRESS | Flag.PAGE | Flag.XBRLE) | (packed if on.version < NO_COMPRESS else 0)
    if flags & paged:
        fault = _block(on, tape, flags, address)
        if fault is not None:
            return fault
    fault = _body(on, tape, flags & ~int(Flag.CONTINUE), flags, address)
    if fault is None and tape.ended:
        fault = Fault(errno.EIO)
    return bool(flags & Flag.EOS) if fault is None else fault


def _unmapped() -> int:
    return int(Flag.HOOK | Flag.MULTIFD_FLUSH | Flag.PAGE | Flag.XBRLE | Flag.COMPRESS)


def _block(on: Loading, tape: Tape, flags: int, address: int) -> Fault | None:
    """Find the block of a page, and whether the page lies in it."""
    beyond = f"Illegal RAM offset {address:x}"
    if flags & Flag.CONTINUE:
        if on.block is None:
            return printed("Ack, bad migration stream!", beyond)
    else:
        length = tape.number()
        name = raw = tape.take(length)
        if len(raw) < length and on.version < CLEAN_STACK:
            name = (raw + on.previous[len(raw) :])[:length]
        on.previous = raw
        name = name.partition(b"\0")[0]
        if name not in on.lengths:
            return printed(f"Can't find block {c_string(name)}", beyond)
        on.block = name
    assert on.block is not None
    if on.block not in on.lengths:
        raise XbrleError(f"the capture was {WRITTEN_TO}")
    return None if address < on.lengths[on.block] else printed(beyond)


def _body(on: Loading, tape: Tape, kind: int, flags: int, address: int) -> Fault | None:
    """What follows the word and the name, by the flags without CONTINUE."""
    if kind == Flag.MEM_SIZE:
        return block_list(on, tape, address)
    if kind == Flag.COMPRESS:
        fill = tape.number()
        return printed(f"Found a zero page with value {fill}") if fill and on.version >= ZERO_ONLY else None
    if kind == Flag.PAGE:
        tape.take(on.stream.page_size)
        return None
    if kind == Flag.XBRLE:
        return _delta(on, tape, address)
    if kind == Flag.COMPRESS_PAGE and on.version < NO_COMPRESS:
        length = tape.number(ram.Number)
        if length > COMPRESSED_MAX:
            return printed(f"Invalid compressed data length: {signed(length)}")
        tape.take(length)
        return None
    if kind == Flag.EOS or (kind == Flag.MULTIFD_FLUSH and on.version >= FLUSH):
        return None
    if kind == Flag.HOOK if on.version >= HOOK_PASSES else kind & Flag.HOOK:
        return None if on.version >= HOOK_PASSES else Fault(errno.EINVAL)
    return printed(f"Unknown combination of migration flags: {flags:#x}")


def _delta(on: Loading, tape: Tape, address: int) -> Fault | None:
    """An XBZRLE delta: its header byte must be exactly 1, its length at most a page."""
    size = _HEADER.sizeof()
    head = _HEADER.parse(tape.take(size).ljust(size, b"\0"))
    page = on.stream.page_size
    wrong = ""
    if head.flags != 1:
        wrong = "wrong compression"
    elif head.length > page:
        wrong = "len overflow"
    else:
        payload = np.frombuffer(tape.take(head.length).ljust(head.length + 1, b"\0"), np.uint8)
        into = np.zeros((1, page), np.uint8)
        verdict = xbzrle.apply(payload, np.array([0]), np.array([head.length]), into)[0]
        wrong = "" if verdict == Verdict.OK else "decode error"
    if not wrong:
        return None
    return printed(f"Failed to load XBZRLE page - {wrong}!", f"Failed to decompress XBZRLE page at {address:x}")


def block_list(on: Loading, tape: Tape, total: int) -> Fault | None:
    """The block list. The first one of a stream says what a destination has of which nothing else is known."""
    trusted = on.destination.blocks is None and not on.listed
    on.listed = True
    shared = on.has(IGNORE_SHARED.decode())
    while total and not tape.ended:
        name = tape.name().partition(b"\0")[0]
        length = tape.number(Int64ub)
        if trusted and name and not tape.ended:
            on.lengths.setdefault(name, length)
        if name not in on.lengths:
            return printed(f'Unknown ramblock "{c_string(name)}", cannot accept migration')
        fault = _resized(on, name, length)
        if fault is not None:
            return fault
        if shared:
            tape.number(Int64ub)
        fault = _mapped(on, tape, name, length) if on.has(mapped_ram.CAPABILITY.decode()) else None
        if fault is not None:
            return fault
        total = (total - length) & _ADDRESS
    if total:
        return printed('Unknown ramblock "", cannot accept migration')
    return None


def _mapped(on: Loading, tape: Tape, name: bytes, length: int) -> Fault | None:
    """The header of a block whose pages stand at fixed places, its bitmap, and its pages, which are passed over [C]."""
    version = tape.number(Int32ub)
    if version > mapped_ram.VERSION:
        expected = f"(expected <= {mapped_ram.VERSION}, got {signed(version)})"
        return printed(f"Migration mapped-ram capability version not supported {expected}")
    if version < mapped_ram.VERSION:  # QEMU takes it, and the scan does not
        return Fault(errno.EINVAL, where_unknown=True)
    page, bitmap, pages = tape.number(Int64ub), tape.number(Int64ub), tape.number(Int64ub)
    if page != on.stream.page_size:
        if on.version < CHAINED:  # it divides by it
            return Fault(errno.EINVAL, where_unknown=True)
        return printed(f"Migration mapped-ram header has invalid page_size {page} (expected {on.stream.page_size})")
    if on.has(IGNORE_SHARED.decode()) and not bitmap and not pages:
        return None
    if pages % on.stream.page_size:
        return printed(f"Error reading ramblock {c_string(name)} pages, region has bad alignment")
    count = length // on.stream.page_size
    size = -(-count // (mapped_ram.BITS * mapped_ram.BITMAP_UNIT)) * mapped_ram.BITMAP_UNIT
    if bitmap + size > tape.end:
        return printed("Error reading dirty bitmap")
    bits = tape.data[bitmap : bitmap + size].view(np.uint8)
    held = np.flatnonzero(bits)
    if len(held):
        last = int(held[-1]) * mapped_ram.BITS + int(bits[held[-1]]).bit_length()
        if pages + min(last, count) * on.stream.page_size > tape.end:
            return Fault(errno.EINVAL, unworded=True)
    tape.at = min(pages + length, tape.end)
    return None


def _resized(on: Loading, name: bytes, length: int) -> Fault | None:
    """Whether a block may have the length that the stream asks for. It is rounded up to whole pages first."""
    page = ram.PAGE_SIZE
    length = -(-length // page) * page & _ADDRESS
    own = -(-on.lengths[name] // page) * page
    if length != own and not name.startswith(RESIZABLE):
        return printed(f"Size mismatch: {c_string(name)}: {length:#x} != {own:#x}: Invalid argument")
    limit = LIMITS.get(name)
    if limit is not None and length > limit:
        return printed(f"Size too large: {c_string(name)}: {length:#x} > {limit:#x}: Invalid argument")
    on.lengths[name] = length
    return None
