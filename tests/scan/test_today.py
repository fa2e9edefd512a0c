"""What today's senders write around the RAM: CONFIGURATION, COMMANDs, MEM_SIZE extras, the return path."""

import struct

import pytest
from construct import Int32ub, Int64ub

import xbrletools
from tests.building import (
    EOF,
    EOS,
    FOOTED_ID,
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
    subsection,
    zero,
)
from tests.cli.run import run
from xbrletools.container import returnpath
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.table.sections import Boundary
from xbrletools.verify.rules import Severity

SHARED = subsection(b"configuration/capabilities", Int32ub.build(1) + b"\x0fx-ignore-shared")
BLOCKS = ((b"pc.ram", 4 * PAGE), (b"vga.vram", 2 * PAGE))


def _with_list(
    entries: bytes, before: bytes = b"", subsections: bytes = b"", pages: bytes = page(0, patterned(1), b"vga.vram")
) -> bytes:
    head = HEADER + configuration(subsections=subsections) + before + start() + entries + EOS + footer()
    return head + part() + pages + EOS + footer() + part(kind=SectionType.END) + EOS + footer() + EOF


class TestMemSizeExtras:
    @pytest.mark.parametrize("subsections", [SHARED, b""], ids=["the capability is named", "it is not"])
    def test_ignore_shared_gives_each_block_its_guest_address(self, subsections):
        extra = [Int64ub.build(0), Int64ub.build(0xFD00_0000)]
        capture = xbrletools.open(_with_list(block_list(BLOCKS, extra), subsections=subsections))
        assert [(b.name, b.length, b.address) for b in capture.blocks] == [
            (b"pc.ram", 4 * PAGE, 0),
            (b"vga.vram", 2 * PAGE, 0xFD00_0000),
        ]
        assert {p.rule for p in capture.problems} <= {"ram-elsewhere"}

    def test_a_shared_block_without_pages_is_unknown_and_no_error(self):
        extra = [Int64ub.build(0), Int64ub.build(0xFD00_0000)]
        capture = xbrletools.open(_with_list(block_list(BLOCKS, extra), subsections=SHARED))
        image = capture.memory()
        assert not image.known[image.space.slice(0)].any()
        assert [f for f in capture.verify() if f.severity is Severity.ERROR] == []

    @pytest.mark.parametrize(
        ("pages", "rule"),
        [
            (b"", "channel-missing"),
            (zero(PAGE, b"vga.vram"), "channel-missing"),
            (zero(0, b"vga.vram"), "channel-missing"),
            (zero(0, b"vga.vram") + zero(PAGE), "ram-elsewhere"),
            (page(0, patterned(1), b"vga.vram"), "ram-elsewhere"),
        ],
        ids=["no page at all", "a hole", "a tail", "all zero", "content"],
    )
    def test_what_is_missing_of_blocks_that_are_not_shared_came_on_channels(self, pages, rule, capsys, tmp_path):
        extra = [Int64ub.build(0), Int64ub.build(0xFD00_0000)]
        data = _with_list(block_list(BLOCKS, extra), subsections=SHARED, pages=pages)
        assert [p.rule for p in xbrletools.open(data).problems] == [rule]
        (tmp_path / "S").write_bytes(data)
        assert run(capsys, "info", tmp_path / "S")[0] == (rule == "channel-missing")

    @pytest.mark.parametrize("sized", [0, 1])
    def test_postcopy_gives_a_page_size_to_the_blocks_that_have_their_own(self, sized):
        extra = [b"", b""]
        extra[sized] = Int64ub.build(2 << 20)
        capture = xbrletools.open(_with_list(block_list(BLOCKS, extra)))
        sizes: list[int | None] = [None, None]
        sizes[sized] = 2 << 20
        assert [b.page_size for b in capture.blocks] == sizes
        assert capture.problems == ()

    def test_page_size_and_address_together_stand_in_that_order(self):
        extra = [Int64ub.build(0x1_0000_0000), Int64ub.build(2 << 20) + Int64ub.build(0xC0000)]
        capture = xbrletools.open(_with_list(block_list(BLOCKS, extra), subsections=SHARED))
        assert [(b.page_size, b.address) for b in capture.blocks] == [(None, 0x1_0000_0000), (2 << 20, 0xC0000)]

    def test_the_grammar_builds_what_it_parsed(self):
        from xbrletools.formats import ram

        for extras in ((False, False), (True, False), (False, True), (True, True)):
            data = qevm.IdStr.build(b"pc.ram") + Int64ub.build(PAGE)
            data += Int64ub.build(2 << 20) * extras[1] + Int64ub.build(0xC0000) * extras[0]
            entry = ram.block_entry(*extras)
            assert entry.build(entry.parse(data)) == data


class TestConfiguration:
    def test_known_subsections_are_read_and_an_unknown_one_is_passed_over(self):
        subsections = (
            subsection(b"configuration/target-page-bits", Int32ub.build(12))
            + subsection(b"configuration/unheard-of", b"\x05 \x01 any bytes \x00\x08")
            + subsection(b"configuration/uuid", bytes(range(16)))
        )
        capture = xbrletools.open(_with_list(block_list(BLOCKS), subsections=subsections))
        found = capture.facts.configuration
        assert [s.value for s in found.subsections] == [12, None, bytes(range(16))]
        assert found.subsections[1].end - found.subsections[1].data == 16
        assert capture.problems == ()
        assert capture.sections[0].found_by is Boundary.HEADER
        assert capture.memory()["vga.vram"][0].tobytes() == patterned(1)

    def test_an_unknown_last_subsection_ends_where_commands_or_sections_begin(self):
        for before in (b"", command(qevm.Command.OPEN_RETURN_PATH) + command(qevm.Command.PING, Int32ub.build(1))):
            data = _with_list(block_list(BLOCKS), before, subsection(b"configuration/new", b"\x01\x02\x08"))
            capture = xbrletools.open(data)
            assert capture.facts.complete
            assert capture.facts.configuration.subsections[0].end == data.index(before or b"\x01\0\0\0\2\3ram")

    @pytest.mark.parametrize("length", range(8, 40))
    def test_a_stream_cut_inside_configuration_says_so(self, length):
        data = HEADER + configuration(b"pc-i440fx", SHARED)
        capture = xbrletools.open(data[: min(length, len(data) - 1)])
        assert capture.damage is not None
        assert capture.damage.rule == "truncated"


class TestCommands:
    def test_every_command_is_shown_with_what_it_says(self):
        advise = qevm.PostcopyAdvise.build({"host_page_size": 4096, "target_page_size": 4096})
        before = (
            command(qevm.Command.OPEN_RETURN_PATH)
            + command(qevm.Command.PING, Int32ub.build(1))
            + command(qevm.Command.POSTCOPY_ADVISE, advise)
            + command(77, b"odd")
        )
        capture = xbrletools.open(_with_list(block_list(BLOCKS), before))
        assert [(c.name, c.fields) for c in capture.facts.commands] == [
            ("open_return_path", None),
            ("ping", {"value": 1}),
            ("postcopy_advise", {"host_page_size": 4096, "target_page_size": 4096}),
            ("command 77", None),
        ]

    def test_sections_in_a_package_are_sections(self):
        device = start(b"timer", 0, 2, SectionType.FULL) + bytes(24) + footer(0)
        nested = command(qevm.Command.POSTCOPY_LISTEN) + device
        package = command(qevm.Command.PACKAGED, Int32ub.build(len(nested)), nested)
        capture = xbrletools.open(stream(zero(0, b"pc.ram"), last=package + EOF))
        assert capture.facts.complete
        assert capture.problems == ()
        assert [c.name for c in capture.facts.commands] == ["packaged", "postcopy_listen"]
        timer = next(s for s in capture.sections if s.owner is not None and s.owner.idstr == b"timer")
        first, end = capture.facts.commands[0].package
        assert first <= timer.offset < timer.end <= end

    def test_a_package_that_ends_inside_a_section_is_an_error(self):
        device = start(b"timer", 0, 2, SectionType.FULL) + bytes(24) + footer(0)
        package = command(qevm.Command.PACKAGED, Int32ub.build(len(device) - 3), device)
        capture = xbrletools.open(stream(zero(0, b"pc.ram"), last=package + EOF))
        assert "bad-package" in [f.rule for f in capture.verify()]


def _discard(first: int, pages: int, block: bytes = b"pc.ram") -> bytes:
    data = b"\0" + qevm.IdStr.build(block) + b"\0" + struct.pack(">QQ", first * PAGE, pages * PAGE)
    return EOS + footer() + command(qevm.Command.POSTCOPY_RAM_DISCARD, data) + part(FOOTED_ID)


class TestDiscards:
    def test_a_discarded_page_is_unknown_until_it_comes_again(self):
        data = stream(
            page(0, patterned(1), b"pc.ram"),
            page(PAGE, patterned(2)),
            page(2 * PAGE, patterned(3)),
            _discard(1, 2),
            page(PAGE, patterned(4)),
        )
        capture = xbrletools.open(data)
        image = capture.memory()
        assert image.known[:3].tolist() == [True, True, False]
        assert not image.pages[2].any()
        assert image["pc.ram"][1].tobytes() == patterned(4)

    def test_reading_on_after_damage_forgets_what_was_discarded_too(self):
        data = stream(page(0, patterned(1), b"pc.ram"), _discard(0, 1), zero(PAGE))
        assert xbrletools.open(data, salvage=True).memory().recovered[:2].tolist() == [False, True]

    def test_before_the_discard_the_page_is_what_was_sent(self):
        capture = xbrletools.open(stream(page(0, patterned(1), b"pc.ram"), _discard(0, 1), zero(PAGE)))
        assert capture.memory(at=1).known[0]
        assert not capture.memory(at=2).known[0]

    def test_a_discard_after_the_last_record_counts_at_the_end(self):
        capture = xbrletools.open(stream(page(0, patterned(1), b"pc.ram"), _discard(0, 1)))
        assert not capture.memory().known[0]

    def test_a_discard_of_more_than_there_is_harms_nothing(self):
        data = stream(page(0, patterned(1), b"pc.ram"), _discard(5, 1 << 40), _discard(0, 1, b"unknown"))
        capture = xbrletools.open(data)
        assert capture.memory().known[0]
        errors = {f.rule for f in capture.verify() if f.severity is Severity.ERROR}
        assert errors == {"command-order"}, "no advise came before"


def _message(number: int, data: bytes = b"") -> bytes:
    return struct.pack(">HH", number, len(data)) + data


class TestReturnPath:
    DATA = _message(2, Int32ub.build(1)) + _message(3, struct.pack(">QIB", 0x5000, PAGE, 6) + b"pc.ram")

    def test_messages_are_read_with_their_fields(self):
        assert [str(m) for m in returnpath.read(self.DATA + _message(1, Int32ub.build(0)))] == [
            "PONG 0x1",
            "REQ_PAGES_ID 0x5000 0x1000 pc.ram",
            "SHUT 0x0",
        ]

    def test_a_cut_last_message_is_left_out(self):
        assert len(returnpath.read(self.DATA[:-1])) == 1

    @pytest.mark.parametrize("data", [b"", b"\0", b"QEVM\0\0\0\3", b"\x7fELF" * 9, bytes(64)])
    def test_other_bytes_are_none(self, data):
        assert returnpath.read(data) is None

    def test_opening_one_says_what_it_is(self):
        with pytest.raises(xbrletools.XbrleError, match=r"return path of a migration.*2 messages, PONG 0x1"):
            _ = xbrletools.open(self.DATA).records

    def test_opening_a_multifd_channel_says_what_it_is(self):
        from xbrletools.formats import multifd

        init = multifd.Init.build({"version": 1, "uuid": bytes(16), "id": b"\2"})
        (problem,) = xbrletools.open(init).problems
        assert "this is multifd channel 2 alone" in problem.message


class TestRealCaptures:
    def test_ignore_shared_lists_its_blocks_with_addresses_and_leaves_them_unknown(self, corpus):
        capture = xbrletools.open(corpus("qemu-7.2/pc16-ignoreshared-kvm.bin"))
        assert {b.name: b.address for b in capture.blocks} == {
            b"pc.ram": 0,
            b"/rom@etc/acpi/tables": 0,
            b"pc.bios": 0xFFFC0000,
            b"pc.rom": 0xC0000,
            b"/rom@etc/table-loader": 0,
            b"/rom@etc/acpi/rsdp": 0,
        }
        image = capture.memory()
        assert not image.known[image.space.slice(0)].any()
        assert image.known[image.space.slice(1).start :].all()
        assert [f for f in capture.verify() if f.severity is Severity.ERROR] == []
        counts = capture.records.counts()
        assert counts == {"mem_size": 1, "page": 50, "dup": 80, "eos": 3}

    def test_the_return_path_of_a_postcopy_migration(self, corpus):
        messages = returnpath.read(corpus("qemu-7.2/pc16-postcopy-kvm.chan0.rev.bin"))
        assert [str(m) for m in messages] == ["PONG 0x1", "PONG 0x2", "PONG 0x4", "PONG 0x3", "SHUT 0x0"]

    def test_postcopy_has_its_commands_in_order(self, corpus):
        capture = xbrletools.open(corpus("qemu-7.2/pc16-postcopy-kvm.chan0.fwd.bin"))
        names = " ".join(c.name.removeprefix("postcopy_") for c in capture.facts.commands)
        assert names == "open_return_path ping advise ram_discard ping packaged listen ping run ping"
        assert len(capture.discards) > 0
        package = capture.facts.commands[5].package
        nested = [s for s in capture.sections if package[0] <= s.offset < package[1]]
        assert nested[-1].offset == capture.facts.commands[8].offset
        assert nested[-1].end == package[1]
