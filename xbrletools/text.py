"""Names, addresses and sizes, between bytes and text. What a stream says is escaped before anyone sees it."""

import re
from collections.abc import Sequence

from .errors import XbrleError

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DIGITS_MAX = 100  # characters of a number that a person writes
_SIZE = re.compile(r"(?i)(0x[0-9a-f]+|\d+)([kmgt]?)(?:i?b)?")


def shown(name: bytes) -> str:
    """A name from a stream as printable text: UTF-8 where it is valid, everything else as backslash escapes.

    Control, format (such as bidi) and private characters are escaped. A backslash is doubled, so names stay distinct.
    """
    out = []
    for character in name.decode("utf-8", "surrogateescape"):
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
            out.append(f"\\x{code - 0xDC00:02x}")
        elif character == "\\":
            out.append("\\\\")
        elif character.isprintable():
            out.append(character)
        else:
            # \\x80 and above stand for bytes that are not UTF-8: a character of that code must not look like one
            out.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(out)


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural where there are several or none: ``1 page``, ``2 pages``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


_LARGE = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"))


def amount(count: int) -> str:
    """A number of bytes for a person, from 1 MiB on with a unit beside the digits: ``1,151,673 bytes (1.1 MiB)``."""
    digits = f"{count:,} byte{'' if count == 1 else 's'}"
    large = next((f" ({count / scale:.1f} {unit})" for scale, unit in _LARGE if count >= scale), "")
    return digits + large


def some(count: int, one: str, many: str) -> str:
    """A number with the words for one or for many."""
    return f"{count} {one if count == 1 else many}"


def bytes_of(text: str) -> bytes:
    """The bytes of a name that came as text: those that are not UTF-8 stand in it as Python's surrogate escapes.

    Every text has such bytes: JSON can hold surrogates that stand for no byte. They become their three bytes.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"".join(map(_character_bytes, text))


def called(names: Sequence[bytes], wanted: str | bytes) -> list[int]:
    """The places of the names from a stream that a person means: those that are so in bytes, then those shown so.

    Raises:
        TypeError: ``wanted`` is neither text nor bytes.
    """
    if not isinstance(wanted, str | bytes):
        raise TypeError(f"a name is text or bytes, not {type(wanted).__name__}")
    exact = bytes_of(wanted) if isinstance(wanted, str) else wanted
    same = [i for i, name in enumerate(names) if name == exact]
    return same + [i for i, name in enumerate(names) if name != exact and shown(name) == wanted]


def inert(text: str) -> str:
    """Text that cannot control a terminal: what is not printable is escaped, except line feeds."""
    if text.isprintable():
        return text
    return "\n".join(label(line) for line in text.split("\n"))


def label(text: str) -> str:
    """Text from a stream in one printable line: what is not printable is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else shown(_character_bytes(c)) for c in text)


def _character_bytes(character: str) -> bytes:
    escapes = 0xDC80 <= ord(character) <= 0xDCFF  # a byte that is not UTF-8; JSON can hold other surrogates too
    return character.encode("utf-8", "surrogateescape" if escapes else "surrogatepass")


def size(text: str) -> int:
    """A number of bytes, decimal or hexadecimal, with K, M, G or T.

    Raises:
        XbrleError: it is not written that way.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or len(text) > _DIGITS_MAX:
        raise XbrleError(f"invalid size {text[:_DIGITS_MAX]!r}: use 4096, 0x1000, 64K or 1G")
    digits = found[1].lower()
    return int(digits, 16 if digits.startswith("0x") else 10) * _UNITS[found[2].lower()]


def address(text: str) -> tuple[str | None, int]:
    """``BLOCK:0xOFFSET`` or ``0xOFFSET``: a block's name as written, or None, and an offset in bytes.

    Block names may hold colons (``0000:00:02.0/vga.rom``): the last one divides.

    Raises:
        XbrleError: the offset is not a number.
    """
    block, colon, offset = text.rpartition(":")
    try:
        return (block if colon else None), size(offset)
    except XbrleError:
        raise XbrleError(f"invalid address {text!r}: use 0x315000 or pc.ram:0x315000") from None


def span(text: str) -> tuple[str, int]:
    """``ADDRESS+LENGTH``, or ``ADDRESS-END`` with END included: the address as written, and the length in bytes.

    Raises:
        XbrleError: it is neither, or END comes before ADDRESS.
    """
    block, colon, places = text.rpartition(":")
    start, sign, other = places.partition("+" if "+" in places else "-")
    if not sign or not other:
        raise XbrleError(f"invalid range {text!r}: add a length, for example {block + colon + (start or '0x1000')}+16")
    if sign == "+":
        return block + colon + start, size(other)
    first, last = address(start)[1], address(other)[1]
    if last < first:
        raise XbrleError(f"invalid range {text!r}: it ends before it begins")
    return block + colon + start, last - first + 1


def pattern(text: str) -> bytes:
    """Bytes to look for: ``"text"`` in quotes, as UTF-8, or pairs of hexadecimal digits, with or without blanks.

    Raises:
        XbrleError: it is not written that way.
    """
    text = text.strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].encode("utf-8", "surrogateescape")
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not found:
        raise XbrleError(f'invalid pattern {text!r}: use "text" in quotes, or bytes such as de ad be ef')
    return found
