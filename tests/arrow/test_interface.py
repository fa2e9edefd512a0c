"""Arrow's C interface: what a reader gets, and that everything is released, once and by whoever has it."""

import ctypes
import gc
import subprocess
import sys
from collections.abc import Iterator
from ctypes import c_char_p, c_void_p
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from xbrletools.arrow import interface
from xbrletools.arrow.interface import _Array, _Schema, _Stream
from xbrletools.arrow.tables import ArrowTable
from xbrletools.arrow.values import (
    BOOL,
    BYTES,
    F64,
    HASH,
    TEXT,
    U32,
    WORDS8,
    Batch,
    Column,
    Field,
    Schema,
    batch,
    optional,
)
from xbrletools.errors import XbrleError

FIELDS = (Field("n", U32, "a number"), Field("word", WORDS8, "a word"), Field("text", TEXT, "text"))
SCHEMA = Schema(FIELDS, {"version": "1.0"})
NUMBERS = np.arange(5, dtype=np.uint32)

_pointer = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    gc.collect()
    before = interface.alive()
    yield
    gc.collect()
    assert interface.alive() == before


def rows() -> Iterator[Batch]:
    words = Column(np.array([0, 1, 0, 1, 1], np.uint8), np.array([1, 1, 1, 0, 1], bool), ("a", "b"))
    yield Batch(5, (Column(NUMBERS), words, optional(TEXT, ["x", None, "", "é", "\ud800"])))


TABLE = ArrowTable(SCHEMA, rows)


class Reader:
    """What a reader in C does, through the addresses alone."""

    def __init__(self, table: ArrowTable) -> None:
        capsule = table.__arrow_c_stream__()
        there = _Stream.from_address(_pointer(capsule, b"arrow_array_stream"))
        self.stream = _Stream()  # the reader's own place: it moves the structure there
        ctypes.memmove(ctypes.addressof(self.stream), ctypes.addressof(there), ctypes.sizeof(_Stream))
        there.release = type(there.release)()
        del capsule

    def next(self) -> tuple[int, Any]:
        array = _Array()
        return self.stream.get_next(ctypes.addressof(self.stream), ctypes.addressof(array)), array

    def close(self) -> None:
        self.stream.release(ctypes.addressof(self.stream))


def release(it: Any) -> None:
    it.release(ctypes.addressof(it))


def test_numbers_are_not_copied_and_nulls_have_a_bitmap() -> None:
    reader = Reader(TABLE)
    status, array = reader.next()
    assert (status, array.length, array.n_children, array.null_count) == (0, 5, 3, 0)
    numbers, words, text = (array.children[i].contents for i in range(3))
    assert numbers.buffers[0] is None and numbers.buffers[1] == NUMBERS.ctypes.data
    assert words.null_count == 1 and ctypes.c_uint8.from_address(words.buffers[0]).value == 0b10111
    assert text.null_count == 1 and words.dictionary.contents.length == 2
    release(array)
    assert not array.release
    status, end = reader.next()
    assert status == 0 and not end.release, "the end is an array that is released"
    reader.close()


def test_a_child_that_was_moved_away_outlives_its_parent_and_is_released_by_itself() -> None:
    reader = Reader(TABLE)
    _, array = reader.next()
    reader.close()
    before = interface.alive()
    child, moved = array.children[2].contents, _Array()
    ctypes.memmove(ctypes.addressof(moved), ctypes.addressof(child), ctypes.sizeof(_Array))
    child.release = type(child.release)()
    release(array)
    assert interface.alive() == before - 4, "the table, two columns and the words of one"
    assert ctypes.string_at(moved.buffers[2], 1) == b"x"
    release(moved)


def test_a_schema_says_names_types_units_and_what_else_is_said_of_the_table() -> None:
    reader, out = Reader(TABLE), _Schema()
    assert reader.stream.get_schema(ctypes.addressof(reader.stream), ctypes.addressof(out)) == 0
    assert out.format == b"+s" and b"version" in ctypes.string_at(out.metadata, 22)
    children = [out.children[i].contents for i in range(3)]
    assert [(c.name, c.format) for c in children] == [(b"n", b"I"), (b"word", b"C"), (b"text", b"U")]
    assert children[1].dictionary.contents.format == b"U"
    release(out)
    reader.close()


def test_an_error_while_a_batch_is_made_reaches_the_reader_with_its_text() -> None:
    def broken() -> Iterator[Batch]:
        yield from rows()
        raise XbrleError("the file has shrunk\x1b")

    reader = Reader(ArrowTable(SCHEMA, broken))
    status, array = reader.next()
    release(array)
    status, _ = reader.next()
    assert status != 0
    said = ctypes.string_at(reader.stream.get_last_error(ctypes.addressof(reader.stream)))
    assert said.startswith(b"the file has shrunk")
    reader.close()


def test_a_capsule_that_nobody_reads_is_dropped_with_what_is_in_it() -> None:
    before = interface.alive()
    capsule = TABLE.__arrow_c_stream__()
    schema = TABLE.__arrow_c_schema__()
    assert interface.alive() > before
    del capsule, schema
    gc.collect()
    assert interface.alive() == before


def test_an_error_on_its_way_is_not_replaced_when_a_capsule_falls_away() -> None:
    with pytest.raises(ZeroDivisionError):
        repr([TABLE.__arrow_c_stream__(), 1 / 0])
    with pytest.raises(TypeError):
        int(TABLE.__arrow_c_stream__())


def test_an_error_on_its_way_is_not_replaced_when_a_reader_gives_back_what_it_had() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pytest.importorskip("xbrletools.arrow._release", reason="the callbacks in C are not built")
    with pytest.raises(KeyError, match="nope"):
        pyarrow.table(TABLE).column("nope")
    with pytest.raises(TypeError, match="array-like"):
        pyarrow.table(TABLE).filter("x")
    with pytest.raises(ZeroDivisionError):
        repr((pyarrow.table(TABLE), 1 / 0))


def test_without_a_compiler_an_error_on_its_way_does_not_end_the_process() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    script = (
        "import sys; sys.modules['xbrletools.arrow._release'] = None\n"
        "import pyarrow\n"
        "from xbrletools.arrow import interface\n"
        "from tests.arrow.test_interface import TABLE\n"
        "for i in range(20):\n"
        "    try:\n"
        "        pyarrow.table(TABLE).column('nope')\n"
        "    except (SystemError, KeyError):\n"
        "        pass\n"
        "print(pyarrow.table(TABLE).num_rows, interface.alive())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "5 0\n"), done.stderr[-500:]


def test_what_was_read_lives_as_long_as_the_reader_has_it_and_not_longer() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    made = np.arange(1 << 16, dtype=np.uint32)
    big = ArrowTable(Schema(FIELDS[:1]), lambda: iter([Batch(len(made), (Column(made),))]))
    for _ in range(200):
        table = pyarrow.table(big)
        part = table.column("n").slice(5, 3)
        del table
        gc.collect(0)
        assert part.to_pylist() == [5, 6, 7]
        half = pyarrow.RecordBatchReader.from_stream(big)  # read in part, or not at all
        del half
    del part


def test_every_type_comes_through_in_pyarrow_polars_and_duckdb() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    fields = (
        Field("b", BOOL, ""),
        Field("f", F64, ""),
        Field("raw", BYTES, ""),
        Field("hash", HASH, ""),
        *FIELDS,
    )
    digest = np.arange(80, dtype=np.uint8).reshape(5, 16)
    columns = (
        Column(np.array([1, 0, 1, 1, 0], bool)),
        optional(F64, [1.5, None, 2.0, 0.0, -1.0]),
        optional(BYTES, [b"\0", b"", None, b"ab", b"c"]),
        Column(digest),
        *next(rows()).columns,
    )
    table = ArrowTable(Schema(fields), lambda: iter([Batch(5, columns)]))
    arrow = table.to_arrow()
    arrow.validate(full=True)
    want = {
        "b": [True, False, True, True, False],
        "f": [1.5, None, 2.0, 0.0, -1.0],
        "raw": [b"\0", b"", None, b"ab", b"c"],
        "hash": [bytes(row) for row in digest],
        "n": [0, 1, 2, 3, 4],
        "word": ["a", "b", "a", None, "b"],
        "text": ["x", None, "", "é", "\\ud800"],
    }
    assert arrow.to_pydict() == want
    assert pyarrow.schema(table).names == list(want)
    assert table.to_polars().select(polars.exclude("hash")).to_dict(as_series=False) == {
        k: v for k, v in want.items() if k != "hash"
    }
    found = duckdb.from_arrow(table).fetchall()
    assert [tuple(row) for row in found] == list(zip(*want.values(), strict=True))
    del arrow, found


def test_rows_that_are_missing_are_an_empty_table_with_its_columns() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    empty = ArrowTable(SCHEMA, lambda: iter([]))
    assert empty.to_arrow().num_rows == 0 and empty.to_arrow().column_names == ["n", "word", "text"]
    plain = (FIELDS[0], FIELDS[2])
    assert ArrowTable(Schema(plain), lambda: iter([batch(plain, [])])).to_arrow().num_rows == 0


def test_a_collection_while_capsules_are_dropped_drops_each_once() -> None:
    """Releasing can start a garbage collection, which drops capsules too."""
    released: list[int] = []
    capsules: list[tuple[object, ctypes.Structure]] = []

    class Owned(ctypes.Structure):
        _fields_ = (("place", ctypes.c_int),)

        def release(self, address: int) -> None:
            assert address == ctypes.addressof(self)
            released.append(self.place)
            interface.sweep(capsules)

    capsules += [(object(), Owned(i)) for i in range(3)]
    held = object()
    capsules.append((held, Owned(3)))
    capsules += [(object(), Owned(i)) for i in range(4, 6)]
    interface.sweep(capsules)
    assert sorted(released) == [0, 1, 2, 4, 5]
    assert [capsule is held for capsule, _ in capsules] == [True]
