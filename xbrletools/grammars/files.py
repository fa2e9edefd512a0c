"""The files of `formats/exports/`: what is generated, and the hand-written ones that go with it."""

from pathlib import Path
from types import ModuleType

from .. import formats
from ..errors import XbrleError
from . import hexpat, ksy, lua
from .collection import enums, numbers, types

#: Where the files lie: in a clone by a link, in an installed package as data.
FOLDER = Path(formats.__file__).parent / "exports"
READER = Path(__file__).parent / "reader.lua"
GLUE = Path(__file__).parent / "dissector.lua"

#: The tools, by the ending of their files, and what each is.
TARGETS: dict[str, tuple[ModuleType, str]] = {
    "ksy": (ksy, "Kaitai Struct, whose compiler makes parsers in C++, Go, Java, Rust and more"),
    "hexpat": (hexpat, "ImHex, a hex editor"),
    "lua": (lua, "Lua, and the dissector for Wireshark"),
}


def generated(target: str) -> dict[str, bytes]:
    """The files that are made from the grammars for one of `TARGETS`, by name."""
    if target != "lua":
        writer = TARGETS[target][0]
        return {writer.NAME: writer.write(types(), enums()).encode()}
    layouts = lua.write(types(), enums(), numbers(), READER.read_text("utf-8"))
    dissector = lua.write_dissector(layouts, GLUE.read_text("utf-8"))
    return {lua.NAME: layouts.encode(), lua.DISSECTOR: dissector.encode()}


def written_by_hand(target: str) -> dict[str, bytes]:
    """The files that go with it, by name.

    Raises:
        XbrleError: they are missing, or cannot be read.
    """
    own = (TARGETS[target][0].NAME, lua.DISSECTOR)
    try:
        return {p.name: p.read_bytes() for p in sorted(FOLDER.glob(f"*.{target}")) if p.name not in own}
    except OSError as error:
        raise XbrleError(f"{FOLDER}: {error.strerror}") from error


def files(target: str) -> dict[str, bytes]:
    """All files for one of `TARGETS`, by name: those that are generated first.

    Raises:
        XbrleError: those written by hand cannot be read.
    """
    return {**generated(target), **written_by_hand(target)}
