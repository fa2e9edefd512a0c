"""One damage of a known kind in a real capture: what is said of it."""

import numpy as np
import pytest

from tests.causes.damage import Whole, damage
from tests.causes.measure import diagnosed, judged, repaired
from tests.conftest import SAMPLES
from xbrletools.verify.cause import CauseName, Sure


@pytest.fixture(scope="module")
def whole() -> Whole:
    return Whole((SAMPLES / "posted-8m.bin").read_bytes())


@pytest.mark.parametrize("kind", ["address", "flags", "length", "framing", "run"])
@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_of_the_framing_is_named_and_its_repair_is_right(whole: Whole, kind: str, seed: int) -> None:
    data, truth = damage(whole, kind, (seed,))
    causes = diagnosed(data)
    assert judged(truth, causes) in ("right", "among")
    assert repaired(whole, data, causes) in (None, "right")


def test_a_capture_cut_short_has_no_cause_here(whole: Whole) -> None:
    assert diagnosed(whole.data[: len(whole.data) // 2]) == ()


def test_bytes_that_are_missing_from_a_page_are_counted(whole: Whole) -> None:
    row = int(np.flatnonzero(whole.kind == 2)[40])
    at = int(whole.payload[row]) + 1000
    (cause,) = diagnosed(np.concatenate([whole.data[:at], whole.data[at + 9 :]]))
    assert cause.name is CauseName.BYTES_MISSING
    assert cause.sure in (Sure.CERTAIN, Sure.LIKELY)
