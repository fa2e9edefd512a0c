"""How much a byte sum that holds says. ``XBRLE_FLIPS`` sets how many bits of each delta are flipped, one at a time."""

import os
import random

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.codec import deltas
from xbrletools.codec.checksum import byte_sum
from xbrletools.codec.verdict import Verdict
from xbrletools.table.claims import stated
from xbrletools.table.kinds import IS_DELTA

FLIPS = int(os.environ.get("XBRLE_FLIPS", "16"))


def undetected(capture: xbrletools.Capture, flips: int) -> tuple[int, int]:
    """Of single flipped bits in the deltas of a capture: how many leave the delta's form and sum right, and how many
    were tried. A bit whose flip changes no byte of the page is not counted at all.
    """
    columns, dialect = capture.records.columns, capture.dialect
    assert dialect is not None
    kept = tried = 0
    image = capture.memory(at=1)
    for row in np.flatnonzero(IS_DELTA[columns.kind]).tolist():
        image = capture.memory(at=int(capture.records.number[row]) - 1)
        page = image.pages[capture.space.pages_of(columns.take(slice(row, row + 1)))]
        at, length = int(columns.payload()[row]), int(columns.length[row])
        chance = random.Random(row)
        bits = np.array(sorted(chance.sample(range(8 * length), min(flips, 8 * length))))
        payloads = np.repeat(np.asarray(capture.data[at : at + length])[None], len(bits) + 1, axis=0)
        payloads[np.arange(len(bits)), bits >> 3] ^= (1 << (bits & 7)).astype(np.uint8)
        made = np.repeat(page, len(bits) + 1, axis=0)
        starts, lengths = np.arange(len(made)) * length, np.full(len(made), length)
        good = deltas.apply(dialect.encoding, payloads.ravel(), starts, lengths, made) == Verdict.OK
        _, sums = stated(columns, dialect, np.array([row]))
        good &= byte_sum(made, np.arange(len(made))) == sums[0]
        differs = (made != made[-1]).any(axis=1)
        kept += int(np.count_nonzero(good & differs))
        tried += int(np.count_nonzero(differs[:-1] | ~good[:-1]))
    return kept, tried


@pytest.mark.parametrize("path", [SAMPLES / "posted-8m.bin"], ids=lambda path: path.stem)
def test_about_two_of_a_hundred_flipped_bits_in_a_delta_keep_its_sum(path):
    """docs/salvage.md gives the rate, and for this nothing is called known in a damaged capture."""
    kept, tried = undetected(xbrletools.open(path), FLIPS)
    assert tried > 1000
    assert 0.005 < kept / tried < 0.05, f"{kept} of {tried}"
