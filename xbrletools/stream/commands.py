"""COMMANDs: what each says, and the two that change how a capture reads: PACKAGED and RAM_DISCARD.

Facts: formats/README.md, "The container" and "Postcopy".
"""

from dataclasses import dataclass
from typing import Any

from construct import ConstructError

from ..formats import Grammar, qevm
from ..formats.qevm import Command as Number
from ..text import shown


@dataclass(frozen=True, slots=True)
class Command:
    """One COMMAND: its type byte stands at ``offset``; ``data`` are its bytes, ``fields`` what they say, or None.

    ``package`` is where the sections that PACKAGED carries lie, ``[start, end)`` in the capture. ``end`` is the offset
    after the command's own data.
    """

    offset: int
    number: int
    data: bytes
    end: int
    fields: dict[str, Any] | None = None
    package: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The command's name in lower case, or its number where that is not known."""
        number = _meant(self.number, self.data)
        return Number(number).name.lower() if number in set(Number) else f"command {number}"

    @property
    def grammar(self) -> "Grammar | None":
        """What its data reads as; None where that is not known."""
        return qevm.COMMAND_DATA.get(_meant(self.number, self.data)) if self.data else None

    def __str__(self) -> str:
        """Its name and what it says, for a person."""
        said = self.fields or {}
        if "ranges" in said:
            ranges = said["ranges"]
            words = [shown(said["idstr"]), f"{len(ranges)} ranges of {sum(r['length'] for r in ranges):#x} bytes"]
        elif self.package is not None:
            words = [f"{said['size']} bytes of sections"]
        else:
            words = [shown(v) if isinstance(v, bytes) else f"{v:#x}" for v in said.values()]
        if self.data and not said:
            words = [f"{len(self.data)} bytes"]
        return " ".join([self.name, *words])


@dataclass(frozen=True, slots=True)
class Discard:
    """A range of one block's pages that the destination forgot, at the command's ``offset`` in the capture."""

    offset: int
    block: bytes
    start: int
    length: int


def read(offset: int, number: int, data: bytes, end: int) -> Command:
    """A command from its number and its data, which end at offset ``end`` of the capture."""
    grammar = qevm.COMMAND_DATA.get(_meant(number, data))
    fields = None
    if grammar is not None and data:
        try:
            fields = _plain(grammar.parse(data))
        except ConstructError:
            fields = None
    package = None
    if number == Number.PACKAGED and fields is not None:
        package = (end, end + fields["size"])
    return Command(offset, number, data, end, fields, package)


def _meant(number: int, data: bytes) -> int:
    """The number as it is today: one release wrote RECV_BITMAP, alone of its neighbours with data, as one less [R]."""
    return int(Number.RECV_BITMAP) if number == Number.POSTCOPY_RESUME and data else number


def discards(command: Command) -> list[Discard]:
    """The ranges that a RAM_DISCARD names; none for other commands."""
    if command.number != Number.POSTCOPY_RAM_DISCARD or command.fields is None:
        return []
    name = command.fields["idstr"]
    return [Discard(command.offset, name, r["start"], r["length"]) for r in command.fields["ranges"]]


def _plain(parsed: Any) -> Any:
    """What construct parsed as dicts and lists, without construct's own entries."""
    if isinstance(parsed, dict):
        return {k: _plain(v) for k, v in parsed.items() if not str(k).startswith("_")}
    if isinstance(parsed, list):
        return [_plain(v) for v in parsed]
    return parsed
