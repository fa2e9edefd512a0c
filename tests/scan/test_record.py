"""One answer to where a record ends, compared with the fast walks and with the grammar, on whole and cut records."""

import contextlib
import random
from functools import cache

import numpy as np
import pytest
from construct import StreamError

import xbrletools
from tests.conftest import SAMPLES, SOUND
from tests.formats import walk as grammars
from tests.streams import PAGE
from xbrletools.capture import Capture
from xbrletools.formats import ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.ram import Flag, Kind
from xbrletools.model import Reading
from xbrletools.ram import blocklist
from xbrletools.ram.record import WORD, Ending, Extent, delta_kind, extent, is_zlib
from xbrletools.scan.strict import Scanner
from xbrletools.source.sources import MappedSource
from xbrletools.table.columns import DTYPES, NO_BLOCK, Columns, join

NAMES = sorted(p.stem for p in SOUND)
SMALL = 1 << 18  # bytes of a sample whose cuts are scanned


@cache
def opened(name: str) -> Capture:
    return xbrletools.open(SAMPLES / f"{name}.bin")


def record_at(capture: Capture, at: int, stop: int | None = None) -> Extent:
    return extent(memoryview(capture.data), at, capture.facts.reading, stop, ram.BlockEntry)


def rows_of(capture: Capture, offsets: list[int]) -> dict[str, list[int]]:
    """What the table's columns hold, by one slow look at a time."""
    selected = 0 if capture.facts.ram_version == ram.VERSION_FLAT else NO_BLOCK
    rows: dict[str, list[int]] = {name: [] for name in Columns.__dataclass_fields__}
    for at in offsets:
        found = record_at(capture, at)
        assert found.ending is Ending.WHOLE
        if found.name is not None:
            selected = capture.facts.names.index(found.name)
        values = {
            "offset": at,
            "address": found.address,
            "length": found.length,
            "checksum": found.checksum or 0,
            "flags": found.flags,
            "block": selected if found.kind in ram.PAGE_KINDS else NO_BLOCK,
            "head": found.payload - at,
            "kind": int(found.kind),
            "header_flags": found.header_flags,
        }
        for name, value in values.items():
            rows[name].append(value)
    return rows


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("name", NAMES)
def test_the_fast_walks_say_the_same_of_every_record_of_every_sample(name: str) -> None:
    capture = opened(name)
    pieces = list(Scanner(MappedSource("m", capture.data.tobytes())))  # by the walk that this test is about
    assert all(getattr(piece, column).dtype == dtype for piece in pieces for column, dtype in DTYPES.items())
    columns = join(pieces)
    for column, values in rows_of(capture, columns.offset.tolist()).items():
        assert getattr(columns, column).tolist() == values, column


@pytest.mark.parametrize("name", NAMES)
def test_the_grammar_says_the_same_of_every_record_of_every_sample(name: str) -> None:
    capture = opened(name)
    walked = grammars.walk(capture)
    assert len(walked.records) == len(capture.records)
    for at, size, parsed in walked.records:
        found = record_at(capture, at)
        assert (found.end - at, found.address | found.flags) == (size, parsed.word)
        assert found.name == parsed.name


def of_each_kind(capture: Capture) -> list[int]:
    """The offsets of the last record of each kind, with a name and without: what it depends on was settled before."""
    columns = capture.records.columns
    form = (columns.head.astype(np.int64) * 1000 + columns.kind)[::-1]  # a name makes the head longer
    return columns.offset[::-1][np.unique(form, return_index=True)[1]].tolist()


def cuts(start: int, end: int) -> list[int]:
    """Where a record is cut: at every byte of its head, and near its end."""
    return sorted({*range(start, min(end, start + 40)), *range(max(start, end - 3), end), end, end + 1})


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_cut_exactly_where_its_grammar_runs_out_of_bytes(name: str) -> None:
    capture = opened(name)
    reading = capture.facts.reading
    grammar = ram.record(reading.version, reading.dialect, reading.endian, reading.page_size)
    data = capture.data.tobytes()
    for at in of_each_kind(capture):
        end = record_at(capture, at).end
        for stop in cuts(at, end):
            found = record_at(capture, at, stop)
            assert found.ending is (Ending.CUT if stop < end else Ending.WHOLE)
            assert (found.end > stop) == (stop < end)
            if stop < end:
                with pytest.raises(StreamError):
                    grammar.parse(data[at:stop])
            else:
                assert len(grammar.build(grammar.parse(data[at:stop]))) == end - at


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("name", [n for n in NAMES if (SAMPLES / f"{n}.bin").stat().st_size < SMALL])
def test_the_fast_walks_keep_of_a_cut_record_what_is_there_of_its_payload(name: str) -> None:
    capture = opened(name)
    dialect = capture.dialect.name if capture.dialect else None
    data = capture.data.tobytes()
    for at in of_each_kind(capture):
        whole = record_at(capture, at)
        if whole.kind not in ram.PAGE_KINDS:
            continue
        for stop in {at + WORD, whole.payload, whole.payload + 1, whole.end - 1, whole.end}:
            scanner = Scanner(MappedSource("m", data[:stop]), dialect, capture.facts.reading.endian)
            columns = join(list(scanner))
            kept = int(columns.offset[-1]) == at
            assert kept == (stop - whole.payload >= min(1, whole.length))
            assert not kept or int(columns.length[-1]) == min(whole.length, stop - whole.payload)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda d: d.name)
@pytest.mark.parametrize("endian", ["little", "big"])
def test_any_bytes_are_the_record_that_the_grammar_makes_of_them(dialect, endian) -> None:
    chance = random.Random(f"{dialect.name}{endian}")
    reading = Reading(dialect.ram_version, dialect, endian, PAGE, page_sum=dialect.page_sum)
    grammar = ram.record(dialect.ram_version, dialect, endian, PAGE)
    seen = set()
    for _ in range(1500):
        flags = chance.choice([1 << chance.randrange(10), chance.randrange(1 << 10), chance.randrange(1 << 12)])
        flags &= ~Flag.MEM_SIZE  # whose list is another grammar
        word = (chance.randrange(1 << 20) * PAGE | flags).to_bytes(8)
        data = word + bytes(chance.choice((0, 1, 2, 7, 0xFF)) for _ in range(chance.choice((0, 1, 8, 40, 5000))))
        found = extent(memoryview(data), 0, reading)
        seen.add(found.ending)
        if found.ending is Ending.TOO_LONG:
            assert not 0 <= found.length <= dialect.page_limit * PAGE
            continue
        try:
            parsed = grammar.parse(data)
        except StreamError:
            assert found.ending is Ending.CUT
            assert found.end > len(data)
            continue
        assert found.ending is Ending.WHOLE
        assert found.end == len(grammar.build(parsed))
        assert found.name == parsed.name
        if found.kind in ram.DELTA_KINDS:
            assert data[found.payload : found.end] == parsed.body.payload
            assert found.checksum == parsed.body.header.get("checksum")
            assert found.header_flags == parsed.body.header.flags
    assert seen == {Ending.WHOLE, Ending.CUT, Ending.TOO_LONG}


def test_a_block_list_ends_with_its_last_entry_or_is_cut() -> None:
    entry = ram.block_entry(address=True)
    blocks = [{"idstr": n, "length": PAGE, "address": 0, "page_size": None} for n in (b"pc.ram", b"vga")]
    record = (2 * PAGE | Flag.MEM_SIZE).to_bytes(8) + b"".join(entry.build(b) for b in blocks)
    data = memoryview(record + bytes(20))
    for stop in range(WORD, len(data) + 1):
        found = extent(data, 0, Reading(), stop, entry)
        assert found.kind is Kind.MEM_SIZE
        assert found.ending is (Ending.WHOLE if stop >= len(record) else Ending.CUT)
        assert found.end == (len(record) if stop >= len(record) else stop + 1)


FORMS = [(address, page_size) for address in (False, True) for page_size in (False, True)]


@pytest.mark.parametrize("form", FORMS)
def test_a_list_is_what_its_grammar_makes_of_it_wherever_it_is_cut(form: tuple[bool, bool]) -> None:
    chance = random.Random(str(form))
    entry = ram.block_entry(*form)
    for _ in range(20):
        blocks = [
            {
                "idstr": chance.randbytes(chance.choice((0, 1, 6, 255))),
                "length": chance.choice((0, PAGE, 3 * PAGE)),
                "page_size": chance.choice((None, 1 << 16, 1 << 21)) if form[1] else None,
                "address": chance.choice((0, PAGE, 1 << 40)),
            }
            for _ in range(chance.choice((1, 2, 5)))
        ] + [{"idstr": b"last", "length": PAGE, "page_size": None, "address": 0}]
        total = sum(b["length"] for b in blocks)
        data = b"".join(entry.build(b) for b in blocks) + (chance.randbytes(3) or b"")
        for stop in range(len(data) + 1):
            by_grammar, at, listed = [], 0, 0
            with contextlib.suppress(StreamError):
                while listed < total:
                    parsed = entry.parse(data[at:stop])
                    by_grammar.append((parsed.idstr, parsed.length, parsed.address, parsed.page_size))
                    at += len(entry.build(parsed))
                    listed += parsed.length
            found = blocklist.entries(memoryview(data)[:stop], total, entry)
            assert [(b.name, b.length, b.address, b.page_size) for b in found.blocks] == by_grammar
            assert found.cut == (listed < total)
            assert found.size == (stop if found.cut else at)


def test_a_list_that_is_cut_gives_the_blocks_before_the_cut() -> None:
    entry = ram.block_entry()
    data = b"".join(entry.build({"idstr": n, "length": PAGE}) for n in (b"pc.ram", b"vga", b"rom"))
    found = blocklist.read(memoryview(data)[:-1], 3 * PAGE, ())
    assert found.cut
    assert [b.name for b in found.blocks] == [b"pc.ram", b"vga"]
    assert found.total == 2 * PAGE


@pytest.mark.parametrize("dialect", [None, *DIALECTS.values()], ids=lambda d: "none" if d is None else d.name)
def test_a_delta_is_called_xbzrle_exactly_where_its_payload_is_runs_of_zeros(dialect) -> None:
    expected = Kind.XBZRLE if dialect is not None and dialect.name.startswith("xbzrle") else Kind.XBRLE
    assert delta_kind(dialect) is expected
    if dialect is not None:
        delta = (PAGE | ram.delta_flag(dialect.ram_version)).to_bytes(8)
        assert extent(memoryview(delta + bytes(300)), 0, Reading(dialect.ram_version, dialect)).kind is expected


def test_what_the_reading_does_not_settle_is_said_and_not_guessed() -> None:
    delta = memoryview((PAGE | Flag.XBRLE | Flag.CONTINUE).to_bytes(8) + bytes(100))
    assert extent(delta, 0, Reading()).ending is Ending.UNREAD
    lists = memoryview((PAGE | Flag.MEM_SIZE).to_bytes(8) + b"\6pc.ram" + PAGE.to_bytes(8))
    assert extent(lists, 0, Reading()).ending is Ending.UNREAD
    assert extent(lists, 0, Reading(version=ram.VERSION_FLAT)).end == WORD


@pytest.mark.parametrize(
    ("body", "fits"), [(b"\0\0\0\4\x78\x9c\1\2", True), (b"\0\0\0\4\x77\x9c\1\2", False), (b"\0\0\0\0\x78\x9c", False)]
)
def test_a_compressed_page_is_told_by_its_length_and_the_method_of_its_stream(body: bytes, fits: bool) -> None:
    data = memoryview((Flag.COMPRESS_PAGE | Flag.CONTINUE).to_bytes(8) + body)
    assert is_zlib(data, extent(data, 0, Reading()), PAGE, len(data)) == fits
    for stop in range(WORD, WORD + 6):
        assert not is_zlib(data, extent(data, 0, Reading(), stop), PAGE, stop)
