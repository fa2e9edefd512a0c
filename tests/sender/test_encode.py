import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xbrletools
from tests.sender.snaps import PAGE, histories, history, write
from tests.siege.bounds import measured
from xbrletools import XbrleError
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.memory.replay import View
from xbrletools.model import Block
from xbrletools.sender import encode as encoding
from xbrletools.sender.addresses import addresses_in_blocks
from xbrletools.sender.encode import Plan, SweepOrder, encode, runs_of
from xbrletools.sender.policy import Dups, Policy, rules_of
from xbrletools.sender.saver import RecordForm
from xbrletools.sender.snapshots import open_snapshots
from xbrletools.verify.rules import Severity

BLOCKS = [Block(b"pc.ram", 4 * PAGE), Block(b"vga.vram", PAGE), Block(b"pc.bios", PAGE)]


def stream_of(
    snapshots: list[np.ndarray],
    dialect: str = "posted",
    policy: Policy = Policy.POSTED,
    dups: Dups = Dups.SAFE,
    cache: int = 1 << 20,
    plan: Plan | None = None,
    endian: str = "little",
    checksums: bool = True,
) -> bytes:
    target = DIALECTS[dialect]
    form = RecordForm(target, endian, checksums)
    with tempfile.TemporaryDirectory() as folder:
        mapped, blocks = open_snapshots(write(Path(folder), snapshots), BLOCKS, PAGE, b"pc.ram")
        addresses = addresses_in_blocks(blocks, form.version, PAGE)
        rules = rules_of(target, policy, dups, PAGE)
        return b"".join(encode(mapped, addresses, form, rules, cache, plan or Plan()))


def in_wire_order(capture: xbrletools.Capture, pages: np.ndarray, snapshot: np.ndarray) -> np.ndarray:
    """A snapshot's pages as the capture has them: v3 has them in ram_addr order, pc.bios before vga.vram."""
    return snapshot[[0, 1, 2, 3, 5, 4]] if capture.facts.ram_version == 3 else snapshot


class TestAnySnapshotsWithAnyKnobs:
    @given(
        snapshots=histories(),
        dialect=st.sampled_from(sorted(DIALECTS)),
        policy=st.sampled_from(sorted(Policy, key=str)),
        dups=st.sampled_from([Dups.SAFE, Dups.FIXED]),
        cache=st.sampled_from([8192, 3 * 8192, 1 << 20]),
        rate=st.sampled_from([1, 5000, 1 << 20]),
        framing=st.tuples(st.booleans(), st.booleans()),
        endian=st.sampled_from(["little", "big"]),
        checksums=st.booleans(),
    )
    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_the_receiver_ends_up_with_the_last_snapshot(
        self, snapshots, dialect, policy, dups, cache, rate, framing, endian, checksums
    ):
        plan = Plan(rate, *framing)
        data = stream_of(snapshots, dialect, policy, dups, cache, plan, endian, checksums)
        capture = xbrletools.open(data, dialect=dialect, endian=endian, page_size=PAGE)
        assert capture.problems == ()
        image = capture.memory()
        assert image.known.all()
        np.testing.assert_array_equal(image.pages, in_wire_order(capture, image.pages, snapshots[-1]))

    @given(snapshots=histories(), dialect=st.sampled_from(sorted(DIALECTS)), checksums=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_the_defaults_verify_without_a_finding(self, snapshots, dialect, checksums):
        own = Policy.XBZRLE if dialect.startswith("xbzrle") else Policy.POSTED
        dups = Dups.FIXED if DIALECTS[dialect].caches_dup else Dups.SAFE
        data = stream_of(snapshots, dialect, own, dups, checksums=checksums)
        capture = xbrletools.open(data, dialect=dialect, endian="little")
        assert [f for f in capture.verify() if f.severity is not Severity.NOTE] == []


def toggling() -> list[np.ndarray]:
    """Page 0 is not uniform, then uniform, then nearly what it was."""
    first = history(1, [[5, 5, 5, 5, 5, 5]])[0]
    blank, back = first.copy(), first.copy()
    blank[0] = 0
    back[0, 9] ^= 1
    return [first, blank, back]


def test_dup_pages_left_out_as_posted_corrupt_the_receiver_and_only_it():
    snapshots = toggling()
    capture = xbrletools.open(stream_of(snapshots, dups=Dups.POSTED))
    assert (capture.memory().pages[0] != snapshots[-1][0]).any()
    np.testing.assert_array_equal(capture.memory(view=View.SENDER).pages, snapshots[-1])
    assert {"stale-base", "checksum-mismatch"} <= {f.rule for f in capture.verify()}


def test_dup_pages_entered_are_a_base_that_the_receiver_has_too():
    capture = xbrletools.open(stream_of(toggling(), dups=Dups.FIXED))
    assert [f.rule for f in capture.verify()] == []


def test_deltas_stand_in_part_alone_and_the_first_section_is_start():
    snapshots = history(3, [[5] * 6, [1] * 6, [1] * 6])
    capture = xbrletools.open(stream_of(snapshots, plan=Plan(rate=6000, last_in_end=True)))
    table = capture.records
    assert set(table.stage[table.columns.kind == 4].tolist()) == {2}
    last = table.stage[table.is_page] == 3
    assert int(last.sum()) == 6
    types = [s.type for s in capture.sections if s.owner is not None and s.owner.idstr == b"ram"]
    assert (types[0], types[-1]) == (SectionType.START, SectionType.END)
    assert set(types[1:-1]) == {SectionType.PART}


def test_a_section_ends_with_the_record_that_reaches_the_rate():
    snapshots = history(3, [[5] * 6])
    capture = xbrletools.open(stream_of(snapshots, plan=Plan(rate=4104 * 2)))
    sections = capture.records.section[capture.records.is_page]
    assert np.unique(sections, return_counts=True)[1].tolist() == [2, 2, 2]


def test_v4_streams_of_2011_alternate_with_an_idle_block_section():
    capture = xbrletools.open(stream_of(history(3, [[5] * 6, [1] * 6]), plan=Plan(rate=9000)))
    owners = [(s.owner.section_id, s.owner.idstr) for s in capture.sections if s.owner is not None]
    assert owners[0::2] == [(1, b"block")] * (len(owners) // 2)
    assert owners[1::2] == [(2, b"ram")] * (len(owners) // 2)


def test_continue_is_clear_exactly_where_the_block_changes():
    capture = xbrletools.open(stream_of(history(3, [[5] * 6, [1] * 6]), plan=Plan(rate=5000)))
    table = capture.records
    block = table.columns.block[table.is_page].astype(int)
    named = (table.columns.flags[table.is_page] & Flag.CONTINUE) == 0
    assert (named == (np.diff(block, prepend=-1) != 0)).all()


def test_the_device_tail_is_there_as_given():
    tail = b"\x04" + (3).to_bytes(4, "big") + b"\x05timer" + bytes(4) + (2).to_bytes(4, "big") + b"state"
    data = stream_of(history(3, [[5] * 6]), plan=Plan(device_tail=tail))
    assert data.endswith(tail + b"\0")
    assert any(s.owner is not None and s.owner.idstr == b"timer" for s in xbrletools.open(data).sections)


def sent(order: SweepOrder, *dirty: bool) -> list[int]:
    return [page for part in order.next(np.array(dirty, bool)) for page in part.tolist()]


class TestSweepOrder:
    def test_goes_on_at_the_page_last_sent_and_then_round_the_list(self):
        order = SweepOrder([[(0, 3)], [(3, 2)]])
        assert sent(order, *[True] * 5) == [0, 1, 2, 3, 4]
        # block 1 was last; its page 1 comes first, then block 0, then what is before it in block 1
        assert sent(order, *[True] * 5) == [4, 0, 1, 2, 3]

    def test_the_block_last_sent_is_at_the_front(self):
        order = SweepOrder([[(0, 1)], [(1, 1)], [(2, 1)]])
        assert sent(order, True, False, True) == [0, 2]
        assert sent(order, True, True, False) == [0, 1]

    def test_nothing_dirty_is_nothing_sent(self):
        assert sent(SweepOrder([[(0, 1)], [(1, 1)]]), False, False) == []

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_it_is_that_of_a_sender_that_looks_at_one_page_after_the_other(self, data):
        lengths = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5))
        first = np.cumsum([0, *lengths])
        order = SweepOrder([[(int(a), n)] if n else [] for a, n in zip(first, lengths, strict=False)])
        blocks, block, place = list(range(len(lengths))), 0, 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encoding, "PIECE", data.draw(st.sampled_from([1, 2, 3, 100])))
            for _ in range(4):
                dirty = np.array(data.draw(st.lists(st.booleans(), min_size=int(first[-1]), max_size=int(first[-1]))))
                left, expected = set(np.flatnonzero(dirty).tolist()), []
                at, here = place, block
                for _ in range(len(lengths) + 1):
                    for i in range(at, lengths[here]):
                        if (page := int(first[here]) + i) in left:
                            left.remove(page)
                            expected.append(page)
                            block, place = here, i
                    if expected and expected[-1] >= first[block] and here == block:
                        blocks.remove(block)
                        blocks.insert(0, block)
                    where = blocks.index(block)
                    turn = blocks[where + 1 :] + blocks[: where + 1]
                    here = next((b for b in turn if left & set(range(first[b], first[b + 1]))), block)
                    at = 0
                assert sent(order, *dirty) == expected

    @pytest.mark.parametrize("piece", [1, 3, 1 << 16])
    def test_the_pages_of_a_flat_stream_are_in_the_order_of_their_addresses(self, piece, monkeypatch):
        monkeypatch.setattr(encoding, "PIECE", piece)
        bases = {b"pc.ram": 0, b"pc.bios": 4 * PAGE, b"vga.vram": 5 * PAGE}
        for version, expected in ((4, [[0, 1, 2, 3], [4], [5]]), (3, [[0, 1, 2, 3, 5, 4]])):
            runs = runs_of(addresses_in_blocks(BLOCKS, version, PAGE, bases), 6)
            assert [[first + i for first, count in of_block for i in range(count)] for of_block in runs] == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_are_taken_in_batches_of_one_size(size):
    parts = [np.arange(0, 5), np.arange(5, 5), np.arange(5, 6), np.arange(6, 23)]
    batches = list(encoding._batches(parts, size))
    assert np.concatenate(batches).tolist() == list(range(23))
    assert {len(b) for b in batches[:-1]} <= {size}
    assert 0 < len(batches[-1]) <= size


def test_little_is_held_for_a_page_however_many_there_are(tmp_path):
    pages = 1 << 22  # 16 GiB of holes
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        with path.open("wb") as file:
            file.truncate(pages * PAGE)
    mapped, blocks = open_snapshots(list(map(str, paths)), [], PAGE, b"pc.ram")
    addresses = addresses_in_blocks(blocks, 4, PAGE)
    every_other = np.zeros(pages, bool)
    every_other[::2] = True
    none, nothing = np.empty(0, np.int64), np.empty((0, PAGE), np.uint8)
    with measured() as peak:
        order, bases = SweepOrder(runs_of(addresses, pages)), encoding._SnapshotBases(mapped)
        for bases.now, dirty in enumerate((np.broadcast_to(np.True_, pages), every_other)):
            count = 0
            for batch in encoding._batches(order.next(dirty), 2048):
                bases.bases(batch, nothing, np.empty(0, bool), np.ones(len(batch), bool), none)
                count += len(batch)
            assert count == np.count_nonzero(dirty)
    assert peak.bytes < 2 * pages + (4 << 20)


class TestSnapshots:
    def test_a_file_of_another_size_is_refused(self, tmp_path):
        paths = write(tmp_path, [np.zeros((6, PAGE), np.uint8), np.zeros((5, PAGE), np.uint8)])
        with pytest.raises(XbrleError, match="but its blocks come to"):
            open_snapshots(paths, BLOCKS, PAGE, b"pc.ram")

    def test_a_block_of_broken_pages_is_refused(self, tmp_path):
        paths = write(tmp_path, [np.zeros((1, PAGE), np.uint8)])
        with pytest.raises(XbrleError, match="whole number of pages"):
            open_snapshots(paths, [Block(b"odd", 100)], PAGE, b"pc.ram")

    def test_a_folder_of_block_files_is_a_snapshot(self, tmp_path):
        (tmp_path / "ram.raw").write_bytes(b"\x01" * PAGE)
        (tmp_path / "rom.raw").write_bytes(b"\x02" * PAGE)
        blocks = '{"name": "pc.ram", "file": "ram.raw", "length": 4096}'
        blocks += ', {"name": "odd\\\\x01", "file": "rom.raw", "length": 4096}'
        (tmp_path / "manifest.json").write_text(f'{{"blocks": [{blocks}]}}')
        (snapshot,), listed = open_snapshots([str(tmp_path)], [], PAGE, b"pc.ram")
        assert [b.name for b in listed] == [b"pc.ram", b"odd\x01"]
        assert snapshot.take(np.array([1, 0]))[:, 0].tolist() == [2, 1]

    @pytest.mark.parametrize("text", ["", "[]", '{"blocks": [{"name": 5, "length": 1}]}', '{"blocks": 3}'])
    def test_a_manifest_that_is_none_is_refused(self, tmp_path, text):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(XbrleError, match="not a list of blocks"):
            open_snapshots([str(tmp_path)], [], PAGE, b"pc.ram")
