import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.memory.bases import Bases
from xbrletools.table.windows import windows


def known(what):
    scan = xbrletools.open(what).scan()
    bases = Bases(scan.blocks)
    pieces = [bases.known(w) for w in windows(scan, scan)]
    return np.concatenate(pieces)[xbrletools.open(what).records.is_page].tolist()


@pytest.mark.parametrize("size", [1, 2, 1 << 14])
def test_a_base_is_known_once_a_full_record_gave_it(monkeypatch, size):
    monkeypatch.setattr("xbrletools.table.windows.WINDOW_RECORDS", size)
    a, b = noise(1), noise(1)
    b[9] ^= 1
    stream = StreamBuilder().part().delta(0, a, b).page(0, a).delta(0, a, b).dup(PAGE).delta(PAGE, 0 * a, b & 1)
    assert known(stream.delta(2 * PAGE, a, b).delta(99 * PAGE, a, b).bytes()) == [0, -1, 1, -1, 1, 0, 0]


def test_every_delta_of_a_sample_has_a_known_base():
    assert sorted(set(known(str(SAMPLES / "posted-8m.bin")))) == [-1, 1]


def test_no_page_of_a_block_larger_than_any_guest_is_known_and_the_scan_says_so():
    a = noise(1)
    stream = StreamBuilder({b"pc.ram": 1 << 60}).page(0, a).part().delta(0, a, a)
    assert known(stream.bytes()) == [-1, 0]
    assert [p.rule for p in xbrletools.open(stream.bytes()).problems][:1] == ["block-list"]
