"""What the two ends of a migration print, and what it means: the rules' messages, and those of `message_table`."""

import re
from functools import cache

from . import rules
from .message_table import OTHERS, SEEN, Message
from .reference import ADVICE
from .rules import RULES, Rule

__all__ = ["SEEN", "Message", "document", "matches", "messages"]

LINE_MAX = 1 << 14  # characters of a line that are looked at


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
def _patterns() -> tuple[tuple[Message, re.Pattern[str]], ...]:
    return tuple((message, _pattern(message.template)) for message in messages())


def _pattern(template: str) -> re.Pattern[str]:
    """What finds a template in a line. A last {} takes a word, without a comma or colon at its end."""
    parts = [re.escape(part) for part in template.split("{}")]
    last = parts.pop()
    text = "(.*?)".join([*parts, last]) if last else "(.*?)".join(parts) + r"(\S*?)(?=[,:]?(?:\s|$))"
    return re.compile(text)


def matches(line: str) -> list[tuple[Message, tuple[str, ...]]]:
    """The messages in a line with their values, in order. One that lies within a longer one does not count."""
    spans = [
        (found.start(), found.end(), message, found.groups())
        for message, pattern in _patterns()
        for found in pattern.finditer(line[:LINE_MAX])
    ]
    spans.sort(key=lambda s: (s[0], -(s[1] - s[0])))
    out: list[tuple[int, int, Message, tuple[str, ...]]] = []
    for start, end, message, values in spans:
        fixed = len(message.template.replace("{}", ""))
        if any(s <= start and end <= e and fixed < len(m.template.replace("{}", "")) for s, e, m, _ in out):
            continue
        out = [o for o in out if not (start <= o[0] and o[1] <= end and len(o[2].template.replace("{}", "")) < fixed)]
        out.append((start, end, message, values))
    return [(message, values) for _, _, message, values in out]


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
