from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

import xbrletools
from tests.conftest import SAMPLES
from tests.siege.bounds import measured
from xbrletools.table import filling
from xbrletools.table.columns import DTYPES, Columns
from xbrletools.table.filling import Filling


@pytest.mark.parametrize("refused", [False, True], ids=["too few rows asked for", "no such memory"])
def test_a_table_that_outgrows_its_room_keeps_its_rows(monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    def reserve(shape: tuple[int, ...], dtype: DTypeLike, grows: bool) -> NDArray[Any]:
        if refused and shape[0] > 10_000:
            raise OSError("no memory")
        return np.zeros(shape, dtype)

    monkeypatch.setattr(filling, "LEAST", 8)
    monkeypatch.setattr(filling, "reserve", reserve)
    columns = xbrletools.open(SAMPLES / "posted-8m.bin").records.columns.take(slice(0, 900))
    table = Filling(10_000_000 if refused else 10)
    for start in range(0, 900, 70):
        piece = columns.take(slice(start, start + 70))
        added = table.add(piece)
        assert np.array_equal(added.offset, piece.offset)
    assert len(table) == 900
    for field in fields(columns):
        assert np.array_equal(getattr(table.columns(), field.name), getattr(columns, field.name))
    assert np.array_equal(table.columns(7).address, columns.address[:7])


def test_columns_of_zeros_take_no_memory() -> None:
    table, count = Filling(1 << 30), 1 << 16
    columns = Columns(**{name: np.zeros(count, dtype) for name, dtype in DTYPES.items()})
    columns.offset[:] = np.arange(count)
    late = columns.take(np.arange(count))
    late.checksum[count // 2] = 7
    with measured() as peak:
        for _ in range(60):
            table.add(columns)
    assert peak.bytes < 60 * count * 10 + (4 << 20), "eight bytes a row, of 32"
    table.add(late)
    assert np.flatnonzero(table.columns().checksum).tolist() == [60 * count + count // 2]


def test_rows_stay_where_they_were_put() -> None:
    columns = xbrletools.open(SAMPLES / "posted-8m.bin").records.columns.take(slice(0, 100))
    table = Filling(1 << 40)
    first = table.add(columns)
    table.add(columns)
    assert np.shares_memory(first.offset, table.columns().offset)
