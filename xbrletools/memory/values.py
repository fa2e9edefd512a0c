"""What bytes at one place can mean: the usual integers, floats and text."""

import math
import struct

_INTEGERS = (("8", "b"), ("16", "h"), ("32", "i"), ("64", "q"))
_FLOATS = (("f32", "f"), ("f64", "d"))


def values(data: bytes) -> list[tuple[str, str]]:
    """The values that begin at the first of these bytes, as names and texts, little-endian before big-endian.

    Values that need more bytes than these are left out.
    """
    out = []
    for bits, code in _INTEGERS:
        size = int(bits) // 8
        if len(data) < size:
            break
        for order, mark in (("le", "<"), ("be", ">")):
            (signed,) = struct.unpack_from(mark + code, data)
            (plain,) = struct.unpack_from(mark + code.upper(), data)
            text = f"{plain:#x} {plain}" + (f" ({signed})" if signed < 0 else "")
            out.append((f"u{bits}" if size == 1 else f"u{bits}{order}", text))
            if size == 1:
                break
    for name, code in _FLOATS:
        if len(data) < struct.calcsize(code):
            break
        for order, mark in (("le", "<"), ("be", ">")):
            (number,) = struct.unpack_from(mark + code, data)
            out.append((f"{name}{order}", f"{number:.7g}" if math.isfinite(number) else "not a number"))
    text = bytes(b for b in data[:16]).decode("ascii", "replace")
    out.append(("text", "".join(c if c.isprintable() and c != "\ufffd" else "." for c in text)))
    return out
