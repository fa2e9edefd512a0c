"""Where and when bytes were in memory: as a naive replay that looks after every record finds them."""

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.memory.test_history import CAPTURES, SAMPLES, seeded_pages
from tests.naive import Bytes, Memory
from tests.posted import PAGE, delta, dup, encoded, page, raw_delta, stream, xbzrle_delta
from xbrletools import XbrleError
from xbrletools.analysis import search as search_module
from xbrletools.analysis.lives import AllVersions, search_all
from xbrletools.analysis.pattern import Pattern
from xbrletools.analysis.search import Hit, TooManyError, search, search_image
from xbrletools.memory import versions as versions_module
from xbrletools.memory.image import Image, PageSpace, State
from xbrletools.memory.moments import memory_of
from xbrletools.memory.replay import View
from xbrletools.model import Block

Life = tuple[int, int, int, int | None]  # block, offset, appeared, vanished


def starts_in(text: bytes, both: Bytes, size: int, literal: bytes) -> set[int]:
    """Where ``literal`` begins in the first ``size`` of some bytes. ``text`` has 0 for those that are unknown."""
    found, at = set(), text.find(literal)
    while 0 <= at < size:
        if None not in both[at : at + len(literal)]:
            found.add(at)
        at = text.find(literal, at + 1)
    return found


def naive_lives(
    capture: xbrletools.Capture, view: View, pages: Iterable[tuple[int, int]], literals: list[bytes]
) -> dict[bytes, set[Life]]:
    """For each literal every place in these pages where it ever began, and when it came and went."""
    size = capture.page_size
    mine = set(pages)
    naive = Memory(capture, sender=view is View.SENDER)
    nothing: Bytes = [None] * size
    longest = max(map(len, literals))
    lives: dict[bytes, set[Life]] = {literal: set() for literal in literals}
    now: dict[tuple[bytes, tuple[int, int]], dict[int, int]] = {}
    for record, (block, address) in naive.records(mine | {(b, a + size) for b, a in mine}):
        for key in {(block, address), (block, address - size)} & mine:
            at = naive.pages[key].data if key in naive.pages else nothing
            beyond = (block, key[1] + size)
            both = at + (naive.pages[beyond].data if beyond in naive.pages else nothing)[:longest]
            text = bytes(both) if None not in both else bytes(b or 0 for b in both)  # type: ignore[arg-type]
            for literal in literals:
                there, before = starts_in(text, both, size, literal), now.setdefault((literal, key), {})
                for gone in before.keys() - there:
                    lives[literal].add((block, key[1] + gone, before.pop(gone), record))
                for new in there - before.keys():
                    before[new] = record
    for (literal, (block, address)), still in now.items():
        lives[literal] |= {(block, address + at, record, None) for at, record in still.items()}
    return lives


def agrees_with_naive(capture: xbrletools.Capture, view: View) -> None:
    pages = set(seeded_pages(capture))
    size = capture.page_size
    chance = random.Random(3)
    literals = []
    for block, address in chance.sample(sorted(pages), len(pages)):
        versions = list(capture.page(capture.blocks[block].name, address).versions(view))
        for _ in range(3):
            i = chance.randrange(len(versions))
            one, other = versions[i].content, versions[i - 1].content  # bytes that change, where there are any
            places = np.flatnonzero(one.data != other.data)
            at = min(chance.choice(places.tolist()) if len(places) else chance.randrange(size), size - 8)
            length = chance.randrange(3, 8)
            literals += [one.data[at : at + length].tobytes(), other.data[at : at + length].tobytes()]
    literals = [literal for literal in dict.fromkeys(literals) if len(set(literal)) > 2][:20]
    for block, address in chance.sample(sorted(pages), 4):  # across a border, as it is at the end
        image = capture.memory(view=view)[capture.blocks[block].name].reshape(-1)
        literals.append(image[address + size - 2 : address + size + 3].tobytes())
    literals = sorted({literal for literal in literals if len(set(literal)) > 2})
    expected = naive_lives(capture, view, pages, literals)
    assert sum(len(lives) for lives in expected.values()) >= 10
    assert any(end is not None for lives in expected.values() for *_, end in lives)
    for literal, lives in expected.items():
        hits = list(search_all(capture.stream, Pattern.of_bytes(literal), view=view))
        found = [
            (h.block, h.offset, h.appeared, h.vanished) for h in hits if (h.block, h.offset // size * size) in pages
        ]
        assert len(found) == len(set(found))
        assert set(found) == lives
        assert {h.content for h in hits} <= {literal}


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("name", SAMPLES)
def test_what_comes_and_goes_in_seeded_pages_of_a_sample_is_what_a_naive_replay_sees(
    samples: Path, name: str, view: View
) -> None:
    agrees_with_naive(xbrletools.open(samples / name), view)


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("name", CAPTURES)
def test_what_comes_and_goes_in_seeded_pages_of_a_capture_is_what_a_naive_replay_sees(
    corpus: Callable[[str], bytes], name: str, view: View
) -> None:
    agrees_with_naive(xbrletools.open(corpus(name)), view)


PATTERNS = [
    Pattern.of_bytes(b"\x00\x80"),
    Pattern.of_text("kok", ignore_case=True),
    Pattern.of_regex(r"[A-Za-z]{5,}"),
    Pattern.of_regex(r"(?<=\x00)[^\x00]{3,40}(?=\x00)"),
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: str(p.expression.pattern))
@pytest.mark.parametrize("view", list(View))
def test_what_lives_at_a_record_is_what_a_search_of_memory_at_that_record_finds(
    samples: Path, pattern: Pattern, view: View
) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    lives = list(search_all(capture.stream, pattern, view=view))
    assert lives
    count = len(capture.records.by_number)
    for at in [1, *random.Random(11).sample(range(1, count), 8), count]:
        there = [
            (h.block, h.offset, h.content)
            for h in lives
            if h.appeared is not None and h.appeared <= at and (h.vanished is None or h.vanished > at)
        ]
        assert there == [(h.block, h.offset, h.content) for h in search(capture.stream, pattern, at, view)]
    for one, after in pairwise(lives):
        if (one.block, one.offset, one.content) == (after.block, after.offset, after.content):
            assert one.vanished is not None
            assert after.appeared is not None
            assert one.vanished < after.appeared


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: str(p.expression.pattern))
def test_what_is_found_does_not_hang_on_how_much_is_looked_at_together(
    samples: Path, pattern: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    at = 900
    whole = list(search_all(capture.stream, pattern, at))
    for batch, windows in ((7 * PAGE, 1), (1, 3 * PAGE)):
        monkeypatch.setattr(versions_module, "BATCH", batch)
        monkeypatch.setattr(search_module, "WINDOWS", windows)
        assert list(search_all(capture.stream, pattern, at)) == whole


# -- built streams -----------------------------------------------------------------------------------------------------

A = bytes(range(256)) * 16
HELLO = b"Hello, migration"


def with_text(text: bytes, at: int, base: bytes = A) -> bytes:
    return base[:at] + text + base[at + len(text) :]


def lives(
    records: list[bytes],
    pattern: Pattern,
    view: View = View.RECEIVER,
    blocks: Sequence[tuple[bytes, int]] = ((b"pc.ram", 8 * PAGE),),
    dialect: str = "posted",
) -> list[Hit]:
    capture = xbrletools.open(stream(records, blocks), dialect=dialect)
    return list(search_all(capture.stream, pattern, view=view))


def when(hits: list[Hit]) -> list[Life]:
    return [(h.block, h.offset, h.appeared or 0, h.vanished) for h in hits]


T = with_text(HELLO, 500)
PATTERN = Pattern.of_bytes(HELLO)


def test_a_string_has_one_life_while_it_stays_whatever_is_sent() -> None:
    records = [page(0, T), page(0, T), delta(0, T, with_text(b"x", 4000, T)), page(PAGE, A)]
    assert when(lives(records, PATTERN)) == [(0, 500, 1, None)]


def test_a_string_that_goes_and_comes_back_has_two_lives() -> None:
    records = [page(0, T), delta(0, T, A), page(PAGE, A), delta(0, A, T)]
    assert when(lives(records, PATTERN)) == [(0, 500, 1, 2), (0, 500, 4, None)]


def test_a_string_across_a_border_comes_and_goes_with_either_page() -> None:
    one, two = with_text(HELLO[:6], PAGE - 6), with_text(HELLO[6:], 0)
    records = [page(PAGE, two), page(0, one), dup(PAGE, 0), page(PAGE, two), delta(0, one, A)]
    for pattern in (PATTERN, Pattern.of_regex("Hello, [a-z]+n"), Pattern.of_text("hELLO, Migration", ignore_case=True)):
        assert when(lives(records, pattern)) == [(0, PAGE - 6, 2, 3), (0, PAGE - 6, 4, 5)]


def test_a_pattern_longer_than_a_page_is_found_across_three() -> None:
    long = random.Random(1).randbytes(PAGE + 300)
    texts = [with_text(long[:100], PAGE - 100), long[100 : 100 + PAGE], with_text(long[100 + PAGE :], 0)]
    records = [page(2 * PAGE, texts[2]), page(PAGE, texts[0]), page(3 * PAGE, A)]
    records += [page(2 * PAGE, texts[1]), page(3 * PAGE, texts[2]), dup(3 * PAGE, 1)]
    assert when(lives(records, Pattern.of_bytes(long))) == [(0, 2 * PAGE - 100, 5, 6)]


def test_nothing_matches_across_two_blocks_or_past_the_end_of_one() -> None:
    blocks = [(b"a", PAGE), (b"b", PAGE + 100), (b"rest", PAGE - 100)]
    one, two = with_text(HELLO[:6], PAGE - 6), with_text(HELLO[6:], 0)
    end = with_text(HELLO, 90)
    records = [page(0, one, b"a"), page(0, two, b"b"), page(PAGE, end, b"b")]
    for pattern in (PATTERN, Pattern.of_regex("Hello, [a-z]+n")):
        assert lives(records, pattern, blocks=blocks) == []
        assert list(search(xbrletools.open(stream(records, blocks)).stream, pattern)) == []
    assert when(lives([page(PAGE, with_text(HELLO, 84), b"b")], PATTERN, blocks=blocks)) == [(1, PAGE + 84, 1, None)]


def test_unknown_bytes_never_match() -> None:
    zeros = Pattern.of_bytes(b"\x00\x00\x00")
    zeros_regex = Pattern.of_regex(r"\x00{3,}")
    started = page(0, with_text(b"\x01\x00\x00", PAGE - 3))  # and the page after it was never sent
    lost = [started, page(PAGE, with_text(bytes(9), 50)), raw_delta(PAGE, b"\x01\x02")]
    for pattern in (zeros, zeros_regex):
        assert lives([started], pattern) == []
        assert {h.vanished for h in lives(lost, pattern)} == {3}
    half = encoded("xbzrle", bytes(PAGE), with_text(b"\0\0\0ab\0\0", 700, bytes([9]) * PAGE))
    assert lives([xbzrle_delta(0, half)], Pattern.of_bytes(b"\0\0\0a"), dialect="xbzrle") == []
    five = xbzrle_delta(0, encoded("xbzrle", bytes([9]) * PAGE, with_text(b"\0\0\0ab", 700, bytes([9]) * PAGE)))
    for pattern in (Pattern.of_bytes(b"\0\0\0ab"), Pattern.of_regex(r"\x00+ab\x00*")):
        assert [(h.offset, h.content) for h in lives([five], pattern, dialect="xbzrle")] == [(700, b"\0\0\0ab")]


def test_the_sender_has_its_string_again_where_the_receiver_lost_it() -> None:
    records = [page(0, T), dup(0, 0), delta(0, T, with_text(b"x", 9, T))]
    assert when(lives(records, PATTERN)) == [(0, 500, 1, 2)]
    assert when(lives(records, PATTERN, View.SENDER)) == [(0, 500, 1, 2), (0, 500, 3, None)]


def test_matches_of_a_string_may_overlap_and_those_of_an_expression_do_not() -> None:
    records = [page(0, with_text(b"ababab", 10, bytes(PAGE)))]
    assert [h.offset for h in lives(records, Pattern.of_bytes(b"abab"))] == [10, 12]
    assert [h.offset for h in lives(records, Pattern.of_regex("(ab){2}"))] == [10]


def test_a_match_of_an_expression_that_goes_on_over_a_border_is_one() -> None:
    records = [page(0, with_text(b"abc", PAGE - 3, bytes(PAGE))), page(PAGE, with_text(b"def", 0, bytes(PAGE)))]
    hits = lives(records, Pattern.of_regex("[a-z]+"))
    assert [(h.offset, h.content, h.appeared, h.vanished) for h in hits] == [
        (PAGE - 3, b"abc", 1, 2),
        (PAGE - 3, b"abcdef", 2, None),
    ]


def test_text_is_found_in_either_case_and_in_utf_16() -> None:
    text = "Größe 1"
    records = [page(0, with_text(text.encode("utf-16-le"), 64)), page(PAGE, with_text(text.encode(), 65))]
    assert [h.offset for h in lives(records, Pattern.of_text(text, "utf-16-le"))] == [64]
    assert [h.offset for h in lives(records, Pattern.of_text("gRÖSSE", "utf-16-le", ignore_case=True))] == []
    assert [h.offset for h in lives(records, Pattern.of_text("gRÖße", "utf-16-le", ignore_case=True))] == [64]
    assert [h.offset for h in lives(records, Pattern.of_text("gRÖße", ignore_case=True))] == [PAGE + 65]
    assert [h.content for h in lives(records, Pattern.of_regex("gr.+1", ignore_case=True))] == [text.encode()]


def test_a_search_can_be_of_one_block_and_up_to_one_record() -> None:
    blocks = [(b"a", PAGE), (b"b", PAGE)]
    capture = xbrletools.open(stream([page(0, T, b"a"), page(0, T, b"b"), dup(0, 0, b"b")], blocks))
    assert when(list(search_all(capture.stream, PATTERN, block=1))) == [(1, 500, 2, 3)]
    assert when(list(search_all(capture.stream, PATTERN, at=2, block=1))) == [(1, 500, 2, None)]
    assert [h.block for h in search(capture.stream, PATTERN, at=2)] == [0, 1]
    assert [h.block for h in search(capture.stream, PATTERN, at=2, block=1)] == [1]
    assert [h.block for h in search(capture.stream, PATTERN)] == [0]


def test_a_pattern_that_is_none_is_refused() -> None:
    for make in (lambda: Pattern.of_bytes(b""), lambda: Pattern.of_text(""), lambda: Pattern.of_text("", "utf-16-le")):
        with pytest.raises(XbrleError, match="empty"):
            make()
    with pytest.raises(XbrleError, match="not a regular expression"):
        Pattern.of_regex("(")
    with pytest.raises(XbrleError, match="cannot be written"):
        Pattern.of_text("\udcff", "utf-16-le")


def test_versions_in_record_order_are_those_of_memory_at_each_record(samples: Path) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    columns = capture.records.columns
    for view in View:
        chance = random.Random(2)
        walk = versions_module.Versions(capture.stream, capture.space, columns, view)
        for batch in walk:
            entries = batch.entries
            for i in chance.sample(batch.versions.tolist(), 4):
                image = capture.memory(int(capture.records.number[entries.places[i]]), view)
                assert np.array_equal(entries.data[i], image.pages[entries.pages[i]])
                assert entries.state[i] == image.state[entries.pages[i]]


def test_what_was_found_by_now_can_be_asked_for_at_any_batch(monkeypatch: pytest.MonkeyPatch, samples: Path) -> None:
    monkeypatch.setattr(versions_module, "BATCH", 64 * PAGE)
    capture = xbrletools.open(samples / "posted-8m.bin")
    search = AllVersions(capture.stream, Pattern.of_bytes(b"\x55\xaa"))
    searched, counts = 0, []
    for step in search:
        searched += step
        hits = list(search.hits())
        upto = search.number(searched)
        assert [(h.block, h.offset, h.appeared, h.vanished) for h in hits] == [
            (h.block, h.offset, h.appeared, h.vanished)
            for h in search_all(capture.stream, Pattern.of_bytes(b"\x55\xaa"), upto)
        ]
        assert len(search) == len(hits)
        counts.append(len(hits))
    assert searched == search.total == capture.records.last_number
    assert len(set(counts)) > 1
    assert list(search.hits(2)) == hits[:2]


def test_a_search_with_more_hits_than_wanted_stops_and_keeps_what_it_has(
    monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    monkeypatch.setattr(versions_module, "BATCH", 64 * PAGE)
    capture = xbrletools.open(samples / "posted-8m.bin")
    search = AllVersions(capture.stream, Pattern.of_bytes(b"\0"), most=100_000)
    with pytest.raises(TooManyError, match="more than 100000 matches"):
        for _ in search:
            pass
    assert len(list(search.hits(10))) == min(10, len(search))
    with pytest.raises(TooManyError):
        list(search_image(capture.stream, memory_of(capture.stream, None), Pattern.of_bytes(b"\0"), most=1000))


@pytest.mark.parametrize("page_size", [4096, 1024])
def test_runs_of_windows_recovered_by_whole_pages_are_those_of_their_bytes(page_size: int) -> None:
    space = PageSpace([Block(b"pc.ram", 16 * page_size)], page_size)
    finder = search_module.Finder(space, Pattern.of_regex("a+"), search_module.Still(Image(space)))
    (zone,), pages = finder.zones, np.array([1])
    rng = np.random.default_rng(3)
    for _ in range(300):
        states = rng.integers(0, 2, (1, len(zone.segments))).astype(np.uint8)
        room = int(rng.integers(1, zone.width + 1))
        found = search_module._Windows(zone, pages, b"", states, np.full(states.shape, -1))
        of_bytes = search_module._runs(finder._recovered(found, 0, None)[:room])
        assert zone.runs((states[0] == State.RECOVERED).tolist(), room) == of_bytes
