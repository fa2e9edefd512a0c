"""What the fuzzer calls: one small function a parser, which takes any bytes and asserts what holds for every input.

None of them needs the fuzzer: `test_targets.py` runs each over its seeds and over what was once found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from tests.fuzz import programs
from tests.fuzz.payloads import PAGE, decoder, payload_runs, recode, uleb_runs, zlib_page
from xbrletools import filters
from xbrletools.analysis import miglog
from xbrletools.container import boundary, configuration, devices, identify
from xbrletools.container.fields import Field, expanded, record_tree, tree
from xbrletools.errors import XbrleError
from xbrletools.formats import libvirt, multifd, qcow2, qevm, ram
from xbrletools.formats.dialects import DIALECTS, Encoding
from xbrletools.formats.qevm import SectionType
from xbrletools.memory.image import Image, PageSpace, State
from xbrletools.memory.replay import View, replay
from xbrletools.model import Block, Facts, Reading
from xbrletools.ram import blocklist, channels, packets
from xbrletools.ram.walk import WORD, Layout, Pending
from xbrletools.scan.salvage.run import Salvager
from xbrletools.scan.strict import Scanner
from xbrletools.source.opening import open_source
from xbrletools.source.sources import MappedSource
from xbrletools.source.wrappers import LibvirtSave
from xbrletools.table.columns import NO_BLOCK, Columns, join
from xbrletools.table.commands import Commands
from xbrletools.table.payloads import Payloads
from xbrletools.table.sections import Boundary, Owner, Section
from xbrletools.text import address, pattern, shown, size
from xbrletools.verify.checker import verify

GUEST_MAX = 1 << 26  # bytes of a guest whose memory a target looks at


@dataclass(frozen=True, slots=True)
class Target:
    """``call`` takes the fuzzer's bytes, of which there are at most ``most``. ``words`` help it to guess."""

    call: Callable[[bytes], None]
    most: int
    words: tuple[bytes, ...] = ()


# -- text ------------------------------------------------------------------------------------------------------------

_WIDTHS = {"x": 2, "u": 4, "U": 8}


def names(data: bytes) -> None:
    """What is shown of a name is printable, and says which name it was."""
    text = shown(data)
    assert text.isprintable()
    assert _unshown(text) == data


def _unshown(text: str) -> bytes:
    pieces = text.split("\\")
    out = [pieces[0].encode()]
    at = 1
    while at < len(pieces):
        piece = pieces[at]
        if not piece:  # a doubled backslash
            out.append(b"\\" + pieces[at + 1].encode())
            at += 2
            continue
        width = 1 + _WIDTHS[piece[0]]
        code = int(piece[1:width], 16)
        out.append(bytes([code]) if piece[0] == "x" else chr(code).encode())
        out.append(piece[width:].encode())
        at += 1
    return b"".join(out)


def numbers(data: bytes) -> None:
    """Sizes, addresses and patterns are read or refused."""
    text = data.decode("utf-8", "surrogateescape")
    for reads in (size, address, pattern):
        try:
            reads(text)
        except XbrleError:
            continue


def filter_language(data: bytes) -> None:
    """A filter is read or refused at a place in its text. What is read chooses among records, and sections."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        chosen = filters.parse(text)
    except filters.FilterError as error:
        assert 0 <= error.position <= len(text)
        return
    table = programs.table()
    mask = chosen.mask(table)
    assert mask.dtype == bool and mask.shape == (len(table),)
    assert chosen.sections(table.sections, np.arange(len(table.sections))).dtype == bool


# -- pieces of the container -----------------------------------------------------------------------------------------


def block_list(data: bytes) -> None:
    """A block list's entries lie in the bytes that it takes."""
    if len(data) < 4:
        return
    total = int.from_bytes(data[:3], "big") << 10
    found = blocklist.read(memoryview(data)[4:], total, (blocklist.IGNORE_SHARED,) if data[3] & 1 else ())
    assert 0 <= found.size <= len(data) - 4
    assert sum(9 + len(b.name) for b in found.blocks) <= found.size
    assert found.cut or found.total >= total


def configuration_section(data: bytes) -> None:
    """CONFIGURATION's subsections follow one another and end in the bytes."""
    found = configuration.read(memoryview(data), 0)
    at = min(len(data), 4 + len(found.machine))
    for sub in found.subsections:
        assert at == sub.offset < sub.data <= sub.end <= len(data)
        at = sub.end
    assert found.end <= len(data)


def command(data: bytes) -> None:
    """A command is read, known or not."""
    if data:
        kept = Commands()
        kept.append(0, data[0], data[1:])
        found = kept[0]
        assert found.name.isprintable()
        assert all(d.length >= 0 for d in found.discards)


def foreign(data: bytes) -> None:
    """What is not a migration stream is named in printable words, or not at all."""
    said = identify.foreign(data)
    assert said is None or said.isprintable()


_DESCRIBED = Section(0, SectionType.FULL, Owner(1, b"dev", 0, 1), 0, 0, 0, Boundary.PARSED)


def vmdesc(data: bytes) -> None:
    """By whatever description, a section's fields cover its bytes, each once and in order."""
    text, _, section = data.partition(b"\0")
    try:
        found = devices.load(text)
    except XbrleError:
        return
    for device in islice(found.devices, 4):
        root = devices.fields(_DESCRIBED, section, device)
        assert root is not None and root.size == len(section)
        _check_fields(root, section)


def _check_fields(field: Field, data: bytes, base: int = 0) -> None:
    assert field.raw == data[field.offset - base : field.offset - base + field.size]
    at = field.offset
    for child in field.children:
        assert child.offset == at
        at += child.size
        _check_fields(child, data, base)
    assert not field.children or at == field.offset + field.size


_GRAMMARS = (
    qevm.SectionStart,
    qevm.Configuration,
    qevm.CommandHeader,
    qevm.VmDescription,
    qevm.RamDiscard,
    qevm.ReturnMessage,
    qevm.SectionHeader,
)


def fields(data: bytes) -> None:
    """The tree of fields that a person reads covers every byte, whatever the grammar."""
    if not data:
        return
    chosen, body = data[0], data[1:]
    if chosen < len(_GRAMMARS):
        _check_fields(tree(_GRAMMARS[chosen], body, 5, "it"), body, 5)
        return
    dialect = list(DIALECTS.values())[chosen % len(DIALECTS)]
    root = record_tree(body, 5, dialect.ram_version, dialect, ("little", "big")[chosen >> 7], PAGE)
    _check_fields(expanded(root, dialect), body, 5)


# -- whole streams ---------------------------------------------------------------------------------------------------


def _check_scan(scanner: Scanner, columns: Columns, there: int) -> None:
    """What was found lies in the capture."""
    ends = columns.offset + columns.head + columns.length
    assert not len(ends) or int(ends.max()) <= there
    assert scanner.facts.mapped_ram or (columns.offset[1:] > columns.offset[:-1]).all()
    assert ((columns.block < len(scanner.blocks)) | (columns.block == NO_BLOCK)).all()
    at = 0
    for section in scanner.sections:
        assert at <= section.offset < section.data <= there
        assert section.data <= section.end <= there, section
        at = section.data
    assert all(0 <= p.offset <= there for p in scanner.problems)
    assert sum(p.fatal for p in scanner.problems) <= 1
    assert scanner.facts.end <= there


def _scan(data: bytes, dialect: str | None = None) -> tuple[Scanner, Columns] | None:
    scanner = Scanner(open_source(data), dialect, "little" if dialect else None)
    try:
        columns = join(list(scanner))
    except XbrleError:
        return None
    _check_scan(scanner, columns, scanner.source.size or 0)
    return scanner, columns


def container(data: bytes) -> None:
    """A scan of any bytes after the magic ends, and what it finds lies in them."""
    _scan(b"QEVM" + data)


def _records(prefix: bytes, data: bytes) -> None:
    """A scan of any bytes where RAM records stand ends, and what it finds lies in them."""
    _scan(prefix + data)


def _walk(prefix: bytes, dialect: str, data: bytes) -> None:
    """The scan finds the records that a plain loop over them finds."""
    stream = prefix + data
    found = _scan(stream, dialect)
    assert found is not None
    expected = programs.walked(stream, len(prefix), DIALECTS[dialect])
    columns = found[1].take(found[1].offset >= len(prefix))
    wanted = (columns.offset, columns.address, columns.kind, columns.head, columns.length)
    rows = list(zip(*(column.tolist() for column in wanted), strict=True))
    assert rows[: len(expected)] == expected


def mapped_ram(data: bytes) -> None:
    """Records of a mapped-ram file lie in the file, whatever its offsets say."""
    _scan(programs.FILE + programs.RAM_START + data)


_LAYOUTS = [
    Layout(Reading(d.ram_version, d, "little", PAGE, page_sum=d.page_sum)) for d in DIALECTS.values()
]  # fmt: skip


def walk(data: bytes) -> None:
    """The loop over records stays in order, and what it steps over are records that it knows."""
    if not data:
        return
    layout = _LAYOUTS[data[0] % len(_LAYOUTS)]
    pending = Pending()
    body = data[1:]
    end = layout.walk(memoryview(body + bytes(4 * PAGE)), 0, 0, len(body), pending, 0)
    at = 0
    for place in pending.offsets(0).tolist():
        assert at == place < len(body)
        flags = (body + bytes(8))[at + WORD - 1]
        if flags == layout.delta_flags:
            size = WORD + (layout.header.itemsize if layout.header else 0)
            at += size + layout.delta_length(memoryview(body + bytes(PAGE)), at + WORD)
        elif flags == layout.packed:
            at += WORD + 4 + int.from_bytes(body[at + WORD : at + WORD + 4])
        else:
            assert layout.steps[flags]
            at += layout.steps[flags]
    assert at == end


def boundaries(data: bytes) -> None:
    """Where a section ends lies in what was searched."""
    view = memoryview(data)
    end = boundary.by_footer(view, len(view), 3, (2,), True)
    for found in (end and end.at, boundary.by_header(view, 3), boundary.by_eof(view)):
        assert found is None or 0 <= found < len(data)


def memory(data: bytes) -> None:
    """Memory after a program of records is what a receiver's is, page by page. What the checker says is in order."""
    program = programs.Program(data)
    found = _scan(program.stream)
    if found is None or found[0].reading.page_size != PAGE:
        return
    scanner, columns = found
    if sum(b.length for b in scanner.blocks) > GUEST_MAX:
        return
    raw = np.frombuffer(program.stream, np.uint8)
    image = Image(PageSpace(scanner.blocks, PAGE))
    replay(image, Payloads(columns, raw, scanner.reading.dialect), View.RECEIVER)
    if program.plain and not any(p.fatal for p in scanner.problems):
        for (block, place), content in program.pages(scanner.reading.dialect).items():
            row = int(image.space.first[block]) + place
            assert (image.state[row] == State.RECOVERED) == (content is not None)
            assert content is None or image.pages[row].tobytes() == content


def checked(data: bytes) -> None:
    """The checker's findings come in the order of offsets, inside the capture, and can be printed."""
    program = programs.Program(data)
    try:
        capture = programs.opened(program.stream)
        if sum(b.length for b in capture.blocks) > GUEST_MAX:
            return
        found = list(verify(capture.stream))
    except XbrleError:
        return
    offsets = [f.offset for f in found if f.offset is not None]
    assert all(0 <= o <= len(program.stream) for o in offsets)
    assert all(f.message.isprintable() for f in found)


def salvage(data: bytes) -> None:
    """Salvage gives gaps and records that lie in the capture, in order."""
    program = programs.Program(data)
    scanner = Salvager(MappedSource("it", program.stream))
    try:
        columns = join(list(scanner))
    except XbrleError:
        return
    starts = columns.offset.astype(np.int64)
    assert (np.diff(starts) > 0).all()
    ends = starts + columns.head + columns.length
    assert not len(ends) or ends.max() <= len(program.stream)
    row = 0
    for gap in scanner.facts.gaps:
        assert 0 <= gap.start <= gap.end <= len(program.stream)
        assert row <= gap.row <= len(columns)
        row = gap.row


# -- files around and beside a stream --------------------------------------------------------------------------------


def libvirt_header(data: bytes) -> None:
    """A save file's stream begins where the header and what follows it end."""
    whole = libvirt.MAGIC + data
    try:
        source = open_source(whole)
    except XbrleError:
        return
    assert isinstance(source.wrapping, LibvirtSave)
    assert len(source.wrapping.xml) + len(source.wrapping.cookie) <= len(whole)
    str(source.wrapping)
    if source.wrapping.format == libvirt.Format.RAW:
        assert source.spool().data[source.start :].tobytes() == whole[source.wrapping.start :]


def qcow2_image(data: bytes) -> None:
    """A snapshot's VM state is not longer than its header says, and that costs nothing."""
    try:
        source = open_source(qcow2.MAGIC + data)
    except XbrleError:
        return
    assert source.size <= source.wrapping.vm_state_size
    str(source.wrapping)


def channel(data: bytes) -> None:
    """A channel's packets follow one another in its file, and its records lie in the spool."""
    whole = multifd.MAGIC.to_bytes(4, "big") + data
    try:
        found = packets.read(MappedSource("it", whole), PAGE)
    except XbrleError:
        return
    at = multifd.Init.sizeof()
    p = found.packets
    for offset, begin, stop in zip(p.offset.tolist(), p.data.tolist(), p.stop.tolist(), strict=True):
        assert offset == at < begin <= stop <= len(whole)
        at = stop
    table = programs.table()
    facts = Facts(Reading(page_size=PAGE), table.sections, (Block(b"pc.ram", 16 * PAGE),))
    main = MappedSource("main", bytes(int(table.columns.end().max(initial=1))))
    stream, spool = channels.combine(main, [MappedSource("it", whole)], table.columns, facts)
    ends = spool.columns.end()
    assert not len(ends) or int(ends.max()) <= spool.source.size
    assert len(stream.records) == len(table) + len(spool.columns)
    assert stream.packets is not None and len(stream.packets) == len(p)


def mig_log(data: bytes) -> None:
    """A log that is read and written again reads the same."""
    try:
        log = miglog.parse(data)
    except XbrleError:
        return
    again = miglog.parse(b"".join(miglog.text(log)))
    for name in ("seq", "addr", "cksum", "kind", "length"):
        assert getattr(log, name).tolist() == getattr(again, name).tolist()
    compared = miglog.compare(log, np.frombuffer(data, np.uint8))
    assert 0 <= compared.lines <= data.count(b"\n")


_FILTER_WORDS = (
    *(f"{w}:".encode() for w in filters.FIELDS),
    b" or ", b"not ", b"and ", b"(", b")", b">=", b"!=", b'"', b"'", b",", b"xbrle", b"dup", b"start", b"0x", b"-",
)  # fmt: skip
_LOG_WORDS = (
    b"[seq ",
    b" addr 0x",
    b" cksum 0x",
    b"] NORMAL page\n",
    b"] DUP page\n",
    b"] XBRLE page (enc len ",
    b")\n",
)
_JSON_WORDS = tuple(
    w.encode()
    for w in (
        '{"devices": [', '"name": "', '"instance_id": ', '"fields": [', '"subsections": [', '"type": "struct"',
        '"index": ', '"struct": {', '"size": ', '"array_len": ', '"type": "tmp"', '"type": "uint32"',
        '"vmsd_name": "', "]}", "}", '",',
    )
)  # fmt: skip
_RECORD_WORDS = tuple((flag << 56).to_bytes(8, "little") for flag in (0x02, 0x22, 0x08, 0x28, 0x40, 0x60, 0x10, 0x04))

#: Every target by its name.
TARGETS: dict[str, Target] = {
    "names": Target(names, 48),
    "numbers": Target(numbers, 24, (b"0x", b":", b"K", b"G", b'"')),
    "filters": Target(filter_language, 64, _FILTER_WORDS),
    "xbrle": Target(partial(decoder, Encoding.RLE, 1), 96),
    "xbzrle": Target(partial(decoder, Encoding.ZRUN, 1), 96),
    "xbzrle-lockstep": Target(partial(decoder, Encoding.ZRUN, 24), 64),
    "sep10": Target(partial(decoder, Encoding.DOUBLED, 1), 64),
    "sep20": Target(partial(decoder, Encoding.DOUBLED_NEXT, 1), 64),
    "uleb": Target(uleb_runs, 64),
    "recode": Target(recode, 64),
    "runs": Target(payload_runs, 96),
    "zlib": Target(zlib_page, 64),
    "block-list": Target(block_list, 128),
    "configuration": Target(configuration_section, 160, tuple(qevm.CONFIGURATION_SUBSECTIONS)),
    "command": Target(command, 64),
    "foreign": Target(foreign, 64),
    "vmdesc": Target(vmdesc, 256, _JSON_WORDS),
    "fields": Target(fields, 96),
    "container": Target(container, 256, (b"ram", b"block", *_RECORD_WORDS)),
    "scan-v3": Target(partial(_records, programs.prefix(ram.VERSION_FLAT)), 192, _RECORD_WORDS),
    "scan-v4": Target(partial(_records, programs.prefix(ram.VERSION_NAMED)), 192, _RECORD_WORDS),
    **{
        f"walk-{d}": Target(partial(_walk, programs.prefix(DIALECTS[d].ram_version), d), 160, _RECORD_WORDS)
        for d in DIALECTS
    },
    "walk": Target(walk, 96, _RECORD_WORDS),
    "boundary": Target(boundaries, 64),
    "mapped-ram": Target(mapped_ram, 192),
    "memory": Target(memory, 128),
    "verify": Target(checked, 96),
    "salvage": Target(salvage, 96),
    "libvirt": Target(libvirt_header, 160),
    "qcow2": Target(qcow2_image, 192),
    "channel": Target(channel, 512),
    "mig-log": Target(mig_log, 160, _LOG_WORDS),
}
