"""The logs of the two ends held against a capture, and against one of which a part is lost."""

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.damages import damage
from xbrletools.analysis import miglog
from xbrletools.analysis.ends import disagreements
from xbrletools.analysis.miglog import End
from xbrletools.formats.ram import Kind
from xbrletools.memory.ramaddr import layout

DATA = (SAMPLES / "posted-8m.bin").read_bytes()
CUT = 600_000  # a cut here takes the pages 0x281000 to 0x283000 out of a run of pages


@pytest.fixture(scope="module")
def whole():
    return xbrletools.open(DATA)


@pytest.fixture(scope="module", params=End, ids=lambda end: end.value)
def log(request, whole, tmp_path_factory):
    """What goes before the path of a real log and after it: the log of either end, of the undamaged migration."""
    bases = layout(whole.blocks, whole.page_size)[0] if request.param is End.SENDER else None
    path = tmp_path_factory.mktemp("logs") / request.param.value
    path.write_bytes(b"".join(miglog.text(miglog.written(whole.stream, request.param, bases).log)))
    return (path, None) if request.param is End.SENDER else (None, path)


def _rules(found):
    return [f.rule for f in found]


def test_behind_a_cut_no_good_page_is_accused_and_the_lost_lines_are_named(log):
    damaged = xbrletools.open(DATA[:CUT] + DATA[CUT + 5000 :], salvage=True)
    (note,) = disagreements(damaged.stream, *log)
    assert note.rule == "log-unread"
    assert (note.evidence["first_line"], note.evidence["last_line"]) == (2217, 2219)
    assert note.record == 2217
    assert note.offset == damaged.gaps[0].start


def test_an_inserted_span_takes_no_more_lines_than_it_damaged(log):
    noise = np.random.default_rng(2).bytes(768)
    damaged = xbrletools.open(DATA[:CUT] + noise + DATA[CUT:], salvage=True)
    lines = [(f.rule, f.evidence["first_line"], f.evidence["last_line"]) for f in disagreements(damaged.stream, *log)]
    assert lines == [("log-unread", 2217, 2218)]


@pytest.mark.parametrize("kind", ["cut", "insert", "head", "tail"])
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_no_damage_that_leaves_no_false_page_has_one_accused(kind, seed, log):
    damaged = xbrletools.open(damage(DATA, kind, seed).data, salvage=True)
    assert set(_rules(disagreements(damaged.stream, *log))) <= {"log-unread"}


@pytest.mark.parametrize("behind", [False, True])
def test_a_page_flipped_without_a_trace_is_named_before_a_gap_and_behind_it(behind, whole, log):
    columns = whole.records.columns.take(whole.records.is_page)
    pages = np.flatnonzero((columns.kind == Kind.PAGE) & ((columns.offset > 700_000) == behind))
    number = int(pages[len(pages) // 2])
    flipped = bytearray(DATA)
    flipped[int(columns.offset[number]) + int(columns.head[number]) + 99] ^= 0x10
    damaged = xbrletools.open(bytes(flipped[:CUT] + flipped[CUT + 5000 :]), salvage=True)
    (accused,) = [f for f in disagreements(damaged.stream, *log) if f.rule == "ends-disagree"]
    assert accused.page == int(columns.address[number])
    assert accused.record == number + 1 - (3 if behind else 0)
    assert accused.evidence["line"] == number + 1


def test_a_log_of_another_migration_accuses_nothing(log, tmp_path):
    other = xbrletools.open(DATA, salvage=True)
    foreign = tmp_path / "foreign"
    path = next(p for p in log if p is not None)
    lines = path.read_text().splitlines()
    foreign.write_text("".join(f"{line}\n" for line in reversed(lines)))
    found = disagreements(other.stream, *(p and foreign for p in log))
    assert "ends-disagree" not in _rules(found)


@pytest.mark.parametrize(("name", "seed"), [("dbg-stage3", 0), ("dbg-vga-x", 2), ("dbg-vga-x", 3)])
def test_where_the_block_list_is_lost_no_page_is_held_against_the_line_of_another_block(name, seed, corpus, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(corpus(f"qemu-2011-posted/{name}.miglog"))
    damaged = xbrletools.open(damage(corpus(f"qemu-2011-posted/{name}.bin"), "head", seed).data, salvage=True)
    (note,) = disagreements(damaged.stream, log, None)
    assert (note.rule, note.evidence["first_line"]) == ("log-unread", 1)
