import numpy as np
import pytest

from tests.codec.wire import noise
from xbrletools.codec.checksum import byte_sum

pytestmark = pytest.mark.usefixtures("loops")


@pytest.mark.parametrize("page_size", [1024, 2048, 4096, 65536])
def test_it_is_the_plain_sum_of_the_bytes(page_size: int) -> None:
    pages = noise(70, page_size)
    pages[3], pages[4] = 255, 0
    sums = byte_sum(pages)
    assert sums.dtype == np.uint32
    assert sums.tolist() == [sum(p.tobytes()) for p in pages]
    rows = np.array([69, 3, 3, 0])
    assert byte_sum(pages, rows).tolist() == sums[rows].tolist()


def test_no_pages_have_no_sums_and_odd_shapes_are_refused() -> None:
    assert len(byte_sum(np.empty((0, 4096), np.uint8))) == 0
    with pytest.raises(ValueError, match="contiguous"):
        byte_sum(noise(4, 4096)[:, ::2])
