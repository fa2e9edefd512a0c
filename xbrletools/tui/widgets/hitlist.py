"""The places at which something was found, with a line over the stream for each: when it was in memory."""

from collections.abc import Callable, Sequence

from rich.style import Style

from ...analysis.pattern import Form
from ...analysis.search import Hit
from ...text import shown
from ..charts import merged
from ..palette import Palette, style
from ..searching import Found
from .lines import Line, Lines, fit

_NUMBER = 9  # cells for a record's number
_TEXT_BYTES = 96  # bytes of a hit that are shown
_WENT = "╳"  # noqa: RUF001
_LIFE_MIN = 12  # cells for the line over the stream, below which it is left out


#: What can be searched for, with an example, as long as nothing was.
_EXAMPLES = (
    ("text", "login:", "characters, as UTF-8"),
    ("bytes", "7f 45 4c 46", "bytes in hexadecimal"),
    ("regex", "root:[^:]*:", "a regular expression, in Python's syntax"),
    ("utf-16", "Password", "text as Windows keeps it"),
    ("yara", "rules.yar", "a file of YARA rules (extra yara)"),
    ("", "came, went", "the records that brought it and overwrote it"),
    ("", "━━━━━━", "in memory until the end"),
    ("", f"━━━{_WENT}··", "gone before the end: no later dump shows it"),
)


def _example(row: int, width: int) -> Line:
    """One of the lines that say what can be searched for."""
    form, example, words = _EXAMPLES[row]
    shade = "warning" if _WENT in example else "good" if "━" in example else "strong"
    return [(f" {form:8}", "dim"), (f"{example:14}", shade), (words if len(words) + 23 <= width else "", "dim")]


def content_text(form: Form, content: bytes) -> str:
    """What was found, as text, or in hexadecimal where bytes were searched for."""
    head = content[:_TEXT_BYTES]
    if form is Form.BYTES:
        return head.hex(" ")
    if form is Form.UTF16:
        return "".join(c if c.isprintable() else "." for c in head.decode("utf-16-le", "replace"))
    return "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in head) if not _is_utf8(head) else head.decode()


def _is_utf8(head: bytes) -> bool:
    try:
        return head.decode().isprintable()
    except UnicodeDecodeError:
        return False


class HitList(Lines):
    """The hits of a search. With `only_gone`, those that were gone before its end.

    ``names`` gives the names of the blocks, ``colours`` those of the theme, None where there are not enough of them.
    """

    def __init__(self, names: Callable[[], Sequence[bytes]], colours: Callable[[], Palette | None]) -> None:
        super().__init__(id="hits")
        self._names, self._colours = names, colours
        self.found: Found | None = None
        self.only_gone = False
        self.searched = False  # whether anything was searched for
        self._places: list[int] = []  # the hits that are listed
        self._of_blocks = False  # whether blocks have to be named

    def show(self, found: Found | None) -> None:
        """Show what was found by now. The cursor stays on its hit."""
        old = self.chosen
        self.found = found
        hits = found.hits if found is not None else ()
        self._places = [i for i, h in enumerate(hits) if h.vanished is not None or not self.only_gone]
        self._of_blocks = len({hit.block for hit in hits}) > 1
        if old is not None:
            same = (old.block, old.offset, old.appeared)
            at = next((i for i, p in enumerate(self._places) if _key(hits[p]) == same), 0)
            with self.prevent(self.Moved):
                self.renew()
                self.cursor = at
        self.renew()

    @property
    def chosen(self) -> Hit | None:
        """The hit under the cursor."""
        return self.at(self.cursor)

    def at(self, row: int) -> Hit | None:
        """The hit in a row."""
        return self.found.hits[self._places[row]] if self.found is not None and row < len(self._places) else None

    def place(self, row: int) -> int:
        """The place of a row's hit among all."""
        return self._places[row]

    def count(self) -> int:
        """How many are listed. Before the first search, lines say what can be searched for."""
        return len(self._places) if self.found is not None or self.searched else len(_EXAMPLES)

    def draws_cursor(self, row: int) -> bool:
        """Whether the cursor is drawn there: only on a hit."""
        return row < len(self._places)

    def _cells(self, width: int) -> tuple[int, int, int]:
        """Cells for the address, the text and the line over the stream."""
        address = 26 if self._of_blocks and width >= 100 else 18 if self._of_blocks else 12
        numbers = 2 * _NUMBER if self._is_lives else _NUMBER
        left = max(20, width - address - numbers - 3)
        life = max(0, left - max(16, min(40, left // 2))) if self._is_lives else 0
        life = life if life >= _LIFE_MIN else 0
        return address, left - life, life

    @property
    def _is_lives(self) -> bool:
        return self.found is None or self.found.wanted.everything

    def heads(self) -> Line:
        """The names of the columns."""
        address, text, life = self._cells(self.scrollable_content_region.width)
        numbers = f"{'came':>{_NUMBER}}{'went':>{_NUMBER}}" if self._is_lives else f"{'written':>{_NUMBER}}"
        over = f"  {'when it was in memory':{life}}" if life else ""
        return [(f"{'address':>{address}} {'text':{text}}{numbers}{over}", "title")]

    def line(self, row: int, width: int) -> Line:
        """Address, text, the records with which it came and went, its time in memory."""
        if not self._places:
            return _example(row, width)
        found, place = self.found, self._places[row]
        assert found is not None
        hit, colours = found.hits[place], self._colours()
        address, text, life = self._cells(width)
        name = shown(self._names()[hit.block]) + ":" if self._of_blocks else ""
        at = f"{hit.offset:#x}"
        came = found.came(place)
        gone = hit.vanished is not None
        data = "" if colours is None else style(colours.printable)
        line: list[tuple[str, str | Style]] = [
            (fit(fit(name, min(len(name), address - len(at))) + at, address, right=True) + " ", ""),
            (fit(found.words(hit) + content_text(found.wanted.form, hit.content), text), data),
            (f"{came if came is not None else '-':>{_NUMBER}}", "dim"),
        ]
        if self._is_lives:
            line.append((f"{hit.vanished if gone else '—':>{_NUMBER}}", "warning" if gone else "dim"))
        if life:
            line += [("  ", ""), *self._life(found, hit, life)]
        return line

    @staticmethod
    def _life(found: Found, hit: Hit, room: int) -> Line:
        """When a hit was in memory: green where it was there at the end, amber with a cross where it went."""
        rows = max(1, int(found.rows[-1]) + 1 if len(found.rows) else 1)

        def cell(record: int) -> int:
            return min(room - 1, found.row_of(record) * room // rows)

        first = cell(hit.appeared or 1)
        if hit.vanished is not None:
            last = max(first, cell(hit.vanished))
            cells = [("·", "dim")] * first + [("━", "warning")] * (last - first) + [(_WENT, "warning")]
            return merged([*cells, *[("·", "dim")] * (room - last - 1)])
        last = room if found.whole else cell(found.upto) + 1
        shade = "good" if found.whole else "note"
        cells = [("·", "dim")] * first + [("━", shade)] * max(1, last - first)
        return merged(cells[:room])


def _key(hit: Hit) -> tuple[int, int, int | None]:
    return hit.block, hit.offset, hit.appeared
