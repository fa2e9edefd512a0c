"""Pages that came as zlib streams."""

import zlib

import numpy as np
import pytest
from construct import Int32ub

import xbrletools
from tests.building import PAGE, packed, page, patterned, record, stream
from xbrletools.formats.ram import Flag
from xbrletools.verify.rules import Severity


def _damaged(address: int, name: bytes | None = None) -> bytes:
    whole = bytearray(zlib.compress(patterned(9)))
    whole[-1] ^= 0x55
    return record(Flag.COMPRESS_PAGE, address, Int32ub.build(len(whole)) + bytes(whole), name)


def _compressed_findings(data: bytes) -> list:
    return [f for f in xbrletools.open(data).verify() if f.rule.startswith("compressed-page")]


def test_a_compressed_page_is_inflated():
    image = xbrletools.open(stream(packed(0x3000, patterned(1), b"pc.ram"))).memory()
    assert image["pc.ram"][3].tobytes() == patterned(1)
    assert image.known.nonzero()[0].tolist() == [3]


def test_a_later_compressed_page_replaces_an_earlier_page():
    image = xbrletools.open(stream(page(0, patterned(1), b"pc.ram"), packed(0, patterned(2)))).memory()
    assert image["pc.ram"][0].tobytes() == patterned(2)


def test_a_damaged_stream_that_a_later_record_supersedes_is_a_note():
    data = stream(_damaged(0, b"pc.ram"), page(0, patterned(3)))
    (finding,) = _compressed_findings(data)
    assert finding.severity is Severity.NOTE
    assert finding.evidence == {"verdict": "damaged", "superseded_by_record": 2}
    assert xbrletools.open(data).memory()["pc.ram"][0].tobytes() == patterned(3)


def test_a_damaged_stream_that_nothing_supersedes_is_an_error_and_its_page_unknown():
    data = stream(page(0, patterned(3), b"pc.ram"), _damaged(0))
    (finding,) = _compressed_findings(data)
    assert finding.severity is Severity.ERROR
    assert finding.record == 2
    assert not xbrletools.open(data).memory().known[0]


@pytest.mark.parametrize(("size", "verdict"), [(PAGE - 1, "short"), (PAGE + 1, "long"), (1 << 26, "long")])
def test_a_stream_of_another_length_than_a_page_is_refused(size: int, verdict: str):
    stream_of_zeros = packed(0, bytes(size), b"pc.ram")
    if size > 1 << 20:  # a bomb is longer than such a record can be: its start alone inflates past a page
        body = zlib.compress(bytes(size))[: 2 * PAGE - 4]
        stream_of_zeros = record(Flag.COMPRESS_PAGE, 0, Int32ub.build(len(body)) + body, b"pc.ram")
    (finding,) = _compressed_findings(stream(stream_of_zeros))
    assert finding.evidence["verdict"] == verdict


def test_memory_at_a_record_before_the_damage_still_has_the_page():
    image = xbrletools.open(stream(page(0, patterned(3), b"pc.ram"), _damaged(0))).memory(at=1)
    assert np.array_equal(image["pc.ram"][0], np.frombuffer(patterned(3), np.uint8))


def test_a_damaged_stream_leaves_a_page_unknown_that_was_known_before_it():
    capture = xbrletools.open(stream(page(0, patterned(3), b"pc.ram"), _damaged(0), page(0, patterned(4))))
    versions = list(capture.page("pc.ram", 0).versions())
    assert [bool(v.content.recovered.all()) for v in versions] == [True, False, True]
    assert not versions[1].content.recovered.any()
    assert not versions[1].content.data.any()
