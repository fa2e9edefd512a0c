"""A block's name is changed in the list or in a record: which of the two is said to be wrong."""

import numpy as np
import pytest

from tests.causes.measure import diagnosed
from tests.conftest import SAMPLES
from xbrletools.verify.cause import Cause, CauseName, Sure


def _changed(sample: str, name: bytes, which: int, mask: int) -> tuple[bytes, bytes, int]:
    """A sample, the same with a byte of its ``which``-th mention of a block changed, and the offset of the name."""
    data = (SAMPLES / sample).read_bytes()
    at = -1
    for _ in range(which + 1):
        at = data.index(bytes([len(name)]) + name, at + 1)
    wrong = bytearray(data)
    wrong[at + 5] ^= mask
    return data, bytes(wrong), at + 1


def _cause(data: bytes) -> Cause:
    (cause,) = diagnosed(np.frombuffer(data, np.uint8))
    return cause


def _repaired(cause: Cause, data: bytes) -> bytes | None:
    fix = cause.repair
    return None if fix is None else data[: fix.offset] + fix.data + data[fix.offset + fix.replaced :]


@pytest.mark.parametrize("sample", ["posted-8m.bin", "xbzrle-16m.bin"])
@pytest.mark.parametrize(("mask", "sure"), [(1, Sure.CERTAIN), (3, Sure.LIKELY)])
def test_a_name_of_the_list_that_several_records_have_otherwise(sample: str, mask: int, sure: Sure) -> None:
    data, wrong, at = _changed(sample, b"pc.ram", 0, mask)
    cause = _cause(wrong)
    assert (cause.name, cause.sure) == (CauseName.BLOCK_NAME, sure)
    assert cause.began.offset in (at, at + 4)
    assert _repaired(cause, wrong) == data


@pytest.mark.parametrize("sample", ["posted-8m.bin", "xbzrle-16m.bin"])
@pytest.mark.parametrize("mask", [1, 3])
def test_a_name_of_the_first_record_that_others_have_right(sample: str, mask: int) -> None:
    data, wrong, at = _changed(sample, b"pc.ram", 1, mask)
    cause = _cause(wrong)
    assert cause.name is CauseName.BLOCK_NAME
    assert cause.sure in (Sure.CERTAIN, Sure.LIKELY)
    assert cause.began.offset is not None
    assert at - 9 <= cause.began.offset < at + 6
    assert _repaired(cause, wrong) == data


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("posted-8m.bin", b"pc.bios"),
        ("posted-8m.bin", b"pc.rom"),
        ("xbzrle-16m.bin", b"pc.bios"),
        ("xbzrle-16m.bin", b"/rom@etc/table-loader"),
        ("xbzrle-16m.bin", b"/rom@etc/acpi/rsdp"),
    ],
)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("mask", [1, 3])
def test_a_name_that_one_record_has_can_be_wrong_in_either_place(
    sample: str, name: bytes, which: int, mask: int
) -> None:
    _, wrong, at = _changed(sample, name, which, mask)
    cause = _cause(wrong)
    assert cause.name is CauseName.BLOCK_NAME
    assert cause.sure is Sure.ONE_OF
    assert cause.repair is None
    assert "of the list at" in cause.sentence
    assert which or f"{at:#x}" in cause.sentence
