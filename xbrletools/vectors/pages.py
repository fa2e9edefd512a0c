"""Cases of the codings: every run length around a pair's cap, every encoding around a limit, and payloads that no
encoder writes, with what a receiver makes of them.

Facts: formats/README.md, "XBRLE", "XBZRLE", "Doubled bytes".
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..formats import xbzrle
from ..formats.dialects import Encoding
from ..formats.doubled import EXTRA_MAX
from ..formats.ram import PAGE_SIZE
from ..formats.xbrle import RUN_MAX

SIZES = (1024, PAGE_SIZE, 16384)  # target pages of 1 KiB, 4 KiB and 16 KiB

#: Run lengths around every multiple of a pair's cap, around the doubled codings' longest runs, around the numbers
#: where ULEB128 grows, and the page's own.
RUNS = tuple(
    sorted(
        {1, 2, 3}
        | {n + d for n in range(RUN_MAX, PAGE_SIZE, RUN_MAX) for d in (-1, 0, 1)}
        | {n + d for n in range(EXTRA_MAX + 1, PAGE_SIZE, EXTRA_MAX + 1) for d in (0, 1, 2)}
        | {n + d for n in (EXTRA_MAX + 2, 2 * (EXTRA_MAX + 2)) for d in (-1, 0, 1)}
        | {xbzrle.ULEB_MORE - 1, xbzrle.ULEB_MORE, xbzrle.ULEB_MORE + 1, PAGE_SIZE - 2, PAGE_SIZE - 1, PAGE_SIZE}
    )
)


@dataclass(frozen=True, slots=True)
class Question:
    """A case without its answer."""

    id: str
    op: str
    note: str
    ask: Mapping[str, object]


def word(coding: Encoding) -> str:
    """A coding as cases call it."""
    return coding.name.lower().replace("_", "-")


def _text(random_: random.Random, size: int = PAGE_SIZE) -> bytes:
    """A page that takes few pieces to write down: a pattern in which no two neighbours are the same."""
    step = random_.choice((2, 4))
    start = random_.randrange(256)
    return bytes((start + 37 * i) & 0xFF for i in range(step)) * (size // step)


def _xor(page: bytes, delta: bytes) -> bytes:
    return (int.from_bytes(page, "big") ^ int.from_bytes(delta, "big")).to_bytes(len(page), "big")


def _both_ways(
    coding: Encoding, name: str, note: str, old: bytes, new: bytes, limit: int = PAGE_SIZE
) -> Iterator[Question]:
    yield Question(name, "encode", note, {"coding": word(coding), "limit": limit, "old": old, "new": new})


def _runs(coding: Encoding, random_: random.Random) -> Iterator[Question]:
    """One run of each length: changed bytes between unchanged ones, at the page's start, middle and end. Then the same
    of unchanged bytes between changed ones.
    """
    for run in RUNS:
        offsets = {"start": 0, "middle": (PAGE_SIZE - run) // 2, "end": PAGE_SIZE - run}
        for where, at in list(offsets.items())[: 1 if run == PAGE_SIZE else 3]:
            old, value = _text(random_), random_.randrange(1, 256)
            delta = bytes(at) + bytes([value]) * run + bytes(PAGE_SIZE - at - run)
            name = f"{word(coding)}-run-{run}-{where}"
            yield from _both_ways(coding, name, f"{run} bytes change by one XOR value", old, _xor(old, delta))
    for run in RUNS[:-2]:
        old, left = _text(random_), (PAGE_SIZE - run) // 2
        delta = bytes([random_.randrange(1, 256)]) * left + bytes(run)
        delta += bytes([random_.randrange(1, 256)]) * (PAGE_SIZE - len(delta))
        yield from _both_ways(
            coding, f"{word(coding)}-kept-{run}", f"{run} bytes stay between others that change", old, _xor(old, delta)
        )


def _pairs(random_: random.Random, count: int, size: int = PAGE_SIZE) -> bytes:
    """A delta of exactly ``count`` runs: (run, byte) pairs of 2 bytes each."""
    lengths = [size // count + (k < size % count) for k in range(count)]
    random_.shuffle(lengths)
    values, out = (random_.randrange(1, 128), random_.randrange(128, 256)), bytearray()
    for k, length in enumerate(lengths):
        out += bytes([values[k % 2]]) * length
    return bytes(out)


def _limits(coding: Encoding, random_: random.Random) -> Iterator[Question]:
    """Encodings around the limits of the senders: a page, a third of one, two pages, and less than one."""
    if coding is Encoding.RLE:
        for limit in (PAGE_SIZE, PAGE_SIZE // 3, 2 * PAGE_SIZE):
            even = limit // 2 * 2
            for length in (even - 2, even, even + 2):
                if length // 2 > PAGE_SIZE:
                    continue
                old = _text(random_)
                new = _xor(old, _pairs(random_, length // 2))
                note = f"an encoding of {length} bytes under a limit of {limit}"
                yield from _both_ways(coding, f"rle-length-{length}-limit-{limit}", note, old, new, limit)
        return
    for length in (PAGE_SIZE - 2, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 2):
        limit = PAGE_SIZE if coding is Encoding.ZRUN else PAGE_SIZE - 1
        old = _text(random_)
        if coding is Encoding.ZRUN:
            kept = PAGE_SIZE + 3 - length  # a number of one byte, one of two, and the literals
            for where in ("start", "end"):
                changed = _xor(old, bytes(kept) + bytes([0x5A]) * (PAGE_SIZE - kept))
                if where == "end":  # an unchanged end asks for two bytes more
                    changed = _xor(old, bytes([0x5A]) * (PAGE_SIZE - kept) + bytes(kept))
                note = f"an encoding of {length} bytes; what stays is at the page's {where}"
                yield from _both_ways(coding, f"zrun-length-{length}-kept-{where}", note, old, changed, limit)
        else:
            tripled = length - PAGE_SIZE  # a run of two takes three bytes
            delta = bytearray(k % 2 + 1 for k in range(PAGE_SIZE))
            for k in range(max(0, tripled)):
                delta[8 * k + 9] = delta[8 * k + 8]
            if tripled < 0:  # a run of 3 - tripled takes three bytes
                delta[: 3 - tripled] = bytes([9]) * (3 - tripled)
            note = f"an encoding of about {length} bytes under a limit of {limit}"
            yield from _both_ways(coding, f"{word(coding)}-about-{length}", note, old, _xor(old, bytes(delta)), limit)


def _others(coding: Encoding, random_: random.Random) -> Iterator[Question]:
    """The same page, all of it changed, some random changes, other page sizes."""
    limit = PAGE_SIZE - 1 if coding in (Encoding.DOUBLED, Encoding.DOUBLED_NEXT) else PAGE_SIZE
    old = _text(random_)
    yield from _both_ways(coding, f"{word(coding)}-same", "nothing changes", old, old, limit)
    yield from _both_ways(
        coding, f"{word(coding)}-noise", "every byte changes by another value", old, random_.randbytes(PAGE_SIZE), limit
    )
    for size in SIZES:
        for number in range(4):
            old, new = _text(random_, size), bytearray()
            new += old
            for _ in range(1 << (2 * number)):
                at = random_.randrange(size)
                end = min(size, at + random_.choice((1, 2, 3, 8, 60)))
                new[at:end] = bytes([random_.randrange(256)]) * (end - at)
            yield from _both_ways(
                coding,
                f"{word(coding)}-edits-{size}-{number}",
                f"{1 << (2 * number)} edits of a page of {size} bytes",
                old,
                bytes(new),
                size - PAGE_SIZE + limit,
            )


def _decoded(coding: Encoding, entries: Sequence[tuple[str, str, bytes]]) -> Iterator[Question]:
    old = bytes(range(256)) * (PAGE_SIZE // 256)
    for name, note, payload in entries:
        ask = {"coding": word(coding), "old": old, "payload": payload}
        yield Question(f"{word(coding)}-given-{name}", "decode", note, ask)


def _given_rle() -> Sequence[tuple[str, str, bytes]]:
    full = bytes((RUN_MAX, 0)) * (PAGE_SIZE // RUN_MAX)
    rest = PAGE_SIZE % RUN_MAX
    return (
        ("empty", "no pair at all", b""),
        ("one-short", "one byte less than a page", full + bytes((rest - 1, 0))),
        ("one-long", "one byte more than a page", full + bytes((rest + 1, 0))),
        ("run-past-end", "a run that starts inside and ends past the page", full + bytes((RUN_MAX, 7))),
        ("pair-after-end", "a pair after a whole page", full + bytes((rest, 0, 1, 1))),
        ("zero-run-first", "a run of no bytes before all others", bytes((0, 9)) + full + bytes((rest, 1))),
        ("zero-run-inside", "a run of no bytes between others", full + bytes((0, 9, rest, 1))),
        ("zero-run-last", "a run of no bytes after a whole page", full + bytes((rest, 1, 0, 9))),
        ("only-zero-runs", "runs of no bytes alone", bytes((0, 1)) * 34),
        ("odd", "a byte left over after a whole page", full + bytes((rest, 1, 5))),
        ("odd-short", "a byte left over where a pair is missing", full + bytes((rest,))),
        ("split", "one run as two", full + bytes((rest - 5, 1, 5, 1))),
        ("cap-254", "runs cut at 254", bytes((254, 3)) * 16 + bytes((PAGE_SIZE - 254 * 16, 3))),
        ("ones", "2048 runs of two, equal and unmerged", bytes((2, 0)) * (PAGE_SIZE // 2)),
    )


def _given_zrun() -> Sequence[tuple[str, str, bytes]]:
    last = PAGE_SIZE - 1
    low, more = xbzrle.ULEB_MORE - 1, xbzrle.ULEB_MORE

    def uleb(number: int) -> bytes:
        return bytes((number,)) if number <= low else bytes((number & low | more, number >> xbzrle.ULEB_BITS))

    return (
        ("empty", "no run at all", b""),
        ("first-byte", "the first byte", b"\x00\x01A"),
        ("last-byte", "the last byte", uleb(last) + b"\x01Z"),
        ("wide-zero", "a first run of 0 in two bytes", b"\x80\x00\x01A"),
        ("wide-one", "a count of 1 in two bytes", b"\x00\x81\x00A"),
        ("unchanged-literals", "literals that are the old bytes", b"\x04\x04\x04\x05\x06\x07"),
        ("adjacent", "a second run of unchanged bytes of length 0", b"\x04\x01A\x00\x01B"),
        ("wide-adjacent", "a second run of length 0 in two bytes", b"\x04\x01A\x80\x00\x01B"),
        ("no-literals", "a count of 0", b"\x04\x00\x04\x01A"),
        ("three-bytes", "a number of three bytes", b"\x80\x80\x01\x01A"),
        ("cut-number", "a number that the payload cuts off", b"\x80"),
        ("cut-count", "no count after a run", b"\x05\x01A\x05"),
        ("trailing-run", "a last run of unchanged bytes with a count of 0", b"\x05\x01A\x05\x00"),
        ("cut-literals", "fewer literals than counted", b"\x00\x05AAAA"),
        ("run-past-end", "a run of unchanged bytes past the page", uleb(PAGE_SIZE + 1) + b"\x01A"),
        ("literal-past-end", "a literal past the page", uleb(PAGE_SIZE) + b"\x01A"),
        ("literals-past-end", "literals that start inside and end past the page", uleb(last) + b"\x02AB"),
        ("whole", "all of the page as literals", b"\x00" + uleb(PAGE_SIZE) + b"\x11" * PAGE_SIZE),
        ("largest-number", "the largest number of two bytes", uleb(xbzrle.ULEB_MAX) + b"\x01A"),
    )


def _given_doubled(coding: Encoding) -> Sequence[tuple[str, str, bytes]]:
    if coding is Encoding.DOUBLED:
        count, last = divmod(PAGE_SIZE, 2 + EXTRA_MAX)
        head, tail, marks = b"", (1, 1), bytes((0, 0, EXTRA_MAX)) * count
        last -= 2  # the doubled byte itself, twice
    else:
        count, last = divmod(PAGE_SIZE - 1, 1 + EXTRA_MAX)
        head, tail, marks = b"\0", (0, 0), bytes((0, 0, EXTRA_MAX)) * count
        last -= 1  # the byte after the run
    return (
        ("empty", "nothing at all", b""),
        ("whole", "one page in the longest runs", head + marks + bytes((*tail, last))),
        ("one-short", "one byte less than a page", head + marks + bytes((*tail, last - 1))),
        ("one-long", "one byte more than a page", head + marks + bytes((*tail, last + 1))),
        ("cut-count", "a payload that ends where a count should be", head + marks + bytes((1, 1))),
        ("literals", "alternating bytes, none doubled", b"\x01\x02" * (PAGE_SIZE // 2)),
        ("no-repeats", "doubled bytes that do not repeat further", b"\x01\x01\x00" * (PAGE_SIZE // 2)),
    )


def questions(coding: Encoding, seed: int) -> Iterator[Question]:
    """Every case of one coding."""
    random_ = random.Random(f"{coding.name} {seed}")
    yield from _runs(coding, random_)
    yield from _limits(coding, random_)
    yield from _others(coding, random_)
    if coding is Encoding.RLE:
        yield from _decoded(coding, _given_rle())
    elif coding is Encoding.ZRUN:
        yield from _decoded(coding, _given_zrun())
    else:
        yield from _decoded(coding, _given_doubled(coding))


def sums(seed: int) -> Iterator[Question]:
    """Byte sums: the smallest, the largest, and pages whose sums are equal."""
    random_ = random.Random(f"sums {seed}")
    page = random_.randbytes(PAGE_SIZE)
    for name, note, data in (
        ("zero", "a page of zeros", bytes(PAGE_SIZE)),
        ("largest", "a page of 255s: 1044480", b"\xff" * PAGE_SIZE),
        ("noise", "random bytes", page),
        ("reversed", "the same bytes in another order: the same sum", page[::-1]),
        ("page-1024", "a page of 1 KiB", b"\x01\x80" * 512),
        ("page-65536", "a page of 64 KiB", b"\xfe\xff" * 32768),
    ):
        yield Question(f"sum-{name}", "sum", note, {"page": data})
