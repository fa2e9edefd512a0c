"""RAM's START under another name: where its name was damaged, its data still tells it."""

from construct import ConstructError

from ..formats import iterable, qevm, ram
from ..formats.ram import Flag
from ..ram import blocklist
from ..ram.record import WORD
from ..table.sections import Owner
from .buffer import Buffer

_HEAD = len(qevm.SectionStart.build({"section_id": 0, "idstr": ram.IDSTR, "instance_id": 0, "version_id": 0}))
_FLAGS = ram.MIN_PAGE_SIZE - 1


def ram_header(buffer: Buffer, at: int, owner: Owner, size: int, capabilities: tuple[bytes, ...]) -> tuple[Owner, int]:
    """The owner of a START whose header stands at ``at``, and that header's bytes, if its data is RAM's. Else as given.

    ``owner`` and ``size`` are what the header says. Its data is RAM's where a block list stands in it that adds up, and
    a record after it. The letters of the name may be wrong, or the number of them.
    """
    if owner.idstr == ram.IDSTR or owner.idstr in iterable.SECTIONS:
        return owner, size
    part = bytes(buffer.part(at, max(size, _HEAD)))
    if _lists_blocks(buffer, at + size, owner.version_id, capabilities):
        return Owner(owner.section_id, ram.IDSTR, owner.instance_id, owner.version_id), size
    named = part[: qevm.SectionPart.sizeof()] + qevm.IdStr.build(ram.IDSTR)
    if len(part) < _HEAD or part[len(named) - len(ram.IDSTR) : len(named)] != ram.IDSTR:
        return owner, size
    try:
        parsed = qevm.SectionStart.parse(named + part[len(named) : _HEAD])
    except ConstructError:
        return owner, size
    if not _lists_blocks(buffer, at + _HEAD, parsed.version_id, capabilities):
        return owner, size
    return Owner(parsed.section_id, ram.IDSTR, parsed.instance_id, parsed.version_id), _HEAD


def _lists_blocks(buffer: Buffer, at: int, version: int, capabilities: tuple[bytes, ...]) -> bool:
    """Whether the word at ``at`` begins a block list that adds up, or in version 3 the number of RAM's bytes."""
    part = buffer.part(at, WORD + blocklist.LIST_MAX)
    if len(part) < 2 * WORD or version not in (ram.VERSION_FLAT, ram.VERSION_NAMED):
        return False
    word = int.from_bytes(part[:WORD])
    if word & _FLAGS != Flag.MEM_SIZE or not word & ~_FLAGS:
        return False
    if version == ram.VERSION_FLAT:
        after = int.from_bytes(part[WORD : 2 * WORD])
        return (after & _FLAGS) in (Flag.COMPRESS, Flag.PAGE) and after < word
    found = blocklist.read(part[WORD:], word & ~_FLAGS, capabilities)
    whole = not found.cut and found.total == word & ~_FLAGS
    return whole and all(b.name and all(0x20 < c < 0x7F for c in b.name) for b in found.blocks)
