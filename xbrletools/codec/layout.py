"""NumPy dtypes derived from the construct grammars, so that a layout is written down once.

Bulk work reads headers through these dtypes. Single records go through construct itself.
"""

import struct
from typing import Any

import numpy as np
from construct import Bytes, Const, FormatField, Rebuild, Renamed, Struct

from xbrletools.formats import Grammar

_KINDS = dict.fromkeys("BHILQ", "u") | dict.fromkeys("bhilq", "i") | dict.fromkeys("efd", "f")


def dtype_of(grammar: Grammar) -> np.dtype[Any]:
    """Give the packed dtype of a number, or of a Struct of fixed size. Names and byte orders are the grammar's.

    Raises TypeError for a part without a fixed layout: an unnamed one, or one whose size depends on the data.
    """
    if isinstance(grammar, FormatField):
        return np.dtype(_scalar(grammar.name or "number", grammar.fmtstr))
    if not isinstance(grammar, Struct):
        raise TypeError(f"a number or a Struct has a layout, {type(grammar).__name__} does not")
    return np.dtype([_field(part) for part in grammar.subcons])


def _field(part: Grammar) -> tuple[Any, ...]:
    name = part.name
    if not name:
        raise TypeError(f"an unnamed {type(part).__name__} cannot be a field")
    while isinstance(part, (Renamed, Const, Rebuild)):  # these change the value, never the layout
        part = part.subcon
    if isinstance(part, Struct):
        return name, dtype_of(part)
    if isinstance(part, FormatField):
        return name, _scalar(name, part.fmtstr)
    if isinstance(part, Bytes) and isinstance(part.length, int):
        return name, np.uint8, (part.length,)
    raise TypeError(f"field {name!r} ({type(part).__name__}) does not have a fixed layout")


def _scalar(name: str, fmtstr: str) -> str:
    # struct's letters have standard sizes after a byte order, so "L" is 4 bytes; NumPy's have the machine's sizes
    order, letter = fmtstr[0], fmtstr[-1]
    if letter not in _KINDS:
        raise TypeError(f"field {name!r} has the format {fmtstr!r}, which is not a number")
    return f"{order}{_KINDS[letter]}{struct.calcsize(fmtstr)}"
