"""Device sections, taken apart by the VM description."""

import json
import re
from typing import Any

import pytest
from construct import Int32ub

import xbrletools
from tests.building import EOF, footer, start, stream, subsection, zero
from tests.conftest import corpus_names
from xbrletools.container import devices
from xbrletools.container.fields import UNREAD, Field
from xbrletools.formats import iterable, qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.table.sections import Boundary
from xbrletools.verify.container import container_findings

ID = 9


def capture_of(data: bytes, *entries: dict[str, Any], sections: int = 1, text: bytes | None = None):
    device = b"".join(start(b"dev", ID + i, 1, SectionType.FULL) + data + footer(ID + i) for i in range(sections))
    text = text if text is not None else json.dumps({"page_size": 4096, "devices": entries}).encode()
    tail = device + EOF + bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": text})
    return xbrletools.open(stream(zero(0, b"pc.ram"), last=tail))


def entry(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "dev", "instance_id": 0, "vmsd_name": "dev", "version": 1, "fields": list(fields), **more}


def the_fields(capture) -> Field:
    section = next(s for s in capture.sections if s.type is SectionType.FULL)
    return capture.fields(section)


def shape(field: Field) -> Any:
    """Names and values, nested."""
    return [(c.name, shape(c) if c.children else c.value) for c in field.children]


def number(name: str, size: int, kind: str = "uint", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": f"{kind}{8 * size}", "size": size, **more}


class TestFields:
    def test_numbers_are_big_endian_and_signed_as_their_type_says(self):
        data = b"\xff\xfe" + b"\xff\xfe" + b"\x01" + b"\x00\x00\x00\x07"
        described = entry(
            number("u", 2),
            number("i", 2, "int"),
            {"name": "b", "type": "bool", "size": 1},
            {"name": "l", "type": "int32 le", "size": 4},
        )
        found = the_fields(capture_of(data, described))
        assert shape(found) == [("u", 0xFFFE), ("i", -2), ("b", True), ("l", 7)]
        assert [c.size for c in found.children] == [2, 2, 1, 4]

    def test_an_array_is_one_entry_with_the_size_of_one_element(self):
        found = the_fields(capture_of(b"\0\1\0\2\0\3", entry(number("a", 2, array_len=3))))
        assert shape(found) == [("a", (1, 2, 3))]

    def test_structs_nest_and_arrays_of_them_have_their_elements(self):
        inner = {"vmsd_name": "in", "version": 1, "fields": [number("x", 1), number("y", 1)]}
        described = entry({"name": "s", "type": "struct", "size": 2, "array_len": 2, "struct": inner}, number("z", 1))
        found = the_fields(capture_of(b"\1\2\3\4\5", described))
        assert shape(found) == [("s", [("[0]", [("x", 1), ("y", 2)]), ("[1]", [("x", 3), ("y", 4)])]), ("z", 5)]

    def test_elements_of_an_uneven_array_carry_their_index(self):
        def one(i: int) -> dict[str, Any]:
            struct = {"vmsd_name": "d", "version": 1, "fields": [number("x", 1)]}
            return {"name": "drives", "index": i, "type": "struct", "size": 1, "struct": struct}

        assert [c.name for c in the_fields(capture_of(b"\1\2", entry(one(0), one(1)))).children] == [
            "drives[0]",
            "drives[1]",
        ]

    def test_a_tmp_field_carries_its_fields_itself(self):
        tmp = {"name": "tmp", "type": "tmp", "vmsd_name": "t", "version": 0, "size": 1, "fields": [number("x", 1)]}
        assert shape(the_fields(capture_of(b"\x07", entry(tmp)))) == [("tmp", [("x", 7)])]

    def test_subsections_follow_the_fields_in_the_descriptions_order(self):
        data = b"\1" + subsection(b"dev/a", b"\2") + subsection(b"dev/b", b"\3")
        described = entry(
            number("x", 1),
            subsections=[
                {"vmsd_name": "dev/a", "version": 1, "fields": [number("y", 1)]},
                {"vmsd_name": "dev/b", "version": 1, "fields": [number("z", 1)]},
            ],
        )
        found = the_fields(capture_of(data, described))
        assert [c.name for c in found.children] == ["x", "dev/a", "dev/b"]
        assert [c.value for c in found.children[2].children] == [SectionType.SUBSECTION, b"dev/b", 1, 3]

    def test_a_leaf_of_unknown_type_is_its_bytes(self):
        leaf = {"name": "virtio", "type": "virtio", "size": 5}
        assert shape(the_fields(capture_of(b"abcde", entry(leaf)))) == [("virtio", b"abcde")]


class TestWhereTheDescriptionFallsShort:
    def test_the_footer_wins_and_the_remainder_is_shown(self):
        found = the_fields(capture_of(b"\1\2\3\4", entry(number("x", 1))))
        assert shape(found) == [("x", 1), (UNREAD, b"\2\3\4")]

    def test_null_pointers_leave_the_rest_unread(self):
        inner = {"vmsd_name": "in", "version": 1, "fields": [number("x", 4)]}
        described = entry({"name": "p", "type": "struct", "size": 4, "array_len": 3, "struct": inner})
        found = the_fields(capture_of(b"\0\0\0\1" + b"00" + b"\0", described))
        assert shape(found.children[0])[0] == ("[0]", [("x", 1)])
        assert [f.raw for f in walk(found) if f.name == UNREAD] == [b"00\0"]

    def test_a_description_longer_than_the_section_gives_what_is_there(self):
        found = the_fields(capture_of(b"\1\2\3", entry(number("x", 2), number("y", 2))))
        assert shape(found) == [("x", 0x0102), (UNREAD, b"\3")]

    def test_another_subsection_than_the_described_is_unread(self):
        described = entry(subsections=[{"vmsd_name": "dev/a", "version": 1, "fields": []}])
        found = the_fields(capture_of(subsection(b"dev/b", b""), described))
        assert [c.name for c in found.children] == [UNREAD]

    @pytest.mark.parametrize(
        "field",
        [
            {"name": "x", "type": "uint8", "size": 1 << 60},
            {"name": "x", "type": "uint8", "size": 1, "array_len": 1 << 60},
            {"name": "x", "type": "struct", "size": 0, "array_len": 1 << 60, "struct": {"fields": []}},
            {"name": "x", "type": "struct", "size": 0, "array_len": 1 << 60, "struct": {"fields": [{"size": 0}]}},
            {"name": "x", "type": "uint32", "size": -4},
            {"name": ["x"], "type": {"a": 1}, "size": "many"},
            {"name": "x", "type": "struct", "size": 1, "struct": "no"},
        ],
    )
    def test_a_hostile_description_costs_nothing_and_covers_every_byte(self, field):
        found = the_fields(capture_of(b"\1\2\3", entry(field)))
        assert sum(c.size for c in found.children) == 3

    def test_structs_in_structs_without_end_are_cut_off(self):
        inner: dict[str, Any] = {"fields": [number("x", 1)]}
        for _ in range(200):
            inner = {"fields": [{"name": "s", "type": "struct", "size": 1, "struct": inner}]}
        assert the_fields(capture_of(b"\1", entry(*inner["fields"]))).children[-1].name == UNREAD

    @pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"devices": 3}', b'{"devices": [3]}', b"[" * 100000, b"\xff"])
    def test_what_is_no_description_is_one_error(self, text):
        with pytest.raises(xbrletools.XbrleError):
            the_fields(capture_of(b"\1", text=text))


class TestMatching:
    def test_two_devices_of_one_name_and_instance_go_by_order(self):
        capture = capture_of(b"\1", entry(number("first", 1)), entry(number("second", 1)), sections=2)
        full = [s for s in capture.sections if s.type is SectionType.FULL]
        assert [capture.fields(s).children[0].name for s in full] == ["first", "second"]

    def test_a_section_that_the_description_lacks_has_no_fields(self):
        capture = capture_of(b"\1", {**entry(number("x", 1)), "name": "other"})
        assert the_fields(capture) is None

    def test_entries_without_a_section_are_passed_over(self):
        capture = capture_of(b"\1", {**entry(number("x", 1)), "name": "other"}, entry(number("y", 1)))
        assert shape(the_fields(capture)) == [("y", 1)]


class TestIterableSections:
    def test_a_hash_table_is_read_to_its_last_chunk(self):
        data = Int32ub.build(0) + b"\0\0\0\5" + b"\0\1\0\2" + b"e" * iterable.HPTE_SIZE + bytes(8)
        parsed = iterable.Htab.parse(data)
        assert [c.index for c in parsed.chunks] == [5, 0]
        assert iterable.Htab.build(parsed) == data

    def test_storage_attributes_with_data(self):
        data = (0x5000 | 2).to_bytes(8, "big") + (3).to_bytes(8, "big") + b"abc" + (1).to_bytes(8, "big")
        parsed = iterable.StorageAttributes.parse(data)
        assert [bytes(r.attributes or b"") for r in parsed] == [b"abc", b""]
        assert iterable.StorageAttributes.build(parsed) == data

    def test_dirty_bitmap_names_and_bits(self, corpus):
        capture = xbrletools.open(corpus("qemu-7.2/pc16-dirtybitmap-kvm.bin"))
        mine = [s for s in capture.sections if s.owner is not None and s.owner.idstr == b"dirty-bitmap"]
        assert len(mine) > 1
        for section in mine:
            found = capture.fields(section)
            assert found.size == section.end - section.data
            assert UNREAD not in {f.name for f in walk(found)}
        first = {f.name: f.value for f in walk(capture.fields(mine[0]))}
        assert (first["node"], first["bitmap"], first["granularity"]) == (b"n1", b"bm0", 65536)


def walk(field: Field):
    yield field
    for child in field.children:
        yield from walk(child)


def contiguous(field: Field) -> bool:
    """Whether the parts of a field, and theirs, cover it without a gap."""
    at = field.offset
    for child in field.children:
        if child.offset != at or not contiguous(child):
            return False
        at += child.size
    return not field.children or at == field.offset + field.size


#: Captures that are no main stream, or whose main stream this loop leaves to the tests of what is around it.
BESIDE = re.compile(r"\.rev|\.chan[1-9]|pc4608|cprstate|offset|\.truth|\.dest|\.log|disk\.img")
FOLDERS = ("qemu-7.2", "qemu-10", "qemu-11", "qemu-2010", "qemu-2011-posted", "cases/devices")
STREAMS = [(folder, name) for folder in FOLDERS for name in corpus_names(folder) if not BESIDE.search(name)]


@pytest.mark.parametrize(("folder", "name"), STREAMS)
def test_every_device_is_decoded_or_bounded(folder, name, corpus):
    capture = xbrletools.open(corpus(f"{folder}/{name}.bin"))
    full = list(capture.sections.of_types(SectionType.FULL))
    cut = [p for p in capture.problems if p.fatal]
    assert not cut or not full, cut  # those that were killed or cancelled did not come to their devices
    assert all(s.found_by is not Boundary.CUT for s in full)
    assert not list(container_findings(capture.stream))
    assert "bad-footer" not in {p.rule for p in capture.problems}
    if capture.description is None:
        return
    assert len(capture.description.devices) == len(full)
    entries = devices.entries(capture.stream)
    assert [*entries] == [s.index for s in full]
    assert not len(entries.without_section)
    for section in full:
        assert entries[section.index].name == section.owner.idstr
        found = capture.fields(section)
        assert (found.offset, found.size) == (section.data, section.end - section.data)
        assert contiguous(found)
        assert UNREAD not in {f.name for f in walk(found)}, section.owner


@pytest.mark.parametrize("name", corpus_names("libvirt-11", ".save.xz"))
def test_every_device_of_a_libvirt_save_is_decoded(name, corpus):
    try:
        capture = xbrletools.open(corpus(f"libvirt-11/{name}.save"))
    except xbrletools.XbrleError as error:
        pytest.skip(str(error))
    full = list(capture.sections.of_types(SectionType.FULL))
    assert full
    assert len(capture.devices) == len(full)
    assert all(UNREAD not in {f.name for f in walk(capture.fields(s))} for s in full)


class TestTheCases:
    """What cases/README.md says of each."""

    def test_a_footer_pattern_in_the_timer(self, corpus):
        capture = xbrletools.open(corpus("cases/devices/timer-false-footer-11.1.bin"))
        assert len(list(capture.sections.of_types(SectionType.FULL))) == 32
        assert not capture.problems

    def test_an_early_section_keeps_ram(self, corpus):
        capture = xbrletools.open(corpus("cases/devices/q35-virtiomem-11.1.bin"))
        sent = {b.name for b in capture.blocks} - {f.block for f in capture.verify() if f.rule == "page-never-sent"}
        assert {b.name for b in capture.blocks} - sent == {b"0000:00:01.0/vmem0"}
        assert capture.records.last_number > 262_000
        head = xbrletools.open(corpus("cases/devices/early-section-before-ram-11.1.head.bin"))
        assert (head.facts.footers, len(head.blocks)) == (True, 7)

    def test_devices_alone(self, corpus):
        capture = xbrletools.open(corpus("cases/devices/xen-save-devices-state.bin"))
        full = list(capture.sections.of_types(SectionType.FULL))
        assert len(full) == 31
        assert {s.found_by for s in full} == {Boundary.FOOTER}
        assert not list(capture.verify())

    def test_a_wrong_footer(self, corpus):
        capture = xbrletools.open(corpus("cases/devices/device-footer-wrong.bin"))
        assert [f.rule for f in capture.verify()] == ["bad-footer"]
        assert len(list(capture.sections.of_types(SectionType.FULL))) == len(capture.description.devices) == 2

    def test_a_description_that_is_too_short(self, corpus):
        found, refused = xbrletools.open(corpus("cases/devices/desc-short.bin")).verify()
        assert refused.rule == "refused-by-all"
        assert (found.rule, found.evidence) == ("description-mismatch", {"described": 6, "size": 10})


def test_a_footer_of_another_section_is_named(corpus):
    (problem,) = xbrletools.open(corpus("cases/devices/device-footer-wrong.bin")).problems
    assert problem.rule == "bad-footer"
    assert problem.message.endswith("section 3 (0000:00:01.3/piix4_pm) stands at its end, but one of section 9")
