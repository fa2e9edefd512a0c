"""What a filter that is being typed can go on with: the names of fields, and the values that have names."""

import re
from collections.abc import Iterable, Sequence

from ..text import shown
from .words import ALL_FINDINGS, FIELDS, FLAGS, KINDS, STAGES

_LAST = re.compile(r"""(?:^|[\s(!])([a-z]*)(?:(:|>=|<=|!=|=|>|<)((?:[^\s()"']*,)?)([^\s(),"']*))?$""")
_BARE = re.compile(r"[^\s(),\"']+")


def completions(text: str, blocks: Sequence[bytes] = (), rules: Iterable[str] = ()) -> list[str]:
    """The whole texts that ``text`` can become when its last word is completed, those that are likely first.

    ``blocks`` are the names of the capture's RAM blocks, ``rules`` those of findings. There is none where the last word
    is complete, or where anything may follow, such as a number.
    """
    match = _LAST.search(text)
    if match is None:
        return []
    field, compare, _, begun = match.groups()
    if compare is None:
        head, words = text[: match.start(1)], [f"{name}:" for name in FIELDS]
        begun = field
        if not begun:
            return []
    else:
        head, words = text[: match.start(4)], _values(field, blocks, rules)
    return [head + word for word in words if word.startswith(begun) and word != begun]


def _values(field: str, blocks: Sequence[bytes], rules: Iterable[str]) -> list[str]:
    """The values of a field that have names."""
    names = [_quoted(shown(name)) for name in dict.fromkeys(blocks)]
    named: dict[str, Iterable[str]] = {
        "kind": KINDS,
        "stage": STAGES,
        "flags": FLAGS,
        "block": names,
        "page": [f"{name}:" for name in names],
        "finding": (ALL_FINDINGS, *rules),
    }
    return list(named.get(field, ()))


def _quoted(name: str) -> str:
    """A name as a filter takes it: in quotes where it holds what parts words."""
    return name if _BARE.fullmatch(name) else '"' + name.replace('"', '""') + '"'
