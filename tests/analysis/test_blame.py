"""The record that last wrote each byte: as a naive replay that keeps each byte's author has it, at every record."""

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import xbrletools
from tests.memory.test_history import CAPTURES, PAGES, SAMPLES, seeded_pages
from tests.naive import Memory
from tests.posted import PAGE, delta, dup, encoded, page, raw_delta, stream, xbzrle_delta
from xbrletools import XbrleError
from xbrletools.analysis.blame import Span, blame
from xbrletools.memory.replay import View

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]


def spread(spans: list[Span]) -> tuple[list[int], list[bool]]:
    """Each byte's author and whether it is unknown. The spans must follow each other."""
    for one, next_one in pairwise(spans):
        assert one.offset + one.length == next_one.offset
        assert (one.record, one.unknown) != (next_one.record, next_one.unknown)
    return (
        [s.record or 0 for s in spans for _ in range(s.length)],
        [s.unknown for s in spans for _ in range(s.length)],
    )


def agrees_with_naive(capture: xbrletools.Capture, view: View, of_each: int) -> None:
    wanted = set(seeded_pages(capture))
    naive = Memory(capture, sender=view is View.SENDER)
    chance = random.Random(5)
    touched = {k: len(capture.page(capture.blocks[k[0]].name, k[1])) for k in wanted}
    checked = 0
    for record, key in naive.records(wanted):
        if key not in wanted or chance.random() * touched[key] >= of_each:
            continue
        authors, unknown = spread(list(blame(capture.stream, *key, PAGE, record, view)))
        assert authors == naive.pages[key].author
        assert unknown == [b is None for b in naive.pages[key].data]
        checked += 1
    assert checked >= PAGES


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("name", SAMPLES)
def test_blame_of_seeded_pages_of_a_sample_is_that_of_a_naive_replay_at_every_record(
    samples: Path, name: str, view: View
) -> None:
    agrees_with_naive(xbrletools.open(samples / name), view, of_each=10**9)


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("name", CAPTURES)
def test_blame_of_seeded_pages_of_a_capture_is_that_of_a_naive_replay(
    corpus: Callable[[str], bytes], name: str, view: View
) -> None:
    agrees_with_naive(xbrletools.open(corpus(name)), view, of_each=10**9 if "mixed" in name else 10)


def test_spans_go_on_across_the_borders_of_pages_and_of_batches(samples: Path) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    naive = Memory(capture)
    for _ in naive.records():
        pass
    offset, length = 0xFF123, 0x4321  # batches are of 0x100 pages
    authors, _ = spread(list(blame(capture.stream, 0, offset, length)))
    assert authors == [naive.pages[0, at // PAGE * PAGE].author[at % PAGE] for at in range(offset, offset + length)]


def test_a_page_that_is_sent_again_the_same_is_written_by_the_later_record() -> None:
    capture = xbrletools.open(stream([page(0, A), page(PAGE, A), delta(0, A, B), page(PAGE, A)]))
    assert list(blame(capture.stream, 0, 0, 2 * PAGE)) == [
        Span(0, 0, 100, 1, False),
        Span(0, 100, 9, 3, False),
        Span(0, 109, PAGE - 109, 1, False),
        Span(0, PAGE, PAGE, 4, False),
    ]
    assert list(blame(capture.stream, 0, PAGE - 2, 4, at=2)) == [
        Span(0, PAGE - 2, 2, 1, False),
        Span(0, PAGE, 2, 2, False),
    ]


def test_in_the_senders_view_the_bytes_under_a_delta_are_of_its_own_base() -> None:
    capture = xbrletools.open(stream([page(0, A), dup(0, 9), delta(0, A, B)]))
    assert list(blame(capture.stream, 0, 50, 100)) == [
        Span(0, 50, 50, 2, False),
        Span(0, 100, 9, 3, False),
        Span(0, 109, 41, 2, False),
    ]
    assert [s.record for s in blame(capture.stream, 0, 50, 100, view=View.SENDER)] == [1, 3, 1]
    assert [s.record for s in blame(capture.stream, 0, 50, 100, at=2, view=View.SENDER)] == [2]


def test_bytes_that_nobody_knows_are_blamed_on_what_took_them_away() -> None:
    lost = xbrletools.open(stream([page(0, A), delta(0, A, B), raw_delta(0, b"\x01\x02"), delta(0, A, B)]))
    assert [(s.record, s.unknown) for s in blame(lost.stream, 0, 0, PAGE + 1)] == [
        (3, True),
        (4, True),
        (3, True),
        (None, True),
    ]
    given = xbrletools.open(stream([xbzrle_delta(0, encoded("xbzrle", A, B))]))
    assert [(s.offset, s.record, s.unknown) for s in blame(given.stream, 0, 99, 11)] == [
        (99, None, True),
        (100, 1, False),
        (109, None, True),
    ]


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 8 * PAGE + 1), (8 * PAGE, 1), (-1, 4), (1, 1 << 60)])
def test_bytes_outside_of_the_block_are_refused(offset: int, length: int) -> None:
    capture = xbrletools.open(stream([page(0, A), delta(0, A, B)]))
    with pytest.raises(XbrleError, match=r"pc\.ram has 0x8000 bytes"):
        list(blame(capture.stream, 0, offset, length))
