"""The return path: what a destination sends back to the source, the other direction of a migration's connection.

Facts: formats/README.md, "Postcopy". It does not begin with a magic. Bytes are taken for one where they are messages of
known types and lengths from first to last.
"""

from dataclasses import dataclass
from typing import Any

from construct import ConstructError

from ..formats import qevm
from ..formats.qevm import ReturnType
from ..text import shown


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in ``[offset, end)``. ``fields`` is what its data says."""

    offset: int
    end: int
    type: ReturnType
    fields: dict[str, Any]

    def __str__(self) -> str:
        values = (shown(v) if isinstance(v, bytes) else f"{v:#x}" for v in self.fields.values())
        return " ".join((self.type.name, *values))


def read(data: bytes) -> list[Message] | None:
    """The messages that ``data`` begins with, or None where it is not a return path. The last one may be cut."""
    messages: list[Message] = []
    at, size = 0, qevm.DataHead.sizeof()
    while at + size <= len(data):
        head = qevm.DataHead.parse(data[at : at + size])
        if head.number not in set(ReturnType):
            return None
        kind, length = ReturnType(head.number), int(head.length)
        if at + size + length > len(data):
            break
        grammar = qevm.RETURN_DATA.get(kind)
        body = data[at + size : at + size + length]
        try:
            parsed = grammar.parse(body) if grammar is not None else {}
        except ConstructError:
            return None
        if grammar is not None and len(grammar.build(parsed)) != length:
            return None
        end = at + size + length
        messages.append(Message(at, end, kind, {k: v for k, v in parsed.items() if not k.startswith("_")}))
        at = end
    return messages or None
