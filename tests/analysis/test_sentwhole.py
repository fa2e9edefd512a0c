"""What is searched a window at a time is found as if it were searched at once."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.analysis import sentwhole

TEXT = re.compile(rb"a[bc]{0,3}\n")
LONGEST = 5


def _found(data: bytes, window: int) -> list[bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentwhole, "_WINDOW", window)
        stream: Any = SimpleNamespace(data=np.frombuffer(data, np.uint8))
        return [m[0] for m in sentwhole.matches(stream, TEXT, LONGEST)]


@given(st.lists(st.sampled_from(list(b"abc\n")), max_size=200).map(bytes), st.integers(1, 40))
def test_each_match_is_found_once_wherever_the_windows_end(data: bytes, window: int) -> None:
    assert _found(data, window) == TEXT.findall(data)


def test_nothing_is_searched_in_a_capture_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"ab\nab\n"
    assert len(_found(data, 4)) == 2
    monkeypatch.setattr(sentwhole, "SEARCHED", len(data) - 1)
    assert _found(data, 4) == []


def test_it_is_looked_again_whether_the_file_has_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentwhole, "_WINDOW", 4)
    monkeypatch.setattr(sentwhole, "_CHECKED", 8)

    class Shrinking:
        looks = 0

        @property
        def data(self) -> Any:
            self.looks += 1
            return np.zeros(40, np.uint8)

    stream: Any = Shrinking()
    assert list(sentwhole.matches(stream, TEXT, LONGEST)) == []
    assert stream.looks == 1 + 40 // 8
