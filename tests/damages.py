"""Seeded damages of a capture, and what of it must survive them."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import xbrletools
from xbrletools.capture import Capture
from xbrletools.memory.image import Image, State

KINDS = ("flip", "cut", "insert", "head", "tail")
LENGTHS = {
    "flip": (1, 1, 1, 2, 4, 16, 200),
    "cut": (1, 3, 9, 100, 5000, 50000, 200000),
    "insert": (1, 3, 9, 100, 5000, 50000),
}


@dataclass(frozen=True)
class Damage:
    """``data`` is the damaged capture. Bytes [start, end) of the original are not in it or wrong in it. What follows
    them stands ``shift`` bytes further on.
    """

    kind: str
    data: bytes
    start: int
    end: int
    shift: int


def damage(data: bytes, kind: str, seed: int) -> Damage:
    chance = random.Random(f"{seed}{kind}")
    at = chance.randrange(1, len(data))
    if kind == "head":
        return Damage(kind, data[at:], 0, at, -at)
    if kind == "tail":
        return Damage(kind, data[:at], at, len(data), 0)
    length = chance.choice(LENGTHS[kind])
    if kind == "insert":
        return Damage(kind, data[:at] + chance.randbytes(length) + data[at:], at, at, length)
    end = min(len(data), at + length)
    if kind == "cut":
        return Damage("tail" if end == len(data) else kind, data[:at] + data[end:], at, end, at - end)
    flipped = bytes(b ^ chance.randrange(1, 256) for b in data[at:end])
    return Damage(kind, data[:at] + flipped + data[end:], at, end, 0)


class Whole:
    """An undamaged capture: where its records stand, and memory as they leave it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.capture = xbrletools.open(data)
        columns = self.capture.records.columns
        carries = self.capture.records.is_page
        self.start = columns.offset[carries].astype(np.int64)
        self.end = self.start + columns.head[carries] + columns.length[carries]
        self.rows = self.capture.space.pages_of(columns)[carries]
        self.blocks = [(b.name, b.length) for b in self.capture.blocks]
        self.pages = self.capture.memory().pages.copy()

    def intact(self, done: Damage) -> np.ndarray:
        """The offsets, in the damaged capture, of the records that the damage left whole."""
        before = self.start[self.end <= done.start]
        after = self.start[self.start >= done.end] + done.shift
        return np.concatenate([before, after])

    def touched(self, done: Damage) -> set[int]:
        """The pages of the records that hold damaged bytes."""
        hit = (self.start < done.end) & (self.end > done.start)
        return set(self.rows[hit].tolist())

    def truth(self, done: Damage, salvaged: Capture) -> np.ndarray:
        """Memory at the end or, where the tail is missing, at the last record that is there."""
        if done.kind != "tail":
            return self.pages
        records = int(salvaged.records.is_page.sum())
        return self.capture.memory(at=records).pages if records else self.pages


def wrong_pages(
    whole: Whole, truth: np.ndarray, salvaged: Capture, image: Image, claimed: Callable[[int], np.ndarray]
) -> set[int]:
    """The pages of the whole capture of which a byte is not what it was, and is ``claimed``: `Image.known_bytes` or
    `Image.recovered_bytes` of ``image``.
    """
    wrong: set[int] = set()
    names = [name for name, _ in whole.blocks]
    for index, block in enumerate(salvaged.blocks):
        if block.name not in names:
            continue  # records whose block cannot be told
        mine, theirs = salvaged.space.slice(index), whole.capture.space.slice(names.index(block.name))
        count = min(mine.stop - mine.start, theirs.stop - theirs.start)
        differs = image.pages[mine][:count] != truth[theirs][:count]
        states = image.state[mine][:count]
        for place in np.flatnonzero(differs.any(axis=1) & (states != State.UNKNOWN)).tolist():
            if (differs[place] & claimed(mine.start + place)).any():
                wrong.add(theirs.start + place)
    return wrong
