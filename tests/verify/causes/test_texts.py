"""A stream that was copied as a text: every line end, or every byte from 80 on, was changed."""

import numpy as np
import pytest

import xbrletools
from tests.causes.damage import Whole
from tests.causes.measure import diagnosed
from tests.conftest import SAMPLES
from xbrletools.verify.cause import CauseName, Sure

NAMES = ("posted-8m.bin", "xbzrle-16m.bin")


@pytest.mark.parametrize("name", NAMES)
def test_line_ends_that_became_two_bytes_are_named(name: str) -> None:
    data = (SAMPLES / name).read_bytes().replace(b"\n", b"\r\n")
    (cause,) = xbrletools.open(data).verdict().causes
    assert (cause.name, cause.sure) == (CauseName.BYTES_INSERTED, Sure.CERTAIN)
    assert "copied as a text" in cause.evidence[0]
    assert cause.repair is None


def test_bytes_that_became_characters_are_named() -> None:
    data = (SAMPLES / "xbzrle-16m.bin").read_bytes().decode("latin-1").encode()
    cause = xbrletools.open(data).verdict().causes[0]
    assert (cause.name, cause.sure) == (CauseName.BYTES_INSERTED, Sure.CERTAIN)
    assert "UTF-8" in cause.evidence[0]


@pytest.mark.parametrize("name", NAMES)
def test_line_ends_of_a_text_that_was_pasted_are_no_such_copy(name: str) -> None:
    whole = Whole((SAMPLES / name).read_bytes())
    at = int(whole.offset[whole.carriers[300]]) + 3
    data = whole.data[:at].tobytes() + b"one line\r\n" * 9 + whole.data[at:].tobytes()
    assert "copied as a text" not in diagnosed(np.frombuffer(data, np.uint8))[0].sentence
