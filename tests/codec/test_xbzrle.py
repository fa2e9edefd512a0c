import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.wire import PAGE, noise, page_pairs, put, split, uleb, xbzrle_decode, xbzrle_encode
from xbrletools.codec import batches, xbzrle
from xbrletools.codec.verdict import Verdict

pytestmark = pytest.mark.usefixtures("loops")

_ENDS = [
    *[b""] * 6,
    *[
        b"\0",
        b"\x05",
        b"\0\0",
        b"\0\0a",
        b"\x01\0\x01",
        b"\x81\0\x01a",
        b"\x80\0\x01a",
    ],  # numbers cut off, zero runs
    *[b"\x80\x80\x01", b"\x01\x80\x80\x01", b"\x05\x09abc", b"\x05\x82", b"\xff\x07\x02ab", b"\xff\x7f\x01a"],
]


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Runs, most of which a receiver takes, and sometimes a wrong end."""
    out = bytearray()
    for k in range(draw(st.integers(0, 6))):
        out += uleb(draw(st.sampled_from([0 if k == 0 else 1, 1, 5, 127, 128, 300])))
        literals = draw(st.binary(min_size=1, max_size=5)) * draw(st.sampled_from([1, 1, 30]))
        out += uleb(len(literals)) + literals
    return bytes(out) + draw(st.sampled_from(_ENDS))


@given(page_pairs())
def test_applying_an_encoding_gives_the_new_page(pair: tuple[np.ndarray, np.ndarray]) -> None:
    old, new = pair
    data, lengths = xbzrle.encode(old, new, limit=2 * PAGE)
    pages = old.copy()
    assert not xbzrle.apply(data, np.cumsum(lengths) - lengths, lengths, pages).any()
    assert (pages == new).all()


@given(page_pairs(), st.sampled_from([0, 1, 2, 40, 200, PAGE]))
def test_the_encoder_writes_the_bytes_of_qemus(pair: tuple[np.ndarray, np.ndarray], limit: int) -> None:
    old, new = pair
    expected = [xbzrle_encode(bytes(o), bytes(n), limit) for o, n in zip(old, new, strict=True)]
    assert split(*xbzrle.encode(old, new, limit)) == expected


@pytest.mark.parametrize("lockstep_from", [1, 10**9])
@given(batch=st.lists(payloads(), min_size=1, max_size=12), random=st.randoms(use_true_random=False))
def test_any_payload_gets_the_receivers_verdict_and_a_bad_one_spoils_no_other(
    lockstep_from: int, batch: list[bytes], random: object
) -> None:
    old = noise(2 * len(batch))
    rows = np.array(random.sample(range(len(old)), len(batch)))
    pages = old.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xbzrle, "_LOCKSTEP_MIN", lockstep_from)
        verdicts = xbzrle.apply(*put(batch), pages, rows)
        mask, again = xbzrle.changed(*put(batch), PAGE)
    assert verdicts.tolist() == again.tolist()
    for payload, row, verdict, told in zip(batch, rows.tolist(), verdicts.tolist(), mask, strict=True):
        expected, new, expected_told = xbzrle_decode(payload, bytes(old[row]))
        assert verdict == expected
        assert bytes(pages[row]) == new
        assert told.tolist() == expected_told
    others = np.setdiff1d(np.arange(len(old)), rows)
    assert (pages[others] == old[others]).all()


@given(st.lists(st.binary(max_size=12), min_size=60, max_size=80), st.sampled_from([0, 11, 90]))
def test_garbage_gets_the_receivers_verdict(batch: list[bytes], gap: int) -> None:
    old = noise(len(batch))
    pages = old.copy()
    verdicts = xbzrle.apply(*put(batch, gap), pages)
    expected = [xbzrle_decode(p, bytes(o))[:2] for p, o in zip(batch, old, strict=True)]
    assert verdicts.tolist() == [v for v, _ in expected]
    assert [bytes(p) for p in pages] == [n for _, n in expected]


@settings(max_examples=25)
@given(page_pairs(), st.data())
def test_where_batches_end_makes_no_difference(pair: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    old, new = pair
    payload, lengths = xbzrle.encode(old, new, limit=2 * PAGE)
    pages = old.copy()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_BATCH_RECORDS", "_BATCH_PAYLOAD"):
            patch.setattr(xbzrle, name, data.draw(st.sampled_from([1, 3, 300, 3 * PAGE]), name))
        for name in ("_ENCODE_FIRST", "_ENCODE_MOST", "_ENCODE_PAYLOAD"):
            patch.setattr(batches, name, data.draw(st.sampled_from([1, 100, 2 * PAGE, 3 * PAGE]), name))
        assert not xbzrle.apply(payload, np.cumsum(lengths) - lengths, lengths, pages).any()
        again, again_lengths = xbzrle.encode(old, new, limit=2 * PAGE)
    assert (pages == new).all()
    assert again.tobytes() == payload.tobytes() and (again_lengths == lengths).all()


@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        (b"", Verdict.OK),
        (b"\x00\x01z", Verdict.OK),
        (b"\x80\x00\x01z", Verdict.OK),  # 0 in two bytes, legal where 0 is
        (b"\xff\x1f\x01z", Verdict.OK),  # 4095 unchanged, one new
        (b"\x80\x20\x01z", Verdict.LONG),
        (b"\xff\x1f\x02zz", Verdict.LONG),
        (b"\x00\x01z\x00\x01z", Verdict.ZERO_RUN),
        (b"\x00\x00z", Verdict.ZERO_RUN),
        (b"\x00\x00", Verdict.BAD_NUMBER),  # a number and its literals take two bytes
        (b"\x01", Verdict.BAD_NUMBER),
        (b"\x01\x01", Verdict.BAD_NUMBER),
        (b"\x01\x01z\x01", Verdict.BAD_NUMBER),
        (b"\x80\x80\x01\x01z", Verdict.BAD_NUMBER),
        (b"\x01\x80\x80\x01z", Verdict.BAD_NUMBER),
        (b"\x01\x02z", Verdict.CUT),
        (b"\x01\x81\x00", Verdict.CUT),
    ],
)
def test_the_receiver_looks_in_this_order(payload: bytes, verdict: Verdict) -> None:
    pages = np.zeros((2, 4096), np.uint8)
    assert xbzrle.apply(*put([payload, b"\x05\x01q"]), pages).tolist() == [verdict, Verdict.OK]
    assert bool(pages[0].any()) == (verdict == Verdict.OK and payload != b"")
    assert np.flatnonzero(pages[1]).tolist() == [5]


def test_an_unchanged_page_has_an_empty_encoding() -> None:
    old = noise(3)
    new = old.copy()
    new[1, 77] ^= 1
    data, lengths = xbzrle.encode(old, new)
    assert lengths.tolist() == [0, 3, 0]
    assert data.tolist() == [77, 1, new[1, 77]]


def test_an_encoding_of_exactly_a_page_is_sent_unless_an_unchanged_byte_follows() -> None:
    old = np.zeros((3, 4096), np.uint8)
    new = np.ones((3, 4096), np.uint8)
    new[:, 1:4] = 0  # 1 new, 3 unchanged, then 4092 new with 2 + 2 bytes of numbers
    data, lengths = xbzrle.encode(old, new)
    assert lengths.tolist() == [-1, -1, -1]
    new[0, 1:6] = 0  # 3 + 1 + 2 + 4090 = 4096
    new[1, 1:6] = new[1, -1] = 0  # 4095, but the encoder wants two bytes free to look at the last one
    new[2, 1:6] = new[2, -2:] = 0  # 4094
    data, lengths = xbzrle.encode(old, new)
    assert lengths.tolist() == [4096, -1, 4094]
    assert split(data, lengths) == [xbzrle_encode(bytes(o), bytes(n), 4096) for o, n in zip(old, new, strict=True)]


def test_runs_do_not_join_across_pages() -> None:
    old = np.zeros((2, PAGE), np.uint8)
    new = old.copy()
    new[0, -1] = new[1, 0] = 1
    assert split(*xbzrle.encode(old, new)) == [uleb(PAGE - 1) + b"\x01\x01", b"\x00\x01\x01"]


def test_a_run_that_two_bytes_cannot_hold_is_given_up() -> None:
    old = np.zeros((4, 65536), np.uint8)
    new = old.copy()
    new[0, 16383] = new[1, 16384] = 1
    new[2, :16383] = new[3, :16384] = 1
    _, lengths = xbzrle.encode(old, new)
    assert lengths.tolist() == [4, -1, 1 + 2 + 16383, -1]


def test_arguments_that_do_not_fit_are_value_errors() -> None:
    data, offsets, lengths = put([b"\x05\x01q"] * 2)
    pages = np.zeros((2, PAGE), np.uint8)
    for bad in (
        (data, offsets, lengths + 9, pages),
        (data, offsets, lengths, pages[:1]),
        (data, offsets, lengths, pages, np.array([0, 2])),
        (data, offsets, lengths, pages[:, ::2]),
    ):
        with pytest.raises(ValueError):
            xbzrle.apply(*bad)
    with pytest.raises(ValueError, match="new must be"):
        xbzrle.encode(pages, pages[0])
    assert not pages.any()
