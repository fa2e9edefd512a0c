"""What streams in the field hold beside what every stream has: built from the description, or cut out of real ones."""

import struct
from collections.abc import Callable

import pytest
from construct import Container, Int32ub

import xbrletools
from tests.building import (
    EOF,
    EOS,
    HEADER,
    PAGE,
    block_list,
    command,
    configuration,
    footer,
    page,
    part,
    patterned,
    start,
    stream,
    zero,
)
from tests.memory.test_truth import FOLDER, check_clean, check_memory
from xbrletools.formats import iterable, qevm, ram
from xbrletools.formats.iterable import AttributeFlag, BitmapFlag
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.table.sections import CERTAINTY, Boundary
from xbrletools.verify.rules import Severity

pytestmark = pytest.mark.usefixtures("loops")

HOOK = ram.Word.build(Flag.HOOK)
END = part(kind=SectionType.END) + EOS + footer()


def test_hook_records_carry_nothing_and_change_nothing():
    data = stream(HOOK, page(0, patterned(1), b"pc.ram"), HOOK, HOOK, page(PAGE, patterned(2)), HOOK)
    capture = xbrletools.open(data)
    assert capture.records.counts() == {"mem_size": 1, "page": 2, "hook": 4, "eos": 3}
    assert capture.memory()["pc.ram"][:2].tobytes() == patterned(1) + patterned(2)
    assert {f.rule for f in capture.verify() if f.severity is Severity.ERROR} == {"rdma-hook"}


def test_a_background_snapshot_ends_its_ram_without_an_end_section():
    """The devices' state was taken first and follows the last PART. A test with a real QEMU has one."""
    device = start(b"timer", 9, 2, SectionType.FULL) + bytes(24) + footer(9)
    plain = stream(page(0, patterned(1), b"pc.ram"), zero(PAGE), last=device + EOF)
    capture = xbrletools.open(plain.replace(END, b""))
    assert [s.type.name for s in capture.sections] == ["CONFIGURATION", "START", "PART", "FULL", "EOF"]
    assert capture.facts.complete
    assert capture.memory().known[:2].all()
    check_clean(capture)


def test_a_page_sent_again_as_zero_is_zero():
    capture = xbrletools.open(stream(page(0, patterned(1), b"pc.ram"), zero(0)))
    assert capture.memory(at=1)["pc.ram"][0].tobytes() == patterned(1)
    image = capture.memory()
    assert image.known[0]
    assert not image.pages[0].any()


@pytest.mark.parametrize("length", [1, 127, 128, 200, 255])
def test_a_blocks_name_may_have_all_the_bytes_that_its_length_can_count(length):
    name = bytes(range(1, 256))[-length:]
    capture = xbrletools.open(
        stream(page(0, patterned(1), name), zero(PAGE), blocks=((b"pc.ram", PAGE), (name, 2 * PAGE)))
    )
    assert [b.name for b in capture.blocks] == [b"pc.ram", name]
    assert capture.memory()[name][0].tobytes() == patterned(1)
    check_clean(capture)


@pytest.mark.parametrize("bits", range(10, 17))
def test_every_page_size_is_known_from_configuration_or_from_the_records(bits):
    size = 1 << bits
    contents = [(patterned(i) * 16)[:size] for i in range(1, 9)]
    said = b"\x05" + qevm.IdStr.build(b"configuration/target-page-bits") + Int32ub.build(1) + Int32ub.build(bits)
    for subsections in (said, b""):
        head = HEADER + configuration(subsections=subsections)
        head += start() + block_list([(b"pc.ram", 16 * size)]) + EOS + footer()
        records = b"".join(
            ram.Word.build(i * size | Flag.PAGE | (Flag.CONTINUE if i else 0))
            + (b"" if i else qevm.IdStr.build(b"pc.ram"))
            + c
            for i, c in enumerate(contents)
        )
        records += ram.Word.build(8 * size | Flag.COMPRESS | Flag.CONTINUE) + b"\0"
        capture = xbrletools.open(head + part() + records + EOS + footer() + END + EOF)
        assert capture.page_size == size
        image = capture.memory()
        assert image["pc.ram"][:9].tobytes() == b"".join(contents) + bytes(size)
        assert image.known.tolist() == [True] * 9 + [False] * 7
        check_clean(capture)


BITMAP = iterable.BitmapRecord.build(
    {
        "flags": BitmapFlag.START | BitmapFlag.NODE_NAME | BitmapFlag.BITMAP_NAME,
        "node": b"disk0",
        "bitmap": b"bm0",
        "granularity": 65536,
        "start_flags": 0,
        "first_sector": None,
        "sectors": None,
        "size": None,
        "bits": None,
    }
) + bytes([BitmapFlag.EOS])
ATTRIBUTES = struct.pack(">QQ", AttributeFlag.DONE, AttributeFlag.EOS)
HTAB = iterable.Htab.build({"shift": 18, "chunks": None})
CHUNKS = iterable.Htab.build(
    {
        "shift": 0,
        "chunks": [
            Container(index=7, valid=2, invalid=1, entries=[b"\x04" * 16, b"\x7e" * 16]),
            Container(index=0, valid=0, invalid=0, entries=[]),
        ],
    }
)


def interleaved(foot: Callable[..., bytes], others: dict[bytes, tuple[int, bytes, bytes]]) -> bytes:
    """RAM and other iterable sections in turn. ``others`` are id, first and later data by name."""
    out = HEADER + configuration() + start() + block_list([(b"pc.ram", 4 * PAGE)]) + EOS + foot()
    for name, (number, first, _) in others.items():
        out += start(name, number, 1) + first + foot(number)
    for i in range(3):
        out += part() + page(i * PAGE, patterned(i), None if i else b"pc.ram") + EOS + foot()
        for number, _, later in others.values():
            out += part(number) + later + foot(number)
    for number, _, later in others.values():
        out += part(number, SectionType.END) + later + foot(number)
    return out + part(kind=SectionType.END) + EOS + foot() + EOF


KNOWN = {
    b"dirty-bitmap": (5, BITMAP, BITMAP),
    b"s390-storage_attributes": (6, ATTRIBUTES, ATTRIBUTES),
    b"spapr/htab": (7, HTAB, CHUNKS),
}
UNKNOWN = {b"pbs-state": (8, b"\1\2\3", b"\x02\0\0\0\2 \x7e\0\0\0\2\x04 looks like sections")}


@pytest.mark.parametrize("others", [KNOWN, UNKNOWN, KNOWN | UNKNOWN], ids=["known", "unknown", "both"])
def test_iterable_sections_in_turn_with_ram_are_passed_over_by_their_footers(others):
    capture = xbrletools.open(interleaved(footer, others))
    assert capture.facts.complete
    assert capture.problems == ()
    assert capture.memory()["pc.ram"][:3].tobytes() == b"".join(map(patterned, range(3)))
    mine = [s for s in capture.sections if s.owner is not None and s.owner.idstr in others]
    assert len(mine) == 5 * len(others)
    assert {s.found_by for s in mine} == {Boundary.FOOTER}
    for section in mine:
        first, later = others[section.owner.idstr][1:]
        assert section.end - section.data == len(first if section.type is SectionType.START else later)


def test_without_footers_sections_of_known_records_end_where_those_end():
    capture = xbrletools.open(interleaved(lambda *_: b"", KNOWN))
    assert capture.facts.complete
    assert capture.problems == ()
    assert {s.found_by for s in capture.sections} == {Boundary.PARSED}
    assert capture.memory()["pc.ram"][:3].tobytes() == b"".join(map(patterned, range(3)))


def test_the_hash_table_of_a_pseries_guest_is_shown_entry_by_entry():
    capture = xbrletools.open(interleaved(footer, KNOWN))
    section = next(
        s for s in capture.sections if s.owner and s.owner.idstr == b"spapr/htab" and s.type is SectionType.PART
    )
    chunk = capture.fields(section).children[1].children[0]
    assert [(f.name, f.value) for f in chunk.children[:3]] == [("index", 7), ("valid", 2), ("invalid", 1)]
    assert [f.raw for f in chunk.children[3].children] == [b"\x04" * 16, b"\x7e" * 16]


def test_a_receivers_request_for_its_bitmap_is_told_from_a_resume_by_its_data():
    before = command(9, qevm.IdStr.build(b"pc.ram")) + command(9) + command(10, qevm.IdStr.build(b"pc.ram"))
    data = stream(zero(0, b"pc.ram")).replace(configuration(), configuration() + before)
    assert [str(c) for c in xbrletools.open(data).facts.commands] == [
        "recv_bitmap pc.ram",
        "postcopy_resume",
        "recv_bitmap pc.ram",
    ]


@pytest.mark.parametrize(
    "name", ["pc16-plain-kvm", "pc16-xbzrle-large-kvm", "ppc-g3beige32-plain-tcg", "pc16-block-kvm"]
)
def test_a_real_stream_without_configuration_footers_and_description_is_bounded_by_search(name, corpus):
    """As an old machine type writes it: what 2.4 added is cut out, and every boundary found again."""
    data = corpus(f"{FOLDER}/{name}.bin")
    whole = xbrletools.open(data)
    framed = [s for s in whole.sections if s.owner is not None]
    old = HEADER + b"".join(data[s.offset : s.end] for s in framed) + EOF
    capture = xbrletools.open(old)
    assert capture.facts.complete
    assert capture.facts.configuration is None
    assert capture.description is None
    found = [s for s in capture.sections if s.owner is not None]
    assert [(s.owner, s.end - s.offset) for s in found] == [(s.owner, s.end - s.offset) for s in framed]
    devices = [s for s in found if s.type is SectionType.FULL]
    assert {CERTAINTY[s.found_by].split(":")[0] for s in devices} == {"likely"}
    check_memory(capture, corpus, name)
    check_clean(capture)
