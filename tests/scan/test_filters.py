from dataclasses import dataclass

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.filters import FilterError, parse, term
from xbrletools.table.windows import windows

NAMES = {b"pc.ram": 8 * PAGE, b'0000:00:02.0/a b,(")': 2 * PAGE, b"\xff\x1b": PAGE}
QUOTED = b'0000:00:02.0/a b,(")'


@dataclass
class Place:
    rule: str
    offset: int | None = None
    record: int | None = None


@pytest.fixture(scope="module")
def table():
    """Records 1 to 8: three pages and a dup of pc.ram, one page each of the odd blocks, two deltas."""
    a, b = noise(1), noise(1)
    b[9] ^= 0x5A
    stream = StreamBuilder(NAMES, flags=3).page(0, a).page(PAGE, a).dup(2 * PAGE, 7)
    stream.page(0, a, QUOTED).page(0, a, b"\xff\x1b").part().delta(0, a, b).page(3 * PAGE, a).end()
    stream.delta(3 * PAGE, a, b)
    return xbrletools.open(stream.bytes()).records


def chosen(table, text, findings=()):
    numbers = table.number[parse(text).mask(table, findings)].tolist()
    return [n for n in numbers if n]


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("kind:dup", [3]),
        ("kind:dup,xbrle", [3, 6, 8]),
        ("kind=delta", [6, 8]),
        ("kind!=page", [3, 6, 8]),
        ("page:0x1000-0x2000", [2, 3]),
        ("page:0x1fff", [2]),
        ("page:pc.ram:0x0", [1, 6]),
        ("page>=0x2000", [3, 7, 8]),
        ("page:-0x0 kind:page", [1, 4, 5]),
        ("len>1000 len<=4K", [1, 2, 4, 5, 7]),
        ("len=1", [3]),
        ("block:pc.ram pass:2-", [6, 7, 8]),
        ('block:"0000:00:02.0/a b,("")"', [4]),
        ("block:'0000:00:02.0/a b,(\")'", [4]),
        ('page:"0000:00:02.0/a b,("")":0', [4]),
        (r"block:\xff\x1b", [5]),
        ("stage:start", [1, 2, 3, 4, 5]),
        ("stage:2-3", [6, 7, 8]),
        ("stage>part", [8]),
        ("record:2-3,5", [2, 3, 5]),
        ("section:1", [6, 7]),
        ("section:ram record<2", [1]),
        ("flags:continue", [2, 3, 7, 8]),
        ("flags:0x28", [2, 7]),
        ("not kind:page", [3, 6, 8]),
        ("!kind:page !kind:dup", [6, 8]),
        ("not (kind:page or kind:dup)", [6, 8]),
        ("kind:dup or kind:xbrle and stage:end", [3, 8]),
        ("(kind:dup or kind:xbrle) stage:end", [8]),
        ("finding:stale-base", [6]),
        ("finding:any", [1, 6]),
    ],
)
def test_an_expression_chooses_these_records(table, text, records):
    findings = [Place("stale-base", record=6), Place("odd", offset=int(table.columns.offset[1]) + 30)]
    assert chosen(table, text, findings) == records


def test_a_checksum_is_that_of_the_header(table):
    sum_ = int(table.columns.checksum[table.by_number[5]])
    assert chosen(table, f"checksum:{sum_:#x} record:6") == [6]
    assert chosen(table, "checksum:0") == []


def test_an_offset_chooses_records_and_the_sections_there(table):
    second = table.sections[1]
    found = parse(f"offset:{second.offset:#x}-")
    assert table.number[found.mask(table)].max() == 8
    assert found.sections(table.sections, np.arange(len(table.sections))).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("section:1", [False, True, False, False]),
        ("section:ram", [True, True, True, False]),
        ("stage:end or section:0", [True, False, True, False]),
        ("stage<part", [True, False, False, False]),
        ("not section:ram", [False, False, False, True]),
        ("kind:page", [False] * 4),
        ("not kind:page", [False] * 4),
        ("section:1 len>1", [False] * 4),
    ],
)
def test_sections_are_chosen_only_by_what_sections_have(table, text, sections):
    assert parse(text).sections(table.sections, np.arange(4)).tolist() == sections


def test_records_without_a_page_have_no_page_number_or_pass(table):
    for text in ("page:0-", "record<5", "pass:0-9", "block:pc.ram"):
        assert table.is_page[parse(text).mask(table)].all(), text


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("bogus", 0, "expected a term"),
        ("kind:page colour:red", 10, "no field 'colour'"),
        ("kind:pag", 5, "kinds are"),
        ("kind:page,", 10, "expected a value"),
        ("kind>page", 0, "does not have an order"),
        ("len>many", 4, "expected a number"),
        ("page:5-1", 5, "ends before it begins"),
        ("page:5+0", 5, "is empty"),
        ("page:-", 5, "expected a range"),
        ("flags:nonsense", 6, "flags are"),
        ("(kind:page", 0, "never closed"),
        ("kind:page)", 9, "never opened"),
        ("kind:page or", 12, "expected a term"),
        ("not", 3, "expected a term"),
        ("block:'pc.ram", 6, "quote is never closed"),
        ("len:", 4, "expected a value"),
    ],
)
def test_an_error_says_where_and_what_was_expected(text, position, expected):
    with pytest.raises(FilterError, match=f"character {position + 1} .*{expected}") as caught:
        parse(text)
    assert caught.value.position == position


def test_a_name_given_as_it_is_needs_no_quotes(table):
    assert table.number[term("block", QUOTED.decode()).mask(table)].tolist() == [4]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_windows_of_any_size_give_what_the_table_gives(monkeypatch, size):
    monkeypatch.setattr("xbrletools.table.windows.WINDOW_RECORDS", size)
    scan = xbrletools.open(SAMPLES / "posted-8m.bin").scan()
    pieces = list(windows(scan, scan))
    table = xbrletools.open(SAMPLES / "posted-8m.bin").records
    for column in ("number", "pass_", "section", "stage", "is_page"):
        assert (np.concatenate([getattr(p, column) for p in pieces]) == getattr(table, column)).all(), column
    found = parse("kind:xbrle pass:3- stage:part record:2100-2400")
    assert (np.concatenate([found.mask(p) for p in pieces]) == found.mask(table)).all()
