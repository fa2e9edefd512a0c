"""Made-up bytes for grammars, such as reach deep into them, and what construct makes of bytes in plain values."""

import random
from collections.abc import Iterator
from typing import Any

import construct
from construct import Container, ListContainer, Struct

from xbrletools.grammars import collection

READING = {r.name: i for i, r in enumerate(collection.READINGS)}
PARAMETERS = {"page_size": 4096, "dialect": READING["posted_little"], "addresses": False, "page_sizes": True}
EDGES = (b"\x11\x22\x33\x44", b"QEVM", b"\x7e", b"\x05", b"\x05\x12configuration/uuid", b"\x00\x00\x00\x01", b"\x7fELF")


def made_up(rng: random.Random, grammar: Any, count: int) -> Iterator[bytes]:
    """Bytes for a grammar, most of which begin as it must."""
    start = _constants(grammar)
    for _ in range(count):
        data = bytearray(rng.choice((0, 0, 0, 1, 2, 3, rng.randrange(256))) for _ in range(rng.randrange(600)))
        data[: len(start)] = start if rng.random() < 0.7 else b""
        for edge in EDGES:
            if rng.random() < 0.2:
                at = rng.randrange(24)
                data[at : at + len(edge)] = edge
        yield bytes(data)


def _constants(grammar: Any) -> bytes:
    """The bytes that a grammar must begin with, if any."""
    first = grammar.subcons[0] if isinstance(grammar, Struct) and grammar.subcons else grammar
    while isinstance(first, construct.Renamed):
        first = first.subcon
    return first.build(None) if isinstance(first, construct.Const) else b""


def plain(value: Any) -> Any:
    """What construct parsed, without what is not there."""
    if isinstance(value, Container):
        return {k: plain(v) for k, v in value.items() if not k.startswith("_") and v is not None}
    return [plain(v) for v in value] if isinstance(value, ListContainer | list) else value
