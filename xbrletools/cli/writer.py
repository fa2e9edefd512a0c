"""The one way to standard output and standard error. Text is made inert here, whatever it holds: names are evidence.

`tests/test_architecture.py` forbids every other way.
"""

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from ..errors import XbrleError
from ..text import inert, label

COLORS = ("auto", "always", "never")
FORMAT = 1  # of every JSON object that is printed: it changes where a key goes, or means something else
DIM_TERMINALS = ("dumb", "unknown")  # values of TERM: nothing can be coloured there, and no cursor moved
_STYLES = re.compile("(\x1b\\[(?:[012]|3[1-6])m)")  # plain, bold, dim and colours: what `painted` writes, and no more
#: What stands out, and how: severities, bytes that changed, and matches. No word is told by its colour alone.
_PAINTS = {
    "error": "\x1b[1m\x1b[31m",
    "warning": "\x1b[33m",
    "note": "\x1b[36m",
    "good": "\x1b[32m",
    "changed": "\x1b[33m",
    "match": "\x1b[1m\x1b[31m",
}
_PAGE = 79  # columns of prose on standard output
_NEXT = "  "  # what a line that goes on begins with
_HARMLESS = re.compile("([\n\t])")
_outlives = False  # see `outlive_reader`
_colors = "auto"  # see `choose_colors`
_progress = False  # whether a line of `progress_line` stands there


def outlive_reader(wanted: bool) -> None:
    """Whether the command goes on when nobody reads its text any more. What it then prints goes nowhere.

    This is for commands whose exit status is a verdict: the reader's end must not replace it.
    """
    global _outlives
    _outlives = wanted


def choose_colors(when: str) -> None:
    """Colours ``always``, ``never``, or ``auto``: as the terminal and the environment say."""
    global _colors
    _colors = when


def is_coloured() -> bool:
    """Whether standard output gets colours.

    --color goes before NO_COLOR, that before CLICOLOR_FORCE, and that before what standard output is.
    """
    if _colors != "auto":
        return _colors == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return is_terminal() and os.environ.get("TERM") not in DIM_TERMINALS


def painted(text: str, meaning: str) -> str:
    """Text in the colour of a ``meaning``, where standard output gets colours: a severity, ``changed`` or ``match``."""
    return f"{_PAINTS[meaning]}{text}\x1b[0m" if text and is_coloured() else text


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def say(text: str = "", err: bool = False) -> None:
    """Print lines to standard output, or to standard error with ``err``. They are made inert.

    What goes to standard error is wrapped as `warn` does it.

    Raises:
        XbrleError: standard output is closed, or cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    if err:
        _tell("\n".join(map(_wrapped, _safe(text).split("\n"))) + "\n")
    else:
        write(text + "\n")


def say_object(about: Mapping[str, Any], err: bool = False) -> None:
    """Print a JSON object in one line, to standard error with ``err``. It gets `FORMAT` if it does not have one.

    docs/json.md says which keys it has, and xbrletools/schemas has the JSON Schema.

    Raises:
        XbrleError: standard output is closed, or cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    say(as_line(about), err=err)


def as_line(about: Mapping[str, Any]) -> str:
    """The line that `say_object` prints."""
    import json

    return json.dumps(about if "format" in about else {"format": FORMAT, **about})


def write(text: str) -> None:
    """Print text to standard output, made inert: what is not printable is escaped, except line feeds and tabs.

    What `painted` puts into it is kept where standard output gets colours.

    Raises:
        XbrleError: standard output is closed, or cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    if is_coloured():
        text = "".join(part if i % 2 else _safe(part) for i, part in enumerate(_STYLES.split(text)))
    else:
        text = _safe(text)
    with _writing() as out:
        out.write(text)


def write_bytes(pieces: Iterable[bytes | memoryview]) -> None:
    """Write raw bytes to standard output. A terminal is refused, since bytes of a capture can control it.

    Raises:
        XbrleError: standard output is a terminal, is closed, or cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    out = RawOutput()
    for piece in pieces:
        out.write(piece)


class RawOutput:
    """Standard output for raw bytes: a `BinaryIO` as far as writers use it.

    Raises:
        XbrleError: standard output is a terminal, or closed.
    """

    def __init__(self) -> None:
        with _writing() as out:
            if out.isatty():
                raise XbrleError("standard output is a terminal, and raw bytes could control it: use > FILE, or a pipe")
            out.flush()

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes.

        Raises:
            XbrleError: they cannot be written.
            BrokenPipeError: nobody reads them any more.
        """
        with _writing(text=False) as out:
            return out.buffer.write(data)


def warn(message: str) -> None:
    """Print one line to standard error. It is escaped, line feeds as well: file names may be evidence too.

    A terminal gets it wrapped at its width. What goes on in a next line is indented there, so that no part of a name
    looks like a message of its own. Everything else gets the line whole.
    """
    _tell(_wrapped(f"xbrle: {label(message)}") + "\n")


def entry(name: str, text: str, column: int, err: bool = False) -> None:
    """Print a paragraph that begins at ``column``, with ``name`` before it. It is made inert.

    Standard output gets it wrapped at 79 columns, and with ``err`` standard error as `warn` does.

    Raises:
        XbrleError: standard output is closed, or cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    width = width_of_errors() if err else _PAGE
    text = f"{name:{column}}{_safe(text)}"
    say(text if width is None else textwrap.fill(text, width, subsequent_indent=" " * column), err=err)


def filled(text: str, indent: str = "") -> str:
    """A paragraph of standard output, wrapped at 79 columns. Lines after the first begin with ``indent``.

    A word that is longer, such as a file's name, stays whole.
    """
    return textwrap.fill(text, _PAGE, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def width_of_errors() -> int | None:
    """The columns of the terminal that standard error is, or None where it is not one."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or None if sys.stderr.isatty() else None
    except (OSError, ValueError, AttributeError):  # it is closed, or not a file
        return None


def status_line(text: str) -> None:
    """Write text over the line that the cursor is on, on a terminal's standard error."""
    _tell(f"\r\x1b[K{label(text)}")


def progress_line(text: str) -> None:
    """Show how far long work is, on a terminal's standard error, until anything else is printed."""
    global _progress
    width = width_of_errors() or _PAGE
    _progress = True
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"\r\x1b[K{label(text)[: width - 1]}")
        sys.stderr.flush()


def clear_progress() -> None:
    """Take away the line that `progress_line` wrote."""
    global _progress
    if _progress:
        _progress = False
        with suppress(OSError, AttributeError):
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def end_status_line() -> None:
    """Leave the line that `status_line` wrote."""
    _tell("\n")


def flush() -> None:
    """Write out what is still held back for standard output.

    Raises:
        XbrleError: it cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    if sys.stdout is not None:
        with _writing() as out:
            out.flush()


def give_up_output() -> None:
    """Drop what is held back for standard output, and all that follows: it cannot be written."""
    with suppress(OSError, AttributeError):  # AttributeError: it is closed
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def _writing(text: bool = True) -> Iterator[TextIO]:
    """Standard output, for ``text`` or for raw bytes. Where it cannot be written, the error says so."""
    if sys.stdout is None:
        raise XbrleError("standard output is closed, and there is something to write to it")
    if _progress and is_terminal():
        clear_progress()
    try:
        yield sys.stdout
    except BrokenPipeError:
        if not (text and _outlives):
            raise
        give_up_output()
    except OSError as error:
        give_up_output()
        raise XbrleError(f"standard output: {error.strerror or error}") from error


def _safe(text: str) -> str:
    if "\t" not in text:
        return inert(text)
    return "".join(part if i % 2 else inert(part) for i, part in enumerate(_HARMLESS.split(text)))


def _wrapped(line: str) -> str:
    """A line as standard error gets it: on a terminal in lines of its width."""
    width = width_of_errors()
    if width is None or len(line) <= width:
        return line
    return textwrap.fill(line, width, subsequent_indent=_NEXT, replace_whitespace=False, break_on_hyphens=False)


def _tell(text: str) -> None:
    """Print to standard error, if anyone listens: that nobody does is not a reason to end."""
    clear_progress()
    with suppress(OSError, AttributeError):  # AttributeError: it is closed
        sys.stderr.write(text)
        sys.stderr.flush()
