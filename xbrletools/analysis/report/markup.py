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


def section(key: str, title: str, *children: object) -> Markup:
    """A part of the page under its title. ``key`` is its place, to which the contents lead."""
    return tag("section", tag("h2", title, id=key), *children, aria_labelledby=key)


def folded(summary: object, *children: object, is_open: bool = False, class_: str = "fold") -> Markup:
    """A line that can be unfolded. On paper what is folded shows, too."""
    state = {"open": "open"} if is_open else {}
    return tag("details", tag("summary", summary), tag("div", *children, class_="inner"), class_=class_, **state)


def note(*children: object) -> Markup:
    """A paragraph in small print."""
    return tag("p", *children, class_="note")


def more(count: int, limit: int, what: str, where: str = "") -> list[Markup]:
    """A note that says how many of ``count`` things were left out, or nothing where all are shown.

    ``where`` is a command that lists them.
    """
    if count <= limit:
        return []
    text = f"and {count - limit:,} more {what}"
    return [note(text, "; ", code(where), " lists them") if where else note(text)]


def first(limit: int, texts: Sequence[str]) -> list[str]:
    """At most ``limit`` of some texts, and last how many more there are."""
    left_out = [f"and {len(texts) - limit:,} more"] if len(texts) > limit else []
    return [*texts[:limit], *left_out]


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], right: int = 0, class_: str = ""
) -> Markup:
    """A table whose last ``right`` columns are aligned to the right. Where it is wide, it scrolls in its own box."""
    edge = len(heads) - right

    def cells(row: Sequence[object]) -> list[Markup]:
        return [tag("td", c, class_="n") if i >= edge else tag("td", c) for i, c in enumerate(row)]

    titles = [tag("th", h, scope="col", **({"class_": "n"} if i >= edge else {})) for i, h in enumerate(heads)]
    body = tag("tbody", *(tag("tr", *cells(row)) for row in rows))
    return wide(caption, tag("caption", caption), tag("thead", tag("tr", *titles)), body, class_=class_)


def wide(caption: str, *parts: object, class_: str = "") -> Markup:
    """A table, of its parts, in a box of its own that scrolls where the table is wider. Keys reach the box."""
    made = tag("table", *parts, **({"class_": class_} if class_ else {}))
    return tag("div", made, class_="wide", tabindex=0, role="group", aria_label=caption)


def pairs(rows: Iterable[tuple[object, object]]) -> Markup:
    """A table of labels and values."""
    lines_of = (tag("tr", tag("th", a, scope="row") if a else tag("td"), tag("td", b)) for a, b in rows)
    return tag("table", tag("tbody", *lines_of), class_="pairs")


def lines(texts: Iterable[object]) -> Markup:
    """Texts below each other."""
    return joined(tag("div", text) for text in texts)


def code(text: object) -> Markup:
    """A name, an address or bytes."""
    return tag("code", text)


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """What colours mean: for each its class and its meaning."""
    keys = (
        tag(
            "li",
            tag("svg", tag("rect", width=10, height=10, class_=class_), viewBox="0 0 10 10", aria_hidden="true"),
            meaning,
        )
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
