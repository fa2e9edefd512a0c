"""What the writers share: how expressions and enumerations look."""

from enum import IntEnum
from typing import Any


def bare(text: str) -> str:
    """An expression without the brackets around the whole of it."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth and i < len(text) - 1:
            return text
    return text[1:-1] if text.startswith("(") else text


def members(values: Any) -> list[Any]:
    """The members of an enumeration by their numbers. Of flags, those that are one bit or more."""
    found = [v for v in values.__members__.values() if int(v) > 0 or issubclass(values, IntEnum)]
    return sorted({int(v): v for v in reversed(found)}.values(), key=int)
