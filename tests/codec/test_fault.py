"""Where a delta is wrong: said of exactly those that do not decode, at a place from which on they cannot."""

import numpy as np
import pytest

from xbrletools.codec import deltas
from xbrletools.codec.fault import fault
from xbrletools.codec.verdict import Verdict
from xbrletools.formats.dialects import Encoding

PAGE = 1024


def verdict(encoding: Encoding, payload: bytes) -> int:
    data = np.frombuffer(payload, np.uint8)
    pages = np.zeros((1, PAGE), np.uint8)
    return int(deltas.apply(encoding, data, np.zeros(1, np.int64), np.array([len(data)]), pages)[0])


def payloads(encoding: Encoding, rng: np.random.Generator):
    """Good payloads, and such with a byte changed, cut off or added."""
    for _ in range(300):
        old = rng.integers(0, 4, (1, PAGE), dtype=np.uint8)
        new = old.copy()
        new[0, rng.integers(0, PAGE, 20)] += 1
        good, _ = deltas.encode(encoding, old, new)
        yield good.tobytes()
        bad = bytearray(good.tobytes())
        bad[rng.integers(0, len(bad))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        yield bytes(bad)
        yield bytes(bad[: rng.integers(0, len(bad))])
        yield bytes(bad) + bytes(rng.integers(0, 256, 3, dtype=np.uint8))


@pytest.mark.parametrize("encoding", Encoding, ids=lambda e: e.name)
def test_a_fault_is_found_in_exactly_the_deltas_that_do_not_decode(encoding):
    seen = set()
    for payload in payloads(encoding, np.random.default_rng(5)):
        found = fault(encoding, np.frombuffer(payload, np.uint8), PAGE)
        said = verdict(encoding, payload)
        seen.add(said)
        assert (found is None) == (said == Verdict.OK), (payload.hex(), found, said)
        if found is not None:
            assert 0 <= found.at <= len(payload)
            assert found.found
            assert found.expected
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("payload", "run", "at", "found", "expected"),
    [
        (b"\x05\x01A\xd7\xd7\xd7", 1, 3, "zrun of more than 2 bytes (d7 d7 d7)", "a number of 1 or 2 bytes"),
        (b"\x05\x01A\x00\x01B", 1, 3, "zrun = 0", "1 or more"),
        (b"\x05\x00", 0, 1, "nzrun = 0", "1 or more"),
        (b"\x05\x03AB", 0, 2, "2 bytes to the payload's end", "the run's 3 bytes"),
        (b"\x05\x01A\x80\x08\x01B", 1, 3, "zrun = 1024 from byte 6 of the page on", "at most 1018"),
        (b"\x05\x01A\x85", 1, 3, "the payload's end, in run 1", "zrun, a number"),
    ],
)
def test_a_run_of_xbzrle_that_is_wrong_is_named_with_what_was_expected(payload, run, at, found, expected):
    one = fault(Encoding.ZRUN, np.frombuffer(payload, np.uint8), PAGE)
    assert one is not None
    assert (one.run, one.at) == (run, at)
    assert one.found == found
    assert one.expected.startswith(expected)
