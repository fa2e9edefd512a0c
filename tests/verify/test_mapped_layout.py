"""A mapped-ram block whose header names other places than a sender chooses: nothing loads what the sender wrote."""

from collections.abc import Callable

import pytest

import xbrletools
from xbrletools.formats import mapped_ram
from xbrletools.verify.cause import CauseName
from xbrletools.verify.receivers import RECEIVERS, Destination, outcome
from xbrletools.verify.status import Status

CAPTURES = ("qemu-10/pc16-mapped.bin", "qemu-10/riscv64-virt32-mapped-multifd.bin")
MAPPED = Destination(capabilities=frozenset(["mapped-ram"]))


@pytest.fixture(params=CAPTURES)
def whole(request: pytest.FixtureRequest, corpus: Callable[[str], bytes]) -> bytes:
    return corpus(request.param)


def _edited(data: bytes, field: str, by: int) -> bytes:
    """The capture with another offset in the header of its first block."""
    first = xbrletools.open(data).stream.facts.mapped[0]
    places = {"bitmap": first.bitmap, "pages": first.pages}
    header = {"version": 1, "page_size": 4096, "bitmap_offset": places["bitmap"], "pages_offset": places["pages"]}
    stated = mapped_ram.Header.build(header)
    changed = mapped_ram.Header.build(header | {f"{field}_offset": places[field] + by})
    assert data.count(stated) == 1
    return data.replace(stated, changed)


def test_a_sender_puts_bitmaps_and_pages_where_the_rule_says(whole: bytes) -> None:
    assert "mapped-layout" not in {f.rule for f in xbrletools.open(whole).verify()}


@pytest.mark.parametrize(
    ("field", "by"),
    [("bitmap", 1), ("bitmap", -1), ("bitmap", 8), ("bitmap", 1 << 20), ("pages", 4096), ("pages", -(1 << 19))],
)
def test_another_place_is_named_and_no_receiver_is_said_to_load_it(whole: bytes, field: str, by: int) -> None:
    capture = xbrletools.open(_edited(whole, field, by))
    verdict = capture.verdict()
    assert verdict.status is Status.DAMAGED
    assert verdict.causes[0].name is CauseName.SECTION_FRAMING
    assert "mapped-layout" in {f.rule for f in capture.verify()}
    for name in ("qemu-10.0", "qemu-11.1"):
        assert outcome(capture.stream, capture.verify(), RECEIVERS[name], MAPPED).loads is not True
