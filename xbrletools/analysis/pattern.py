"""What to look for in memory: bytes, text, or a regular expression with a time limit."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from .needed import Needed, needed

Ints = NDArray[np.int64]

REGEX_REACH = 4096  # bytes by which a regular expression's match can go beyond the page that it begins in
REGEX_SECONDS = 1.0  # of the processor that a regular expression may take for one page
REGEX_CONTEXT = 256  # bytes before a page that a regular expression sees
#: Finds patterns in a buffer of windows of some width: their places, lengths, and which pattern each is, (n,) int64.
Engine = Callable[[bytes, int], tuple[Ints, Ints, Ints]]
_BETWEEN_BYTES = re.compile(r"(?i)0x|[\s:,-]+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What to look for: ``literal`` bytes, or an ``expression``.

    ``reach`` is how many bytes a match can have after its first byte, ``context`` how many bytes before a match can
    matter to it. ``overlapping``: a match is found at every place, also inside another match. ``engine`` finds several
    patterns at once, in the place of literal and expression: see `Engine`. ``needed`` is what each match of the
    expression holds, None where that is not known.
    """

    literal: bytes | None
    expression: re.Pattern[bytes]
    reach: int
    context: int
    overlapping: bool
    engine: "Engine | None" = None
    needed: Needed | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_engine(cls, engine: "Engine", reach: int, context: int) -> "Pattern":
        """All that an engine finds."""
        return cls(None, re.compile(b""), reach, context, True, engine)

    @classmethod
    def of_bytes(cls, literal: bytes) -> "Pattern":
        """Just these bytes.

        Raises:
            XbrleError: there are none.
        """
        if not literal:
            raise XbrleError("an empty pattern matches nothing")
        return cls(literal, re.compile(re.escape(literal), re.DOTALL), len(literal) - 1, 0, True)

    @classmethod
    def of_text(cls, text: str, encoding: str = "utf-8", ignore_case: bool = False) -> "Pattern":
        """Text in an encoding.

        Raises:
            XbrleError: it is empty, or the encoding does not have one of its characters.
        """
        try:
            forms = [_forms(c, encoding, ignore_case) for c in text]
            if not ignore_case:
                return cls.of_bytes(text.encode(encoding, "surrogateescape" if encoding == "utf-8" else "strict"))
        except UnicodeEncodeError:
            raise XbrleError(f"{text!r} cannot be written in {encoding}") from None
        if not text:
            raise XbrleError("an empty pattern matches nothing")
        source = b"".join(b"(?:" + b"|".join(map(re.escape, of_character)) + b")" for of_character in forms)
        longest = sum(max(map(len, of_character)) for of_character in forms)
        return cls(None, re.compile(source, re.DOTALL), longest - 1, 0, True)

    @classmethod
    def of_regex(cls, source: str, ignore_case: bool = False) -> "Pattern":
        """A regular expression over bytes, in Python's syntax. ``^`` and ``$`` match at the ends of lines.

        A match is cut `REGEX_REACH` bytes after the page that it begins in. Empty matches don't count. The module regex
        matches it, which can be given a time limit: some expressions take for ever on some bytes, and the bytes are the
        stream's choice.

        Raises:
            XbrleError: it is not a regular expression.
        """
        import regex

        flags = regex.MULTILINE | (regex.IGNORECASE if ignore_case else 0)
        try:
            raw = source.encode("utf-8", "surrogateescape")
            expression: Any = regex.compile(raw, flags)
        except (regex.error, OverflowError, RecursionError, MemoryError) as error:
            raise XbrleError(f"{source!r} is not a regular expression: {error}") from None
        return cls(None, expression, REGEX_REACH, REGEX_CONTEXT, False, needed=needed(raw, flags))


class Form(Enum):
    """How a person writes what to look for."""

    TEXT = "text"
    BYTES = "bytes"  # in hexadecimal
    REGEX = "regex"
    UTF16 = "utf-16"  # text that memory holds as little-endian UTF-16
    YARA = "yara"  # a file of YARA rules, which `yara.pattern_in` reads

    def pattern(self, text: str, ignore_case: bool = False) -> Pattern:
        """The pattern that ``text`` stands for in this form. Bytes don't have a case.

        Raises:
            XbrleError: it is empty, or not written in this form; rules do not stand in one line.
        """
        if self is Form.YARA:
            raise XbrleError("YARA rules are read from a file")
        if self is Form.BYTES:
            try:
                return Pattern.of_bytes(bytes.fromhex(_BETWEEN_BYTES.sub("", text)))
            except ValueError:
                raise XbrleError(
                    f"invalid bytes {text!r}: use pairs of hexadecimal digits, for example 'de ad be ef'"
                ) from None
        if self is Form.REGEX:
            return Pattern.of_regex(text, ignore_case)
        return Pattern.of_text(text, "utf-16-le" if self is Form.UTF16 else "utf-8", ignore_case)


def _forms(character: str, encoding: str, ignore_case: bool) -> list[bytes]:
    """The bytes of one character, in both cases if case is ignored."""
    cases = {character, character.lower(), character.upper()} if ignore_case else {character}
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    return sorted(c.encode(encoding, errors) for c in cases if len(c) == 1)
