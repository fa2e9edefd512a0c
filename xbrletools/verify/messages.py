"""What the two ends of a migration print, and what it means: the rules' messages, and those of `message_table`."""

import re
from collections.abc import Iterator
from functools import cache
from typing import cast

from . import rules
from .message_table import OTHERS, SEEN, Message
from .reference import ADVICE
from .rules import RULES, Rule

__all__ = ["SEEN", "Message", "document", "matches", "messages"]

LINE_MAX = 1 << 14  # characters of a line that are looked at
PART_LEAST = 8  # characters of a part of a message

_WORD = re.compile(r"\S*")
_Span = tuple[int, int, int, Message, tuple[str, ...]]  # where a message stands, its template's length, and its values


@cache
def messages() -> tuple[Message, ...]:
    """Every message that is known: those of the rules, then the others."""
    of_rules = (
        Message(template, _meaning(rule), ADVICE[rule].to_do, SEEN, rule)
        for rule in RULES.values()
        for template in rule.messages
    )
    found: dict[str, Message] = {}
    for message in (*of_rules, *OTHERS):
        found.setdefault(message.template, message)
    return tuple(found.values())


def _meaning(rule: Rule) -> str:
    if rule in (rules.FLAGS_UNKNOWN, rules.FLAGS_COMBINED, rules.NO_KIND):
        return "A record's flags are not exactly one that QEMU knows, beside CONTINUE (0x20)."
    return rule.sentence[:1].upper() + rule.sentence[1:] + "."


@cache
def _parts() -> tuple[tuple[Message, tuple[str, ...], int], ...]:
    """Every message with the fixed parts of its template and their length."""
    return tuple((m, tuple(parts := m.template.split("{}")), sum(map(len, parts))) for m in messages())


def _found(parts: tuple[str, ...], line: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Where a template stands in a line, and what stands for each {}, in time that grows with the line's length only.

    A {} takes as little as it can; a last one takes a word, without a comma, colon or full stop at its end.
    """
    *fixed, last = parts
    if last:
        fixed.append(last)
    at = 0
    while (start := line.find(fixed[0], at)) >= 0:
        values = []
        end = start + len(fixed[0])
        for part in fixed[1:]:
            if (there := line.find(part, end)) < 0:
                return  # nor does it stand after a later beginning
            values.append(line[end:there])
            end = there + len(part)
        if not last:
            word = cast("re.Match[str]", _WORD.match(line, end))[0]
            values.append(word[:-1] if word.endswith((",", ":", ".")) else word)
            end += len(values[-1])
        yield start, end, tuple(values)
        at = max(end, start + 1)


def matches(line: str) -> list[tuple[Message, tuple[str, ...]]]:
    """The messages in a line with their values, in order. One that lies within a longer one does not count."""
    line = line[:LINE_MAX]
    spans = [
        (begin + start, begin + end, fixed, message, values)
        for begin, text in _lines(line)
        for message, parts, fixed in _parts()
        for start, end, values in _found(parts, text)
    ]
    spans.sort(key=lambda s: (s[0], -(s[1] - s[0])))
    out: list[_Span] = []
    live: list[_Span] = []  # those that a later one can lie in
    for span in spans:
        start, end, length = span[:3]
        out += [s for s in live if s[1] <= start]
        live = [s for s in live if s[1] > start]
        if any(end <= s[1] and length < s[2] for s in live):
            continue
        live = [s for s in live if not (start <= s[0] and s[1] <= end and s[2] < length)]
        live.append(span)
    out += live
    out.sort(key=lambda s: (s[0], -(s[1] - s[0])))
    return [(message, values) for _, _, _, message, values in out]


def begun(line: str) -> list[Message]:
    """The messages that begin with the words of a line, which is only a part of them. None for fewer than two words."""
    words = line[:LINE_MAX].strip().rstrip(" :,.")
    if len(words) < PART_LEAST or " " not in words:
        return []
    return [m for m in messages() if m.template.strip().startswith(words)]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with their places: no message goes from one to the next."""
    at = 0
    for line in text.split("\n"):
        yield at, line
        at += len(line) + 1


def document() -> str:
    """docs/why.md: every message, what it means and what to do."""
    out = _HEAD.split("\n")
    for message in messages():
        rule = "" if message.rule is None else f" ([{message.rule.id}](rules.md#{message.rule.id}))"
        out += ["", f"## `{message.template.strip()}`", "", f"- **It means**: {message.meaning}{rule}"]
        out += [f"- **What to do**: {message.to_do}", f"- **Seen**: {message.source}"]
    return "\n".join(out) + "\n"


_HEAD = """# What QEMU and libvirt say when a migration fails

What `xbrle why LINE` and `xbrle why LOG S` know. This file is made by `python docs/make_why.py` from `verify/rules.py`
and `verify/message_table.py`. {} stands for what varies. [C]: a real QEMU of 7.2 to 11.1 printed it when it was given
such a stream; the tests ask them again. Else it says which source has it."""
