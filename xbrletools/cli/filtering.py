"""What the commands that choose records share: the words of a filter, and an option for each of its terms."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from .. import filters
from ..filters import Filter
from ..text import bytes_of, shown
from . import warn

_OPTIONS = {
    "kind": "KIND,...",
    "block": "NAME",
    "page": "[BLOCK:]RANGE",
    "section": "RANGE|NAME",
    "pass": "RANGE",
    "record": "RANGE",
    "packet": "RANGE",
    "finding": "RULE",
}


#: The parameters that `filtering` gives beside the words.
FILTERING = tuple(f"by_{field}" for field in _OPTIONS)


def say_strangers(wanted: Filter | None, names: Sequence[bytes]) -> None:
    """Say which blocks a filter looks for that the capture does not have."""
    for name in filters.strangers(wanted, names) if wanted is not None else ():
        listed = ", ".join(map(shown, names)) or "none"
        warn(f"there is no RAM block {shown(bytes_of(name))}; this capture has {listed}")


def filtering(function: Any, without: str = "") -> Any:
    """Give a command the words of a filter, and an option for each term that a filter can have, but one.

    The command gets ``words`` and ``by_FIELD`` of each, for `wanted_of`.
    """
    for field, metavar in reversed(_OPTIONS.items()):
        if field == without:
            continue
        option = click.option(f"--{field}", f"by_{field}", metavar=metavar, help=f"Add {field}:... to the filter.")
        function = option(function)
    return click.argument("words", nargs=-1, metavar="[FILTER]...")(function)


def wanted_of(words: Sequence[str], options: Mapping[str, str | None]) -> Filter | None:
    """The filter that the words and the options make together, or None if they let everything pass.

    Raises:
        FilterError: a term cannot be read.
    """
    text = " ".join(words)
    parts = [filters.parse(text, _rules("finding" in text))]
    parts += [_option(name.removeprefix("by_"), value) for name, value in options.items() if value is not None]
    parts = [f for f in parts if f.fields]
    return filters.All(tuple(parts)) if parts else None


def _option(field: str, value: str) -> Filter:
    """The filter of ``--field value``. Commas divide several values, except in block names."""
    values = value.split(",") if field != "block" else [value]
    rules = _rules(field == "finding")
    return filters.AnyOf(tuple(filters.term(field, v, rules) for v in values))


def _rules(wanted: bool) -> Collection[str] | None:
    """The rules that a finding can have, or None if the filter does not ask for findings."""
    if not wanted:
        return None
    from ..verify.rules import RULES

    return RULES
