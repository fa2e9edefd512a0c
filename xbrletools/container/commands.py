"""COMMANDs: what each one says. Two of them change how a capture reads: PACKAGED and RAM_DISCARD.

Facts: formats/README.md, "The container" and "Postcopy".
"""

from typing import Any

from construct import ConstructError

from ..formats import qevm
from ..formats.qevm import Command as Number
from ..model import Command, meant


def read(offset: int, number: int, data: bytes, end: int) -> Command:
    """A command from its number and its data, which end at offset ``end`` of the capture."""
    grammar = qevm.COMMAND_DATA.get(meant(number, data))
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


def _plain(parsed: Any) -> Any:
    """What construct parsed, as dicts and lists, without construct's own entries."""
    if isinstance(parsed, dict):
        return {k: _plain(v) for k, v in parsed.items() if not str(k).startswith("_")}
    if isinstance(parsed, list):
        return [_plain(v) for v in parsed]
    return parsed
