"""What differs between two memories: as comparing their bytes one by one finds it."""

import re
from collections import Counter
from pathlib import Path

import pytest

import xbrletools
from tests.naive import Memory
from tests.posted import PAGE, delta, dup, encoded, page, raw_delta, stream, xbzrle_delta
from xbrletools.analysis import diff as diff_module
from xbrletools.analysis.diff import BlockDifference, Change, Difference, blocks_differ, differences, tally
from xbrletools.memory.image import Image
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
