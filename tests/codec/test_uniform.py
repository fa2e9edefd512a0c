import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.wire import PAGE, noise
from xbrletools.codec import uniform

pytestmark = pytest.mark.usefixtures("loops")


@given(st.lists(st.tuples(st.integers(0, 255), st.none() | st.integers(0, PAGE - 1)), max_size=12), st.booleans())
def test_one_other_byte_anywhere_makes_a_page_not_uniform(pages: list[tuple[int, int | None]], by_rows: bool) -> None:
    image = np.zeros((len(pages), PAGE), np.uint8)
    for page, (fill, other) in zip(image, pages, strict=True):
        page[:] = fill
        if other is not None:
            page[other] ^= 0x10
    rows = np.arange(len(pages))[::-1] if by_rows else None
    found = uniform.fills(image, rows)
    expected = [fill if other is None else -1 for fill, other in pages]
    assert found.dtype == np.int16
    assert found.tolist() == (expected[::-1] if by_rows else expected)


@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
def test_uniform_pages_are_found_among_others(page_size: int) -> None:
    image = noise(5000 if page_size == 1024 else 40, page_size)
    image[::3] = np.arange(len(image[::3]), dtype=np.uint8)[:, None]
    found = uniform.fills(image)
    assert (found[::3] == image[::3, 0]).all()
    assert (np.delete(found, np.s_[::3]) == uniform.NOT_UNIFORM).all()
