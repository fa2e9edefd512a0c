"""Seeded damages of every kind: no wrong cause is called certain, and no wrong repair unique.

`python -m tests.causes` measures the same over many captures; docs/verdict.md has its table.
"""

import pytest

from tests.causes.damage import KINDS, Whole
from tests.causes.measure import Outcome, outcomes, shares
from tests.conftest import SAMPLES


def _outcomes(name: str, seeds: range) -> list[Outcome]:
    whole = Whole((SAMPLES / name).read_bytes())
    return list(outcomes(name, whole, None, list(KINDS), seeds))


@pytest.mark.parametrize(("name", "first", "least"), [("posted-8m.bin", 40, 0.93), ("xbzrle-16m.bin", 60, 0.9)])
def test_the_cause_of_a_damage_is_among_those_named(name: str, first: int, least: float) -> None:
    found = _outcomes(name, range(first, first + 2))
    assert [o for o in found if o.column == "wrong, certain"] == []
    assert [o for o in found if o.repair == "wrong"] == []
    assert shares(found)[1] >= least
    assert len(found) > 25


SMALL = ("lm2-big.bin", "m115dbg-little.bin", "sep10.bin", "xbzrle-rfc.bin", "posted-big-debug.bin")


@pytest.mark.parametrize("name", SMALL)
def test_a_small_stream_of_another_sender_has_no_wrong_certainty(name: str) -> None:
    found = _outcomes(name, range(1))
    assert [o for o in found if o.column == "wrong, certain"] == []
    assert [o for o in found if o.repair == "wrong"] == []
