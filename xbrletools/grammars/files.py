"""The files of `formats/exports/`: what is generated, and the hand-written ones that go with it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from .. import formats
from ..errors import XbrleError
from . import hexpat, ksy, lua
from .collection import enums, types

#: Where the files lie: in a clone by a link, in an installed package as data.
FOLDER = Path(formats.__file__).parent / "exports"
READER = Path(__file__).parent / "reader.lua"

#: The tools, by the ending of their files, and what each is.
TARGETS: dict[str, tuple[ModuleType, str]] = {
    "ksy": (ksy, "Kaitai Struct, whose compiler makes parsers in C++, Go, Java, Rust and more"),
    "hexpat": (hexpat, "ImHex, a hex editor"),
    "lua": (lua, "Lua, and with it Wireshark"),
}

_WRITE: dict[str, Callable[[], str]] = {
    "ksy": lambda: ksy.write(types(), enums()),
    "hexpat": lambda: hexpat.write(types(), enums()),
    "lua": lambda: lua.write(types(), enums(), READER.read_text()),
}


def generated(target: str) -> tuple[str, bytes]:
    """The name and the bytes of the file that is made from the grammars, one of `TARGETS`."""
    return TARGETS[target][0].NAME, _WRITE[target]().encode()


def written_by_hand(target: str) -> dict[str, bytes]:
    """The files that go with it, by name.

    Raises:
        XbrleError: they are missing, or cannot be read.
    """
    own = TARGETS[target][0].NAME
    try:
        return {p.name: p.read_bytes() for p in sorted(FOLDER.glob(f"*.{target}")) if p.name != own}
    except OSError as error:
        raise XbrleError(f"{FOLDER}: {error.strerror}") from error


def files(target: str) -> dict[str, bytes]:
    """All files for one of `TARGETS`, by name: the generated one first.

    Raises:
        XbrleError: those written by hand cannot be read.
    """
    name, data = generated(target)
    return {name: data, **written_by_hand(target)}
