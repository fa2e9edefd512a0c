"""What follows from columns for some rows, and for all of them, is the same."""

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.table import table as records
from xbrletools.table.kinds import IS_PAGE, are_pages


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_numbers_passes_and_rows_of_some_rows_are_those_of_the_columns(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with xbrletools.open(SAMPLES / "m115-big.bin") as capture:
        table = capture.records
        expected = table.number, table.pass_
        monkeypatch.setattr(records, "PIECE", piece)
        table = records.RecordTable(table.columns, table.sections, table.names, table.page_size)
        rows = table.by_number[:: max(1, len(table.by_number) // 50)]
        assert np.array_equal(table.numbers_of(rows), expected[0][rows])
        assert np.array_equal(table.passes_of(rows), expected[1][rows])
        assert [table.row_of(n) for n in table.numbers_of(rows).tolist()] == rows.tolist()
        assert table.row_of(0) is None
        assert table.row_of(table.last_number + 1) is None
        assert table.last_number == len(table.by_number)
        address = int(table.columns.address[rows[-1]])
        mine = table.rows_of(0, address)
        assert np.array_equal(mine, [r for r in table.by_number if int(table.columns.address[r]) == address])
        assert not len(table.numbers_of(rows[:0]))


def test_a_kind_carries_a_page_by_comparing_as_by_the_table() -> None:
    every = np.arange(256, dtype=np.uint8)
    assert (are_pages(every) == IS_PAGE).all()
