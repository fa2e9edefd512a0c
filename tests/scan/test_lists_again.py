"""Block lists that come again, to the byte: a stream can have millions of them."""

import pytest

from tests import building
from tests.building import EOF, EOS, HEADER, PAGE, block_list, configuration, footer, part, patterned, start
from tests.streams import StreamBuilder, noise
from xbrletools import open as open_capture
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Kind
from xbrletools.scan.ram_reader import RamReader

BLOCKS = ((b"pc.ram", 16 * PAGE), (b"vga.vram", 4 * PAGE))


def with_lists(count: int, lists: bytes, *after: bytes) -> bytes:
    head = HEADER + configuration() + start() + block_list(BLOCKS) + EOS + footer()
    return (
        head
        + part()
        + lists * count
        + b"".join(after)
        + EOS
        + footer()
        + part(kind=SectionType.END)
        + EOS
        + footer()
        + EOF
    )


def test_a_list_that_comes_a_hundred_thousand_times_is_parsed_once(monkeypatch: pytest.MonkeyPatch):
    parsed = []
    real = RamReader._block_list
    monkeypatch.setattr(RamReader, "_block_list", lambda self, at, total: (parsed.append(at), real(self, at, total))[1])
    capture = open_capture(with_lists(100_000, block_list(BLOCKS)))
    assert (capture.records.columns.kind == Kind.MEM_SIZE).sum() == 100_001
    assert capture.damage is None
    assert len(parsed) < 10, "each takes a part of a millisecond"


def test_records_after_repeated_lists_are_read():
    page = building.page(PAGE, patterned(1), b"pc.ram")
    capture = open_capture(with_lists(3, block_list(BLOCKS), page))
    assert [Kind(k) for k in capture.records.columns.kind] == [
        Kind.MEM_SIZE,
        Kind.EOS,
        *[Kind.MEM_SIZE] * 3,
        Kind.PAGE,
        Kind.EOS,
        Kind.EOS,
    ]
    assert capture.memory()["pc.ram"][1].tobytes() == patterned(1)


def test_a_list_that_differs_from_the_first_is_said_once_however_often_it_comes():
    capture = open_capture(with_lists(50, block_list(BLOCKS[::-1])))
    assert [p.rule for p in capture.problems if p.rule.startswith("block-list")] == ["block-list-form"]


def test_the_block_before_a_repeated_list_stays_selected():
    builder = StreamBuilder(dict(BLOCKS))
    lists = block_list(BLOCKS)
    builder.page(0, noise(1)).part()
    builder.out += lists * 2
    builder.page(PAGE, noise(2))
    capture = open_capture(builder.bytes())
    assert capture.memory()["pc.ram"][1].tobytes() == noise(2).tobytes()
