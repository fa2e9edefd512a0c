"""What work on pages takes beside them is bounded in bytes: pages of 64 KiB cost no more than those of 4 KiB."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from benchmarks import bounds
from tests.posted import encoded, page, raw_delta, stream
from xbrletools.analysis.blame import blame
from xbrletools.codec import checksum, deltas, uniform
from xbrletools.export import raw
from xbrletools.export.memory import Unknown, write_pieces
from xbrletools.formats.dialects import Encoding
from xbrletools.memory.replay import View
from xbrletools.verify.causes import reading
from xbrletools.verify.causes.case import open_case
from xbrletools.verify.spans import replayed

SIZE = 1 << 16
PAGES = 256  # 16 MiB, every other page of the block
ROOM = 12 << 20
CONTENT = bytes(range(256)) * (SIZE // 256)
CHANGED = b"changed" + CONTENT[7:]
ADDRESSES = [2 * SIZE * i for i in range(PAGES)]


@pytest.fixture(scope="module")
def wide() -> xbrletools.Capture:
    """Pages of 64 KiB, of which each has a delta twice, the second time with the sum of what was there before."""
    payload = encoded("posted", CONTENT, CHANGED)
    records = [page(a, CONTENT) for a in ADDRESSES]
    records += [raw_delta(a, payload, new) for new in (CHANGED, CONTENT) for a in ADDRESSES]
    return _opened(records)


@pytest.fixture(scope="module")
def baseless() -> xbrletools.Capture:
    """Deltas to pages of 64 KiB that were never sent, all of them twice."""
    payload = encoded("posted", CONTENT, CHANGED)
    return _opened([raw_delta(a, payload, CHANGED) for a in ADDRESSES] * 2)


def _opened(records: list[bytes]) -> xbrletools.Capture:
    capture = xbrletools.open(stream(records, ((b"pc.ram", 2 * SIZE * PAGES),)), page_size=SIZE)
    assert len(capture.data) and capture.space.page_size == SIZE
    return capture


def taken(work: Callable[[], object]) -> int:
    """The most bytes that were allocated at once, images and other memory that is only reserved left out."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _exhaust(of: Iterator[object]) -> None:
    for _ in of:
        pass


def test_memory_of_wide_pages_takes_little_scratch(wide: xbrletools.Capture, baseless: xbrletools.Capture) -> None:
    assert taken(wide.memory) < ROOM
    assert taken(baseless.memory) < ROOM


def test_wide_pages_are_written_a_few_at_a_time(wide: xbrletools.Capture, tmp_path: Path) -> None:
    image = wide.memory()
    assert taken(lambda: raw.write_file(image, 0, tmp_path / "raw")) < ROOM
    assert taken(lambda: raw.write_folder(image, tmp_path / "folder")) < ROOM
    piece = raw.whole(image, 0)
    assert taken(lambda: write_pieces(image, [piece], tmp_path / "x", b"", piece.length, Unknown.MASK_FILE)) < ROOM
    assert (tmp_path / "raw").read_bytes()[: 2 * SIZE] == CONTENT + bytes(SIZE)


def test_sums_of_deltas_that_follow_are_tried_a_few_pages_at_a_time(wide: xbrletools.Capture) -> None:
    image = wide.memory(PAGES)
    assert taken(lambda: wide.confirmed(image, PAGES)) < ROOM
    assert wide.confirmed(image, PAGES, View.SENDER).sum() == PAGES


def test_verify_looks_at_a_few_wide_pages_at_a_time(wide: xbrletools.Capture, baseless: xbrletools.Capture) -> None:
    assert taken(lambda: _exhaust(wide.verify())) < ROOM
    assert taken(lambda: _exhaust(baseless.verify())) < ROOM
    assert len(replayed(baseless.stream)) == 1


def test_causes_are_looked_for_a_few_wide_pages_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "sparse.bin"
    bounds.sparse_file(path, 250_000_000)  # pages of 64 KiB, some of them with deltas and never sent
    read = reading.read(xbrletools.open(path).stream)
    assert read is not None
    case = open_case(read)
    assert taken(lambda: case.foreign_rows) < 2 * ROOM  # a number of 8 bytes for each byte that is compared
    assert len(case.foreign_rows[0]) > 250


def test_blame_looks_at_a_few_wide_pages_at_a_time(wide: xbrletools.Capture) -> None:
    assert taken(lambda: _exhaust(blame(wide.stream, 0, 0, 2 * SIZE * PAGES))) < 2 * ROOM  # a number for each byte


@pytest.mark.parametrize("size", [1 << 12, 1 << 16])
@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("in_order", [True, False])
def test_short_deltas_that_change_all_of_a_page_take_little_scratch(
    encoding: Encoding, size: int, in_order: bool
) -> None:
    count = 2 * SIZE * PAGES // size // 4
    old, new = np.zeros((1, size), np.uint8), np.full((1, size), 7, np.uint8)
    if encoding is Encoding.ZRUN:
        new[0, size // 8 :] = 0  # what changes stands in the payload, and two bytes hold no longer run than 16383
    payload, length = deltas.encode(encoding, old, new, None)
    data, offsets = np.tile(payload, count), np.arange(count) * length[0]
    pages = np.zeros((count, size), np.uint8)
    rows = np.arange(count) if in_order else np.random.default_rng(1).permutation(count)
    work = lambda: deltas.apply(encoding, data, offsets, np.repeat(length, count), pages, rows)  # noqa: E731
    assert taken(work) < ROOM
    assert (pages == new).all()


def test_sums_and_fills_of_wide_pages_take_little_scratch() -> None:
    pages = np.zeros((PAGES, SIZE), np.uint8)
    rows = np.random.default_rng(1).permutation(PAGES)
    assert taken(lambda: checksum.byte_sum(pages, rows)) < ROOM
    assert taken(lambda: uniform.fills(pages, rows)) < ROOM
