"""How much speaks for records after damage: a step back in the first sweep speaks against them."""

import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise

JUNK = b"\xff" * 24
BEFORE, AFTER = range(6), range(40, 46)  # pages that are sent in full around the dup pages


def recovered_dups(dup_pages: list[int]) -> int:
    """How many dup pages salvage believes that stand alone between two stretches of junk."""
    builder = StreamBuilder({b"pc.ram": 64 * PAGE})
    for page in BEFORE:
        builder.page(page * PAGE, noise(page))
    builder.part().out += JUNK
    for page in dup_pages:
        builder.dup(page * PAGE, 7)
    builder.out += JUNK
    builder.selected = None
    for page in AFTER:
        builder.page(page * PAGE, noise(page))
    capture = xbrletools.open(builder.end().bytes(), salvage=True)
    assert capture.memory()["pc.ram"][AFTER[-1]].any(), "what follows is recovered in any case"
    return capture.records.counts().get("dup", 0)


def test_records_that_keep_stepping_back_are_not_believed_however_many_they_are():
    up_and_down = [page for i in range(12) for page in (5 + i % 3, 20 + i % 5)]
    assert recovered_dups([10, 12, 14, *up_and_down]) == 0


@pytest.mark.parametrize(
    ("dup_pages", "believed"),
    [
        ([10, 11, 12, 13], True),  # neighbours that rise: enough
        ([10, 11, 12, 8], False),  # a step back takes away what the last neighbour gave
        ([10, 11, 12, 8, 9], True),  # and one more neighbour outweighs it
        ([10, 11], False),
    ],
)
def test_a_sweep_that_begins_anew_needs_one_record_more(dup_pages: list[int], believed: bool):
    assert (recovered_dups(dup_pages) > 0) is believed
