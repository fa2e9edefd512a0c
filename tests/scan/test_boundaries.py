"""Where sections end: footers are settled at the first section, and one counts only where something can follow it."""

import io
import json
from typing import Any

import numpy as np
import pytest

import xbrletools
from tests.building import (
    EOF,
    EOS,
    HEADER,
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
from tests.conftest import CORPUS
from tests.siege.bounds import measured
from xbrletools.container import boundary
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.scan import container_reader
from xbrletools.scan.strict import Scanner
from xbrletools.source.opening import open_source
from xbrletools.table.sections import Boundary, Owner, Sections

RAM = start() + block_list(((b"pc.ram", 1 << 16),)) + EOS + footer() + part(kind=SectionType.END) + EOS + footer()


def device(data: bytes, number: int, name: bytes = b"dev", foot: bytes | None = None) -> bytes:
    return start(name, number, 1, SectionType.FULL) + data + (footer(number) if foot is None else foot)


def entry(size: int, name: str = "dev") -> dict[str, Any]:
    fields = [{"name": "x", "type": "buffer", "size": size}]
    return {"name": name, "instance_id": 0, "vmsd_name": name, "version": 1, "fields": fields}


def description(*entries: dict[str, Any]) -> bytes:
    text = json.dumps({"page_size": 4096, "devices": entries}).encode()
    return bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": text})


def devices_of(data: bytes, pipe: bool = False) -> tuple[list[bytes], Any]:
    """The bytes of each device section, and the facts. A pipe does not let the scan look at its end first."""
    source = open_source(io.BytesIO(data) if pipe else data)
    scan = Scanner(source)
    for _ in scan:
        pass
    full = scan.facts.sections.of_types(SectionType.FULL)
    return [data[s.data : s.end] for s in full], scan.facts


both = pytest.mark.parametrize("pipe", [False, True], ids=["file", "pipe"])


@both
class TestFootersAreSettledAtTheFirstSection:
    def test_a_device_before_ram_keeps_ram_in_sight(self, pipe):
        data = HEADER + configuration() + device(b"early", 0x27) + RAM + device(b"late", 3) + EOF
        found, facts = devices_of(data, pipe)
        assert (found, facts.footers, facts.problems) == ([b"early", b"late"], True, ())
        assert [b.name for b in facts.blocks] == [b"pc.ram"]

    def test_devices_alone_end_at_their_footers(self, pipe):
        data = HEADER + b"".join(device(bytes([i]) * i, i) for i in range(1, 9)) + EOF
        found, facts = devices_of(data, pipe)
        assert found == [bytes([i]) * i for i in range(1, 9)]
        assert {s.found_by for s in facts.sections.of_types(SectionType.FULL)} == {Boundary.FOOTER}
        assert facts.complete and not facts.problems

    def test_devices_alone_without_footers_end_at_the_next_header(self, pipe):
        data = HEADER + b"".join(device(bytes([9]) * 4, i, foot=b"") for i in range(1, 5)) + EOF
        found, facts = devices_of(data, pipe)
        assert (found, facts.footers, facts.complete) == ([b"\x09" * 4] * 4, False, True)

    def test_without_footers_devices_that_go_first_have_higher_ids_than_those_behind_them(self, pipe):
        """A PCI bridge of QEMU 7.2 has id 0x27, and `timer`, the first of all others, has 0."""
        ids = [0x27, 0x2B, 0, 4, 5, 0x2A, 0x2C]
        data = HEADER + b"".join(device(bytes([i]) * 4, i, foot=b"") for i in ids) + EOF
        found, facts = devices_of(data, pipe)
        assert (found, facts.footers, facts.complete) == ([bytes([i]) * 4 for i in ids], False, True)

    @pytest.mark.parametrize(
        "inside",
        [
            start(b"ab", 3, 0, SectionType.FULL),  # no device has so short a name
            start(b"abc", 0x28, 0, SectionType.FULL)[1:],  # no header
        ],
        ids=["short name", "no type"],
    )
    def test_what_is_no_header_with_a_lower_id_is_data(self, pipe, inside):
        first = b"\1\2" + inside + b"\3"
        data = HEADER + device(first, 0x27, foot=b"") + device(b"last", 0x29, foot=b"") + EOF
        assert devices_of(data, pipe)[0] == [first, b"last"]

    def test_the_version_of_a_device_can_be_a_date(self, pipe):
        eeprom = start(b"eeprom", 5, 20061112, SectionType.FULL) + b"\7" * 9
        data = HEADER + device(b"first", 4, foot=b"") + eeprom + device(b"last", 6, foot=b"") + EOF
        assert devices_of(data, pipe)[0] == [b"first", b"\7" * 9, b"last"]

    def test_the_instance_of_a_device_can_be_any_number(self, pipe):
        """That of `spapr_iommu` is the number of its bus."""
        iommu = start(b"spapr_iommu", 5, 1, SectionType.FULL, instance=0x8000_0000) + b"\7" * 9
        data = HEADER + device(b"first", 4, foot=b"") + iommu + device(b"last", 6, foot=b"") + EOF
        assert devices_of(data, pipe)[0] == [b"first", b"\7" * 9, b"last"]

    def test_a_lower_id_counts_only_where_it_is_the_lowest(self, pipe):
        first = b"\1\2" + start(b"fake", 5, 0, SectionType.FULL) + b"\3"
        data = HEADER + device(b"zero", 0, foot=b"") + device(first, 9, foot=b"") + device(b"last", 10, foot=b"") + EOF
        assert devices_of(data, pipe)[0] == [b"zero", first, b"last"]

    def test_a_part_of_the_same_id_is_not_a_damaged_footer(self, pipe):
        data = HEADER + start() + block_list(((b"pc.ram", 1 << 16),)) + EOS + part() + zero(0, b"pc.ram") + EOS
        facts = devices_of(data + part(kind=SectionType.END) + EOS + EOF, pipe)[1]
        assert (facts.footers, facts.complete) == (False, True)


@both
class TestAFooterInsideData:
    def test_the_footer_of_section_0_before_zeros_is_data(self, pipe):
        timer = b"\1\2" + footer(0) + bytes(11)  # as timer's clock offsets can be
        data = HEADER + configuration() + RAM + device(timer, 0, b"timer") + device(b"next", 3) + EOF
        found, facts = devices_of(data + description(entry(len(timer), "timer"), entry(4)), pipe)
        assert (found, facts.problems) == ([timer, b"next"], ())

    @pytest.mark.parametrize(
        "after",
        [
            b"\x04\0\0\5\0\x03a\1b" + bytes(8),  # a name that is not printable, and not the next id
            b"\x04\0\1\0\0\x03abc" + bytes(8),  # an id that no sender reaches
            b"\x04\0\0\0\5\x03abc" + bytes(4) + b"\1\0\0\0",  # a version that no device has
            b"\x04\0\0\0\5\0" + bytes(8),  # a name without a letter
            b"\x02\0\0\0\x63",  # the PART of a section that was not announced
            b"\x08\0\x63\0\0",  # a command that does not exist
            b"\x08\0\2\0\0",  # a ping without its number
            b"\0\x06\0\0\0\x02[]",  # no description
        ],
    )
    def test_it_is_not_one_where_nothing_can_follow(self, pipe, after):
        inside = b"ab" + footer(3) + after + b"cd"
        data = HEADER + configuration() + RAM + device(inside, 3) + device(b"next", 4) + EOF
        found, facts = devices_of(data, pipe)
        assert (found, facts.problems) == ([inside, b"next"], ())

    def test_commands_parts_and_the_end_can_follow(self, pipe):
        more = b"".join(device(b"x", n) + f for n, f in ((3, command(2, bytes(4))), (4, part() + EOS + footer())))
        found, facts = devices_of(HEADER + configuration() + RAM + more + device(b"y", 5) + EOF, pipe)
        assert (found, facts.problems) == ([b"x", b"x", b"y"], ())

    def test_bytes_after_the_stream_do_not_hide_the_last_footer(self, pipe):
        found, facts = devices_of(HEADER + configuration() + RAM + device(b"x", 3) + EOF + b"rubbish", pipe)
        assert found == [b"x"]
        assert [p.rule for p in facts.problems] == ["trailing-data"]

    def test_a_stream_after_the_stream_is_named_with_its_offset(self, pipe):
        data = HEADER + configuration() + RAM + device(b"x", 3) + EOF
        found, facts = devices_of(data + data, pipe)
        (problem,) = facts.problems
        assert (found, problem.rule, problem.offset) == ([b"x"], "trailing-data", len(data))
        assert f"another one begins at {len(data):#x}, which --offset reads" in problem.message


def test_the_described_size_decides_between_two_footers_that_could_both_count():
    inner = b"ab" + footer(3) + start(b"guest", 7, 1, SectionType.FULL)  # a guest can hold a stream of its own
    tail = description(entry(len(inner)), entry(1))
    found, facts = devices_of(HEADER + configuration() + RAM + device(inner, 3) + device(b"x", 4) + EOF + tail)
    assert (found, facts.problems) == ([inner, b"x"], ())


class TestAWrongFooter:
    WRONG = (footer(9), b"\x7f" + footer(3)[1:], bytes(5))

    @both
    @pytest.mark.parametrize("foot", WRONG[:2])
    def test_is_one_finding_and_the_rest_is_read(self, pipe, foot):
        data = (
            HEADER + configuration() + RAM + device(b"abcdef", 3, foot=foot) + device(b"x", 4) + device(b"y", 5) + EOF
        )
        tail = description(entry(6), entry(1), entry(1))
        found, facts = devices_of(data + tail, pipe)
        assert (found, facts.complete) == ([b"abcdef", b"x", b"y"], True)
        assert [(p.rule, p.fatal) for p in facts.problems] == [("bad-footer", False)]

    @pytest.mark.parametrize("foot", WRONG)
    def test_the_description_finds_the_end_of_the_last_section_too(self, foot):
        data = HEADER + configuration() + RAM + device(b"x", 4) + device(b"abcdef", 3, foot=foot) + EOF
        found, facts = devices_of(data + description(entry(1), entry(6)))
        assert (found, [p.rule for p in facts.problems]) == ([b"x", b"abcdef"], ["bad-footer"])

    def test_a_missing_footer_is_a_wrong_one(self):
        data = HEADER + configuration() + RAM + device(b"abcdef", 3, foot=b"") + device(b"x", 4) + EOF
        found, facts = devices_of(data + description(entry(6), entry(1)))
        assert (found, [p.rule for p in facts.problems]) == ([b"abcdef", b"x"], ["bad-footer"])

    def test_a_cut_section_is_still_cut(self):
        data = HEADER + configuration() + RAM + device(b"abcdef", 3)
        facts = devices_of(data[:-3])[1]
        assert [(p.rule, p.fatal) for p in facts.problems] == [("truncated", True)]


class TestADamagedDescription:
    DATA = HEADER + configuration() + RAM + b"".join(device(b"ab", n) for n in (3, 4, 5)) + EOF

    def _read(self, text: bytes):
        tail = bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": text})
        capture = xbrletools.open(self.DATA + tail)
        full = list(capture.sections.of_types(SectionType.FULL))
        return capture, [capture.fields(s) for s in full]

    def test_gives_what_its_intact_part_says(self):
        text = bytearray(json.dumps({"page_size": 4096, "devices": [entry(2), entry(2), entry(2)]}).encode())
        text[text.index(b'"vmsd_name"', text.index(b'"vmsd_name"') + 1)] = 0xFF  # in the second of three
        capture, fields = self._read(bytes(text))
        assert [[c.name for c in f.children] for f in fields] == [["x"], ["x"], ["x"]]
        assert capture.description.page_size == 4096
        assert [f.rule for f in capture.verify() if "description" in f.rule] == ["bad-description"]

    def test_the_fields_before_the_damage_count(self):
        two = {**entry(1), "fields": [{"name": n, "type": "uint8", "size": 1} for n in ("first", "second")]}
        text = json.dumps({"page_size": 4096, "devices": [two]}).encode().replace(b'"second"', b'"second')
        _, fields = self._read(text)
        assert [c.name for c in fields[0].children] == ["first", "unread"]

    def test_a_cut_one_is_truncated_and_read_as_far_as_it_goes(self):
        tail = description(entry(2), entry(2), entry(2))
        capture = xbrletools.open(self.DATA + tail[: -len(json.dumps(entry(2))) // 2])
        assert [p.rule for p in capture.problems if p.fatal] == ["truncated"]
        assert len(capture.description.devices) == 3
        full = list(capture.sections.of_types(SectionType.FULL))
        assert [c.name for c in capture.fields(full[1]).children] == ["x"]

    @pytest.mark.parametrize("text", [b"{", b"[]", b'{"devices": 3}', b"\xff"])
    def test_what_is_not_a_description_is_a_finding(self, text):
        tail = bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": text})
        found = list(xbrletools.open(self.DATA + tail).verify())
        assert [f.rule for f in found if "description" in f.rule] == ["bad-description"]


class TestManySections:
    def test_their_ids_may_be_any_where_each_is_the_next(self):
        first = boundary.ID_MAX - 3
        data = HEADER + RAM + b"".join(device(b"state", first + i) for i in range(9)) + EOF
        found, facts = devices_of(data)
        assert len(found) == 9
        assert facts.problems == ()
        assert facts.complete

    def _many(self, count: int) -> bytes:
        empty = (part() + EOS + footer()) * count
        head = HEADER + configuration() + start() + block_list(((b"pc.ram", 1 << 16),)) + EOS + footer()
        filled = part() + page(0, patterned(1), b"pc.ram") + EOS + footer()
        return head + empty + filled + empty + part(kind=SectionType.END) + EOS + footer() + EOF

    @pytest.mark.parametrize("count", [1, 2, 3, 70_000])
    def test_empty_ones_are_all_there(self, count):
        data = self._many(count)
        capture = xbrletools.open(data)
        sections, table = capture.sections, capture.records
        assert len(sections) == 2 * count + 5
        assert sections.run_count < 12
        assert table.counts() == {"mem_size": 1, "page": 1, "eos": 2 * count + 3}
        offset = table.columns.offset.tolist()
        assert all(int.from_bytes(data[o : o + 8]) == 0x10 for o in offset[2 : 2 + count])
        of_page = count + 2
        assert table.section.tolist()[:4] == [1, 1, 2, 3]
        assert table.section.tolist()[count + 1 : count + 5] == [count + 1, of_page, of_page, of_page + 1]
        assert [s.index for s in sections] == list(range(len(sections)))
        for section in (sections[2], sections[count + 1], sections[-3]):
            assert sections.at(section.offset) == sections.at(section.end) == section.index
            assert data[section.data : section.end] == EOS

    def test_what_differs_by_a_byte_is_not_one_of_them(self):
        data = bytearray(self._many(40))
        at = data.index(part() + EOS + footer()) + 18 * 20
        data[at + 17] ^= 1  # the id in one footer
        capture = xbrletools.open(bytes(data))
        assert [(p.rule, p.offset) for p in capture.problems] == [("bad-footer", at + 13)]
        assert len(capture.sections) == 85

    def test_one_at_the_end_of_a_pipes_window_is_not_read_again(self, corpus):
        corpus("qemu-2011-posted/dbg-block-ix.bin")  # or skip
        scan = Scanner(open_source(CORPUS / "qemu-2011-posted/dbg-block-ix.bin.xz"))
        assert sum(map(len, scan)) == 4189
        assert (len(scan.facts.sections), scan.facts.problems) == (92, ())

    def test_salvage_reads_on_among_them(self):
        data = self._many(100)
        at = data.index(part() + EOS + footer()) + 18 * 50
        scan = xbrletools.open(data[:at] + data[at + 7 :], salvage=True)
        assert len(scan.records) >= 150


class TestCommands:
    def test_a_million_are_columns(self):
        data = HEADER + command(3) * 30_000 + RAM + EOF
        facts = devices_of(data)[1]
        assert facts.commands.counts() == {"postcopy_advise": 30_000}
        assert facts.commands[29_999].offset == len(HEADER) + 5 * 29_999
        assert facts.commands.at(len(HEADER) + 5).end == len(HEADER) + 10
        assert facts.commands.at(len(HEADER) + 6) is None

    @pytest.mark.parametrize("pipe", [False, True])
    def test_those_of_one_number_and_length_are_read_together_and_each_is_there(self, pipe, monkeypatch):
        monkeypatch.setattr(container_reader, "ALIKE", 100)
        rng = np.random.default_rng(5)
        kinds = [(3, 0, 90), (1, 4, 70), (1, 2, 2), (9, 300, 3)] * 2
        wanted = [(number, rng.bytes(size)) for number, size, count in kinds for _ in range(count)]
        data = HEADER + b"".join(command(*one) for one in wanted) + RAM + EOF
        facts = devices_of(data, pipe)[1]
        assert [(c.number, c.data) for c in facts.commands] == wanted
        ends = np.cumsum([5 + len(d) for _, d in wanted]).tolist()
        assert [c.end - len(HEADER) for c in facts.commands] == ends
        sections = list(facts.sections)[: len(wanted)]
        assert [(s.type, s.offset) for s in sections] == [(SectionType.COMMAND, c.offset) for c in facts.commands]
        assert [s.end for s in sections] == [c.end for c in facts.commands]
        assert facts.sections.run_count < 20
        assert facts.complete

    def test_one_that_is_cut_after_others_like_it_is_said(self):
        data = HEADER + command(1, b"abcd") * 5
        facts = devices_of(data[:-2])[1]
        assert len(facts.commands) == 4
        assert [(p.rule, p.offset) for p in facts.problems] == [("truncated", len(data) - 2)]

    def test_salvage_takes_no_command_that_does_not_exist_for_one_of_many(self):
        ram = start() + block_list(((b"pc.ram", 1 << 16),)) + page(0, patterned(1), b"pc.ram") + EOS + footer()
        data = HEADER + command(3) * 4 + command(99) * 3 + ram + part(kind=SectionType.END) + EOS + footer() + EOF
        capture = xbrletools.open(data, salvage=True)
        assert [c.number for c in capture.facts.commands][:4] == [3, 3, 3, 3]
        assert 99 not in capture.facts.commands.numbers
        assert capture.gaps

    def test_each_one_in_a_package_knows_it(self):
        inside = command(4) + command(5)
        data = HEADER + command(2, bytes(4)) + command(7, len(inside).to_bytes(4), inside) + command(2, bytes(4)) + EOF
        commands = devices_of(data)[1].commands
        assert [commands.package_of(c.offset) for c in commands] == [None, None, 1, 1, None]


@both
def test_a_stream_is_the_same_from_a_pipe(pipe):
    data = stream(*(page(i << 12, patterned(i), b"pc.ram" if not i else None) for i in range(9)))
    assert devices_of(data, pipe)[1].complete


class TestRunsOfSections:
    def test_equal_ones_in_a_row_are_a_run_however_they_were_added(self):
        sections, owner = Sections(), Owner(1, b"ram", 0, 4)
        for i in range(5):
            at = 100 + 20 * i
            sections.close(sections.add(SectionType.PART, owner, at, at + 5), at + 13, Boundary.PARSED)
        sections.close(sections.add(SectionType.PART, owner, 200, 205), 500, Boundary.PARSED)
        assert (len(sections), sections.run_count) == (6, 2)
        assert [(s.offset, s.data, s.end) for s in sections][3:] == [(160, 165, 173), (180, 185, 193), (200, 205, 500)]
        assert [sections.at(o) for o in (99, 100, 119, 120, 199, 200, 900)] == [-1, 0, 0, 1, 4, 5, 5]
        assert sections.of(np.array([99, 100, 119, 120, 199, 200, 900])).tolist() == [-1, 0, 0, 1, 4, 5, 5]
        assert sections.stages(np.arange(6)).tolist() == [2] * 6
        assert sections.stages_at(np.array([99, 100, 130, 900])).tolist() == [0, 2, 2, 2]

    @pytest.mark.parametrize("offset", range(95, 205, 5))
    def test_cut_off_they_are_as_if_each_had_been_added_alone(self, offset):
        sections, owner = Sections(), Owner(1, b"ram", 0, 4)
        sections.close(sections.add(SectionType.PART, owner, 100, 105), 113, Boundary.PARSED)
        sections.repeat(4, 20)
        sections.truncate(offset)
        expected = [(100 + 20 * i, min(offset, 113 + 20 * i)) for i in range(5) if 100 + 20 * i < offset]
        assert [(s.offset, s.end) for s in sections] == expected
        assert len(sections) == len(expected)
        assert all((s.found_by is Boundary.CUT) == (s.end < s.offset + 13) for s in sections)
        sections.add(SectionType.EOF, None, 300, 301)
        assert sections[-1].index == len(expected)

    def test_a_look_up_of_millions_takes_what_it_gives(self):
        sections, owner, count = Sections(), Owner(1, b"ram", 0, 4), 1 << 22
        sections.close(sections.add(SectionType.PART, owner, 0, 5), 13, Boundary.PARSED)
        sections.repeat(count - 1, 20)
        offsets = np.arange(count, dtype=np.uint64) * np.uint64(20)
        with measured() as peak:
            stages = sections.stages_at(offsets)
        assert peak.bytes < count + (4 << 20)
        assert set(stages.tolist()) == {2}
        with measured() as peak:
            found = sections.of(offsets)
        assert peak.bytes < 8 * count + (4 << 20)
        assert (found == np.arange(count)).all()

    def test_those_added_together_keep_the_places_of_those_before(self):
        sections, owner = Sections(), Owner(1, b"ram", 0, 4)
        for at in (100, 117):  # the first has no footer, so that the next is nearer
            sections.close(sections.add(SectionType.PART, owner, at, at + 5), at + 13, Boundary.PARSED)
        sections.repeat(3, 22)
        assert [(s.index, s.offset, s.end) for s in sections] == [
            (i, at, at + 13) for i, at in enumerate((100, 117, 139, 161, 183))
        ]
        sections.add(SectionType.EOF, None, 300, 301)
        assert [sections.at(o) for o in (100, 116, 117, 139, 183, 299, 300)] == [0, 0, 1, 2, 4, 4, 5]

    def test_a_disk_keeps_every_chunk_of_a_run(self):
        sections, owner = Sections(), Owner(1, b"block", 0, 1)
        for i in range(3):
            sections.close(sections.add(SectionType.PART, owner, 50 * i, 50 * i + 5), 50 * i + 45, Boundary.PARSED)
        assert [s.offset for s in sections.of_owner(b"block")] == [0, 50, 100]
        assert not list(sections.of_owner(b"ram"))
