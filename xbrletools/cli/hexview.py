"""Bytes as text: hexadecimal dumps, old and new side by side, and the values that bytes at one place can have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .writer import painted

ROW = 16  # bytes in a line of a dump
SIDE = 8  # bytes in a line, on each side
UNKNOWN = "??"
UNCHANGED = ".."

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def printable(data: bytes) -> str:
    """One character for each byte: itself if it is printable ASCII, else a dot."""
    return "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in data)


def cells(data: Bytes, known: Mask, unknown: str = UNKNOWN) -> list[str]:
    """Two digits for each byte."""
    return [f"{b:02x}" if k else unknown for b, k in zip(data.tolist(), known.tolist(), strict=True)]


def characters(data: Bytes, known: Mask) -> str:
    """One character for each byte, a blank if it is unknown."""
    return "".join(c if k else " " for c, k in zip(printable(data.tobytes()), known.tolist(), strict=True))


def dump(data: Bytes, known: Mask, address: int, matched: range | None = None) -> Iterator[str]:
    """A dump at ``address``, 16 bytes a line. A single ``*`` stands for lines equal to the one before.

    The bytes at the places ``matched`` stand out where there are colours.
    """
    before, starred = "", False
    digits = max(8, len(f"{address + len(data):x}"))
    for start in range(0, len(data), ROW):
        part = slice(start, start + ROW)
        digit = cells(data[part], known[part])
        if matched is not None:
            digit = [painted(d, "match") if start + i in matched else d for i, d in enumerate(digit)]
        gap = " " * (3 * (ROW // 2) - 1 - max(0, 3 * (len(digit) - ROW // 2) - 1))
        line = f"{' '.join(digit[:8])}  {' '.join(digit[8:])}{gap} |{characters(data[part], known[part])}|"
        last = start + ROW >= len(data)
        if line == before and not last:
            if not starred:
                yield "*"
            starred = True
            continue
        before, starred = line, False
        yield f"{address + start:0{digits}x}  {line}"


@dataclass(frozen=True, slots=True)
class Column:
    """One side of a comparison: its bytes as two digits each, which bytes to mark, and a text beside them."""

    digits: list[str]
    marked: Mask
    text: str = ""


def sides(columns: Sequence[Column], shown: Mask) -> Iterator[str]:
    """Columns side by side, 8 bytes a line. Lines without a byte of ``shown`` are left out and counted.

    A marked byte has a ``*`` before it.
    """
    size = len(shown)
    digits = len(f"{size - 1:x}")
    left_out = 0
    for start in range(0, size, SIDE):
        part = slice(start, start + SIDE)
        if not shown[part].any():
            left_out += 1
            continue
        if left_out:
            yield between(left_out)
            left_out = 0
        yield f"{start:0{digits}x}" + " |".join(_cell(column, part) for column in columns)
    if left_out:
        yield between(left_out)


def between(lines: int) -> str:
    """The line that stands for lines that are left out."""
    return f"... {lines * SIDE} bytes the same"


def _cell(column: Column, part: slice) -> str:
    marked = column.marked[part].tolist()
    digits = "".join(
        painted(f"*{digit}", "changed") if m else f" {digit}"
        for m, digit in zip(marked, column.digits[part], strict=True)
    )
    return f"{digits} {column.text[part]}" if column.text else digits


def runs(mask: Mask) -> list[tuple[int, int]]:
    """Where each run of True begins, and its length."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist(), strict=True))


_NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
_TEXT = 48  # most bytes of ASCII text that are shown
_WIDE_TEXT = 16  # most bytes of UTF-16 text: a character can take two columns

Meaning = int | float | str | None


def meanings(data: Bytes, known: Mask) -> dict[str, tuple[Meaning, Meaning]]:
    """The values that the first bytes can have, by name, in little- and in big-endian order.

    None if there are too few bytes, or one of them is unknown. Text ends at the first character that is not printable.
    """
    length = int(np.argmin(known)) if not known.all() else len(data)
    content = data[:length].tobytes()
    found: dict[str, tuple[Meaning, Meaning]] = {}
    for name in _NUMBERS:
        size = int(name[1])
        word = f"{name[0]}{size * 8}"
        found[word] = (_number(content, "<" + name), _number(content, ">" + name))
    ascii_text = _text(content, "ascii", 1)
    found["ascii"] = (ascii_text, ascii_text)
    found["utf-16"] = (_text(content, "utf-16-le", 2), _text(content, "utf-16-be", 2))
    return found


def _number(content: bytes, kind: str) -> Meaning:
    dtype = np.dtype(kind)
    if len(content) < dtype.itemsize:
        return None
    value: int | float = np.frombuffer(content, dtype, 1)[0].item()
    return value


def _text(content: bytes, encoding: str, width: int) -> Meaning:
    if len(content) < width:
        return None
    text = content[: _TEXT if width == 1 else _WIDE_TEXT].decode(encoding, "replace")
    seen = []
    for character in text:
        if not character.isprintable() or character == "\ufffd":
            break
        seen.append(character)
    return "".join(seen)
