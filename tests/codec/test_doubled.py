from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.wire import PAGE, noise, page_pairs, put, sep10_decode, sep20_decode, split
from xbrletools.codec import doubled
from xbrletools.codec.verdict import Verdict

CODINGS = {
    "sep10": (doubled.apply_sep10, doubled.encode_sep10, doubled.changed_sep10, sep10_decode),
    "sep20": (doubled.apply_sep20, doubled.encode_sep20, doubled.changed_sep20, sep20_decode),
}
coding = pytest.mark.parametrize(("apply", "encode", "changed", "decode"), CODINGS.values(), ids=CODINGS)
Any = Callable[..., tuple]

garbage = st.one_of(
    st.binary(max_size=30),
    st.lists(st.sampled_from([0, 0, 0, 1, 254, 255]), max_size=30).map(bytes),
    st.sampled_from([b"\0\0\xff" * 4, b"\0\0\xff" * 3 + b"\0\0\xfb", b"\0\0\xff" * 3 + b"\0\0", b"\0\0\0\xff" * 4]),
)


@coding
@given(pair=page_pairs())
def test_applying_an_encoding_gives_the_new_page(
    apply: Any, encode: Any, changed: Any, decode: Any, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    old, new = pair
    data, lengths = encode(old, new, 3 * PAGE)
    for payload, delta in zip(split(data, lengths), old ^ new, strict=True):
        assert decode(payload, PAGE) == (Verdict.OK, bytes(delta))
    pages, offsets = old.copy(), np.cumsum(lengths) - lengths
    assert not apply(data, offsets, lengths, pages).any()
    assert (pages == new).all()
    mask, _ = changed(data, offsets, lengths, PAGE)
    assert (mask == (old != new)).all()


@coding
@given(batch=st.lists(garbage, min_size=1, max_size=9), pair=page_pairs())
def test_any_payload_gets_its_verdict_and_a_bad_one_spoils_no_other(
    apply: Any,
    encode: Any,
    changed: Any,
    decode: Any,
    batch: list[bytes],
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    batch = [p for two in zip(batch, split(*encode(*pair, 3 * PAGE)), strict=False) for p in two]
    old = noise(len(batch))
    pages = old.copy()
    verdicts = apply(*put(batch), pages, np.arange(len(batch))[::-1])
    for payload, before, after, verdict in zip(batch, old[::-1], pages[::-1], verdicts.tolist(), strict=True):
        expected, delta = decode(payload, PAGE)
        assert verdict == expected
        assert bytes(after) == bytes(before ^ np.frombuffer(delta, np.uint8) if delta else before)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (1, b"\x07"),
        (2, b"\x07\x07\x00"),
        (3, b"\x07\x07\x01"),
        (256, b"\x07\x07\xfe"),
        (257, b"\x07\x07\xff"),
        (258, b"\x07\x07\xff\x07"),
        (259, b"\x07\x07\xff\x07\x07\x00"),
    ],
)
def test_sep10_forgets_the_byte_after_its_count(run: int, code: bytes) -> None:
    old = np.zeros((1, PAGE), np.uint8)
    new = old.copy()
    new[0, :run] = 7
    data, _ = doubled.encode_sep10(old, new)
    assert data.tobytes().startswith(code + b"\x00\x00")


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (1, b"\x07\x09"),
        (2, b"\x07\x07\x09\x01"),
        (3, b"\x07\x07\x09\x02"),
        (256, b"\x07\x07\x09\xff"),
        (257, b"\x07\x07\x07\xff\x09"),
        (258, b"\x07\x07\x07\xff\x07\x09\x01"),
    ],
)
def test_sep20_takes_the_byte_after_a_run_with_it(run: int, code: bytes) -> None:
    old = np.zeros((1, PAGE), np.uint8)
    new = old.copy()
    new[0, :run] = 7
    new[0, run] = 9
    data, _ = doubled.encode_sep20(old, new)
    assert data.tobytes().startswith(code + b"\x00")


def test_sep20_ends_a_page_in_a_run_as_the_known_deltas_do() -> None:
    page = np.zeros((1, 4096), np.uint8)
    new = page.copy()
    new[0, 4096 - 169] = 0xFF
    data, _ = doubled.encode_sep20(page, new)
    # 168 zeros are left, and the capture's first delta ends so: the first, the mark, the last, 166
    assert data.tobytes().endswith(b"\x00\x00\x00\xa6")


@pytest.mark.parametrize("payload", [b"\x01\x01", b"\x05\x06\x06"])
@pytest.mark.parametrize("apply", [doubled.apply_sep10, doubled.apply_sep20])
def test_a_doubled_byte_without_its_count_is_cut(apply: Any, payload: bytes) -> None:
    pages = np.zeros((2, PAGE), np.uint8)
    whole = bytes(range(1, 201)) * 6
    assert apply(*put([payload, whole[:PAGE]]), pages).tolist() == [Verdict.CUT, Verdict.OK]
    assert not pages[0].any()


def test_sep10_wants_less_than_a_page() -> None:
    old = np.zeros((2, PAGE), np.uint8)
    new = np.tile(np.arange(1, 129, dtype=np.uint8), (2, PAGE // 128))
    new[1, :4] = 0
    data, lengths = doubled.encode_sep10(old, new)
    assert lengths.tolist() == [-1, PAGE - 1]
    assert doubled.encode_sep10(old, new, PAGE)[1].tolist() == [PAGE, PAGE - 1]
    assert len(data) == PAGE - 1


def test_the_known_sep20_deltas_count_up_and_come_back_byte_for_byte(corpus: Callable[[str], bytes]) -> None:
    capture = np.frombuffer(corpus("qemu-2010/sep20-crash.bin"), np.uint8)
    words = [0x30295, 0x3838E, 0x4048A, 0x48597, 0x50690, 0x5879E, 0x6089A, 0x68993]
    lengths = np.array([int.from_bytes(capture[w + 10 : w + 12].tobytes(), "little") for w in words]) - 4
    full = [capture[w : w + 7].tobytes() + b"\x08" for w in words]  # the same page's record as PAGE
    bases = [capture.tobytes().index(word) + 8 for word in full]
    old = np.array([capture[at : at + 4096] for at in bases])
    new = old.copy()
    offsets = np.array(words) + 12
    assert not doubled.apply_sep20(capture, offsets, lengths, new).any()
    data, again = doubled.encode_sep20(old, new)
    assert again.tolist() == lengths.tolist()
    payloads = zip(offsets.tolist(), lengths.tolist(), strict=True)
    assert data.tobytes() == b"".join(capture[o : o + n].tobytes() for o, n in payloads)
    assert np.count_nonzero(new != old) == 304
    assert np.count_nonzero(new == old + np.uint8(1)) == 302
