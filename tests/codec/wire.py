"""Pages and payloads for the codec tests, and the codings written out byte by byte, from the facts alone."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from xbrletools.codec.verdict import Verdict

PAGE = 1024  # the smallest page there is, so that hypothesis gets far


def put(payloads: Sequence[bytes], gap: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data with the payloads in it, garbage between them, and their offsets and lengths."""
    data, offsets = bytearray(), []
    for payload in payloads:
        data += b"\xa5" * gap
        offsets.append(len(data))
        data += payload
    lengths = np.array([len(p) for p in payloads], np.int64)
    return np.frombuffer(bytes(data), np.uint8), np.array(offsets, np.int64), lengths


def split(data: np.ndarray, lengths: np.ndarray) -> list[bytes | None]:
    """The payloads of an encoder's answer, None where it gave up."""
    out: list[bytes | None] = []
    at = 0
    for n in lengths.tolist():
        out.append(None if n < 0 else data[at : at + n].tobytes())
        at += max(n, 0)
    assert at == len(data)
    return out


def noise(count: int, page_size: int = PAGE, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, page_size), np.uint8)


def _change(page: bytearray, edits: list[tuple[int, int, int, bool]]) -> bytes:
    for at, count, value, flat in edits:
        for i in range(at, min(at + count, len(page))):
            page[i] ^= value if flat else (value + i) & 0xFF
    return bytes(page)


_edit = st.tuples(
    st.integers(0, PAGE - 1),
    st.sampled_from([1, 1, 1, 2, 3, 7, 8, 9, 127, 128, 129, 254, 255, 256, 257, 258, 511, 512, 513, PAGE]),
    st.integers(0, 255),
    st.booleans(),
)


@st.composite
def page_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 9 pages before and after some edits: bytes, runs of one XOR value, runs of different ones."""
    edits = draw(st.lists(st.lists(_edit, max_size=6), min_size=1, max_size=9))
    old = noise(len(edits), seed=draw(st.integers(0, 3)))
    changed = [_change(bytearray(o.tobytes()), e) for o, e in zip(old, edits, strict=True)]
    new = np.array([np.frombuffer(page, np.uint8) for page in changed])
    return old, new


def xbrle_decode(payload: bytes, page_size: int) -> tuple[Verdict, bytes]:
    delta = b"".join(payload[i + 1 : i + 2] * payload[i] for i in range(0, len(payload) - 1, 2))
    if len(delta) != page_size:
        return (Verdict.SHORT if len(delta) < page_size else Verdict.LONG), b""
    return Verdict.OK, delta


def xbrle_encode(delta: bytes) -> bytes:
    out, run = bytearray(), 0
    for i, byte in enumerate(delta):
        run += 1
        if i + 1 == len(delta) or delta[i + 1] != byte or run == 255:
            out += bytes((run, byte))
            run = 0
    return bytes(out)


def xbrle_strict(payload: bytes, page_size: int) -> Verdict:
    verdict, delta = xbrle_decode(payload, page_size)
    if verdict:
        return verdict
    if len(payload) % 2:
        return Verdict.ODD
    if 0 in payload[::2]:
        return Verdict.ZERO_RUN
    return Verdict.OK if payload == xbrle_encode(delta) else Verdict.NON_CANONICAL


def xbzrle_decode(payload: bytes, page: bytes) -> tuple[Verdict, bytes, list[bool]]:
    """QEMU's receiver: verdict, new page, and which bytes the delta determines."""
    new, told = bytearray(page), [False] * len(page)
    bad = (page, [False] * len(page))
    i = d = 0
    while i < len(payload):
        numbers = []
        for which in range(2):
            rest = payload[i:]
            if len(rest) < 2 or (rest[0] & 0x80 and rest[1] & 0x80):
                return Verdict.BAD_NUMBER, *bad
            number = (rest[0] & 0x7F) | rest[1] << 7 if rest[0] & 0x80 else rest[0]
            if number == 0 and (which == 1 or i):
                return Verdict.ZERO_RUN, *bad
            i += 2 if rest[0] & 0x80 else 1
            numbers.append(number)
            if d + sum(numbers) > len(page):
                return Verdict.LONG, *bad
        zrun, nzrun = numbers
        if i + nzrun > len(payload):
            return Verdict.CUT, *bad
        d += zrun
        new[d : d + nzrun] = payload[i : i + nzrun]
        told[d : d + nzrun] = [True] * nzrun
        d += nzrun
        i += nzrun
    return Verdict.OK, bytes(new), told


def uleb(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128, number >> 7))


def xbzrle_encode(old: bytes, new: bytes, limit: int) -> bytes | None:
    """QEMU's encoder: it asks for two bytes each time that it goes on, and for the literals' own room."""
    out, i = b"", 0
    while i < len(old):
        if len(out) + 2 > limit:
            return None
        zrun = i
        while i < len(old) and old[i] == new[i]:
            i += 1
        if i == len(old):
            return out
        out += uleb(i - zrun)
        if len(out) + 2 > limit:
            return None
        start = i
        while i < len(old) and old[i] != new[i]:
            i += 1
        out += uleb(i - start)
        if len(out) + i - start > limit:
            return None
        out += new[start:i]
    return out


def sep10_decode(payload: bytes, page_size: int) -> tuple[Verdict, bytes]:
    out = bytearray()
    previous, i = None, 0
    while i < len(payload):
        byte, i = payload[i], i + 1
        out.append(byte)
        if byte == previous:
            if i == len(payload):
                return Verdict.CUT, b""
            out += bytes((byte,)) * payload[i]
            i += 1
            previous = None
        else:
            previous = byte
    if len(out) != page_size:
        return (Verdict.SHORT if len(out) < page_size else Verdict.LONG), b""
    return Verdict.OK, bytes(out)


def sep20_decode(payload: bytes, page_size: int) -> tuple[Verdict, bytes]:
    out = bytearray()
    previous, i = None, 0
    while i < len(payload):
        byte, i = payload[i], i + 1
        if byte == previous:
            if i + 2 > len(payload):
                return Verdict.CUT, b""
            previous, count = payload[i], payload[i + 1]
            out += bytes((byte,)) * count + bytes((previous,))
            i += 2
        else:
            out.append(byte)
            previous = byte
    if len(out) != page_size:
        return (Verdict.SHORT if len(out) < page_size else Verdict.LONG), b""
    return Verdict.OK, bytes(out)
