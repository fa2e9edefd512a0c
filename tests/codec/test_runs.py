import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.codec import deltas
from xbrletools.codec.runs import Run, runs
from xbrletools.formats.dialects import Encoding

PAGE = 4096


@pytest.mark.parametrize("encoding", list(Encoding))
def test_runs_cover_the_page_and_say_what_the_delta_says(encoding: Encoding) -> None:
    random = np.random.default_rng(7)
    old = random.integers(0, 256, (1, PAGE), np.uint8)
    new = old.copy()
    new[0, [0, 5, 6, 7, 300, 2000, 2001]] ^= 0x5A
    new[0, 3000:3400] ^= 0x11
    payload, lengths = deltas.encode(encoding, old, new)
    literal = encoding is Encoding.ZRUN
    rebuilt = old[0].copy()
    at = 0
    for run in runs(encoding, payload[: lengths[0]], PAGE):
        assert run.start == at
        at += run.length
        if run.value:
            mine = slice(run.start, run.start + run.length)
            rebuilt[mine] = np.frombuffer(run.value, np.uint8) if literal else rebuilt[mine] ^ run.value[0]
    assert np.array_equal(rebuilt, new[0])
    assert at == PAGE or literal  # a trailing run of unchanged bytes is left out there


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
def test_runs_of_a_sample_take_up_its_whole_payload(name: str) -> None:
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    table, dialect = capture.records, capture.dialect
    assert dialect is not None
    for row in np.flatnonzero(table.columns.header_flags)[:40].tolist():
        at, length = int(table.payload[row]), int(table.columns.length[row])
        found = runs(dialect.encoding, capture.data[at : at + length], capture.page_size)
        assert sum(r.size for r in found) == length
        assert [r.offset for r in found] == [sum(r.size for r in found[:i]) for i in range(len(found))]


def test_a_cut_payload_gives_the_runs_that_are_there() -> None:
    assert runs(Encoding.RLE, np.array([3, 0, 2, 9, 7], np.uint8), PAGE) == [
        Run(0, 3, 0, 2, b""),
        Run(3, 2, 2, 2, b"\x09"),
    ]
    assert runs(Encoding.ZRUN, np.array([3, 2, 65, 66, 5], np.uint8), PAGE) == [
        Run(0, 3, 0, 2, b""),
        Run(3, 2, 2, 2, b"AB"),
    ]
    assert runs(Encoding.DOUBLED, np.array([1, 1], np.uint8), PAGE) == []
