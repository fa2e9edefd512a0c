"""A page's story: the same bytes as a replay of everything, at every record, in both views."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.naive import Memory
from tests.posted import PAGE, delta, dup, encoded, page, raw_delta, stream, xbzrle_delta
from xbrletools import XbrleError
from xbrletools.codec.verdict import Verdict
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Kind
from xbrletools.memory.history import Content, PageHistory
from xbrletools.memory.image import PageSpace
from xbrletools.memory.replay import View
from xbrletools.model import Block, Facts, Reading, Stream
from xbrletools.source.sources import MappedSource
from xbrletools.table.columns import Columns
from xbrletools.table.sections import Sections
from xbrletools.table.table import RecordTable

SAMPLES = ["posted-8m.bin", "xbzrle-16m.bin"]
CAPTURES = [
    "qemu-2011-posted/dbg-mixed-16m.bin",
    "qemu-2011-posted/dbg-stale-reject.bin",
    "qemu-2010/nov03a-x.bin",
    "qemu-2010/sep10-x.bin",
]
PAGES = 50


def seeded_pages(capture: xbrletools.Capture, seed: int = 20110511) -> list[tuple[int, int]]:
    """Pages by chance, half of them such that deltas touched."""
    table = capture.records
    c = table.columns
    places = sorted({(int(b), int(a)) for b, a in zip(c.block[table.is_page], c.address[table.is_page], strict=True)})
    is_delta = (c.kind == Kind.XBRLE) | (c.kind == Kind.XBZRLE)
    changed = sorted({(int(b), int(a)) for b, a in zip(c.block[is_delta], c.address[is_delta], strict=True)})
    chance = random.Random(seed)
    half = min(PAGES // 2, len(changed))
    return sorted({*chance.sample(changed, half), *chance.sample(places, PAGES - half)})


def as_list(content: Content) -> list[int | None]:
    if content.recovered.all():
        return content.data.tolist()
    return [b if k else None for b, k in zip(content.data.tolist(), content.recovered.tolist(), strict=True)]


def agrees_with_naive(capture: xbrletools.Capture, view: View) -> int:
    wanted = seeded_pages(capture)
    naive = Memory(capture, sender=view is View.SENDER)
    stories = {k: capture.page(capture.blocks[k[0]].name, k[1]) for k in wanted}
    versions = {k: story.versions(view) for k, story in stories.items()}
    before: dict[tuple[int, int], list[int | None]] = {}
    chance = random.Random(1)
    checked = 0
    for record, key in naive.records(set(wanted)):
        if key not in stories:
            continue
        version = next(versions[key])
        now = naive.pages[key].data
        assert version.record == record
        assert as_list(version.content) == now
        if chance.random() * len(stories[key]) < 8:
            assert as_list(stories[key].at(record, view)) == now
        old = before.get(key, [None] * capture.page_size)
        assert version.changed == sum(a != b for a, b in zip(old, now, strict=True))
        assert version.computed == (None if None in now else sum(now) % 2**32)  # type: ignore[arg-type]
        before[key] = list(now)
        checked += 1
    assert all(next(rest, None) is None for rest in versions.values())
    return checked


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("name", SAMPLES)
def test_every_version_of_seeded_pages_of_a_sample_is_that_of_a_naive_replay(
    samples: Path, name: str, view: View
) -> None:
    assert agrees_with_naive(xbrletools.open(samples / name), view) >= PAGES


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("name", CAPTURES)
def test_every_version_of_seeded_pages_of_a_capture_is_that_of_a_naive_replay(
    corpus: Callable[[str], bytes], name: str, view: View
) -> None:
    assert agrees_with_naive(xbrletools.open(corpus(name)), view) >= PAGES


@pytest.mark.parametrize("view", list(View))
def test_a_page_at_any_record_is_that_of_memory_replayed_to_there(samples: Path, view: View) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    chance = random.Random(7)
    story = max(
        (capture.page(capture.blocks[b].name, a) for b, a in seeded_pages(capture)), key=lambda story: len(story)
    )
    for record in [1, *chance.sample(range(1, len(capture.records.by_number) + 1), 12), *story.numbers.tolist()]:
        image = capture.memory(record, view)
        row = int(capture.space.first[story.block]) + story.address // capture.page_size
        content = story.at(record, view)
        assert np.array_equal(content.data, image.pages[row])
        assert np.array_equal(content.recovered, image.known_bytes(row))


def test_the_senders_view_of_the_stale_capture_ends_in_the_sources_ram(corpus: Callable[[str], bytes]) -> None:
    capture = xbrletools.open(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    ram = {
        View.SENDER: np.frombuffer(corpus("qemu-2011-posted/dbg-stale-reject.ram"), np.uint8),
        View.RECEIVER: np.frombuffer(corpus("qemu-2011-posted/dbg-stale-reject.dst-default.ram"), np.uint8),
    }
    wrong = np.flatnonzero((ram[View.SENDER] != ram[View.RECEIVER]).reshape(-1, PAGE).any(axis=1))
    assert len(wrong) == 32
    for place in wrong.tolist():
        story = capture.page("pc.ram", place * PAGE)
        for view, truth in ram.items():
            assert np.array_equal(story.at(view=view).data, truth[place * PAGE : (place + 1) * PAGE])
        *_, sent = story.versions(View.SENDER)
        *_, received = story.versions(View.RECEIVER)
        assert sent.sum_holds
        assert received.sum_holds is False


# -- built streams -----------------------------------------------------------------------------------------------------

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]
C = B[:4000] + bytes(96)


def story_of(*records: bytes) -> PageHistory:
    return xbrletools.open(stream(records), dialect=None).page("pc.ram", 0)


def test_a_delta_after_a_dup_page_has_another_base_in_each_view() -> None:
    story = story_of(page(0, A), dup(0, 7), delta(0, A, B))
    received = list(story.versions())
    sent = list(story.versions(View.SENDER))
    assert [v.base for v in received] == [None, None, 2]
    assert [v.base for v in sent] == [None, None, 1]
    assert sent[1].content.data.tobytes() == bytes([7]) * PAGE
    assert sent[2].content.data.tobytes() == B
    assert sent[2].sum_holds
    assert received[2].content.data.tobytes() == bytes(7 ^ a ^ b for a, b in zip(A, B, strict=True))
    assert received[2].sum_holds is False
    assert story.before(3, View.SENDER).data.tobytes() == A
    assert story.before(3).data.tobytes() == bytes([7]) * PAGE


def test_a_delta_over_a_page_that_was_never_sent_leaves_it_unknown() -> None:
    [version] = story_of(delta(0, A, B)).versions()
    assert not version.content.recovered.any()
    assert (version.base, version.computed, version.sum_holds, version.changed) == (None, None, None, 0)
    assert version.verdict is Verdict.OK


def test_an_xbzrle_delta_over_unknown_bytes_gives_those_that_it_carries() -> None:
    [version] = story_of(xbzrle_delta(0, encoded("xbzrle", A, B))).versions()
    assert np.flatnonzero(version.content.recovered).tolist() == list(range(100, 109))
    assert bytes(version.content.data[100:109]) == b"Migration"
    assert version.changed == 9


def test_a_delta_that_does_not_decode_makes_the_page_unknown_until_it_is_sent_again() -> None:
    story = story_of(page(0, A), delta(0, A, B), raw_delta(0, b"\x01\x02"), delta(0, B, C), page(0, B))
    versions = list(story.versions())
    assert [v.verdict for v in versions] == [None, Verdict.OK, Verdict.SHORT, Verdict.OK, None]
    assert [bool(v.content.recovered.all()) for v in versions] == [True, True, False, False, True]
    assert versions[-1].content.data.tobytes() == B
    with pytest.raises(XbrleError, match="record 3 does not decode: short"):
        story.delta(3)


def test_a_delta_says_what_it_changes_and_where() -> None:
    story = story_of(page(0, A), delta(0, A, B))
    change, where = story.delta(2)
    assert np.flatnonzero(where).tolist() == list(range(100, 109))
    assert change.tobytes() == bytes(a ^ b for a, b in zip(A, B, strict=True))
    with pytest.raises(XbrleError, match="record 1 is not a delta"):
        story.delta(1)
    with pytest.raises(XbrleError, match="record 9 did not touch this page"):
        story.delta(9)


def test_a_page_that_no_record_touched_is_unknown_and_has_no_versions() -> None:
    story = xbrletools.open(stream([page(0, A), delta(0, A, B)])).page("pc.ram", PAGE)
    assert list(story.versions()) == []
    assert not story.at().recovered.any()


def test_a_page_outside_of_its_block_is_refused() -> None:
    capture = xbrletools.open(stream([page(0, A), delta(0, A, B)]))
    for address in (8 * PAGE, -1, 1 << 70):
        with pytest.raises(XbrleError, match="is beyond this block"):
            capture.page("pc.ram", address)
    with pytest.raises(XbrleError, match="no RAM block vga"):
        capture.page("vga", 0)


def test_a_page_of_the_complement_dialect_states_the_sum_itself(corpus: Callable[[str], bytes]) -> None:
    capture = xbrletools.open(corpus("qemu-2010/nov03a-x.bin"))
    rows = np.flatnonzero(capture.records.columns.kind == Kind.XBRLE)[:20]
    for address in capture.records.columns.address[rows].tolist():
        stated = [v for v in capture.page("ram", address).versions() if v.stated is not None]
        assert stated
        assert all(v.sum_holds for v in stated if v.verdict is Verdict.OK)


def test_a_page_of_a_table_of_five_million_records_is_found_without_replaying_them() -> None:
    count, pages = 5_000_000, 500_000
    numbers = np.arange(count)
    columns = Columns(
        offset=(numbers * 9).astype(np.uint64),
        address=(numbers % pages * PAGE).astype(np.uint64),
        length=np.ones(count, np.uint32),
        checksum=np.zeros(count, np.uint32),
        flags=np.zeros(count, np.uint16),
        block=np.zeros(count, np.uint16),
        head=np.full(count, 8, np.uint16),
        kind=np.full(count, Kind.DUP, np.uint8),
        header_flags=np.zeros(count, np.uint8),
    )
    data = np.zeros(9 * count, np.uint8)
    data[8::9] = numbers // pages  # each sweep has a fill of its own
    sections = Sections()
    sections.close(sections.add(SectionType.PART, None, 0, 0), 9 * count, 0)  # type: ignore[arg-type]
    table = RecordTable(columns, sections, [b"pc.ram"])
    space = PageSpace([Block(b"pc.ram", pages * PAGE)], PAGE)
    stream = Stream(MappedSource("sweeps", data.data), Facts(Reading(), sections), table)
    story = PageHistory(stream, space, b"pc.ram", 1234 * PAGE + 5)
    assert story.numbers.tolist() == [1235 + k * pages for k in range(10)]
    assert [v.content.data[0] for v in story.versions()] == list(range(10))
    assert [v.pass_ for v in story.versions()] == list(range(1, 11))
    assert story.at(1234 + 4 * pages).data[0] == 3
    assert story.at(1235 + 4 * pages).data[0] == 4
