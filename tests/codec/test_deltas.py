import numpy as np
import pytest

from tests.codec.wire import PAGE, noise
from xbrletools.codec import deltas
from xbrletools.formats.dialects import Encoding

pytestmark = pytest.mark.usefixtures("loops")


@pytest.mark.parametrize("encoding", Encoding)
def test_every_encoding_reads_what_it_writes(encoding: Encoding) -> None:
    old = noise(20)
    new = old.copy()
    new[1:, 5:40:3] ^= 3
    data, lengths = deltas.encode(encoding, old, new)
    offsets = np.cumsum(lengths) - lengths
    pages = np.concatenate([old[:1], old])
    assert not deltas.apply(encoding, data, offsets, lengths, pages, np.arange(1, 21)).any()
    assert (pages[1:] == new).all() and (pages[0] == old[0]).all()
    mask, verdicts = deltas.changed(encoding, data, offsets, lengths, PAGE)
    assert not verdicts.any()
    assert (mask == (old != new)).all()


def test_the_encodings_differ() -> None:
    old = noise(1)
    new = old ^ np.uint8(1)
    assert len({deltas.encode(e, old, new)[0].tobytes() for e in Encoding}) == len(Encoding)
