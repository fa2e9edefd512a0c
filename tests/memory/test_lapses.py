"""Pages that are known no longer: every way to look at memory shows the same bytes, and unknown ones as such."""

import random

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.damages import Whole, damage
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.analysis.blame import blame
from xbrletools.analysis.lives import search_all
from xbrletools.analysis.search import Pattern, search
from xbrletools.cli import main
from xbrletools.memory.image import State
from xbrletools.memory.replay import View


def pages_of(capture, seed):
    """Some pages that were sent, half of them in doubt at the end."""
    columns = capture.records.columns
    rows = np.unique(capture.space.pages_of(columns)[capture.records.is_page])
    rows = rows[rows >= 0]
    unknown = rows[capture.memory().state[rows] != State.RECOVERED].tolist()
    chance = random.Random(seed)
    return sorted({*chance.sample(unknown, min(10, len(unknown))), *chance.sample(rows.tolist(), 10)})


def place(capture, row):
    block = int(np.searchsorted(capture.space.first, row, side="right")) - 1
    return capture.blocks[block].name, (row - int(capture.space.first[block])) * capture.page_size


DAMAGES = [
    (name, kind, seed)
    for name in ("posted-8m", "xbzrle-16m")
    for kind, seed in (("cut", 1), ("cut", 2), ("insert", 3), ("flip", 4), ("flip", 8), ("tail", 5), ("head", 6))
]


@pytest.mark.parametrize(("name", "kind", "seed"), DAMAGES)
class TestADamagedCapture:
    @pytest.fixture
    def salvaged(self, name, kind, seed):
        data = (SAMPLES / f"{name}.bin").read_bytes()
        whole = Whole(data)
        return xbrletools.open(damage(data, kind, seed).data, salvage=True, blocks=whole.blocks)

    @pytest.mark.parametrize("view", View)
    def test_a_pages_story_and_memory_say_the_same_at_every_record_of_the_page(self, salvaged, seed, view):
        stories = {row: salvaged.page(*place(salvaged, row)) for row in pages_of(salvaged, seed)}
        moments = sorted({n for s in stories.values() for n in s.numbers.tolist()})
        images = {n: salvaged.memory(n, view) for n in random.Random(seed).sample(moments, min(12, len(moments)))}
        for row, story in stories.items():
            versions = {v.record: v.content for v in story.versions(view)}
            for number, image in images.items():
                content = story.at(number, view)
                assert (content.recovered == image.recovered_bytes(row)).all()
                assert (content.data[content.recovered] == image.pages[row][content.recovered]).all()
                if number in versions:
                    assert not versions[number].differs(content).any()

    def test_blame_and_memory_lack_the_same_bytes(self, salvaged, seed):
        image = salvaged.memory()
        for row in pages_of(salvaged, seed):
            name, address = place(salvaged, row)
            unknown = np.zeros(PAGE, bool)
            for span in blame(salvaged.stream, salvaged.space.index(name), address, PAGE):
                unknown[span.offset - address :][: span.length] = span.unknown
            assert (unknown == ~image.recovered_bytes(row)).all()

    def test_what_is_found_in_all_versions_and_is_still_there_is_found_at_the_end(self, salvaged):
        pattern = Pattern.of_bytes(b"\0\0\1")
        still = {(h.block, h.offset) for h in search_all(salvaged.stream, pattern) if h.vanished is None}
        assert still == {(h.block, h.offset) for h in search(salvaged.stream, pattern)}


def lost_in_the_middle():
    """Forty pages, then a pass in which a record is damaged between pages 9 and 20: page 12 is in doubt."""
    builder = StreamBuilder({b"pc.ram": 40 * PAGE}, flags=3)
    for page in range(40):
        builder.page(page * PAGE, noise(page))
    builder.part()
    for page in (3, 9, 12, 20, 30):
        builder.page(page * PAGE, noise(100 + page))
    data = bytearray(builder.end().bytes())
    capture = xbrletools.open(bytes(data))
    data[int(capture.records.columns.offset[capture.records.row(43)]) + 7] ^= 0xFF
    return xbrletools.open(bytes(data), salvage=True)


def test_bytes_of_a_page_in_doubt_are_no_bytes_of_anyone():
    salvaged = lost_in_the_middle()
    (span,) = blame(salvaged.stream, 0, 12 * PAGE, PAGE)
    assert (span.record, span.unknown, span.lapsed) == (None, True, True)
    (before,) = blame(salvaged.stream, 0, 12 * PAGE, PAGE, at=40)
    assert (before.record, before.unknown, before.lapsed) == (13, False, False)
    assert not salvaged.page("pc.ram", 12 * PAGE).at().recovered.any()
    assert salvaged.page("pc.ram", 12 * PAGE).at(40).recovered.all()


def test_text_in_a_page_goes_when_the_page_is_in_doubt():
    salvaged = lost_in_the_middle()
    pattern = Pattern.of_bytes(noise(12)[:16].tobytes())
    (hit,) = search_all(salvaged.stream, pattern)
    assert (hit.offset, hit.appeared, hit.vanished) == (12 * PAGE, 13, 42)


def test_a_delta_that_fails_puts_in_doubt_what_nothing_vouched_for_since_the_page_came_in_full():
    builder = StreamBuilder({b"pc.ram": 40 * PAGE}, flags=3)
    for page in range(40):
        builder.page(page * PAGE, noise(page))
    first, second = noise(5), noise(5)
    first[9] ^= 1
    second[9] ^= 3
    builder.part().delta(5 * PAGE, noise(5), first).page(6 * PAGE, noise(60))
    builder.part().delta(5 * PAGE, first, second).page(7 * PAGE, noise(70))
    data = bytearray(builder.end().bytes())
    capture = xbrletools.open(bytes(data))

    def damaged(record, at):
        broken = bytearray(data)
        broken[int(capture.records.payload[capture.records.row(record)]) + at] ^= 0x40
        return xbrletools.open(bytes(broken), salvage=True)

    page_5 = damaged(6, 100).page("pc.ram", 5 * PAGE)  # a byte of the PAGE: the first delta tells
    assert [page_5.at(n).recovered.all() for n in (5, 6, 41, 43, 44)] == [False] * 5
    page_5 = damaged(43, 3).page("pc.ram", 5 * PAGE)  # a value of the second delta; the first one's sum holds
    assert [page_5.at(n).recovered.all() for n in (6, 41, 42, 43, 44)] == [True, True, True, False, False]


def test_the_commands_show_a_page_in_doubt_as_unknown(tmp_path, capsys):
    path = tmp_path / "s.bin"
    path.write_bytes(lost_in_the_middle().data.tobytes())
    assert main(["page", str(path), hex(12 * PAGE), "--salvage"]) == 1
    assert "unknown before record 42" in capsys.readouterr().out
    main(["page", str(path), hex(12 * PAGE), "--salvage", "--at", "42"])
    out = capsys.readouterr().out
    assert "?? ?? ??" in out
    assert noise(12)[:4].tobytes().hex(" ") not in out
    main(["blame", str(path), f"{12 * PAGE:#x}+4K", "--salvage"])
    assert "lost" in capsys.readouterr().out


def test_pages_that_a_postcopy_destination_discarded_are_unknown_in_their_story_too(corpus):
    capture = xbrletools.open(corpus("qemu-7.2/pc16-postcopy-kvm.chan0.fwd.bin"))
    since, _, first, stop = next(lapse for lapse in capture.discards if lapse[2] < lapse[3])
    before = int(capture.records.number[:since].max())
    still, gone = capture.memory(before), capture.memory(before + 1)
    rows = np.arange(first, stop)[:20]
    assert still.recovered[rows].any()
    for row in rows.tolist():
        story = capture.page(*place(capture, row))
        for number, image in ((before, still), (before + 1, gone)):
            assert (story.at(number).recovered == image.recovered_bytes(row)).all()
            block = int(np.searchsorted(capture.space.first, row, side="right")) - 1
            address = (row - int(capture.space.first[block])) * PAGE
            spans = list(blame(capture.stream, block, address, PAGE, at=number))
            assert all(span.unknown != bool(image.recovered[row]) for span in spans)
        versions = list(story.versions())
        for version in versions:
            assert not version.content.differs(story.at(version.record)).any()
        assert versions[-1].changed == PAGE  # it was unknown, and then was given again
