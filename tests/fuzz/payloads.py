"""The fuzzer's targets for payloads: deltas in every encoding, their runs, and compressed pages."""

import numpy as np

from tests.codec import wire
from xbrletools.codec import compressed, deltas, runs, xbzrle
from xbrletools.codec.verdict import Verdict
from xbrletools.formats import ram
from xbrletools.formats.dialects import Encoding

PAGE = ram.MIN_PAGE_SIZE  # the smallest page there is: deltas are short, and memory is cheap
OLD = wire.noise(1, PAGE, seed=4)[0]
OLD_BYTES = OLD.tobytes()
OLD_NUMBER = int.from_bytes(OLD_BYTES, "big")


def _put(payloads: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lengths = np.array([len(p) for p in payloads], np.int64)
    return np.frombuffer(b"".join(payloads), np.uint8), np.cumsum(lengths) - lengths, lengths


def decoder(encoding: Encoding, copies: int, data: bytes) -> None:
    """A batch of payloads decodes as one after the other does, byte by byte. A page that fails stays as it was."""
    payloads = [data] if copies == 1 else [data, data[: len(data) // 2], data[1:]]
    everything, offsets, lengths = _put(payloads * copies)
    pages = np.tile(OLD, (len(offsets), 1))
    verdicts = deltas.apply(encoding, everything, offsets, lengths, pages)
    for k, payload in enumerate(payloads):
        verdict, expected = _one(encoding, payload)
        assert verdicts[k :: len(payloads)].tolist() == [verdict] * copies, (Verdict(int(verdicts[k])), verdict)
        assert pages[k].tobytes() == expected
        assert copies == 1 or (pages[k :: len(payloads)] == pages[k]).all()


def _one(encoding: Encoding, payload: bytes) -> tuple[Verdict, bytes]:
    old = OLD_BYTES
    if encoding is Encoding.ZRUN:
        verdict, new, _ = wire.xbzrle_decode(payload, old)
        return verdict, new
    decode = {
        Encoding.RLE: wire.xbrle_decode,
        Encoding.DOUBLED: wire.sep10_decode,
        Encoding.DOUBLED_NEXT: wire.sep20_decode,
    }[encoding]
    verdict, delta = decode(payload, PAGE)
    return verdict, old if verdict else (OLD_NUMBER ^ int.from_bytes(delta, "big")).to_bytes(PAGE, "big")


_LOCKED = np.zeros(1, np.uint8)
_BEGIN = np.zeros(1, np.int64)


def uleb_runs(data: bytes) -> None:
    """XBZRLE's plain loop over the runs of one payload says what a receiver says."""
    payload = np.frombuffer(data + bytes(4), np.uint8)
    verdicts = _LOCKED.copy()
    ((targets, literals, counts),) = xbzrle._walk(payload, _BEGIN, np.array([len(data)]), PAGE, [(0, 0, 0)], verdicts)
    verdict, _, told = wire.xbzrle_decode(data, OLD_BYTES)
    assert verdicts[0] == verdict
    if verdict == Verdict.OK:
        assert sum(told) == counts.sum()
        for target, literal, count in zip(targets.tolist(), literals.tolist(), counts.tolist(), strict=True):
            assert all(told[target : target + count]) and literal + count <= len(data)


def recode(data: bytes) -> None:
    """A page that was changed comes back from its delta in every encoding. XBRLE's is the naive encoder's."""
    new = OLD.copy()
    for i in range(0, len(data) - 3, 4):
        at = (data[i] << 8 | data[i + 1]) % PAGE
        new[at : at + (data[i + 2] or PAGE)] ^= data[i + 3]
    old, new = OLD[None], new[None]
    for encoding in Encoding:
        payload, lengths = deltas.encode(encoding, old, new, 2 * PAGE)
        assert lengths[0] == len(payload)
        page = old.copy()
        assert deltas.apply(encoding, payload, np.zeros(1, np.int64), lengths, page)[0] == Verdict.OK
        assert (page == new).all()
        mask, _ = deltas.changed(encoding, payload, np.zeros(1, np.int64), lengths, PAGE)
        assert (mask[0] == (old != new)[0]).all()


def payload_runs(data: bytes) -> None:
    """A payload's runs, for a person, follow one another in the page and lie in the payload."""
    payload = np.frombuffer(data, np.uint8)
    for encoding in Encoding:
        at = 0
        for run in runs.runs(encoding, payload, PAGE):
            assert run.start == at
            at += run.length
            assert run.offset is None or 0 <= run.offset <= run.offset + run.size <= len(data)


def zlib_page(data: bytes) -> None:
    """A compressed page is one page or it is refused."""
    pages = np.tile(OLD, (1, 1))
    zero, length = np.zeros(1, np.int64), np.array([len(data)], np.int64)
    verdict = compressed.apply(np.frombuffer(data, np.uint8), zero, length, pages, zero)[0]
    assert verdict == Verdict.OK or (pages[0] == OLD).all()
