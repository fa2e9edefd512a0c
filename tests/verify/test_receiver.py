"""Where a receiver stops, and why: at the first thing that it does not know, wherever a finding stands."""

import numpy as np
import pytest

import xbrletools
from tests import building
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.verify.receiver import LoadOutcome, outcome
from xbrletools.verify.rules import Receiver

A = noise(1)
OLD = [Receiver.VANILLA, Receiver.DEFAULT, Receiver.DEBUG]


def verdict(data: bytes, receiver: Receiver) -> LoadOutcome:
    capture = xbrletools.open(data)
    return outcome(capture.stream, list(capture.verify()), receiver)


def footed(*sections: bytes) -> bytes:
    """A stream with footers, and without CONFIGURATION."""
    first = building.start() + building.block_list([(b"pc.ram", 16 * PAGE)]) + building.EOS + building.footer()
    last = building.part(kind=building.SectionType.END) + building.EOS + building.footer()
    return b"".join((building.HEADER, first, *sections, last, building.EOF))


def test_ram_version_3_is_refused_today_from_the_first_byte() -> None:
    data = StreamBuilder({b"ram": 4 * PAGE}, dialect="m115").page(0, A, b"ram").bytes()
    found = verdict(data, Receiver.TODAY)
    assert found == LoadOutcome(False, 0, None, "RAM section version 3 is not loaded any more")


@pytest.mark.parametrize("receiver", OLD)
def test_receivers_of_2011_stop_at_the_first_footer(receiver: Receiver) -> None:
    data = footed(building.part() + building.page(0, A.tobytes(), b"pc.ram") + building.EOS + building.footer())
    found = verdict(data, receiver)
    assert (found.loads, found.record) == (False, None)
    assert found.offset == data.index(building.footer())
    assert found.reason == "a section footer, which it does not know"


@pytest.mark.parametrize("receiver", OLD)
def test_receivers_of_2011_stop_at_a_section_type_that_came_later(receiver: Receiver) -> None:
    data = building.stream()
    found = verdict(data, receiver)
    assert (found.loads, found.offset) == (False, len(building.HEADER))
    assert found.reason == "a CONFIGURATION section, which it does not know"


def test_the_first_of_two_reasons_counts() -> None:
    broken = StreamBuilder(dialect="posted", flags=3).page(0, A).part().delta(0, A, A ^ np.uint8(1), checksum=1)
    data = broken.dup(9 * PAGE).bytes()
    records = xbrletools.open(data).records
    for receiver, record in ((Receiver.VANILLA, 2), (Receiver.DEBUG, 2), (Receiver.DEFAULT, 3), (Receiver.TODAY, 2)):
        found = verdict(data, receiver)
        assert (found.loads, found.record) == (False, record), receiver
        assert found.offset == records.columns.offset[records.row(record)]
