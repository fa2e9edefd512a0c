"""mig.log: what either end would have written, against small streams and against every log that a real build wrote."""

import json

import numpy as np
import pytest

import xbrletools
from samples import build
from tests.conftest import SAMPLES
from tests.streams import StreamBuilder
from xbrletools import XbrleError
from xbrletools.analysis import miglog
from xbrletools.analysis.miglog import End, StopReason
from xbrletools.formats import ram
from xbrletools.memory.ramaddr import layout

POSTED = ("block-ix", "mixed-16m", "oddcache-1500000", "small-8m", "stage3", "vga-x")
EARLIER = {"lm2dbg-x": "lm2dbg", "m115-plain": "m115", "m115-x": "m115", "m115dbg-x": "m115dbg"}

OLD = np.arange(4096, dtype=np.uint8) | 1
NEW = np.where(np.arange(4096) == 7, np.uint8(0), OLD)
CHANGE = bytes([7, 0, 1, int(OLD[7]), 255, 0]) + b"\xff\0" * 15 + bytes([4096 - 8 - 255 * 16, 0])


def stream(*records: tuple[int, object], flags: int = 3, checksum: int | None = None) -> bytes:
    """A posted stream of one block of four pages. A record is an address and a fill, a page's bytes, or a delta."""
    out = StreamBuilder(flags=flags)
    for address, content in records:
        if isinstance(content, int):
            out.dup(address, content)
        elif isinstance(content, np.ndarray):
            out.page(address, content)
        else:
            out.raw_delta(address, content, NEW, checksum=checksum)
    return out.bytes()


def lines(data: bytes, end: End) -> list[bytes]:
    return b"".join(miglog.text(miglog.written(xbrletools.open(data).stream, end).log)).splitlines()


def test_both_ends_of_a_small_stream_write_a_line_a_page():
    data = stream((0x1000, OLD), (0, 0xFF), (0x1000, CHANGE))
    expected = [
        b"[seq 1 addr 0x1000 cksum 0x%X] NORMAL page" % OLD.sum(dtype=np.uint32),
        b"[seq 2 addr 0x0 cksum 0xFF000] DUP page",
        b"[seq 3 addr 0x1000 cksum 0x%X] XBRLE page (enc len %d)" % (NEW.sum(dtype=np.uint32), len(CHANGE)),
    ]
    assert lines(data, End.SENDER) == expected
    assert lines(data, End.RECEIVER) == expected


@pytest.mark.parametrize("flags", [1, 3])
def test_the_sender_s_base_is_the_page_that_the_receiver_lost_to_a_dup_page(flags):
    data = stream((0, OLD), (0, 0), (0, CHANGE), (0x1000, 1), flags=flags)
    assert lines(data, End.SENDER)[2].startswith(b"[seq 3 addr 0x0 cksum 0x%X]" % NEW.sum(dtype=np.uint32))
    received = miglog.written(xbrletools.open(data).stream, End.RECEIVER)
    wrong = int((OLD ^ NEW).sum(dtype=np.uint32))
    if flags == 3:
        assert (len(received.log), received.stop, received.stopped_at) == (2, StopReason.CHECKSUM, 3)
        assert received.refused
    else:  # nothing is checked, so the receiver goes on with a wrong page
        assert lines(data, End.RECEIVER)[2].startswith(b"[seq 3 addr 0x0 cksum 0x%X]" % wrong)
        assert received.stop is None


def test_the_sender_s_sum_is_the_header_s_where_that_counts():
    data = stream((0, OLD), (0, CHANGE), checksum=0xABC)
    assert b"cksum 0xABC]" in lines(data, End.SENDER)[1]
    assert len(lines(data, End.RECEIVER)) == 1


@pytest.mark.parametrize(("payload", "flags"), [(CHANGE[:-2], 1), (CHANGE + b"\1\0", 1), (CHANGE, 2)])
def test_the_receiver_refuses_a_delta_that_is_no_page_or_not_marked(payload, flags):
    second = stream((0, OLD), (0, CHANGE), (0x1000, 0), flags=1)
    capture = xbrletools.open(
        stream((0, OLD), (0, payload), (0x1000, 0), flags=flags), dialect="posted", endian="little"
    )
    received = miglog.written(capture.stream, End.RECEIVER)
    assert (len(received.log), received.stop) == (1, StopReason.DELTA)
    assert len(lines(second, End.RECEIVER)) == 3


def test_a_delta_against_nothing_ends_the_log_where_no_header_helps():
    capture = xbrletools.open(stream((0, 0), (0x1000, CHANGE), flags=1))
    for end in End:
        log = miglog.written(capture.stream, end)
        assert (len(log.log), log.stop, log.refused) == (1, StopReason.UNKNOWN, False)
    assert len(lines(stream((0, 0), (0x1000, CHANGE), flags=3), End.SENDER)) == 2


def test_a_page_outside_its_block_ends_the_log():
    log = miglog.written(xbrletools.open(stream((0, 0), (0x4000, 0), (0x1000, 0))).stream, End.RECEIVER)
    assert (len(log.log), log.stop, log.stopped_at) == (1, StopReason.OUTSIDE, 2)


def test_a_record_that_the_capture_cuts_is_not_logged():
    data = stream((0, 0), (0x1000, OLD))
    log = miglog.written(xbrletools.open(data[: data.rindex(OLD.tobytes()) + 100]).stream, End.SENDER)
    assert (len(log.log), log.stop) == (1, StopReason.CUT)


@pytest.mark.parametrize("name", sorted(build.STREAMS))
def test_sums_in_the_log_of_a_sample_are_those_of_the_guest_s_last_pages(name):
    memory = build.build(name)[1]
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    for end in End:
        log = miglog.written(capture.stream, end).log
        assert len(log) == len(capture.records.by_number)
        columns = capture.records.columns.take(capture.records.is_page)
        last = {
            (b, a): i for i, (b, a) in enumerate(zip(columns.block.tolist(), columns.address.tolist(), strict=True))
        }
        for (block, address), i in last.items():
            page = memory[capture.blocks[block].name][address // 4096]
            assert log.cksum[i] == page.sum(dtype=np.uint32)


def test_senders_addresses_are_in_ram_addr_space():
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    offsets, _ = layout(capture.blocks, capture.page_size)
    sent, received = (
        miglog.written(capture.stream, End.SENDER, offsets).log,
        miglog.written(capture.stream, End.RECEIVER).log,
    )
    block = capture.records.columns.block[capture.records.is_page]
    assert [b.name for b in capture.blocks] == [b"pc.ram", b"pc.bios", b"pc.rom"]
    np.testing.assert_array_equal(
        sent.addr - received.addr, np.array([0, 8 << 20, (8 << 20) + 131072], np.uint64)[block]
    )


# -- reading ----------------------------------------------------------------------------------------------------


def test_a_log_parses_to_the_columns_that_wrote_it(monkeypatch):
    log = miglog.written(xbrletools.open(SAMPLES / "posted-8m.bin").stream, End.RECEIVER).log
    data = b"".join(miglog.text(log))
    for piece in (1 << 23, 1000):
        monkeypatch.setattr(miglog, "_TEXT", piece)
        parsed = miglog.parse(data)
        for field in ("seq", "addr", "cksum", "kind", "length"):
            np.testing.assert_array_equal(getattr(parsed, field), getattr(log, field))
            assert getattr(parsed, field).dtype == getattr(log, field).dtype


def test_a_cut_last_line_is_left_out():
    assert len(miglog.parse(b"[seq 1 addr 0x0 cksum 0x0] DUP page\n[seq 2 addr 0x10")) == 1
    assert len(miglog.parse(b"")) == 0


def test_the_first_line_that_is_none_is_named():
    with pytest.raises(XbrleError, match=r"line 2 .*0x24"):
        miglog.parse(b"[seq 1 addr 0x0 cksum 0x0] DUP page\nhello\n[seq 2 addr 0x0 cksum 0x0] DUP page\n")


# -- comparing --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    log = miglog.written(xbrletools.open(SAMPLES / "posted-8m.bin").stream, End.RECEIVER).log
    return log, b"".join(miglog.text(log))


def compared(log, data):
    return miglog.compare(log, np.frombuffer(data, np.uint8))


def test_a_line_whose_number_no_build_can_write_is_named():
    first, beyond = b"[seq 4294967295 addr 0x0 cksum 0x0] DUP page\n", b"[seq 4294967296 addr 0x0 cksum 0x0] DUP page\n"
    assert miglog.parse(first).seq.tolist() == [4294967295]
    with pytest.raises(XbrleError, match="line 2 has a number") as error:
        miglog.parse(first + beyond)
    assert error.value.offset == len(first)


def test_a_log_agrees_with_itself(small):
    log, data = small
    found = compared(log, data)
    assert (found.agrees, found.lines, found.cut) == (True, len(log), False)


@pytest.mark.parametrize("lines_at_once", [1 << 16, 100])
@pytest.mark.parametrize("line", [0, 1, 99, 100, 2556])
def test_the_first_different_line_is_found(small, line, lines_at_once, monkeypatch):
    monkeypatch.setattr(miglog, "LINES", lines_at_once)
    log, data = small
    rows = data.splitlines(keepends=True)
    rows[line] = rows[line].replace(b"cksum 0x", b"cksum 0x1")
    found = compared(log, b"".join(rows))
    assert (found.agrees, found.lines) == (False, line)
    assert found.expected == data.splitlines()[line]
    assert found.found == rows[line].rstrip()


def test_a_log_that_stops_inside_a_line_or_at_a_buffer_agrees_as_far_as_it_goes(small):
    log, data = small
    found = compared(log, data[:5000])
    assert (found.agrees, found.cut, found.lines) == (True, True, data[:5000].count(b"\n"))
    assert compared(log, data[:8192]).cut


def test_a_log_with_whole_lines_missing_at_its_end_differs(small):
    log, data = small
    rows = data.splitlines(keepends=True)
    found = compared(log, b"".join(rows[:-1]))
    assert (found.agrees, found.lines, found.expected, found.found) == (False, 2556, rows[-1].rstrip(), None)


def test_a_log_that_goes_on_differs(small):
    log, data = small
    found = compared(log, data + b"[seq 2558 addr 0x0 cksum 0x0] DUP page\n")
    assert (found.agrees, found.expected) == (False, None)
    assert found.found == b"[seq 2558 addr 0x0 cksum 0x0] DUP page"


# -- the logs of real builds ------------------------------------------------------------------------------------


def agree(capture_bytes, end, real):
    capture = xbrletools.open(capture_bytes)
    offsets, _ = layout(capture.blocks, capture.page_size)
    written = miglog.written(capture.stream, end, offsets if end is End.SENDER else None)
    return written, miglog.compare(written.log, miglog.read(real))


@pytest.mark.parametrize("name", POSTED)
def test_both_logs_of_a_completed_capture_check_out_line_for_line(name, corpus):
    data, facts = corpus(f"qemu-2011-posted/dbg-{name}.bin"), json.loads(corpus(f"qemu-2011-posted/dbg-{name}.json"))
    for end, suffix in ((End.SENDER, "miglog"), (End.RECEIVER, "dst-debug.miglog")):
        _, found = agree(data, end, corpus(f"qemu-2011-posted/dbg-{name}.{suffix}"))
        assert (found.agrees, found.cut, found.lines) == (True, False, sum(facts["analysis"]["records"].values()))


@pytest.mark.parametrize(("name", "tree"), EARLIER.items())
def test_both_logs_of_the_earlier_trees_check_out_line_for_line(name, tree, corpus):
    data = corpus(f"qemu-2010/{name}.bin")
    for end, suffix in ((End.SENDER, "src"), (End.RECEIVER, f"dst-{tree}")):
        written, found = agree(data, end, corpus(f"qemu-2010/{name}.{suffix}.mig.log"))
        assert (found.agrees, found.cut, found.lines) == (True, False, len(written.log))
        assert found.lines > 6000


def test_the_log_of_a_receiver_that_rejects_ends_before_the_rejected_record(corpus):
    data = corpus("qemu-2011-posted/dbg-stale-reject.bin")
    _, sent = agree(data, End.SENDER, corpus("qemu-2011-posted/dbg-stale-reject.miglog"))
    assert (sent.agrees, sent.cut, sent.lines) == (True, False, 12723)
    written, received = agree(data, End.RECEIVER, corpus("qemu-2011-posted/dbg-stale-reject.dst-debug.miglog"))
    assert (received.agrees, received.cut, received.lines) == (True, False, 4432)
    assert (written.stop, written.stopped_at) == (StopReason.CHECKSUM, 4433)


def test_the_sender_s_memory_gives_the_sums_that_its_headers_carry(corpus):
    capture = xbrletools.open(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    columns = capture.records.columns
    unsigned = np.where(columns.kind == ram.Kind.XBRLE, 1, columns.header_flags).astype(np.uint8)
    claimed = columns.checksum[capture.records.is_page]
    columns.header_flags[:] = unsigned  # as the default build marks them: then only memory tells
    log = miglog.written(capture.stream, End.SENDER).log
    delta = log.kind == ram.Kind.XBRLE
    np.testing.assert_array_equal(log.cksum[delta], claimed[delta])


def test_the_log_of_a_cancelled_migration_agrees_as_far_as_its_last_buffer(corpus):
    real = corpus("qemu-2011-posted/dbg-cancelled.miglog")
    written, found = agree(corpus("qemu-2011-posted/dbg-cancelled.bin"), End.SENDER, real)
    assert (found.agrees, found.cut, found.lines, len(written.log)) == (True, True, 6730, 6756)
    assert len(real) == 76 * 4096
