"""YARA rules as text: the same patterns under conditions that every place fulfils.

An engine reports the places of a rule's patterns only where the rule's own condition holds. To follow a pattern over
time, its places have to be known whatever else is in memory. So each condition gives way to ``any of them``. What is
read here are tokens: strings, regular expressions and comments can hold anything that looks like syntax.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import XbrleError

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<text>"{3}.*?"{3}|"(?:\\.|[^"\\\n])*")
    | (?P<word>[A-Za-z_]\w*)
    | (?P<pattern>[$\#@!]\w*\*?)
    | (?P<number>\d\w*(?:\.\d+)?)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?:\\.|[^/\\\n])+/[is]*", re.DOTALL)
_JUMP_WHOLE = re.compile(r"\[[^\]]*\]")
_JUMP = re.compile(r"\[(?:\s*\d+\s*-)?\s*(\d+)\s*\]")
_OPEN_JUMP = re.compile(r"-\s*\]")
_ENCODED = 32  # bytes that base64 adds at most, beside its growth
_BYTES = re.compile(r"\{(?:\s|[0-9A-Fa-f?~()|\[\]-]|//[^\n]*|/\*.*?\*/)*\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Token:
    """A part of the text that means something: its kind, and where it begins and ends."""

    kind: str
    text: str
    start: int
    end: int


def _tokens(source: str) -> Iterator[_Token]:
    at, before = 0, _Token("", "", 0, 0)
    while at < len(source):
        special = None
        if source[at] == "/" and source[at : at + 2] not in ("//", "/*"):
            special = _REGEX.match(source, at)
        elif source[at] == "{" and before.text == "=":
            special = _BYTES.match(source, at)
        if special is not None:
            before = _Token("literal", special[0], at, special.end())
            yield before
        else:
            found = _TOKEN.match(source, at)
            assert found is not None
            if found.lastgroup != "space":
                before = _Token(found.lastgroup or "", found[0], at, found.end())
                yield before
            special = found
        at = special.end()


def locating(source: str) -> str:
    """The rules with each condition replaced by one that holds where any of their patterns is. They compile already.

    A rule without patterns never holds. ``global`` goes: such a rule would silence the others. Lines stay as they are.

    Raises:
        XbrleError: the text ends inside a rule.
    """
    out: list[str] = []
    copied = 0
    tokens = list(_tokens(source))
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.kind == "word" and token.text == "global":
            out.append(source[copied : token.start])
            copied = token.end
        elif token.kind == "word" and token.text == "rule":
            begin, stop, has_patterns = _condition(tokens, i)
            out.append(source[copied : tokens[begin].end])
            removed = source[tokens[begin].end : tokens[stop].start]
            out.append((" any of them " if has_patterns else " false ") + "\n" * removed.count("\n"))
            copied, i = tokens[stop].start, stop
        i += 1
    return "".join(out) + source[copied:]


def _condition(tokens: list[_Token], rule: int) -> tuple[int, int, bool]:
    """The places of the colon after ``condition`` and of the rule's closing brace, and whether it has patterns."""
    depth, begin, has_patterns = 0, None, False
    for i in range(rule, len(tokens)):
        token = tokens[i]
        opens = token.text == ":" and token.kind == "sign" and tokens[i - 1].kind == "word"
        if depth == 1 and opens and begin is None:
            has_patterns |= tokens[i - 1].text == "strings"
            begin = i if tokens[i - 1].text == "condition" else None
        if token.kind == "sign":
            depth += (token.text == "{") - (token.text == "}")
            if token.text == "}" and depth == 0:
                break
    else:
        i = len(tokens)
    if begin is None or i == len(tokens):
        raise XbrleError("the rules end inside a rule")
    return begin, i, has_patterns


def longest(source: str) -> int | None:
    """How many bytes a match of any pattern can have at most. None where that is not bounded, or not seen here."""
    most, before = 0, ""
    for token in _tokens(source):
        if token.kind == "literal" and before == "=":
            if token.text.startswith("/") or _OPEN_JUMP.search(token.text):
                return None
            plain = re.sub(r"//[^\n]*|/\*.*?\*/", " ", token.text, flags=re.DOTALL)
            jumps = sum(int(n) for n in _JUMP.findall(plain))
            most = max(most, jumps + len(_JUMP_WHOLE.sub("", plain)))
        elif token.kind == "text":
            most = max(most, 4 * len(token.text.encode()) + _ENCODED)  # wide, base64 and both at once
        before = token.text
    return most
