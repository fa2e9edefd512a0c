"""Marks, styles and words that several screens share. A style is a name in `widgets.lines.STYLES`."""

from ..formats.ram import Kind
from ..table.sections import Stage
from ..text import shown
from ..verify.rules import Severity

#: A style for each kind that carries a page. The kind's letter or word always stands with it.
KIND_STYLE = {
    Kind.PAGE: "page",
    Kind.DUP: "dup",
    Kind.XBRLE: "delta",
    Kind.XBZRLE: "delta",
    Kind.COMPRESSED: "page",
}
KIND_LETTER = {Kind.PAGE: "P", Kind.DUP: "D", Kind.XBRLE: "X", Kind.XBZRLE: "Z", Kind.COMPRESSED: "C"}
SEVERITY_MARK = {Severity.ERROR: "!", Severity.WARNING: "~", Severity.NOTE: "i"}
SEVERITY_STYLE = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
SEVERITY_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}  # 0 is the worst

_KIND_WORDS = {kind: kind.name.lower() for kind in Kind}
_STAGE_WORDS = {0: "-"} | {int(stage): stage.name for stage in Stage}


def kind_word(kind: Kind) -> str:
    """A kind as scripts see it."""
    return _KIND_WORDS[kind]


def stage_word(stage: int) -> str:
    """A stage, by the type of its section. 0 becomes ``-``."""
    return _STAGE_WORDS[stage]


def escaped(text: str) -> str:
    """A file's name or the like as text that can be printed."""
    return shown(text.encode("utf-8", "surrogateescape"))


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 field``, ``2 fields``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def wrapped(text: str, width: int, indent: str = " ") -> list[str]:
    """Text in lines of at most ``width`` characters, broken at blanks where there are some."""
    lines, rest = [], text
    room = max(10, width - len(indent))
    while len(rest) > room:
        at = rest.rfind(" ", 0, room + 1)
        at = at if at > room // 2 else room
        lines.append(indent + rest[:at])
        rest = rest[at:].lstrip(" ")
    return [*lines, indent + rest]
