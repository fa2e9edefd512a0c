"""The return path: what a destination sends back to the source, the other direction of a migration's connection.

Facts: formats/README.md, "Postcopy". It has no magic: messages that fill the bytes exactly, all of known types and
lengths, are taken for one.
"""

from dataclasses import dataclass
from typing import Any

from construct import ConstructError

from ..formats import qevm
from ..formats.qevm import ReturnType
from ..text import shown


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its header stands at ``offset``; ``fields`` is what its data says."""

    offset: int
    type: ReturnType
    fields: dict[str, Any]

    def __str__(self) -> str:
        values = (shown(v) if isinstance(v, bytes) else f"{v:#x}" for v in self.fields.values())
        return " ".join((self.type.name, *values))


def read(data: bytes) -> list[Message] | None:
    """The messages that ``data`` begins with; None where it is no return path. A last one may be cut."""
    messages: list[Message] = []
    at, head = 0, 2 * 2
    while at + head <= len(data):
        number, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + head], "big")
        if number not in set(ReturnType):
            return None
        kind = ReturnType(number)
        if at + head + length > len(data):
            break
        grammar = qevm.RETURN_DATA.get(kind)
        body = data[at + head : at + head + length]
        try:
            parsed = grammar.parse(body) if grammar is not None else {}
        except ConstructError:
            return None
        if grammar is not None and len(grammar.build(parsed)) != length:
            return None
        messages.append(Message(at, kind, {k: v for k, v in parsed.items() if not k.startswith("_")}))
        at += head + length
    return messages or None
