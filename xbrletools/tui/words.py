"""Marks, styles and words that several screens share. A style is a name in `widgets.lines.STYLES`."""

from textual.keys import format_key

from ..formats.ram import Kind
from ..table.sections import Stage
from ..text import bytes_of, shown
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
KIND_GLYPH = {Kind.PAGE: "■", Kind.DUP: "□", Kind.XBRLE: "▪", Kind.XBZRLE: "▪", Kind.COMPRESSED: "■"}
SEVERITY_MARK = {Severity.ERROR: "!", Severity.WARNING: "~", Severity.NOTE: "i"}
SEVERITY_STYLE = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
SEVERITY_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}  # 0 is the worst

#: Keys that Textual calls by the name of their character, or by a sign that few know.
_KEYS = {
    "slash": "/", "colon": ":", "less_than_sign": "<", "greater_than_sign": ">", "plus": "+", "minus": "-",
    "left_square_bracket": "[", "right_square_bracket": "]", "full_stop": ".", "comma": ",", "question_mark": "?",
    "left_curly_bracket": "{", "right_curly_bracket": "}", "equals_sign": "=", "space": "space", "enter": "Enter",
    "tab": "Tab", "shift+tab": "Shift+Tab", "escape": "Esc", "pagedown": "PgDn", "pageup": "PgUp", "home": "Home",
    "end": "End", "left": "Left", "right": "Right", "up": "Up", "down": "Down",
}  # fmt: skip
#: What Textual calls a key that is shown so.
KEY_NAMES = {text: key for key, text in _KEYS.items()}

_SCALES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
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
    return shown(bytes_of(text))


def key_text(key: str, display: str | None = None) -> str:
    """A key of a binding as a person reads it: by its character, or by its name where it does not have one."""
    text = display or _KEYS.get(key) or format_key(key).replace("^", "Ctrl+").replace("ctrl+", "Ctrl+")
    return text[:-1] + text[-1].upper() if len(text) == len("Ctrl+p") and text.startswith("Ctrl+") else text


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 field``, ``1,196 fields``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sized(count: int) -> str:
    """A number of bytes for a person, rounded: ``506 bytes``, ``8.1 MiB``, ``320 KiB``. At most 9 characters long."""
    scale, unit = next((known for known in _SCALES if count >= known[0]), (1, "bytes"))
    return f"{count / scale:.{0 if count % scale == 0 or count >= 100 * scale else 1}f} {unit}"


def exactly(count: int) -> str:
    """A number of bytes for a person, in the largest unit of which it is a multiple: ``16 MiB``, ``24,832 KiB``."""
    scale, unit = next((known for known in _SCALES if count and count % known[0] == 0), (1, "bytes"))
    return f"{count // scale:,} {unit}"


def wrapped(text: str, width: int, indent: str = " ") -> list[str]:
    """Text in lines of at most ``width`` characters, broken at blanks where there are some."""
    lines, rest = [], text
    room = max(10, width - len(indent))
    while len(rest) > room:
        at = rest.rfind(" ", 0, room + 1)
        if at < 1 or (at <= room // 2 and len(rest[at + 1 :].partition(" ")[0]) > room):
            at = room  # a word that is longer than a line
        lines.append(indent + rest[:at])
        rest = rest[at:].lstrip(" ")
    return [*lines, indent + rest]
