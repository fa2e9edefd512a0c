"""Whole streams: the grammars read them, build them again, and say of every record what the record table says."""

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES, SOUND, corpus_names

from .walk import columns, walk

NAMES = sorted(p.stem for p in SOUND)
CORPUS_NAMES = [f"{folder}/{name}" for folder in ("qemu-2011-posted", "qemu-2010") for name in corpus_names(folder)]


def check(capture):
    """The bytes come back, up to the device tail. The table agrees with the grammars, record by record."""
    walked = walk(capture)
    data = capture.data.tobytes()
    tail = capture.facts.device_tail
    assert bytes(walked.rebuilt) == data[: walked.end]
    if not walked.cut:
        assert walked.end == (len(data) if tail is None else tail[0])
    table = capture.records.columns.take(slice(len(walked.records)))
    expected = columns(capture, walked)
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(table, name), values, err_msg=name)
    return walked


@pytest.mark.parametrize("name", NAMES)
def test_grammars_and_table_agree_on_every_record_of_a_sample(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    walked = check(capture)
    assert not walked.cut
    assert len(walked.records) == len(capture.records)


@pytest.mark.parametrize("name", CORPUS_NAMES)
def test_grammars_and_table_agree_on_every_record_of_a_capture(name, corpus):
    capture = xbrletools.open(corpus(f"{name}.bin"))
    walked = check(capture)
    assert not walked.cut or capture.damage is not None
    assert len(capture.records) - len(walked.records) in (0, walked.cut)  # the table keeps what there is of a cut one
