"""`xbrle why`: what a log line of a migration means."""

import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import XbrleError
from . import EXIT_FINDINGS, warn
from .guide import Page
from .options import choosing_stream, examples, naming, refuse
from .writer import entry, say, say_object

if TYPE_CHECKING:
    from ..verify.why import Explained, Place, Places

LOG_MAX = 1 << 26  # bytes of a log that are read, from its end
_PIECE = 1 << 20
_COLUMN = 13  # at which what is said of a message begins
_FILE_NAME = re.compile(r"\S*/\S*|\S+\.[a-z][a-z0-9]{0,4}|.+\.(log|txt|gz|xz|zst|bz2)", re.IGNORECASE)


@click.command(
    cls=Page,
    epilog=examples(
        'why "Found a zero page with value 65"',
        'why "Illegal RAM offset 203000" samples/xbzrle-16m.bin',
    ),
)
@click.argument("line", metavar="LINE|LOG")
@click.argument("capture", metavar="[S]", required=False)
@choosing_stream("S, a packet dump")
@click.option("--json", "as_json", is_flag=True, help="Print an object a message.")
def command(line: str, capture: str | None, stream: int | None, as_json: bool) -> int:
    """Say what a message of QEMU or libvirt means, and what to do.

    LINE is a line of a destination's or a source's log, with or without time and program before it. LOG is a file with
    such lines. With S, the migration that failed, it says which record or device the line is about.

    Exit status: 0 something is known, 1 nothing is known of the line, or of any line of LOG, 2 a file cannot be read.
    """
    from ..verify.why import explained, lines_of

    if capture is None:
        refuse("needs S", "stream")
    log = _log(line)
    found = explained(line) if log is None else []
    listed: Iterator[tuple[int | None, str, list[Explained]]] = iter([(None, line, found)] if found else [])
    if log is not None:
        listed = lines_of(log)
    first = next(listed, None)
    if first is None and log is None and _FILE_NAME.fullmatch(line):
        raise XbrleError(f"{line}: there is no such file, and nothing is known of these words as a line of a log")
    if first is None:
        what = "this line" if log is None else "the lines of this log"
        warn(f"nothing is known of {what}; docs/why.md lists the messages that are known")
        return EXIT_FINDINGS
    listed = chain([first], listed)
    if capture is None:
        return _answer(listed, None, as_json)
    from ..capture import open_capture
    from ..verify.why import Places

    with naming(capture), open_capture(capture, stream=stream) as opened:
        return _answer(listed, Places(opened.stream), as_json)


def _answer(listed: "Iterable[tuple[int | None, str, list[Explained]]]", places: "Places | None", as_json: bool) -> int:
    for i, (number, text, found) in enumerate(listed):
        told = [(one, places.of(text, one) if places is not None else []) for one in found]
        if as_json:
            for one, where in told:
                say_object(_as_object(number, one, where))
        else:
            _print(i, number, text, told)
    return 0


def _log(line: str) -> Iterator[str] | None:
    """The lines of the file of this name, one at a time, or None where there is no such file.

    Raises:
        XbrleError: it cannot be read.
    """
    path = Path(line)
    try:
        if "\n" in line or not path.exists():
            return None
        with path.open("rb") as file:
            _refuse_packed(line, file)
            text = io.TextIOWrapper(io.BytesIO(_tail(file)), "utf-8", "backslashreplace")
            return (each.rstrip("\n") for each in text)
    except ValueError:  # a name that no file can have
        return None
    except OSError as error:
        if error.errno in (36, 2, 20):  # too long for a name, or not there: it is a line
            return None
        raise XbrleError(f"{line}: {error.strerror or error}") from None


def _refuse_packed(name: str, file: BinaryIO) -> None:
    """Refuse a log that is packed, as old logs are.

    Raises:
        XbrleError: it is.
    """
    from ..source.packing import MAGIC_MAX, packing_of

    if not file.seekable():
        return
    packing = packing_of(file.read(MAGIC_MAX))
    file.seek(0)
    if packing is not None:
        raise XbrleError(f"{name}: is packed with {packing}; unpack it first: {packing} -dc LOG > log")


def _tail(file: BinaryIO) -> bytes:
    """The last `LOG_MAX` bytes of a file, which may be a pipe."""
    if file.seekable():
        file.seek(max(0, file.seek(0, 2) - LOG_MAX))
    return b"".join(deque(iter(lambda: file.read(_PIECE), b""), LOG_MAX // _PIECE))


def _as_object(number: int | None, one: "Explained", where: "list[Place]") -> dict[str, Any]:
    message = one.message
    return {
        "type": "message",
        "line": number,
        "message": message.template,
        "values": list(one.values),
        "meaning": message.meaning,
        "to_do": message.to_do,
        "rule": None if message.rule is None else message.rule.id,
        "source": message.source,
        "places": [{"what": p.what, "offset": p.offset, "record": p.record} for p in where],
    }


def _print(i: int, number: int | None, text: str, told: "list[tuple[Explained, list[Place]]]") -> None:
    if number is not None:
        say(f"{'' if i == 0 else chr(10)}line {number}: {text.strip()}")
    for one, where in told:
        say(one.text)
        entry("    means", one.message.meaning, _COLUMN)
        if one.message.rule is not None:
            say(f"    rule     {one.message.rule.id} (xbrle verify --explain {one.message.rule.id})")
        for place in where:
            at = "" if place.offset is None else f" at {place.offset:#x}"
            at += "" if place.record is None else f", record {place.record}"
            entry("    in S", f"{place.what}{at}", _COLUMN)
        entry("    do", one.message.to_do, _COLUMN)
