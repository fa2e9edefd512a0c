import threading

import numpy as np
import pytest

import xbrletools
from tests.building import PAGE, patterned, zero
from tests.conftest import SAMPLES
from tests.scan.test_channels import Packets, main_channel
from xbrletools.capture import Capture
from xbrletools.table import growing
from xbrletools.table.columns import NO_BLOCK
from xbrletools.table.growing import GrowingTable


def filled(monkeypatch: pytest.MonkeyPatch, piece: int) -> tuple[Capture, GrowingTable]:
    monkeypatch.setattr(growing, "PIECE", piece)
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    tables: list[GrowingTable] = []
    for _ in capture.load(tables.append):
        pass
    return capture, tables[0]


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_row_of_a_growing_table_is_that_of_the_whole_one(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    capture, table = filled(monkeypatch, piece)
    whole = xbrletools.open(SAMPLES / "posted-8m.bin").records
    assert len(table) == len(whole) == len(capture.records)
    assert table.records == len(whole.by_number)
    for row in range(0, len(whole), 5):
        record = table.record(row)
        c = whole.columns
        assert (record.number or 0) == whole.number[row]
        assert (record.pass_ or 0) == whole.pass_[row]
        assert record.section == whole.section[row]
        assert record.stage == whole.stage[row]
        assert (record.offset, record.length) == (c.offset[row], c.length[row])
        assert record.payload == whole.payload[row]
        assert (NO_BLOCK if record.block is None else record.block) == c.block[row]


def test_rows_are_found_by_number_and_by_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    capture, table = filled(monkeypatch, 100)
    for number in (1, 2, 100, 101, table.records):
        row = capture.records.row(number)
        assert table.row_of(number) == row
        record = table.record(row)
        assert table.at(record.offset) == row
        assert table.at(record.end - 1) == row
    assert table.row_of(0) is None
    assert table.row_of(table.records + 1) is None
    assert table.at(0) is None
    with pytest.raises(IndexError):
        table.record(len(table))


def test_find_goes_to_the_nearest_row_either_way_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    capture, table = filled(monkeypatch, 10)
    rows = np.flatnonzero(capture.records.columns.kind == 4)
    here = int(rows[len(rows) // 2])
    assert table.find(here, 1, lambda c: c.kind == 4) == rows[len(rows) // 2 + 1]
    assert table.find(here, -1, lambda c: c.kind == 4) == rows[len(rows) // 2 - 1]
    assert table.find(int(rows[-1]), 1, lambda c: c.kind == 4) is None


def test_what_was_scanned_so_far_can_be_replayed_while_the_scan_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xbrletools.source.sources.WINDOW", 1 << 17)
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    tables: list[GrowingTable] = []
    scan = capture.load(tables.append)
    next(scan)
    next(scan)
    part = capture.so_far(tables[0])
    last = tables[0].records
    assert 0 < last < xbrletools.open(SAMPLES / "posted-8m.bin").records.by_number.size
    seen = part.memory()
    for _ in scan:
        pass
    assert np.array_equal(seen.pages, capture.memory(at=last).pages)
    assert len(part.records) < len(capture.records)


def test_sections_can_be_looked_up_while_a_scan_adds_some() -> None:
    capture = xbrletools.open(SAMPLES / "xbzrle-16m.bin")
    sections = capture.sections
    errors: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                sections.stages(sections.of(np.arange(0, 1 << 20, 512)))
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    owner = sections[1].owner
    for i in range(20000):
        sections.add(sections[1].type, owner, 1 << 20 | i, 1 << 20 | i)
    stop.set()
    reader.join()
    assert not errors


def test_records_of_channels_stand_where_they_count_once_all_is_loaded() -> None:
    one = Packets(0).packet(0, sync=True).packet(2, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    one.packet(3, sync=True)
    opened = [
        xbrletools.open(main_channel(zero(2 * PAGE, b"pc.ram")), channels=[one.bytes()]) for _ in ("loaded", "whole")
    ]
    tables: list[GrowingTable] = []
    for _ in opened[0].load(tables.append):
        pass
    table, whole = tables[0], opened[1].records
    assert len(table) == len(whole) == len(opened[0].records)
    for row in range(len(whole)):
        record = table.record(row)
        assert record.offset == whole.columns.offset[row]
        assert (record.number or 0) == whole.number[row]
        assert (record.section, record.stage) == (whole.section[row], whole.stage[row])
    for row in whole.main_rows.tolist():
        assert table.at(int(whole.columns.offset[row])) == row
