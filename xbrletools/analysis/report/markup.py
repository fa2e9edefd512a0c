"""The elements of the report's page. Every text goes through `tag`, which escapes it."""

import html
from collections.abc import Iterable, Sequence

ROWS = 40  # rows of a list of sections or blocks
TEXT = 300  # characters of a message or of evidence

_VOID = frozenset(("meta",))
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class Markup(str):
    """Text that is HTML already. Only `tag` makes it, the style sheet aside."""

    __slots__ = ()


def tag(element: str, *children: object, **attributes: object) -> Markup:
    """An element. Children that are not `Markup` are escaped, and so is every attribute. ``a_b`` is attribute a-b."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    if element in _VOID:
        return Markup(f"<{element}{written}>\n")
    return Markup(f"<{element}{written}>{joined(children)}</{element}>\n")


def joined(children: Iterable[object]) -> Markup:
    """Children one after the other."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(str(c)) for c in children))


def section(title: str, *children: object) -> Markup:
    """A part of the page under its title."""
    return tag("section", tag("h2", title), *children)


def note(*children: object) -> Markup:
    """A paragraph in small print."""
    return tag("p", *children, class_="note")


def more(count: int, limit: int, what: str) -> list[Markup]:
    """A note that says how many of ``count`` things were left out, or nothing where all are shown."""
    return [note(f"and {count - limit:,} more {what}")] if count > limit else []


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], right: int = 0, class_: str = "") -> Markup:
    """A table whose last ``right`` columns are aligned to the right."""
    edge = len(heads) - right

    def cells(element: str, row: Sequence[object]) -> list[Markup]:
        return [tag(element, c, class_="n") if i >= edge else tag(element, c) for i, c in enumerate(row)]

    body = tag("tbody", *(tag("tr", *cells("td", row)) for row in rows))
    return tag("div", tag("table", tag("thead", tag("tr", *cells("th", heads))), body, class_=class_), class_="wide")


def pairs(rows: Iterable[tuple[object, object]]) -> Markup:
    """A table of labels and values."""
    return tag("table", tag("tbody", *(tag("tr", tag("th", a), tag("td", b)) for a, b in rows)), class_="pairs")


def lines(texts: Iterable[object]) -> Markup:
    """Texts below each other."""
    return joined(tag("div", text) for text in texts)


def code(text: object) -> Markup:
    """A name, an address or bytes."""
    return tag("code", text)


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """What colours mean: for each its class and its meaning."""
    keys = (
        tag("li", tag("svg", tag("rect", width=10, height=10, class_=class_), viewBox="0 0 10 10"), meaning)
        for class_, meaning in entries
    )
    return tag("ul", *keys, class_="legend")


def clipped(text: str) -> str:
    """A text, or its beginning where it is too long for the page."""
    return text if len(text) <= TEXT else f"{text[:TEXT]}… ({len(text)} characters)"


def size_words(count: int) -> str:
    """A number of bytes for a person, two or three digits of it."""
    size, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if abs(size) < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{count:,} bytes" if unit == "bytes" else f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"


def share(part: int, whole: int) -> str:
    """A part of a whole in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
