"""Makes the pages and streams to measure with, from a seed. The project's own encoder writes them.

The changes in pages are like those of the captures of 2011. Most deltas take 34 to 800 bytes, a few take thousands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xbrletools.codec import uniform, xbrle
from xbrletools.formats import ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.model import Block
from xbrletools.sender.policy import Choices
from xbrletools.sender.saver import Frames, PageRecords, RecordForm, Writer, end_of_section, memory_size

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAGE = ram.PAGE_SIZE
BLOCK = b"pc.ram"
WRONG_SUMS = 5
CLUSTER = 50  # changed bytes that lie together

_BATCH = 1024  # records that are made at a time, and the most of a section
_STRETCH = 32  # pages in a row that fare alike, on average
_DIRTY = 0.4  # of the guest's pages in each sweep after the first
FORM = RecordForm(DIALECTS["posted"], checksums=True)
FRAMES = Frames(FORM.version, block_section=False)
_PAGE, _DUP, _DELTA = range(3)


@dataclass(frozen=True, slots=True)
class Mix:
    """What the sweeps after the first consist of: shares of PAGE, dup and delta records. ``ordered``: pages are sent in
    the order of their addresses, and neighbours are alike.
    """

    shares: tuple[float, float, float]
    ordered: bool = True


MIXES = {
    "realistic": Mix((0.2, 0.1, 0.7)),
    "page-heavy": Mix((0.8, 0.05, 0.15)),
    "shuffled": Mix((0.2, 0.1, 0.7), ordered=False),
}

#: Changed bytes of a delta, whether they lie in clusters, and the share of deltas that are so.
Changes = tuple[tuple[int, bool, float], ...]
_MIXED: Changes = ((4, False, 0.2), (10, False, 0.2), (50, False, 0.25), (300, True, 0.25), (1200, True, 0.1))
_SMALL: Changes = ((10, False, 1.0),)


def noise(count: int, rng: np.random.Generator) -> Bytes:
    """Pages of random bytes, (count, 4096) uint8."""
    return rng.integers(0, 1 << 64, (count, PAGE // 8), np.uint64).view(np.uint8)


def changed(old: Bytes, count: int, clustered: bool, rng: np.random.Generator) -> Bytes:
    """Change ``count`` random bytes of each page, anywhere or in clusters that may overlap. Byte 0 stays."""
    new, pages = old.copy(), len(old)
    if clustered:
        starts = rng.integers(1, PAGE - CLUSTER, (pages, count // CLUSTER))
        at = (starts[:, :, None] + np.arange(CLUSTER)).reshape(pages, count)
    else:
        at = rng.integers(1, PAGE, (pages, count))
    rows = np.arange(pages)[:, None]
    new[rows, at] = old[rows, at] ^ rng.integers(1, 256, at.shape, np.uint8)
    return new


def pages(count: int, uniform_share: float, rng: np.random.Generator) -> Bytes:
    """Random pages, (count, 4096) uint8. This share of them is one repeated byte each."""
    out = noise(count, rng)
    which = np.flatnonzero(rng.random(count) < uniform_share)
    out[which] = rng.integers(0, 256, (len(which), 1), np.uint8)
    return out


def write_mix(path: Path, mix: Mix, size: int, rng: np.random.Generator) -> None:
    """Write a stream of about ``size`` bytes. The guest has half as much memory. It is swept once, then sweeps over
    changed pages follow. The sums of the first `WRONG_SUMS` deltas are wrong.
    """
    wrong = 0
    memory = np.zeros((size // 2 // PAGE, PAGE), np.uint8)
    block = Block(BLOCK, memory.size)
    writer = Writer(FORM, [BLOCK])
    with path.open("wb") as file:
        file.write(FRAMES.file_header() + FRAMES.section(SectionType.START))
        file.write(memory_size(FORM.version, [block], np.zeros(1, np.int64), PAGE))
        shares = (0.6, 0.4, 0.0)
        while file.tell() < size:
            for rows, kinds in sweep(mix, len(memory), shares, rng):
                records, choices = send(memory, rows, kinds, rng)
                out, begins = writer.write(records, choices)
                for i in np.flatnonzero(choices.is_delta)[: WRONG_SUMS - wrong].tolist():
                    out[begins[i + 1] - choices.lengths[i] - 1] ^= 1  # the sum stands right before the payload
                    wrong += 1
                file.write(out.data)
                file.write(end_of_section() + FRAMES.section(SectionType.PART))
                if file.tell() >= size:
                    break
            shares = mix.shares
        file.write(end_of_section() + FRAMES.section(SectionType.END) + end_of_section() + FRAMES.end(b""))


def sweep(
    mix: Mix, count: int, shares: tuple[float, float, float], rng: np.random.Generator
) -> Iterator[tuple[Ints, Ints]]:
    """The pages of a sweep and the kind of record that sends each, a batch at a time."""
    stretch = _STRETCH if mix.ordered else 1
    is_first = not shares[_DELTA]
    rows = np.arange(count) if is_first else np.flatnonzero(_stretches(count, (_DIRTY, 1 - _DIRTY), stretch, rng) == 0)
    if not mix.ordered:
        rows = rng.permutation(rows)
    kinds = _stretches(len(rows), shares, stretch, rng)
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH], kinds[start : start + _BATCH]


def _stretches(count: int, shares: tuple[float, ...], length: int, rng: np.random.Generator) -> Ints:
    """Draw numbers by their shares, (count,). Each number fills a stretch of entries."""
    drawn = rng.choice(len(shares), count, p=shares)
    return np.repeat(drawn, rng.geometric(1 / length, count))[:count]


def send(
    memory: Bytes, rows: Ints, kinds: Ints, rng: np.random.Generator, changes: Changes = _MIXED
) -> tuple[PageRecords, Choices]:
    """Change these pages of ``memory``, and return the records that send them."""
    old = memory[rows]
    new = np.empty_like(old)
    mine = np.flatnonzero(kinds == _PAGE)
    new[mine] = noise(len(mine), rng)
    mine = np.flatnonzero(kinds == _DUP)
    new[mine] = np.where(rng.random(len(mine)) < 0.9, 0, 0xFF).astype(np.uint8)[:, None]
    mine = np.flatnonzero(kinds == _DELTA)
    fates = rng.choice(len(changes), len(mine), p=[share for _, _, share in changes])
    for fate, (count, clustered, _) in enumerate(changes):
        some = mine[fates == fate]
        new[some] = changed(old[some], count, clustered, rng)
    memory[rows] = new
    is_delta, lengths = kinds == _DELTA, np.zeros(len(rows), np.int64)
    data, lengths[is_delta] = xbrle.encode(old[is_delta], new[is_delta])
    none = np.zeros(len(rows), bool)
    is_dup = uniform.fills(new) != uniform.NOT_UNIFORM
    records = PageRecords(np.zeros(len(rows), np.int64), rows * PAGE, new, is_dup & ~is_delta, none)
    return records, Choices(is_delta, data, lengths, none, none, none)


def nothing_of(count: int) -> Choices:
    """The choices of so many pages, none of which goes as a delta."""
    none = np.zeros(count, bool)
    return Choices(none, np.empty(0, np.uint8), np.zeros(count, np.int64), none, none, none)


def write_run(path: Path, kind: Flag, count: int, rng: np.random.Generator) -> None:
    """Write a stream of ``count`` records of one kind, PAGE, COMPRESS or XBRLE, over a guest of 4096 pages, swept again
    and again. Each delta changes 10 bytes of a page of zeros. The stream is for scanning, its memory does not make
    sense.
    """
    guest = 4096
    memory = np.zeros((guest, PAGE), np.uint8)
    rows = np.arange(guest)
    kinds = np.full(guest, {Flag.COMPRESS: _DUP, Flag.PAGE: _PAGE, Flag.XBRLE: _DELTA}[kind])
    block = Block(BLOCK, memory.size)
    writer = Writer(FORM, [BLOCK])
    with path.open("wb") as file:
        file.write(FRAMES.file_header() + FRAMES.section(SectionType.START))
        file.write(memory_size(FORM.version, [block], np.zeros(1, np.int64), PAGE))
        file.write(writer.write(*send(memory, rows[:1], kinds[:1], rng))[0].data)  # it names the block
        sweep, begins = writer.write(*send(memory, rows, kinds, rng, _SMALL))
        for start in range(1, count, guest):
            file.write(sweep[: begins[min(guest, count - start)]].data)
        file.write(end_of_section() + FRAMES.section(SectionType.END) + end_of_section())
        file.write(bytes([SectionType.EOF]))
