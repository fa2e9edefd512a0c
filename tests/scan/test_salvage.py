"""Damage, and what is had of a capture after it. ``XBRLE_DAMAGES`` sets how many of each kind are tried."""

import os
import random
import struct
from functools import cache

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES, SOUND
from tests.damages import KINDS, Whole, damage, wrong_pages
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli.salvage import report
from xbrletools.errors import XbrleError
from xbrletools.export.clean import write_stream
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.memory.image import State
from xbrletools.model import Certainty
from xbrletools.scan.salvage import run

DAMAGES = int(os.environ.get("XBRLE_DAMAGES", "30"))
PART = 10  # damages of one test


@cache
def whole(name: str) -> Whole:
    return Whole((SAMPLES / f"{name}.bin").read_bytes())


def salvage(data: bytes, blocks=()):
    return xbrletools.open(data, salvage=True, blocks=blocks)


def check_claims(sample: Whole, kind: str, seed: int) -> None:
    """Nothing is called known. What is recovered is wrong in the page of a flipped record alone, sum or no sum."""
    done = damage(sample.data, kind, seed)
    try:
        salvaged = salvage(done.data, sample.blocks if kind == "head" else ())
        image = salvaged.memory()
        truth = sample.truth(done, salvaged)
    except XbrleError:
        return  # nothing was left
    assert not image.known.any()
    told = report(salvaged)
    assert told["bytes_sum_holds"] == told["pages_sum_holds"] * salvaged.page_size
    assert told["pages_sum_holds"] == np.count_nonzero(image.sum_holds)
    traceless = sample.touched(done) if kind == "flip" else set()
    wrong = wrong_pages(sample, truth, salvaged, image, image.recovered_bytes)
    assert wrong <= traceless, (kind, seed, done.start, done.end)
    held = wrong_pages(sample, truth, salvaged, image, lambda page: np.full(salvaged.page_size, image.sum_holds[page]))
    assert not held, "these damages are the same at every run, and none of them keeps a sum"


@pytest.mark.parametrize("first", range(0, DAMAGES, PART))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
class TestSeededDamages:
    def test_a_recovered_byte_is_wrong_only_where_a_flip_leaves_no_trace(self, name, kind, first):
        for seed in range(first, first + PART):
            check_claims(whole(name), kind, seed)

    def test_over_99_percent_of_the_intact_records_are_recovered(self, name, kind, first):
        sample = whole(name)
        there = found = 0
        for seed in range(first, first + PART):
            done = damage(sample.data, kind, seed)
            intact = sample.intact(done)
            if len(intact) < 100:
                continue  # too few for a share to say anything
            offsets = salvage(done.data, sample.blocks if kind == "head" else ()).records.columns.offset
            there += len(intact)
            found += np.isin(intact, offsets.astype(np.int64)).sum()
        assert found >= there * (0.95 if kind == "head" else 0.99)


#: Captures in which the sums of a good part of memory hold, in four dialects.
CAPTURES = (
    "qemu-2010/lm2dbg-x",
    "qemu-2010/m115dbg-x",
    "qemu-2011-posted/dbg-small-8m",
    "qemu-2011-posted/dbg-stage3",
)


@pytest.mark.parametrize("name", CAPTURES)
def test_no_byte_of_a_damaged_capture_whose_sum_holds_is_wrong(name, corpus):
    sample = Whole(corpus(f"{name}.bin"))
    assert sample.capture.confirmed(sample.capture.memory()).any()
    for kind in KINDS:
        for seed in range(DAMAGES // PART):
            check_claims(sample, kind, seed)


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_clean_stream_reads_without_a_problem_and_gives_what_is_recovered(name, kind, tmp_path):
    sample = whole(name)
    for seed in range(4):
        done = damage(sample.data, kind, seed)
        try:
            salvaged = salvage(done.data, sample.blocks if kind == "head" else ())
            wanted = salvaged.memory()
        except XbrleError:
            continue
        write_stream(salvaged.stream, tmp_path / "clean", force=True)
        clean = xbrletools.open(tmp_path / "clean")
        image = clean.memory()
        assert clean.problems == ()
        assert (image.known == wanted.recovered).all()
        assert (image.pages[wanted.recovered] == wanted.pages[wanted.recovered]).all()


@pytest.mark.parametrize("path", SOUND, ids=lambda p: p.stem)
def test_an_undamaged_capture_has_no_gap_and_the_same_memory(path):
    plain, salvaged = xbrletools.open(path), xbrletools.open(path, salvage=True)
    assert salvaged.gaps == ()
    assert salvaged.doubts == []
    assert (salvaged.records.columns.offset == plain.records.columns.offset).all()
    assert (salvaged.memory().pages == plain.memory().pages).all()
    assert (salvaged.memory().state == plain.memory().state).all()


def stream_of_pages(count: int = 40) -> StreamBuilder:
    builder = StreamBuilder({b"pc.ram": count * PAGE}, flags=3)
    for page in range(count):
        builder.page(page * PAGE, noise(page))
    return builder


def broken_at(builder: StreamBuilder, record: int) -> bytes:
    """The stream with the word of a record flipped."""
    data = bytearray(builder.end().bytes())
    capture = xbrletools.open(bytes(data))
    data[int(capture.records.columns.offset[capture.records.row(record)]) + 7] ^= 0xFF
    return bytes(data)


def test_a_gap_says_where_it_is_and_how_sure_reading_on_is():
    data = broken_at(stream_of_pages(), 11)
    (gap,) = salvage(data).gaps
    assert gap.start <= 11 * (PAGE + 8) < gap.end
    assert gap.certainty is Certainty.NEAR_CERTAIN
    assert gap.in_place


def test_a_page_that_a_lost_record_may_have_changed_is_unknown_and_no_other_is():
    builder = stream_of_pages().part()
    for page in (3, 9, 12, 20, 30):
        builder.page(page * PAGE, noise(100 + page))
    image = salvage(broken_at(builder, 43)).memory()
    unknown = set(np.flatnonzero(~image.recovered).tolist())
    assert 12 in unknown
    assert unknown <= set(range(3, 31))
    assert image.recovered[30]


def test_a_delta_after_a_gap_is_no_base_for_anything():
    builder = stream_of_pages().part()
    old = noise(12)
    new = old.copy()
    new[5] ^= 1
    for page in (3, 9, 20):
        builder.page(page * PAGE, noise(100 + page))
    builder.part()
    builder.delta(12 * PAGE, old, new)
    builder.page(30 * PAGE, noise(7))
    image = salvage(broken_at(builder, 42)).memory()
    assert not image.recovered[12]


def test_memory_before_a_gap_is_not_in_doubt():
    builder = stream_of_pages().part()
    for page in (3, 9, 12, 20, 30):
        builder.page(page * PAGE, noise(100 + page))
    salvaged = salvage(broken_at(builder, 43))
    assert salvaged.memory(at=40).recovered.all()
    assert not salvaged.memory().recovered.all()


def test_a_delta_that_its_checksum_refutes_makes_its_page_unknown():
    builder = stream_of_pages().part()
    old = noise(5)
    new = old.copy()
    new[9] ^= 1
    data = bytearray(builder.delta(5 * PAGE, old, new).page(8 * PAGE, noise(1)).end().bytes())
    capture = xbrletools.open(bytes(data))
    row = capture.records.row(41)
    data[int(capture.records.payload[row]) + 3] ^= 0x40  # a value, so that the payload still comes to a page
    image = salvage(bytes(data)).memory()
    assert not image.recovered[5]
    assert xbrletools.open(bytes(data)).memory().known[5]  # plain reading believes it


def test_a_page_that_swallowed_the_next_record_is_not_believed():
    builder = StreamBuilder({b"pc.ram": 8 * PAGE})
    for page in range(8):
        builder.page(page * PAGE, noise(page))
    builder.part().page(2 * PAGE, noise(50)).dup(3 * PAGE, 1).dup(4 * PAGE, 2).dup(6 * PAGE, 3)
    data = bytearray(builder.end().bytes())
    capture = xbrletools.open(bytes(data))
    at = int(capture.records.payload[capture.records.row(9)])
    del data[at + 100 : at + 109]  # as long as the dup record that then ends the page
    image = salvage(bytes(data)).memory()
    assert not image.recovered[2]
    assert image.pages[6, 0] == 3
    assert image.recovered[6]


def test_nothing_to_believe_is_an_error_and_no_traceback():
    for data in (b"", b"QEVM", bytes(5000), np.random.default_rng(1).bytes(20000)):
        with pytest.raises(XbrleError):
            salvage(data).memory()


@pytest.mark.parametrize(("copied", "into"), [(0, 0x111E00), (0, 0x80000), (0x20000, 0x111E00)])
def test_a_copy_of_another_part_of_the_capture_is_read_like_any_damage(copied, into, corpus):
    data = corpus("qemu-2011-posted/dbg-small-8m.bin")
    salvaged = salvage(data[:into] + data[copied : copied + 0x10000] + data[into:])
    assert salvaged.gaps
    assert salvaged.memory().recovered.any()


def test_pages_of_one_capture_have_one_size_whatever_is_read_behind_a_gap(corpus):
    headless = damage(corpus("qemu-2011-posted/dbg-block-ix.bin"), "head", 18).data
    salvaged = salvage(damage(headless, "insert", 1018).data)
    assert salvaged.page_size == PAGE
    assert salvaged.memory().pages.shape[1] == PAGE


@pytest.mark.parametrize("junk", [1, 9, 30, 4104])
def test_two_gaps_without_a_record_between_them_are_two_doubts(junk):
    stream = StreamBuilder({b"pc.ram": 32 * PAGE}, flags=3)
    for i in range(10):
        stream.page(i * PAGE, noise(i)) if i % 2 else stream.dup(i * PAGE)
    for _ in range(2):
        stream.part()
        stream.out += random.Random(junk).randbytes(junk)
    stream.part()
    for i in range(12, 24):
        stream.page(i * PAGE, noise(i)) if i % 2 else stream.dup(i * PAGE)
    capture = xbrletools.open(stream.end().bytes(), salvage=True)
    assert len(capture.doubts) >= len(capture.gaps) >= 1
    image = capture.memory()
    assert image.state[13] == State.RECOVERED


ROUND = 32  # pages of the block below


def rounds(name: bytes = b"pc.ram", section_id: int = 2) -> bytes:
    """Three sweeps over a block of this name, in PARTs of 8 records of a RAM section with this id."""
    out = StreamBuilder({name: ROUND * PAGE})
    for i in range(3 * ROUND):
        out.page(i % ROUND * PAGE, noise(i), name)
        if i % 8 == 7:
            out.part()
    data, end = out.end().bytes(), struct.pack(">Q", Flag.EOS)
    for before, kind in ((b"QEVM\0\0\0\3", 1), (end, 2), (end, 3)):
        head = before + bytes([kind])
        data = data.replace(head + qevm.SectionPart.build({"section_id": 2}), head + struct.pack(">I", section_id))
    return data


@pytest.mark.parametrize("section_id", [0, 1, 4095, 4096, 70_000, 1 << 31, (1 << 32) - 1])
def test_a_ram_section_whose_start_is_lost_can_have_any_id(section_id):
    data = rounds(section_id=section_id)
    salvaged = salvage(data[len(data) // 3 :])
    assert len(salvaged.gaps) == 1
    assert len(salvaged.records.by_number) >= 2 * ROUND - 2
    ids = {s.owner.section_id for s in salvaged.facts.sections if s.owner is not None}
    assert ids - {0} == {section_id} - {0}  # 0 stands for that of the section that begins before the capture does


def test_more_damaged_ranges_than_are_skipped_are_said_and_the_rest_is_unknown(monkeypatch):
    monkeypatch.setattr(run, "GAPS_MAX", 3)
    data = bytearray(rounds())
    for at in xbrletools.open(bytes(data)).records.columns.offset[10:90:16].tolist():
        data[at : at + 8] = b"\xff" * 8
    salvaged = salvage(bytes(data))
    assert len(salvaged.gaps) == 4
    assert (salvaged.gaps[-1].end, salvaged.gaps[-1].certainty) == (len(data), Certainty.NONE)
    assert "ranges are damaged" in salvaged.gaps[-1].reason
    assert not salvaged.facts.complete
    assert not salvaged.memory().recovered_count


def test_an_unusual_id_that_comes_once_is_not_believed():
    data = bytearray(rounds()[PAGE:])
    part = struct.pack(">QBI", Flag.EOS, 2, 2)
    at = data.index(part, len(data) // 2) + len(part) - 4
    data[at : at + 4] = struct.pack(">I", 70_000)
    salvaged = salvage(bytes(data))
    assert 70_000 not in {s.owner.section_id for s in salvaged.facts.sections if s.owner is not None}
    assert len(salvaged.records.by_number) >= 3 * ROUND - 4


@pytest.mark.parametrize("name", [b"m", b"a b", b"\x1b[31mred", "caf\u00e9".encode(), b"\xff" * 255, b"[bold]x[/]\n"])
def test_a_block_can_have_any_name_that_its_records_have_too(name):
    data = rounds(name)
    half = len(data) // 2
    salvaged = salvage(data[:half] + bytes(2000) + data[half + 2000 :])
    assert salvaged.facts.has_start
    assert [(b.name, b.length) for b in salvaged.blocks] == [(name, ROUND * PAGE)]
    assert len(salvaged.records.by_number) >= 3 * ROUND - 3


def test_a_damaged_name_of_the_list_is_not_believed():
    data = rounds(b"pc.ram").replace(b"\6pc.ram", b"\6pc.r\x01m", 1)
    salvaged = salvage(data)
    assert [b.name for b in salvaged.blocks] == [b"pc.ram"]


@pytest.mark.parametrize("lost", [100, 1000, 3000, 9000, 50_000])
@pytest.mark.parametrize("way", ["cut out", "overwritten"])
def test_devices_are_found_behind_ram_whose_end_is_lost(way, lost):
    """All of them: the first has an id below that of RAM, and a page that was cut can reach over some of them."""
    sample = whole("posted-8m")
    there = [s.owner for s in xbrletools.open(sample.data).sections.of_types(SectionType.FULL)]
    at = next(s.offset for s in xbrletools.open(sample.data).sections.of_types(SectionType.FULL))
    instead = b"" if way == "cut out" else random.Random(lost).randbytes(lost)
    salvaged = salvage(sample.data[: at - lost] + instead + sample.data[at:])
    assert [s.owner for s in salvaged.sections.of_types(SectionType.FULL)] == there
    assert salvaged.gaps
