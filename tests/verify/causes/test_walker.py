"""The strict walk reads what the scan reads, and breaks where a law does."""

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES, SOUND
from xbrletools.formats.ram import Kind
from xbrletools.table.columns import DTYPES
from xbrletools.verify.causes.reading import read
from xbrletools.verify.causes.walker import NOTHING, Spot, State, Walker, Why, columns_of

NAMES = sorted(p.name for p in SOUND)


@pytest.mark.parametrize("name", NAMES)
def test_the_walk_gives_the_rows_of_the_scan(name: str) -> None:
    stream = xbrletools.open(SAMPLES / name).stream
    found = read(stream)
    assert found is not None and not found.breaks
    first = int(np.flatnonzero(stream.records.columns.kind == Kind.MEM_SIZE)[0])
    at = int(stream.records.columns.end(np.array([first]))[0])
    footer = next(iter(found.grammar.owners)) if found.grammar.footers else None
    block = 0 if found.grammar.flat else NOTHING
    walk = Walker(found.view, found.grammar).walk(Spot(at, State.RECORD, block, False, footer))
    assert walk.ended and walk.why is None
    walked = columns_of(walk.rows)
    for column in DTYPES:
        np.testing.assert_array_equal(getattr(walked, column), getattr(stream.records.columns, column)[first + 1 :])


@pytest.mark.parametrize("name", NAMES)
def test_a_scan_and_a_walk_after_a_break_give_the_same_rows(name: str) -> None:
    data = bytearray((SAMPLES / name).read_bytes())
    whole = xbrletools.open(bytes(data)).stream.records.columns
    row = int(np.flatnonzero(whole.kind == Kind.DUP)[10])
    data[int(whole.offset[row]) + 7] = 0xFF
    found = read(xbrletools.open(bytes(data)).stream)
    assert found is not None
    assert [b.why for b in found.breaks] == [Why.FLAGS]
    assert found.breaks[0].at == whole.offset[row]
    rest = np.delete(np.asarray(whole.offset), row)
    np.testing.assert_array_equal(found.rows.offset, rest[-len(found.rows) :])
    assert len(rest) - len(found.rows) <= 1


def test_salvage_does_not_decide_what_is_read() -> None:
    data = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
    data[400000] ^= 0x10
    plain, salvaged = (read(xbrletools.open(bytes(data), salvage=s).stream) for s in (False, True))
    assert plain is not None and salvaged is not None
    np.testing.assert_array_equal(plain.rows.offset, salvaged.rows.offset)
    assert plain.breaks == salvaged.breaks
