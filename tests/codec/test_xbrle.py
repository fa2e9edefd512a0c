import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.wire import PAGE, noise, page_pairs, put, split, xbrle_decode, xbrle_encode, xbrle_strict
from xbrletools.codec import batches, xbrle
from xbrletools.codec.verdict import Verdict

pytestmark = pytest.mark.usefixtures("loops")

_run = st.tuples(st.sampled_from([0, 1, 1, 2, 100, 254, 255]), st.sampled_from([0, 0, 1, 200]))


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Pairs of any kind, counts of 0 among them, that mostly add up to a page, and sometimes an odd byte."""
    out, left = bytearray(), PAGE + draw(st.sampled_from([0, 0, 0, 0, -1, 1, -PAGE]))
    pairs = draw(st.lists(_run, max_size=6)) * draw(st.sampled_from([1, 1, 40]))
    for run, value in [*pairs, *[(255, value) for _, value in pairs], *[(255, 7)] * 5]:
        run = min(run, max(left, 0))
        out += bytes((run, value)) if run or left > 0 else b""
        left -= run
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        out += bytes((0, draw(st.integers(0, 255))))
    return bytes(out) + draw(st.sampled_from([b"", b"", b"\x05"]))


@given(page_pairs())
def test_applying_an_encoding_gives_the_new_page(pair: tuple[np.ndarray, np.ndarray]) -> None:
    old, new = pair
    data, lengths = xbrle.encode(old, new, limit=2 * PAGE)
    pages = old.copy()
    assert not xbrle.apply(data, np.cumsum(lengths) - lengths, lengths, pages, strict=True).any()
    assert (pages == new).all()


@given(page_pairs(), st.sampled_from([40, 200, PAGE]))
def test_the_encoder_writes_the_bytes_of_the_posted_one(pair: tuple[np.ndarray, np.ndarray], limit: int) -> None:
    old, new = pair
    expected = [xbrle_encode(bytes(d)) for d in old ^ new]
    assert split(*xbrle.encode(old, new, limit)) == [e if len(e) <= limit else None for e in expected]


@given(
    st.lists(payloads(), min_size=1, max_size=12),
    st.sampled_from([0, 3, 16, 90]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_any_payload_gets_the_receivers_verdict_and_a_bad_one_spoils_no_other(
    batch: list[bytes], gap: int, strict: bool, random: object
) -> None:
    old = noise(2 * len(batch))
    rows = np.array(random.sample(range(len(old)), len(batch)))
    pages = old.copy()
    verdicts = xbrle.apply(*put(batch, gap), pages, rows, strict=strict)
    for payload, row, verdict in zip(batch, rows.tolist(), verdicts.tolist(), strict=True):
        expected, delta = xbrle_decode(payload, PAGE)
        if strict:
            expected = xbrle_strict(payload, PAGE)
        assert verdict == expected
        new = np.frombuffer(delta, np.uint8) ^ old[row] if expected == Verdict.OK else old[row]
        assert (pages[row] == new).all()
    others = np.setdiff1d(np.arange(len(old)), rows)
    assert (pages[others] == old[others]).all()


@given(st.lists(payloads(), min_size=1, max_size=12))
def test_changed_marks_the_bytes_whose_xor_is_not_zero(batch: list[bytes]) -> None:
    mask, verdicts = xbrle.changed(*put(batch), PAGE)
    for payload, row, verdict in zip(batch, mask, verdicts.tolist(), strict=True):
        expected, delta = xbrle_decode(payload, PAGE)
        assert verdict == expected
        assert row.tobytes() == bytes(b != 0 for b in delta.ljust(PAGE, b"\0"))


@settings(max_examples=25)
@given(page_pairs(), st.data())
def test_where_batches_end_makes_no_difference(pair: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    old, new = pair
    payload, lengths = xbrle.encode(old, new, limit=2 * PAGE)
    pages = old.copy()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_WINDOW", "_BATCH_RECORDS", "_BATCH_PAYLOAD", "_BATCH_PAGES"):
            patch.setattr(xbrle, name, data.draw(st.sampled_from([1, 3, 300, 2 * PAGE, 3 * PAGE]), name))
        for name in ("_ENCODE_FIRST", "_ENCODE_MOST", "_ENCODE_PAYLOAD"):
            patch.setattr(batches, name, data.draw(st.sampled_from([1, 100, 2 * PAGE, 3 * PAGE]), name))
        assert not xbrle.apply(payload, np.cumsum(lengths) - lengths, lengths, pages).any()
        again, again_lengths = xbrle.encode(old, new, limit=2 * PAGE)
    assert (pages == new).all()
    assert again.tobytes() == payload.tobytes() and (again_lengths == lengths).all()


@pytest.mark.parametrize("page_size", [1024, 4096, 16384, 65536])
def test_an_unchanged_page_is_a_pair_for_every_255_bytes(page_size: int) -> None:
    old = noise(2, page_size)
    data, lengths = xbrle.encode(old, old)
    full, rest = divmod(page_size, 255)
    assert lengths.tolist() == [2 * (full + 1)] * 2
    assert data[: lengths[0]].tobytes() == b"\xff\x00" * full + bytes((rest, 0))
    assert page_size != 4096 or lengths[0] == 34


@pytest.mark.parametrize(
    ("run", "pairs"), [(254, [254]), (255, [255]), (256, [255, 1]), (510, [255, 255]), (511, [255, 255, 1])]
)
def test_a_run_is_cut_at_the_cap(run: int, pairs: list[int]) -> None:
    old = np.zeros((1, 4096), np.uint8)
    new = noise(1, 4096) | 0x80
    new[0, 1000 : 1000 + run] = 9
    data, _ = xbrle.encode(old, new, limit=8192)
    of_run = data.reshape(-1, 2)[data.reshape(-1, 2)[:, 1] == 9, 0]
    assert of_run.tolist() == pairs


@pytest.mark.parametrize(("pairs", "sent"), [(2047, True), (2048, True), (2049, False)])
def test_an_encoding_of_exactly_a_page_is_sent_and_a_longer_one_is_not(pairs: int, sent: bool) -> None:
    old = np.zeros((3, 4096), np.uint8)
    new = old.copy()
    new[1] = np.arange(4096) % 2 + 1  # a pair for each byte, but for one long run at the end
    of_run = next(count for count in range(1, 18) if -(-(4096 - (pairs - count)) // 255) == count)
    new[1, pairs - of_run :] = 3
    data, lengths = xbrle.encode(old, new)
    assert lengths.tolist() == [34, 2 * pairs if sent else -1, 34]
    assert data.tobytes() == b"".join(p for p in split(data, lengths) if p is not None)
    assert data[:34].tobytes() == data[-34:].tobytes() == b"\xff\x00" * 16 + b"\x10\x00"


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("where", ["start", "middle", "end", "everywhere"])
def test_pairs_of_count_zero_change_nothing(where: str, dense: bool) -> None:
    old = noise(3)
    new = old.copy()
    new[:, :: 2 if dense else 100] ^= 0x55
    payloads = []
    for payload in split(*xbrle.encode(old, new, 2 * PAGE)):
        assert payload is not None
        pairs = [payload[i : i + 2] for i in range(0, len(payload), 2)]
        zero = b"\x00\x77"
        payloads.append(
            {
                "start": zero + payload,
                "middle": b"".join(pairs[:3]) + zero + zero + b"".join(pairs[3:]),
                "end": payload + zero,
                "everywhere": zero + zero.join(pairs) + zero,
            }[where]
        )
    pages = old.copy()
    assert not xbrle.apply(*put(payloads), pages).any()
    assert (pages == new).all()
    assert (xbrle.apply(*put(payloads), pages, strict=True) == Verdict.ZERO_RUN).all()
    assert (pages == new).all()


def test_an_odd_last_byte_is_ignored_unless_strict() -> None:
    payload = b"\xff\x00" * 4 + b"\x04\x01"
    pages = np.zeros((1, PAGE), np.uint8)
    assert xbrle.apply(*put([payload + b"\x09"]), pages).tolist() == [Verdict.OK]
    assert pages[0, -4:].tolist() == [1] * 4 and not pages[0, :-4].any()
    assert xbrle.apply(*put([payload + b"\x09"]), pages, strict=True).tolist() == [Verdict.ODD]


@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        (b"", Verdict.SHORT),
        (b"\xff\x01" * 16 + b"\x0f\x01", Verdict.SHORT),
        (b"\xff\x01" * 16 + b"\x10\x01", Verdict.OK),
        (b"\xff\x01" * 16 + b"\x11\x01", Verdict.LONG),
        (b"\x01\x01" * 4096, Verdict.OK),  # 8192 bytes: trees of 2010 wrote such
        (b"\xff\x01" * 32767, Verdict.LONG),  # the longest that a header can announce
        (b"\x00\x01" * 32767, Verdict.SHORT),
    ],
)
def test_a_delta_must_give_exactly_one_page(payload: bytes, verdict: Verdict) -> None:
    pages = np.zeros((2, 4096), np.uint8)
    good = b"\xff\x02" * 16 + b"\x10\x02"
    assert xbrle.apply(*put([payload, good]), pages).tolist() == [verdict, Verdict.OK]
    assert (pages[0] == (verdict == Verdict.OK)).all()
    assert (pages[1] == 2).all()


def test_arguments_that_do_not_fit_are_value_errors() -> None:
    data, offsets, lengths = put([b"\xff\x00" * 4 + b"\x04\x01"] * 2)
    pages = np.zeros((2, PAGE), np.uint8)
    read_only = pages.copy()
    read_only.flags.writeable = False
    for bad in (
        (data, offsets, lengths[:1], pages),
        (data, offsets, lengths + len(data), pages),
        (data, offsets - 100, lengths, pages),
        (data, offsets, lengths, pages[:1]),
        (data, offsets, lengths, np.zeros((2, 2 * PAGE), np.uint8)[:, ::2]),
        (data, offsets, lengths, pages.astype(np.int8)),
        (data, offsets, lengths, np.zeros((2, 1000), np.uint8)),
        (data, offsets, lengths, np.zeros((2, 512), np.uint8)),
        (data, offsets, lengths, read_only),
        (data, offsets, lengths, pages, np.array([0])),
        (data, offsets, lengths, pages, np.array([0, 2])),
        (data, offsets, lengths, pages, np.array([0.0, 1.0])),
        (data.reshape(1, -1), offsets, lengths, pages),
        (data, offsets.astype(float), lengths, pages),
    ):
        with pytest.raises(ValueError):
            xbrle.apply(*bad)
    with pytest.raises(ValueError, match="old is"):
        xbrle.encode(pages, pages[:1])
    with pytest.raises(ValueError, match="1000 bytes"):
        xbrle.changed(data, offsets, lengths, 1000)
    assert not pages.any()


def test_no_records_are_no_work() -> None:
    none = np.empty(0, np.int64)
    pages = noise(1)
    assert len(xbrle.apply(np.empty(0, np.uint8), none, none, pages)) == 0
    data, lengths = xbrle.encode(pages[:0], pages[:0])
    assert len(data) == len(lengths) == 0
