"""Files that the browser writes: free names for them, and messages that say how it went."""

import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import XbrleError
from ..outputs import MEMORY, replacing
from ..table.record import Record
from .session import Session


def written(name: str, work: Callable[[], object]) -> tuple[str, str]:
    """Write something called ``name``. Gives a message that says how it went, and the message's severity."""
    try:
        work()
    except (OSError, XbrleError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = reason.removeprefix(f"{name}: ").partition("; --force")[0]  # which a browser does not have
        return f"{name}: {reason}", "error"
    return f"wrote {name}", "information"


def file_names(text: str) -> list[str]:
    """Names of files as a shell takes them."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise XbrleError(f"{error}: {text}") from error


def free(name: str) -> str:
    """The name, or the first like it that no file has: ``page-2.bin``."""
    stem, end = (name[:-4], ".bin") if name.endswith(".bin") else (name, "")
    names = (name, *(f"{stem}-{i}{end}" for i in range(2, 1000)))
    return next((n for n in names if not _is_taken(n)), name)


def _is_taken(name: str) -> bool:
    path = Path(name)
    return any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size > 0


def new_file(name: str) -> None:
    """Refuse a name that a file has already."""
    with suppress(OSError, ValueError):
        if _is_taken(name):
            raise XbrleError(f"exists already, enter another name: {name}")


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, or empty."""
    try:
        with replacing(path, mode=MEMORY) as file:
            file.write(data)
    except (OSError, ValueError, XbrleError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise XbrleError(reason.partition("; --force")[0]) from error  # which a browser does not have


def page_file(session: Session, record: Record) -> str:
    """A name for the file of the chosen page that says which page it is, and as of which record."""
    from ..export.raw import file_name

    number, place = session.moment(), session.page
    if number is None:
        number = session.table.records if session.table is not None else 0
    if place is None:
        place = (record.block or 0, record.address)
    names = session.facts.names if session.facts is not None else ()
    block = file_name(names[place[0]], set()) if place[0] < len(names) else "page"
    return f"{block}-{place[1]:#x}-r{number}.bin"
