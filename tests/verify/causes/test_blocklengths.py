"""A length of the block list is changed: the list contradicts itself, and the pages tell which length it was."""

from dataclasses import replace

import numpy as np
import pytest

import xbrletools
from tests.causes.measure import diagnosed
from tests.conftest import SAMPLES
from xbrletools.verify.cause import Cause, CauseName, Sure
from xbrletools.verify.causes import paced
from xbrletools.verify.causes.diagnose import diagnose
from xbrletools.verify.causes.reading import read

_BLOCKS = [
    ("posted-8m.bin", b"pc.ram"),
    ("posted-8m.bin", b"pc.bios"),
    ("xbzrle-16m.bin", b"pc.ram"),
    ("xbzrle-16m.bin", b"pc.bios"),
    ("xbzrle-16m.bin", b"pc.rom"),
    ("xbzrle-16m.bin", b"/rom@etc/table-loader"),
]


def _cause(data: bytes) -> Cause:
    (cause,) = diagnosed(np.frombuffer(data, np.uint8))
    return cause


@pytest.mark.parametrize(("sample", "name"), _BLOCKS)
@pytest.mark.parametrize(("byte", "mask"), [(4, 1), (5, 1), (6, 0x10), (5, 4)])
def test_the_pages_tell_which_length_was_changed(sample: str, name: bytes, byte: int, mask: int) -> None:
    data = (SAMPLES / sample).read_bytes()
    at = data.index(bytes([len(name)]) + name) + 1 + len(name)
    wrong = bytearray(data)
    wrong[at + byte] ^= mask
    if not int.from_bytes(wrong[at : at + 8]):
        pytest.skip("the block would be empty")
    cause = _cause(bytes(wrong))
    assert (cause.name, cause.sure, cause.began.offset) == (CauseName.LENGTH_FIELD, Sure.LIKELY, at)
    fix = cause.repair
    assert fix is not None
    assert wrong[: fix.offset] + fix.data + wrong[fix.offset + fix.replaced :] == data


def test_a_salvage_scan_is_told_the_same() -> None:
    data = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
    at = data.index(b"\x06pc.ram") + 7
    data[at + 5] ^= 1
    (cause,) = diagnose(xbrletools.open(bytes(data), salvage=True).stream)
    assert (cause.name, cause.began.offset) == (CauseName.LENGTH_FIELD, at)


def test_without_the_pages_several_numbers_can_be_wrong() -> None:
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    at = data.index(b"\x06pc.ram") + 7
    wrong = bytearray(data[: len(data) // 2])
    wrong[at + 5] ^= 1
    causes = diagnosed(np.frombuffer(bytes(wrong), np.uint8))
    assert all(cause.repair is None and cause.sure is not Sure.CERTAIN for cause in causes)


def test_a_list_that_adds_up_is_not_blamed() -> None:
    data = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
    stream = xbrletools.open(bytes(data)).stream
    data[int(stream.records.columns.offset[1]) + 7] ^= 0x40  # the flags of the first record of a page
    causes = diagnosed(np.frombuffer(bytes(data), np.uint8))
    assert CauseName.LENGTH_FIELD not in {cause.name for cause in causes}


def test_a_stream_of_which_no_record_can_be_read_has_no_pace() -> None:
    data = bytearray((SAMPLES / "xbzrle-16m.bin").read_bytes())
    found = read(xbrletools.open(bytes(data)).stream)
    assert found is not None
    none = replace(found, rows=found.rows.take(slice(0)))
    assert paced.weigh(none) is None
