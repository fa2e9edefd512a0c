"""multifd: pages that came over other connections than the main one."""

import gzip
import zlib
from collections.abc import Iterable

import numpy as np
import pytest
import zstandard

import xbrletools
from tests.building import EOF, EOS, HEADER, PAGE, block_list, configuration, footer, page, part, patterned, start, zero
from tests.memory.test_truth import FOLDER, KINDS, check_clean, check_memory
from xbrletools.cli import main
from xbrletools.formats import multifd, ram
from xbrletools.formats.multifd import Method
from xbrletools.formats.qevm import SectionType
from xbrletools.ram import packets
from xbrletools.source.sources import MappedSource
from xbrletools.verify.rules import Severity

ALLOCATED = 8
FLUSH = ram.Word.build(ram.Flag.MULTIFD_FLUSH)


def init(channel: int) -> bytes:
    return multifd.Init.build({"version": 1, "uuid": bytes(16), "id": bytes([channel])})


class Packets:
    """Writes one channel, its pages packed in one stream as the method asks."""

    def __init__(self, channel: int = 0, method: Method = Method.NONE) -> None:
        self.out = bytearray(init(channel))
        self.method = method
        self.zlib = zlib.compressobj()
        self.zstd = zstandard.ZstdCompressor().compressobj()
        self.size = 77  # stale until the first packet with pages

    def _pack(self, data: bytes) -> bytes:
        if self.method is Method.ZLIB:
            return self.zlib_of(data)
        if self.method is Method.ZSTD:
            return self.zstd.compress(data) + self.zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        if self.method is Method.QATZIP:
            return gzip.compress(data[:PAGE]) + (gzip.compress(data[PAGE:]) if data[PAGE:] else b"")
        if self.method in (Method.QPL, Method.UADK):
            packed = [self._alone(data[i : i + PAGE]) for i in range(0, len(data), PAGE)]
            return b"".join(multifd.PackedLength.build(len(p)) for p in packed) + b"".join(packed)
        return data

    def zlib_of(self, data: bytes) -> bytes:
        return self.zlib.compress(data) + self.zlib.flush(zlib.Z_SYNC_FLUSH)

    def _alone(self, page: bytes) -> bytes:
        """A page as UADK packs it, a zlib stream, or as QPL does, bare deflate.

        The page stays as it is where that is not shorter.
        """
        packer = zlib.compressobj(wbits=15 if self.method is Method.UADK else -15)
        packed = packer.compress(page) + packer.flush()
        return packed if len(packed) < PAGE else page

    def sync(self, number: int) -> "Packets":
        """A SYNC as it is since 9.0: it states room for no page, and has the full length."""
        header = {"version": 1, "flags": int(multifd.Flag.SYNC), "pages_allocated": 0, "normal_pages": 0}
        header |= {"next_packet_size": 0, "packet_number": number, "zero_pages": 0, "reserved": bytes(28)}
        body = bytes(multifd.PACKET_PAGES // PAGE * multifd.Offset.sizeof())
        self.out += multifd.PacketHeader.build(header | {"ramblock": bytes(256)}) + body
        return self

    def state(self, device: bytes, data: bytes) -> "Packets":
        """A packet of device state."""
        fields = {"version": 1, "flags": int(multifd.Flag.DEVICE_STATE), "idstr": device.ljust(256, b"\0")}
        self.out += multifd.DeviceState.build(fields | {"instance_id": 2, "size": len(data)}) + data
        return self

    def packet(
        self,
        number: int,
        pages: Iterable[tuple[int, bytes]] = (),
        sync: bool = False,
        zeros: Iterable[int] = (),
        block: bytes = b"pc.ram",
    ) -> "Packets":
        pages, zeros = list(pages), list(zeros)
        data = self._pack(b"".join(content for _, content in pages)) if pages else b""
        if pages:
            self.size = len(data)
        header = {
            "version": 1,
            "flags": int(sync) | (self.method << multifd.METHOD_SHIFT if pages else 0),
            "pages_allocated": ALLOCATED,
            "normal_pages": len(pages),
            "next_packet_size": self.size,
            "packet_number": number,
            "zero_pages": len(zeros),
            "reserved": bytes(28),
            "ramblock": block.ljust(256, b"\0"),
        }
        offsets = ([a for a, _ in pages] + zeros + [0xDEAD000] * ALLOCATED)[:ALLOCATED]
        self.out += multifd.Packet.build({"header": header, "offsets": offsets}) + data
        return self

    def bytes(self) -> bytes:
        return bytes(self.out)


def main_channel(*epochs: bytes, sync: bytes = b"") -> bytes:
    """A main channel whose first EOS, in START, ends epoch 0. Each of ``epochs`` is a PART's records."""
    head = HEADER + configuration() + start() + block_list([(b"pc.ram", 16 * PAGE)]) + sync + EOS + footer()
    parts = b"".join(part() + records + sync + EOS + footer() for records in epochs)
    return head + parts + part(kind=SectionType.END) + sync + EOS + footer() + EOF


@pytest.mark.parametrize("method", Method)
def test_pages_of_all_channels_are_memory(method):
    one = Packets(0, method).packet(0, sync=True).packet(2, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    two = Packets(1, method).packet(1, sync=True).packet(3, [(3 * PAGE, patterned(3))]).packet(4, sync=True)
    for channel, number in ((one, 5), (two, 6)):
        channel.packet(number, sync=True)
    capture = xbrletools.open(main_channel(zero(2 * PAGE, b"pc.ram")), channels=[two.bytes(), one.bytes()])
    pages = capture.memory()["pc.ram"]
    for i, content in enumerate((patterned(1), patterned(2), bytes(PAGE), patterned(3))):
        assert pages[i].tobytes() == content
    assert capture.records.counts() == {"mem_size": 1, "page": 3, "dup": 1, "eos": 3}
    check_clean(capture)


def test_within_an_epoch_packets_follow_their_numbers_not_their_channels():
    one = Packets(0).packet(0, [(0, patterned(1))]).packet(2, [(0, patterned(5))], sync=True).packet(4, sync=True)
    two = Packets(1).packet(1, [(0, patterned(3))]).packet(3, [(PAGE, patterned(9))], sync=True).packet(5, sync=True)
    for channels in ([one, two], [two, one]):
        capture = xbrletools.open(main_channel(), channels=[c.bytes() for c in channels])
        assert capture.memory()["pc.ram"][0].tobytes() == patterned(5)


def foreign(capture: xbrletools.Capture) -> str:
    """What is said of a foreign channel. No page is known beside one."""
    (problem,) = [p for p in capture.problems if p.rule == "foreign-channel"]
    assert problem.lost
    assert not capture.memory().known.any()
    return problem.message


def test_a_number_that_comes_again_after_a_synchronisation_shows_a_foreign_channel():
    one = Packets(0).packet(8, [(0, patterned(8))], sync=True).packet(9, sync=True)
    two = Packets(1).packet(7, sync=True).packet(1, [(0, patterned(1))], sync=True)
    capture = xbrletools.open(main_channel(), channels=[one.bytes(), two.bytes()])
    assert "packet 1 stands after 1 synchronisations, and packet 8 before as many" in foreign(capture)
    assert foreign(capture).endswith("or the number of one packet is damaged")


def test_two_channels_with_one_number_are_not_of_one_migration():
    one = Packets(0).packet(0, sync=True).packet(1, [(0, patterned(1))], sync=True)
    two = Packets(1).packet(2, sync=True).packet(1, [(PAGE, patterned(2))], sync=True)
    capture = xbrletools.open(main_channel(), channels=[one.bytes(), two.bytes()])
    said = foreign(capture)
    assert "1 of its packets have numbers that packets of" in said
    assert "or the number of one packet is damaged" in said


def test_a_channel_of_another_guest_is_foreign():
    one = Packets(0).packet(0, sync=True).packet(2, [(0, patterned(1))], sync=True)
    two = bytearray(Packets(1).packet(1, sync=True).packet(3, sync=True).bytes())
    two[8] = 0xAB
    assert "is of guest ab00" in foreign(xbrletools.open(main_channel(), channels=[one.bytes(), bytes(two)]))


def test_a_channel_with_pages_of_a_block_that_the_main_channel_does_not_have_is_foreign():
    one = Packets(0).packet(0, sync=True).packet(1, [(0, patterned(1))], sync=True, block=b"mach-virt.ram")
    assert "of block mach-virt.ram, which" in foreign(xbrletools.open(main_channel(), channels=[one.bytes()]))


def misplaced(main: bytes, *channels: Packets) -> str:
    """What is said of a packet with a damaged offset. What came before its round stands, and nothing after it."""
    capture = xbrletools.open(main, channels=[c.bytes() for c in channels])
    (problem,) = [p for p in capture.problems if p.rule == "multifd-channel"]
    assert problem.lost
    assert not capture.memory().known.any()
    assert capture.memory(at=1).known.any()
    return problem.message


@pytest.mark.parametrize(
    ("offset", "why"), [(3 * PAGE + 8, "no page begins there"), (16 * PAGE, "its block ends before that")]
)
def test_a_page_where_none_can_be_is_a_damaged_offset(offset: int, why: str):
    first = Packets(0).packet(0, [(0, patterned(1))], sync=True).packet(1, [(offset, patterned(2))], sync=True)
    assert f"carries a page of pc.ram at {offset:#x}, and {why}" in misplaced(main_channel(), first)


def round_of(*packets: list[tuple[int, bytes]], zeros: tuple[int, ...] = ()) -> tuple[bytes, Packets]:
    """A main channel and a channel with one page in its first round, and these packets in its second."""
    channel = Packets(0).packet(0, [(0, patterned(1))]).sync(1)
    for number, pages in enumerate(packets, 2):
        channel.packet(number, pages, zeros=zeros)
    return main_channel(sync=FLUSH), channel.sync(2 + len(packets))


def at(*pages: int) -> list[tuple[int, bytes]]:
    return [(i * PAGE, patterned(i)) for i in pages]


@pytest.mark.parametrize(
    ("packets", "zeros", "what"),
    [
        ([at(1, 3, 2)], (), "do not rise"),
        ([at(1, 2)], (PAGE,), "do not rise"),
        ([at(1, 2, 6), at(4, 5)], (), "from 0x4000 on, and the one at"),
        ([at(1, 2, 4), at(4, 5)], (), "from 0x4000 on, and the one at"),
    ],
)
def test_pages_that_a_round_cannot_have_in_this_order_show_a_damaged_offset(packets, zeros, what):
    assert what in misplaced(*round_of(*packets, zeros=zeros))


def test_pages_that_a_sender_sorted_by_zeros_and_packets_out_of_turn_are_sound():
    for flushed, channel in (round_of(at(5, 6), at(1, 2)), round_of(at(1, 9, 3), zeros=(2 * PAGE, 4 * PAGE))):
        assert xbrletools.open(flushed, channels=[channel.bytes()]).problems == ()


@pytest.mark.parametrize("bit", [3, 11, 12, 13, 22, 24, 63])
def test_a_flipped_bit_of_an_offset_in_a_real_channel_is_told_by_every_command(bit, corpus, tmp_path, capsys):
    name = "qemu-10/pc16-multifd-none-zpdmultifd.chan{}.bin"
    files = [tmp_path / f"S.chan{i}.bin" for i in range(3)]
    for i, file in enumerate(files):
        file.write_bytes(corpus(name.format(i)))
    whole = files[1].read_bytes()
    found = packets.read(MappedSource("it", whole), PAGE).packets
    place = int(np.argmax(found.normal))
    where = int(found.offset[place]) + multifd.PacketHeader.sizeof() + 5 * multifd.Offset.sizeof()
    harmed = bytearray(whole)
    harmed[where + 7 - bit // 8] ^= 1 << bit % 8
    files[1].write_bytes(harmed)
    for command in (["info"], ["stats"], ["dump"], ["verify"], ["extract", "-o", str(tmp_path / "out")]):
        assert main([*command, str(files[0])]) == 1, command
        out, err = capsys.readouterr()
        assert "multifd-channel" in (out if command == ["verify"] else err)


def missing(capture: xbrletools.Capture) -> str:
    """What is said of a missing channel. No page is known without it."""
    (problem,) = [p for p in capture.problems if p.rule == "channel-missing"]
    assert problem.lost
    assert not capture.memory().known.any()
    return problem.message


def test_a_main_channel_with_flushes_and_without_channels_lacks_them():
    assert "none of its channels is here" in missing(xbrletools.open(main_channel(zero(0, b"pc.ram"), sync=FLUSH)))


def test_a_main_channel_with_pages_of_zeros_alone_lacks_its_channels():
    assert "only pages of zeros" in missing(xbrletools.open(main_channel(zero(0, b"pc.ram") + zero(2 * PAGE))))


def test_a_gap_in_the_ids_is_a_missing_channel():
    one = Packets(0).packet(0, sync=True).packet(1, [(0, patterned(1))], sync=True)
    three = Packets(2).packet(2, sync=True).packet(3, sync=True)
    assert "channel 1 is missing: there are 0, 2" in missing(
        xbrletools.open(main_channel(), channels=[one.bytes(), three.bytes()])
    )


def test_a_gap_in_the_numbers_is_a_missing_channel_and_what_came_before_it_stands():
    one = Packets(0).sync(0).packet(1, [(0, patterned(1))]).sync(2).packet(3, [(PAGE, patterned(2))]).sync(6)
    capture = xbrletools.open(main_channel(b"", sync=FLUSH), channels=[one.bytes()])
    assert "2 packets are on no channel that is here (numbers 4 to 5)" in missing(capture)
    assert capture.memory(at=1).known[:2].tolist() == [True, False]


@pytest.mark.parametrize(
    ("number", "rule"),
    [(4, None), (6, "multifd-channel"), (5, "foreign-channel"), (1 << 20, "multifd-channel")],
)
def test_a_number_that_does_not_rise_is_damaged_and_no_channel_is_missing(number, rule):
    one, two = Packets(0).sync(0), Packets(1).sync(1)
    for at, (first, second) in enumerate(((2, 3), (number, 5), (6, 7))):
        one.packet(first, [(2 * at * PAGE, patterned(at))])
        two.packet(second, [((2 * at + 1) * PAGE, patterned(at))])
    capture = xbrletools.open(main_channel(sync=FLUSH), channels=[one.sync(8).bytes(), two.sync(9).bytes()])
    assert [p.rule for p in capture.problems] == ([rule] if rule else [])
    assert all("is damaged" in p.message for p in capture.problems)


def test_a_number_that_a_synchronisation_took_is_not_missed():
    one = Packets(0).packet(1, [(0, patterned(1))], sync=True).packet(1).packet(2, sync=True)
    assert xbrletools.open(main_channel(), channels=[one.bytes()]).problems == ()


def test_a_synchronisation_of_its_own_has_the_full_length():
    first = Packets(0).sync(0).packet(2, [(0, patterned(1))], zeros=[PAGE]).sync(4)
    second = Packets(1).sync(1).packet(3, [(3 * PAGE, patterned(2))]).sync(5)
    capture = xbrletools.open(main_channel(sync=FLUSH), channels=[first.bytes(), second.bytes()])
    assert capture.problems == ()
    assert capture.memory().known[:5].tolist() == [True, True, False, True, False]
    assert [capture.stream.packets.word(i) for i in range(6)] == ["sync", "sync", "pages", "pages", "sync", "sync"]


@pytest.mark.parametrize("method", [Method.QPL, Method.UADK, Method.QATZIP])
def test_pages_that_do_not_unpack_are_unknown_until_they_come_again(method):
    one = Packets(0, method).packet(0, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    two = bytearray(one.bytes())
    two[-40:] = bytes(40)
    main = main_channel(page(PAGE, patterned(5), b"pc.ram"))
    again = Packets(0, method).packet(1, sync=True).packet(2, sync=True).bytes()[multifd.Init.sizeof() :]
    capture = xbrletools.open(main, channels=[bytes(two) + again])
    (problem,) = [p for p in capture.problems if p.rule == "multifd-channel"]
    assert f"packed as {method.name.lower()}, cannot be unpacked" in problem.message
    image = capture.memory()
    assert image.known[:2].tolist() == ([False, True] if method is Method.QATZIP else [True, True])
    assert image.pages[1].tobytes() == patterned(5)
    (doubt,) = capture.doubts
    assert doubt.ranges == (((0, 2),) if method is Method.QATZIP else ((1, 2),))


def test_an_unknown_method_is_never_read_as_none():
    one = bytearray(Packets(0).packet(0, [(0, patterned(1))], sync=True).packet(1, sync=True).bytes())
    one[multifd.Init.sizeof() + 11] |= 3 << multifd.METHOD_SHIFT
    capture = xbrletools.open(main_channel(), channels=[bytes(one)])
    assert "packed as unknown method 3, cannot be unpacked" in capture.problems[0].message
    assert not capture.memory().known.any()


@pytest.mark.parametrize(("short", "whole"), [(0, 2), (1, 1), (PAGE, 1)])
def test_a_page_that_unpacks_a_byte_short_is_not_there(short: int, whole: int):
    one = Packets(0, Method.ZLIB)
    pages = b"".join(patterned(i) for i in (1, 2))
    one._pack = lambda _: Packets(0, Method.ZLIB).zlib_of(pages[: len(pages) - short])  # type: ignore[method-assign]
    one.packet(0, [(0, pages[:PAGE]), (PAGE, pages[PAGE:])], sync=True)
    one.method = Method.NONE
    capture = xbrletools.open(main_channel(), channels=[one.packet(1, sync=True).bytes()])
    assert capture.memory().known[:3].tolist() == [True, whole == 2, False]
    assert capture.records.counts().get("page", 0) == whole
    lost = [p.message for p in capture.problems if "cannot be unpacked" in p.message]
    assert len(lost) == (whole < 2)


def test_packets_that_name_two_ways_of_packing_end_what_is_read_of_their_channel():
    one = Packets(0, Method.ZLIB).packet(0, [(0, patterned(1))])
    two = Packets(0, Method.ZSTD).packet(1, [(PAGE, patterned(2))], sync=True).packet(2, sync=True)
    place = len(one.bytes())
    data = one.bytes() + two.bytes()[multifd.Init.sizeof() :]
    capture = xbrletools.open(main_channel(), channels=[data])
    (problem, *_) = [p for p in capture.problems if p.rule == "multifd-channel"]
    assert "a packet is packed as zstd, those before it as zlib" in problem.message
    assert f"{place:#x}" in problem.message
    assert capture.records.counts()["page"] == 1, "what stands before it is there, and nothing is read the wrong way"
    assert not capture.memory().known[1]


def test_device_state_is_no_page():
    one = Packets(0).sync(0).state(b"0000:00:02.0/vfio", b"abc").packet(1, [(0, patterned(1))]).sync(2)
    capture = xbrletools.open(main_channel(sync=FLUSH), channels=[one.bytes()])
    packets = capture.stream.packets
    place = [packets.word(i) for i in range(len(packets))].index("device-state")
    assert packets.name_of(place) == b"0000:00:02.0/vfio"
    assert (packets.instance[place], packets.stop[place] - packets.data[place]) == (2, 3)
    assert capture.problems == ()
    assert capture.channels.channels[0].states == 1


def test_a_zero_record_after_the_synchronisation_replaces_the_channels_page():
    channel = Packets().packet(0, [(0, patterned(1))], sync=True).packet(1, sync=True).packet(2, sync=True)
    capture = xbrletools.open(main_channel(zero(0, b"pc.ram")), channels=[channel.bytes()])
    assert not capture.memory()["pc.ram"][0].any()


def test_flush_records_are_the_synchronisation_points_where_there_are_any():
    channel = Packets().packet(0, [(0, patterned(1))], sync=True).packet(1, sync=True)
    channel.packet(2, [(0, patterned(2))], sync=True)
    data = main_channel(zero(0, b"pc.ram"), sync=FLUSH)
    extra_eos = data.replace(FLUSH + EOS + footer() + EOF, FLUSH + EOS + footer() + part() + EOS + footer() + EOF)
    capture = xbrletools.open(extra_eos, channels=[channel.bytes()])
    assert capture.problems == ()
    assert capture.records.counts()["eos"] == 4
    assert capture.memory()["pc.ram"][0].tobytes() == patterned(2)


def test_an_empty_packet_carries_no_body_whatever_its_stale_size_says():
    channel = Packets().packet(0).packet(0, [(0, patterned(1))]).packet(1).packet(1, [(PAGE, patterned(2))], sync=True)
    channel.packet(1).packet(2, sync=True)
    capture = xbrletools.open(main_channel(), channels=[channel.bytes()])
    assert [capture.memory()["pc.ram"][i].tobytes() for i in (0, 1)] == [patterned(1), patterned(2)]
    assert len(capture.channels.channels[0].packets) == 6


def test_zero_pages_of_newer_packets_are_zeros():
    channel = Packets().packet(0, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    channel.packet(1, [(3 * PAGE, patterned(3))], sync=True, zeros=[PAGE, 2 * PAGE])
    capture = xbrletools.open(main_channel(), channels=[channel.bytes()])
    image = capture.memory()
    assert image.known[:5].tolist() == [True, True, True, True, False]
    assert not image.pages[1:3].any()
    assert image.pages[3].tobytes() == patterned(3)


def test_a_channels_record_belongs_to_the_section_that_the_main_channel_was_in():
    channel = Packets().packet(0, sync=True).packet(1, [(0, patterned(1))], sync=True).packet(2, sync=True)
    capture = xbrletools.open(main_channel(zero(PAGE, b"pc.ram")), channels=[channel.bytes()])
    table = capture.records
    row = int(np.flatnonzero(table.columns.offset >= np.uint64(table.main_size))[0])
    assert capture.sections[int(table.section[row])].type is SectionType.PART
    assert table.stage[row] == 2


def test_a_record_of_a_channel_tells_its_packet():
    channel = Packets(3).packet(0, sync=True).packet(1, [(0, patterned(1))], sync=True)
    capture = xbrletools.open(main_channel(), channels=[channel.bytes()])
    row = capture.records.row(1)
    ((channel,), (offset,)) = capture.channels.places(capture.records.columns.offset[[row]])
    assert (channel, offset) == (3, multifd.Init.sizeof() + multifd.PacketHeader.sizeof() + 8 * ALLOCATED)


@pytest.mark.parametrize("method", Method)
def test_a_channel_that_is_cut_gives_what_came_before_and_says_where(method):
    whole = Packets(0, method).packet(0, [(0, patterned(1))], sync=True)
    first = len(whole.bytes())
    whole.packet(1, [(PAGE, patterned(2))], sync=True)
    data = whole.bytes()
    for cut in (*range(first + 1, len(data), 97), len(data) - 1):
        capture = xbrletools.open(main_channel(), channels=[data[:cut]])
        assert not capture.memory().known.any(), "the lost part could have written any page"
        image = capture.memory(at=1)
        assert image.known[:2].tolist() == [True, False]
        assert image.pages[0].tobytes() == patterned(1)
        errors = [f for f in capture.verify() if f.rule == "multifd-channel"]
        assert errors
        assert f"{first:#x}" in errors[0].message
        assert errors[0].severity is Severity.ERROR


def test_after_salvage_a_cut_channel_puts_all_pages_in_doubt_from_where_it_broke_off():
    whole = Packets(0).packet(0, [(0, patterned(1))], sync=True).packet(1, [(PAGE, patterned(2))], sync=True)
    whole.packet(2, [(2 * PAGE, patterned(3))], sync=True)
    cut = whole.bytes()[:-8]
    capture = xbrletools.open(main_channel(b""), channels=[cut], salvage=True)
    (doubt,) = capture.doubts
    columns = capture.records.columns
    assert doubt.since == capture.stream.broken
    assert doubt.until == len(columns)
    assert doubt.offset == int(columns.offset[doubt.since])
    assert doubt.whole
    assert "do not go together" in doubt.reason
    assert not capture.memory().recovered.any()
    last = int(capture.records.number[: doubt.since].max())
    assert capture.memory(at=last).recovered[:2].tolist() == [True, True]


@pytest.mark.parametrize("method", [Method.ZLIB, Method.ZSTD])
def test_damaged_packed_pages_lose_the_rest_of_their_channel_only(method):
    one = Packets(0, method).packet(0, [(0, patterned(1))], sync=True)
    first = len(one.bytes())
    data = bytearray(one.packet(1, [(PAGE, np.random.default_rng(0).bytes(PAGE))], sync=True).bytes())
    data[first + multifd.PacketHeader.sizeof() + 8 * ALLOCATED :] = bytes([0xFF]) * (
        len(data) - first - multifd.PacketHeader.sizeof() - 8 * ALLOCATED
    )
    two = Packets(1, method).packet(1, [(5 * PAGE, patterned(3))], sync=True).packet(3, sync=True)
    data = data.replace(multifd.Offset.build(1), multifd.Offset.build(2), 1)  # the number of the second packet
    capture = xbrletools.open(main_channel(), channels=[bytes(data), two.bytes()])
    assert capture.memory().known.nonzero()[0].tolist() == [0, 5]
    complaint = next(f for f in capture.verify() if f.rule == "multifd-channel")
    assert f"{first:#x}" in complaint.message, "the packet that cannot be unpacked, not the one before"


def test_a_packet_that_claims_more_than_there_is_allocates_nothing():
    header = multifd.PacketHeader.build(
        {
            "version": 1,
            "flags": 0,
            "pages_allocated": 0xFFFFFFFF,
            "normal_pages": 0xFFFFFFFF,
            "next_packet_size": 0xFFFFFFFF,
            "packet_number": 0,
            "zero_pages": 0,
            "reserved": bytes(28),
            "ramblock": bytes(256),
        }
    )
    capture = xbrletools.open(main_channel(), channels=[init(0) + header])
    assert "ends inside a packet's offsets" in capture.problems[0].message


def test_synchronisations_that_do_not_go_with_the_main_channel_are_an_error():
    capture = xbrletools.open(main_channel(), channels=[Packets().packet(0, sync=True).bytes()])
    assert "1 synchronisations, but the main channel has 2" in capture.problems[0].message


@pytest.mark.parametrize("channels", [[b"nonsense"], [HEADER], [init(1), init(1)]])
def test_what_is_no_other_channel_is_refused(channels):
    with pytest.raises(xbrletools.XbrleError, match="channel"):
        _ = xbrletools.open(main_channel(), channels=channels).records


def test_the_command_line_takes_channels(tmp_path, capsys):
    capture, channel = tmp_path / "main.bin", tmp_path / "c.bin"
    capture.write_bytes(main_channel(page(0, patterned(1), b"pc.ram")))
    data = Packets().packet(0, sync=True).packet(1, [(PAGE, patterned(2))], sync=True).packet(2, sync=True).bytes()
    channel.write_bytes(data)
    assert main(["verify", str(capture), "--channel", str(channel)]) == 0
    channel.write_bytes(data[:-1])
    assert main(["verify", str(capture), "--channel", str(channel)]) == 1
    assert "multifd-channel" in capsys.readouterr().out
    assert main(["verify", str(capture), "--channel", str(capture)]) == 2


@pytest.mark.parametrize(("name", "channels"), [("none", 2), ("zlib", 3), ("zstd", 2)])
def test_memory_is_what_the_guest_held(name, channels, corpus):
    import json

    name = f"pc16-multifd-{name}-kvm"
    others = [corpus(f"{FOLDER}/{name}.chan{i + 1}.bin") for i in range(channels)]
    capture = xbrletools.open(corpus(f"{FOLDER}/{name}.chan0.bin"), channels=others)
    check_memory(capture, corpus, name)
    check_clean(capture)
    counts = json.loads(corpus(f"{FOLDER}/{name}.json"))["walker"]["counts"]
    columns = capture.records.columns
    mine = np.bincount(columns.kind[capture.records.main_rows], minlength=16)
    assert {KINDS[k]: n for k, n in counts.items() if k in KINDS} == {
        k.name.lower(): mine[k] for k in ram.Kind if mine[k]
    }
    assert int(np.count_nonzero(columns.kind == ram.Kind.PAGE)) == int(capture.stream.packets.normal.sum())


def test_blanking_a_capture_with_channels_is_refused_and_no_page_left_out_in_silence(tmp_path, capsys):
    capture, channel = tmp_path / "main.bin", tmp_path / "c.bin"
    capture.write_bytes(main_channel())
    channel.write_bytes(Packets().packet(0, sync=True).packet(1, [(0, patterned(2))], sync=True).bytes())
    options = ("--channel", str(channel), "--redact", "block=pc.ram")
    assert main(["transcode", str(capture), "-o", str(tmp_path / "T"), *options]) == 2
    assert "multifd channels" in capsys.readouterr().err
