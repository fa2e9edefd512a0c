import io
import os
import resource
import struct
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

import xbrletools
from tests.building import EOF, EOS, HEADER, block_list, part, record, start, zero
from tests.conftest import SAMPLES, corpus_names
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import VERSION_NAMED, Flag, Kind, delta_flag
from xbrletools.ram.walk import PENDING_MAX
from xbrletools.scan.strict import Scanner
from xbrletools.source.sources import PIPE_WINDOW, MappedSource, PipeSource
from xbrletools.table.sections import Boundary

pytestmark = pytest.mark.usefixtures("loops")


def simple() -> StreamBuilder:
    a, b = noise(1), noise(2)
    b[0] = a[0]
    return StreamBuilder(flags=3).page(0, a).dup(PAGE).page(2 * PAGE, a).part().delta(0, a, a ^ (noise(3) == 7)).end()


class TestEveryByteIsAccountedFor:
    @pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
    def test_sections_and_records_of_a_sample_leave_no_gap(self, name):
        capture = xbrletools.open(SAMPLES / f"{name}.bin")
        columns = capture.records.columns
        assert capture.facts.complete
        assert capture.facts.end == len(capture.data)
        ends = columns.offset + columns.head + columns.length
        section = capture.records.section
        for s in capture.sections:
            mine = np.flatnonzero(section == s.index)
            if len(mine):
                assert columns.offset[mine[0]] == s.data
                assert (ends[mine[:-1]] == columns.offset[mine[1:]]).all()
                assert ends[mine[-1]] == s.end

    def test_the_posted_sample_has_the_records_that_its_sender_counted(self):
        counts = xbrletools.open(SAMPLES / "posted-8m.bin").records.counts()
        assert (counts["page"], counts["dup"], counts["xbrle"]) == (237, 2092, 228)


class TestPipesAndFilesGiveTheSame:
    @pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
    def test_a_pipe_is_scanned_to_the_same_columns(self, name):
        data = (SAMPLES / f"{name}.bin").read_bytes()
        mapped = Scanner(MappedSource("m", data))
        piped = Scanner(PipeSource("p", io.BytesIO(data)))
        a, b = list(mapped), list(piped)
        for column in ("offset", "address", "length", "checksum", "flags", "block", "head", "kind", "header_flags"):
            left = np.concatenate([getattr(c, column) for c in a])
            right = np.concatenate([getattr(c, column) for c in b])
            assert (left == right).all(), column
        assert mapped.problems == piped.problems == []
        assert list(mapped.sections) == list(piped.sections)

    def test_windows_of_any_size_give_the_same(self, monkeypatch):
        data = (SAMPLES / "posted-8m.bin").read_bytes()
        whole = np.concatenate([c.offset for c in Scanner(MappedSource("m", data))])
        for window in (1 << 17, 300_001, 1 << 19):
            monkeypatch.setattr("xbrletools.source.sources.WINDOW", window)
            pieces = [c.offset for c in Scanner(MappedSource("m", data))]
            assert len(pieces) > 1
            assert (np.concatenate(pieces) == whole).all()

    def test_a_pipe_of_any_length_takes_the_same_memory(self):
        def peak(pages: int) -> int:
            page = b"\0" * 7 + bytes([Flag.PAGE | Flag.CONTINUE]) + noise(5).tobytes()
            head = bytes(StreamBuilder({b"pc.ram": 4096 * PAGE}).dup(0).out)
            raw = io.BufferedReader(Repeated(head, page, pages, struct.pack(">Q", Flag.EOS) + b"\0"))
            tracemalloc.start()
            records = sum(len(c) for c in Scanner(PipeSource("p", raw)))
            top = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert records == pages + 3
            return top

        assert peak(20_000) < 1.5 * peak(4_000)

    @pytest.mark.parametrize("before", [131_072, 131_073, 131_078, 131_083, 131_084, 135_168, 135_174, 135_180])
    def test_the_longest_record_is_read_wherever_a_window_ends(self, before):
        size = 1 << 16
        longest = record(Flag.COMPRESS_PAGE, 0, struct.pack(">I", 2 * size) + b"\x78\x9c" + bytes(2 * size - 2))
        at = 2 * PIPE_WINDOW - before  # a pipe's windows end where it is read to, which is a mebibyte further each time
        for name in (b"b" * n for n in range(1, 64)):
            head = HEADER + start() + block_list([(name, size)]) + EOS + part() + zero(0, name)
            if (at - len(head)) % len(zero(0)) == 0:
                break
        data = head + zero(0) * ((at - len(head)) // len(zero(0))) + longest
        assert data.index(longest) == at
        data += EOS + part(kind=SectionType.END) + EOS + EOF
        scanner = Scanner(PipeSource("p", io.BytesIO(data)), page_size=size)
        found = [(c.offset[i], c.length[i]) for c in scanner for i in np.flatnonzero(c.kind == Kind.COMPRESSED)]
        assert scanner.problems == []
        assert found == [(at, 2 * size)]


class Repeated(io.RawIOBase):
    """A head, one piece many times, a tail. Never in memory at once."""

    def __init__(self, head: bytes, piece: bytes, times: int, tail: bytes) -> None:
        self.left = (part for parts in ([head], (piece for _ in range(times)), [tail]) for part in parts)
        self.held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while len(self.held) < len(buffer) and (piece := next(self.left, b"")):
            self.held += piece
        count = min(len(buffer), len(self.held))
        buffer[:count] = self.held[:count]
        self.held = self.held[count:]
        return count


class TestDamage:
    def test_a_stream_cut_at_any_byte_is_truncated_and_keeps_what_came_before(self):
        whole = simple().bytes()
        columns = xbrletools.open(whole).records.columns
        ends = (columns.offset + columns.head + columns.length).tolist()
        inner = {cut for start, end in pairwise([0, *ends]) for cut in range(start + 200, end - 200)}  # bytes of pages
        for cut in sorted(set(range(8, len(whole))) - inner | set(range(8, len(whole), 29))):
            capture = xbrletools.open(whole[:cut])
            assert [p.rule for p in capture.problems] == ["truncated"], cut
            complete = sum(end <= cut for end in ends)
            assert (capture.records.columns.offset[:complete] == columns.offset[:complete]).all()
            assert len(capture.records) - complete in (0, 1)
            assert [f.rule for f in capture.verify()].count("truncated") == 1

    def test_the_bytes_of_a_cut_page_are_known_and_no_others(self):
        whole = simple().bytes()
        columns = xbrletools.open(whole).records.columns
        last = np.flatnonzero(columns.kind == 2)[-1]
        cut = int(columns.offset[last] + columns.head[last]) + 1000
        image = xbrletools.open(whole[:cut]).memory()
        known = image.known_bytes(2)
        assert known[:1000].all()
        assert not known[1000:].any()
        assert (image.pages[2][:1000] == noise(1)[:1000]).all()

    @pytest.mark.parametrize("cut", range(8))
    def test_a_file_that_ends_in_its_header_is_no_stream(self, cut):
        with pytest.raises(xbrletools.XbrleError):
            _ = xbrletools.open(simple().bytes()[:cut]).records

    def test_a_delta_that_claims_more_than_a_page_ends_the_scan_where_it_stands(self):
        builder = simple().part()
        at = len(builder.out)
        builder._open(b"pc.ram", 0, Flag.XBRLE)
        data = builder.bytes(struct.pack("<BBHI", 3, 0, 0xFFFF, 0) + bytes(70000))
        data = data[:at] + bytes(builder.out[at:]) + struct.pack("<BBHI", 3, 0, 0xFFFF, 0) + bytes(70000)
        capture = xbrletools.open(data)
        assert capture.damage.rule == "delta-length"
        assert capture.damage.offset == at

    def test_claimed_lengths_allocate_nothing(self):
        data = StreamBuilder({b"pc.ram": 1 << 43}).page(0, noise(1)).bytes()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        image = xbrletools.open(data).memory()
        assert (image["pc.ram"][0] == noise(1)).all()
        assert np.count_nonzero(image.state[:1000]) == 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10

    def test_a_block_larger_than_any_guest_has_is_an_error_and_the_others_are_read(self):
        data = StreamBuilder({b"pc.ram": 1 << 60, b"vga.vram": PAGE}).page(0, noise(1), b"vga.vram").bytes()
        capture = xbrletools.open(data)
        (problem,) = [p for p in capture.problems if p.rule == "block-list"]
        assert "block pc.ram claims 0x1000000000000000 bytes, more than any guest has" in problem.message
        assert (capture.memory()["vga.vram"][0] == noise(1)).all()
        assert capture.verdict().status == "damaged"

    def test_a_word_of_no_kind_is_passed_over_when_a_record_follows(self):
        builder = simple().word(0xA0).dup(PAGE, 7)
        capture = xbrletools.open(builder.bytes())
        assert not capture.problems
        assert capture.memory().pages[1][0] == 7

    def test_a_word_of_no_kind_before_nonsense_is_the_end(self):
        builder = simple().word(0xA0).word(0xDEADBEEFDEADBEEF)
        assert xbrletools.open(builder.bytes()).damage.rule == "bad-record"


class TestSections:
    def test_boundaries_of_the_posted_sample_are_parsed_then_searched(self):
        sections = list(xbrletools.open(SAMPLES / "posted-8m.bin").sections)
        named = [(s.owner.idstr, s.found_by) for s in sections if s.owner]
        assert {f for n, f in named if n in (b"ram", b"block")} == {Boundary.PARSED}
        devices = [f for n, f in named if n not in (b"ram", b"block")]
        assert devices[0] is Boundary.HEADER
        assert devices[-1] is Boundary.EOF

    def test_device_sections_of_todays_streams_end_at_their_footers(self):
        sections = list(xbrletools.open(SAMPLES / "xbzrle-16m.bin").sections)
        devices = [s.found_by for s in sections if s.owner and s.owner.idstr != b"ram"]
        assert devices
        assert set(devices) == {Boundary.FOOTER}
        assert sections[-1].type == qevm.SectionType.VMDESCRIPTION

    def test_the_continue_state_survives_a_section(self):
        capture = xbrletools.open(simple().bytes())
        columns = capture.records.columns
        delta = int(np.flatnonzero(columns.kind == 4)[0])
        assert columns.flags[delta] & Flag.CONTINUE
        assert columns.block[delta] == 0


class TestPasses:
    def test_a_pass_begins_where_the_address_falls_or_the_block_changes(self):
        builder = StreamBuilder({b"a": 4 * PAGE, b"b": 4 * PAGE})
        for block, page in [(b"a", 0), (b"a", 2), (b"b", 0), (b"a", 2), (b"a", 3), (b"a", 1), (b"a", 1)]:
            builder.dup(page * PAGE, 0, block)
        records = xbrletools.open(builder.bytes()).records
        assert records.pass_[records.is_page].tolist() == [1, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("name", corpus_names("qemu-2010"))
class TestDialectsOf2010:
    def test_the_dialect_is_found_without_a_hint_and_the_counts_are_right(self, name, corpus):
        import json

        capture = xbrletools.open(corpus(f"qemu-2010/{name}.bin"))
        walk = json.loads(corpus(f"qemu-2010/{name}.walk.json"))
        counts = capture.records.counts()
        assert {k: counts.get(k, 0) for k in ("page", "dup", "xbrle", "eos")} == {
            k: walk["counts"].get(k, 0) for k in ("page", "dup", "xbrle", "eos")
        }
        expected = name.split("-")[0]
        if "xbrle" in walk["counts"]:
            assert capture.evidence.name == expected
            assert any("come to exactly one page" in r for r in capture.evidence.reasons)
        else:
            assert capture.evidence.name is None
            assert expected in capture.evidence.candidates


class TestBothByteOrders:
    @pytest.mark.parametrize("endian", ["little", "big"])
    @pytest.mark.parametrize("dialect", ["sep20", "nov03a", "nov03b", "m115", "m115dbg", "lm2", "lm2dbg", "posted"])
    def test_a_delta_of_either_order_is_found_by_trial(self, dialect, endian):
        a = noise(1)
        b = a.copy()
        b[100:110] ^= 0x55
        stream = StreamBuilder(dialect=dialect, endian=endian).page(0, a).part()
        capture = xbrletools.open(stream.delta(0, a, b).delta(0, b, a).end().bytes())
        assert capture.evidence.name == dialect
        assert capture.evidence.endian == endian
        assert (capture.memory().pages[0] == a).all()

    def test_a_forced_order_is_taken_and_the_damage_shows(self):
        a = noise(1)
        b = a.copy()
        b[100:110] ^= 0x55
        stream = StreamBuilder(flags=3).page(0, a).part().delta(0, a, b).end().bytes()
        damage = xbrletools.open(stream, endian="big").damage
        assert (damage.rule, damage.offset) == ("unreadable-delta", xbrletools.open(stream).evidence.offset)
        assert not xbrletools.open(stream, endian="little").problems


def test_a_file_is_not_read_whole_for_its_header(tmp_path):
    path = tmp_path / "sparse.bin"
    path.write_bytes(simple().bytes()[:-1])
    os.truncate(path, 1 << 34)
    capture = xbrletools.open(path)
    assert next(iter(capture.scan())) is not None


@pytest.mark.parametrize("dialect", ["m115", "m115dbg"])
def test_a_blanked_first_page_does_not_hide_whether_v3_pages_carry_sums(dialect):
    builder = StreamBuilder({b"ram": 4 * PAGE}, dialect=dialect).page(0, np.zeros(PAGE, np.uint8))
    builder.page(PAGE, noise(1)).part().delta(PAGE, noise(1), noise(1) ^ (noise(2) == 3)).end()
    capture = xbrletools.open(builder.bytes())
    assert capture.facts.complete
    assert capture.dialect is not None
    assert capture.dialect.name == dialect


class TestManyRecordsAtATime:
    """Small deltas are found by searching, long runs by comparing: neither may see a record where none begins."""

    @staticmethod
    def scanned(builder: StreamBuilder, starts: list[int]) -> None:
        scanner = Scanner(MappedSource("m", builder.bytes()), builder.dialect.name)
        found = np.concatenate([c.offset for c in scanner])
        assert scanner.problems == []
        assert found[1:-1].tolist() == starts  # without the block list and EOS

    @pytest.mark.parametrize("dialect", ["posted", "xbzrle", "m115", "sep20"])
    def test_payloads_that_look_like_records_are_none(self, dialect):
        builder = StreamBuilder(dialect=dialect)
        starts = []

        def begin():
            starts.append(len(builder.out))

        a = noise(1)
        b = a.copy()
        b[100] ^= 1
        begin()
        builder.page(0, a)
        begin()
        builder.delta(0, a, b)
        kept = Flag.CONTINUE if builder.version == VERSION_NAMED else 0
        dup = struct.pack(">Q", PAGE | Flag.COMPRESS | kept) + b"\0"
        delta = struct.pack(">Q", PAGE | delta_flag(builder.version) | kept) + b"\1\0\4\0" + bytes(8)
        rng = np.random.default_rng(2)
        for _ in range(3000):
            begin()
            if rng.random() < 0.2:
                builder.dup(PAGE, int(rng.integers(256)))
            else:
                inside = b"".join([dup, delta][i] for i in rng.integers(0, 2, rng.integers(0, 6)))
                builder.raw_delta(PAGE, inside[int(rng.integers(0, 9)) :], a)
        self.scanned(builder, starts)

    @pytest.mark.parametrize("kind", ["page", "dup"])
    @pytest.mark.parametrize("length", [1, 2, 3, 64, 66, 67, 68, 500])
    def test_a_run_ends_where_the_flags_change(self, kind, length):
        builder = StreamBuilder()
        starts = []
        for i in range(4):
            for _ in range(length):
                starts.append(len(builder.out))
                builder.page(0, np.full(PAGE, 0x28, np.uint8)) if (kind == "page") == (i % 2 == 0) else builder.dup(0)
        self.scanned(builder, starts)

    def test_more_records_than_are_gathered_together_keep_their_block(self):
        builder = StreamBuilder({b"pc.ram": PAGE, b"vga.vram": PAGE})
        for block in (b"pc.ram", b"vga.vram"):
            for _ in range(2 * PENDING_MAX + 5):
                builder.dup(0, block=block)
        columns = xbrletools.open(builder.bytes()).records.columns
        assert columns.block[1:-1].tolist() == [0] * (2 * PENDING_MAX + 5) + [1] * (2 * PENDING_MAX + 5)

    def test_a_delta_that_is_too_long_is_met_where_it_stands(self):
        builder = StreamBuilder()
        a = noise(1)
        b = a.copy()
        b[100] ^= 1
        builder.page(0, a)
        for _ in range(500):
            builder.delta(0, a, b)
        at = len(builder.out)
        builder.raw_delta(0, bytes(PAGE + 2), a)
        for _ in range(500):
            builder.delta(0, a, b)
        capture = xbrletools.open(builder.bytes())
        assert len(capture.records) == 502
        assert [(p.rule, p.offset) for p in capture.problems] == [("delta-length", at)]
