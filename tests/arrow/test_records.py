"""The record table in Arrow's form says what `xbrle dump` says, column by column, and copies nothing that is stored."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import CORPUS, SAMPLES
from xbrletools.table.arrow import FIELDS
from xbrletools.table.claims import stated

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

SAME = {"row": None, "head": None, "checksum": None, "header_flags": None}  # dump --json does not have these


def check_against_dump(capsys: Any, path: Path, *more: str) -> None:
    _, out, _ = run(capsys, "dump", path, "--json", *more)
    want = [r for r in map(json.loads, out.splitlines()) if r["type"] == "record"]
    channels = [Path(p) for o, p in pairwise(more) if o == "--channel"]
    with xbrletools.open(path, channels=channels, beside=lambda _: None) as capture:
        table = capture.records.to_arrow()
        table.validate(full=True)
        got = table.to_pylist()
        states, sums = stated(capture.records.columns, capture.dialect)
    assert len(got) == len(want) > 0
    for name in (f.name for f in FIELDS if f.name not in SAME):
        assert [r[name] for r in got] == [r[name] or None if name == "stage" else r[name] for r in want], name
    assert [r["row"] for r in got] == list(range(len(want)))
    assert [r["checksum"] for r in got] == [
        s if has else None for s, has in zip(sums.tolist(), states.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", sorted(p.name for p in SAMPLES.glob("*.bin")))
def test_a_sample_reads_as_dump_lists_it(capsys: Any, name: str) -> None:
    check_against_dump(capsys, SAMPLES / name)


@pytest.mark.parametrize(
    "name",
    [
        "qemu-2011-posted/dbg-stale-reject.bin",
        "qemu-2010/m115dbg-x.bin",
        "qemu-7.2/pc16-block-kvm.bin",
        "qemu-2011-posted/dbg-cancelled.bin",
    ],
)
def test_a_real_capture_reads_as_dump_lists_it(
    capsys: Any, corpus: Callable[[str], bytes], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "capture.bin"
    path.write_bytes(corpus(name))
    check_against_dump(capsys, path)


def test_records_of_channels_have_the_channel_and_the_offset_in_its_file(capsys: Any) -> None:
    folder = CORPUS / "cases" / "multifd"
    if not folder.is_dir():
        pytest.skip("the corpus of real captures is absent")
    main, *others = sorted(folder.glob("multifd-sync-10.0.chan*.bin"))
    options = [word for other in others for word in ("--channel", str(other))]
    check_against_dump(capsys, main, *options)


def test_what_is_stored_as_arrow_has_it_is_not_copied() -> None:
    with xbrletools.open(SAMPLES / "posted-8m.bin") as capture:
        columns = capture.records.columns
        batch = pyarrow.RecordBatchReader.from_stream(capture.records).read_next_batch()
        for name in ("offset", "head", "length", "flags", "header_flags", "kind", "block", "page"):
            column = batch.column(name)
            data = (column.indices if hasattr(column, "indices") else column).buffers()[-1]
            stored = getattr(columns, {"page": "address"}.get(name, name))
            assert data.address == stored.ctypes.data, name


def test_polars_pandas_and_duckdb_count_what_the_library_counts(corpus: Callable[[str], bytes]) -> None:
    pytest.importorskip("polars", reason="polars is not installed")
    pytest.importorskip("pandas", reason="pandas is not installed")
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    with xbrletools.open(corpus("qemu-2011-posted/dbg-stale-reject.bin")) as capture:
        records = capture.records
        want = records.counts()
        frame = records.to_polars()
        assert dict(frame["kind"].value_counts().iter_rows()) == want
        assert {k: int(n) for k, n in records.to_pandas()["kind"].value_counts().items() if n} == want
        assert dict(duckdb.sql("SELECT kind, count(*) FROM records GROUP BY kind").fetchall()) == want
        assert str(records.to_pandas()["record"].dtype) == "UInt64"
        sums = duckdb.sql('SELECT sum("length"), max("pass"), count(page) FROM records').fetchall()[0]
        columns = records.columns
        assert sums == (int(columns.length.sum()), int(records.pass_.max()), int(np.count_nonzero(records.is_page)))


def test_a_capture_without_records_is_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "head.bin"
    path.write_bytes((SAMPLES / "posted-8m.bin").read_bytes()[:8])
    with xbrletools.open(path) as capture:
        assert capture.records.to_arrow().num_rows == 0
