"""What differs between two memories: as comparing their bytes one by one finds it."""

import re
from collections import Counter
from pathlib import Path

import pytest

import xbrletools
from tests import building as today
from tests.naive import Memory
from tests.posted import PAGE, delta, dup, encoded, page, raw_delta, stream, xbzrle_delta
from tests.scan.test_today import _discard as discard
from xbrletools.analysis import diff as diff_module
from xbrletools.analysis.diff import (
    PARTS,
    BlockDifference,
    Change,
    Difference,
    blocks_differ,
    differences,
    page_changes,
    tally,
)
from xbrletools.memory.image import Image
from xbrletools.memory.parts import TOGETHER, memories_between, memories_of_two
from xbrletools.memory.replay import View

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]


def image(
    *records: bytes, dialect: str = "posted", blocks: tuple[tuple[bytes, int], ...] = ((b"pc.ram", 8 * PAGE),)
) -> Image:
    return xbrletools.open(stream(records, blocks), dialect=dialect).memory()


def changes(first: Image, second: Image) -> list[tuple[int, int, str]]:
    return [(d.offset, d.length, d.change.value) for d in differences(first, second)]


def naive_image(capture: xbrletools.Capture, at: int) -> dict[tuple[int, int], list[int | None]]:
    memory = Memory(capture)
    for record, _ in memory.records():
        if record == at:
            break
    return {key: list(found.data) for key, found in memory.pages.items()}


@pytest.mark.parametrize("moments", [(1, 2500), (2100, 2101), (2500, 2000)])
def test_two_moments_of_a_sample_differ_as_a_naive_replay_says(samples: Path, moments: tuple[int, int]) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    one, other = (naive_image(capture, at) for at in moments)
    nothing: list[int | None] = [None] * PAGE
    expected = []
    for i, block in enumerate(capture.blocks):
        kinds = bytearray(b"." * block.length)
        for key in sorted(one.keys() | other.keys()):
            if key[0] == i:
                pair = zip(one.get(key, nothing), other.get(key, nothing), strict=True)
                kinds[key[1] : key[1] + PAGE] = b"".join(map(kind_of, pair))
        runs = re.finditer(rb"g+|l+|v+", kinds)
        names = {ord("g"): Change.GAINED, ord("l"): Change.LOST, ord("v"): Change.VALUE}
        expected += [Difference(block.name, r.start(), r.end() - r.start(), names[r[0][0]]) for r in runs]
    memories = [capture.memory(at) for at in moments]
    assert list(differences(*memories)) == expected
    counted = tally(*memories)
    assert counted.bytes == sum((Counter({d.change: d.length}) for d in expected), Counter())
    assert counted.pages == Counter(
        block for block, _ in {(d.block, (d.offset + i) // PAGE) for d in expected for i in range(d.length)}
    )


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("moments", [(1, 2500), (2100, 2101), (2500, 2000), (0, 700), (2200, None), (None, None)])
def test_pages_that_can_differ_between_two_moments_are_all_that_do(
    samples: Path, moments: tuple[int | None, int | None], view: View
) -> None:
    for capture in (xbrletools.open(samples / "posted-8m.bin"), xbrletools.open(damaged(samples), salvage=True)):
        last = capture.records.last_number
        numbers = [n if n is None else min(n, last) for n in moments]
        whole = [capture.memory(n, view) if n != 0 else Image(capture.space) for n in numbers]
        for together in (300 * PAGE, TOGETHER):
            parts = memories_between(capture.stream, numbers[0], numbers[1], view, together)
            assert in_pages(*((one, other) for one, other, _ in parts)) == in_pages((whole[0], whole[1])), together


@pytest.mark.parametrize("together", [300 * PAGE, TOGETHER])
@pytest.mark.parametrize("number", [0, 700, 2200, None])
def test_two_captures_differ_part_by_part_in_what_they_differ_as_wholes(
    samples: Path, number: int | None, together: int
) -> None:
    one = xbrletools.open(samples / "posted-8m.bin")
    for other in (xbrletools.open(damaged(samples), salvage=True), xbrletools.open(samples / "posted-big-debug.bin")):
        whole = one.memory(number) if number != 0 else Image(one.space), other.memory()
        parts = list(memories_of_two(one.stream, number, other.stream, View.RECEIVER, together))
        assert in_pages(*((first, second) for first, second, _ in parts)) == in_pages(whole)
        assert [share for _, _, share in parts] == sorted(share for _, _, share in parts)


def test_blocks_in_another_order_and_pages_of_another_size_are_compared_in_parts() -> None:
    blocks = (b"a", 3 * PAGE), (b"b", 2 * PAGE)
    one = xbrletools.open(stream([page(0, A, b"a"), page(2 * PAGE, B, b"a"), page(PAGE, A, b"b")], blocks))
    swapped = xbrletools.open(stream([page(PAGE, B, b"b"), page(0, A, b"a"), page(PAGE, A, b"a")], blocks[::-1]))
    shorter = xbrletools.open(stream([page(0, A, b"c"), page(PAGE, B, b"b")], ((b"c", PAGE), (b"b", 2 * PAGE))))
    finer = xbrletools.open(stream([dup(1024, 7), dup(2 * PAGE, 9)], blocks[:1]), page_size=1024)
    for other in (swapped, shorter, finer):
        for first, second in ((one, other), (other, one)):
            expected = in_pages((first.memory(), second.memory()))
            assert expected
            for together in (PAGE, TOGETHER):
                parts = memories_of_two(first.stream, None, second.stream, View.RECEIVER, together)
                assert in_pages(*((a, b) for a, b, _ in parts)) == expected


def in_pages(*memories: tuple[Image, Image]) -> list[tuple[bytes, int, int, int, list[int]]]:
    """The pages that differ between two memories, or between their parts: where, and how."""
    return sorted(
        (c.block, int(c.address[i]), int(c.count[i]), int(c.one_sided[i]), c.parts[i].tolist())
        for pair in memories
        for c in page_changes(*pair)
        for i in range(len(c))
    )


def damaged(samples: Path) -> bytes:
    """A sample with bytes cut out of its middle: pages are in doubt from there on."""
    data = (samples / "posted-8m.bin").read_bytes()
    return data[:600_000] + data[600_777:]


def test_a_discarded_page_can_differ_though_no_record_gives_it_between_the_moments() -> None:
    whole = today.stream(today.page(0, A, b"pc.ram"), today.page(PAGE, A), discard(0, 1), today.page(PAGE, B))
    capture = xbrletools.open(whole)
    ((one, other, share),) = memories_between(capture.stream, 2, 3)
    found = list(differences(one, other))
    assert share == 1
    assert found == list(differences(capture.memory(2), capture.memory(3)))
    assert {d.change for d in found} == {Change.LOST, Change.VALUE}


def test_page_changes_count_what_differs_and_where_in_the_page(samples: Path) -> None:
    capture = xbrletools.open(samples / "posted-8m.bin")
    for moments in ((1, 2500), (2100, 2300), (2500, 2000)):
        memories = [capture.memory(at) for at in moments]
        expected: dict[tuple[bytes, int], list[int]] = {}
        for d in differences(*memories):
            for at in range(d.offset, d.offset + d.length):
                page_ = expected.setdefault((d.block, at // PAGE * PAGE), [0] * (PARTS + 1))
                page_[at % PAGE // (PAGE // PARTS)] += 1
                page_[PARTS] += d.change is not Change.VALUE
        found = {
            (c.block, int(c.address[i])): [*c.parts[i].tolist(), int(c.one_sided[i])]
            for c in page_changes(*memories)
            for i in range(len(c))
        }
        assert found == expected
        assert all((c.count == c.parts.sum(1)).all() for c in page_changes(*memories))


def kind_of(pair: tuple[int | None, int | None]) -> bytes:
    one, other = pair
    if one == other:
        return b"."
    return b"g" if one is None else b"l" if other is None else b"v"


def test_the_two_views_differ_where_the_destination_is_wrong() -> None:
    capture = xbrletools.open(stream([page(0, A), dup(0, 7), delta(0, A, B)]))
    found = list(differences(capture.memory(), capture.memory(view=View.SENDER)))
    assert found
    assert sum(d.length for d in found) == sum(7 ^ a ^ b != b for a, b in zip(A, B, strict=True))


def test_what_is_known_in_one_memory_only_differs_and_what_is_unknown_in_both_does_not() -> None:
    lost = image(page(0, A), page(PAGE, A), raw_delta(PAGE, b"\x01\x02"))
    assert changes(lost, image(page(0, A), page(PAGE, A))) == [(PAGE, PAGE, "gained")]
    assert changes(image(page(0, A), page(PAGE, A)), lost) == [(PAGE, PAGE, "lost")]
    assert changes(lost, image(page(0, A))) == []
    partly = image(xbzrle_delta(0, encoded("xbzrle", A, B)), dialect="xbzrle")
    assert changes(partly, image(page(0, A))) == [
        (0, 100, "gained"),
        (100, 9, "value"),
        (109, PAGE - 109, "gained"),
    ]


def test_a_difference_goes_on_across_pages_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = image(*(dup(i * PAGE, 1) for i in range(4))), image(*(dup(i * PAGE, 2) for i in range(4)))
    for piece in (diff_module.PIECE, PAGE, 3 * PAGE, 1000):
        monkeypatch.setattr(diff_module, "PIECE", piece)
        assert changes(one, other) == [(0, 4 * PAGE, "value")]


def test_memories_of_different_page_sizes_can_be_compared() -> None:
    one = image(*(page(i * PAGE, A) for i in range(8)))
    other = xbrletools.open(stream([], ((b"pc.ram", 8 * PAGE),)), page_size=1024).memory()
    assert changes(one, other) == [(0, 8 * PAGE, "lost")]


def test_blocks_of_one_memory_only_or_of_two_lengths_are_named() -> None:
    one = image(page(0, A, b"a"), page(0, A, b"b"), blocks=((b"a", PAGE), (b"b", 2 * PAGE)))
    other = image(page(0, B, b"b"), blocks=((b"b", PAGE), (b"c", PAGE)))
    assert blocks_differ(one, other) == [
        BlockDifference(b"a", PAGE, None),
        BlockDifference(b"b", 2 * PAGE, PAGE),
        BlockDifference(b"c", None, PAGE),
    ]
    assert list(differences(one, other)) == [Difference(b"b", 100, 9, Change.VALUE)]
    assert blocks_differ(one, one) == []
