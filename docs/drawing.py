"""Draws a screen of the browser as a small SVG: block elements become rectangles, so that rows have no seams."""

import re
from collections import defaultdict
from collections.abc import Iterable
from html import escape

from rich.cells import cell_len
from rich.segment import Segment

WIDTH, HEIGHT, SIZE = 8.4, 18.0, 14  # of a cell in pixels, and of its font
PAD, BAR = 14, 26  # around the screen, and above it
_LOWER, _LEFT = "▁▂▃▄▅▆▇█", "▏▎▍▌▋▊▉"
_FONTS = "'JetBrains Mono','DejaVu Sans Mono',Menlo,Consolas,monospace"

#: Left, top, width and height of a rectangle, in cells.
Box = tuple[float, float, float, float]


def _box(character: str) -> Box | None:
    """The part of a cell that a block element fills, None for any other character."""
    if character == "▀":
        return 0, 0, 1, 0.5
    if character == "▐":
        return 0.5, 0, 0.5, 1
    if character in _LOWER:
        share = (_LOWER.index(character) + 1) / 8
        return 0, 1 - share, 1, share
    return (0, 0, (_LEFT.index(character) + 1) / 8, 1) if character in _LEFT else None


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


class _Canvas:
    """What is drawn: rectangles by their colour, the grounds first, and texts by their style."""

    def __init__(self, ink: str, ground: str) -> None:
        self.ink, self.ground = ink, ground
        self.grounds: dict[str, list[Box]] = defaultdict(list)
        self.blocks: dict[str, list[Box]] = defaultdict(list)
        self.texts: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)

    def segment(self, segment: Segment, x: int, y: int) -> int:
        """Draw a segment. Gives the cell after it."""
        style, ink, ground, look = segment.style, self.ink, self.ground, ""
        if style is not None:
            if style.color is not None and not style.color.is_default:
                ink = style.color.get_truecolor().hex
            if style.bgcolor is not None and not style.bgcolor.is_default:
                ground = style.bgcolor.get_truecolor().hex
            if style.reverse:
                ink, ground = ground, ink
            look = ' font-weight="bold"' if style.bold else ""
            look += ' text-decoration="underline"' if style.underline else ""
        cells = cell_len(segment.text)
        if ground != self.ground:
            self.grounds[ground].append((x, y, cells, 1))
        run = ""
        for character in [*segment.text, ""]:
            box = _box(character) if character else None
            if character and box is None:
                run += character
                continue
            self._text(run, ink, look, x, y)
            x, run = x + cell_len(run), ""
            if box is not None:
                self.blocks[ink].append((x + box[0], y + box[1], box[2], box[3]))
                x += 1
        return x

    def _text(self, text: str, ink: str, look: str, x: int, y: int) -> None:
        for piece in re.finditer(r"\S+(?: \S+)*", text):  # browsers join several blanks
            self.texts[ink, look].append((x + cell_len(text[: piece.start()]), y, piece[0]))

    def lines(self) -> Iterable[str]:
        """The elements, in the order in which they lie on each other."""
        for boxes in (self.grounds, self.blocks):
            for colour, some in boxes.items():
                path = "".join(
                    f"M{_number(x * WIDTH)} {_number(y * HEIGHT)}h{_number(w * WIDTH)}v{_number(h * HEIGHT)}"
                    f"h{_number(-w * WIDTH)}z"
                    for x, y, w, h in _merged(some)
                )
                yield f'<path shape-rendering="crispEdges" fill="{colour}" d="{path}"/>'
        for (ink, look), texts in self.texts.items():
            yield f'<g fill="{ink}"{look}>'
            for x, y, text in texts:
                long = f' textLength="{_number(cell_len(text) * WIDTH)}"' if len(text) > 1 else ""
                place = f'x="{_number(x * WIDTH)}" y="{_number(y * HEIGHT + 13.4)}"{long}'
                yield f"<text {place}>{escape(text)}</text>"
            yield "</g>"


def _merged(boxes: list[Box]) -> list[list[float]]:
    """Rectangles of one colour, neighbours joined: along a line, then lines that stack exactly."""
    rows: list[list[float]] = []
    for x, y, w, h in sorted(boxes, key=lambda b: (b[1], b[3], b[0])):
        last = rows[-1] if rows else None
        if last is not None and last[1] == y and last[3] == h and abs(last[0] + last[2] - x) < 1e-6:
            last[2] += w
        else:
            rows.append([x, y, w, h])
    out: list[list[float]] = []
    above: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        upper = above.get((row[0], row[2]))
        if upper is not None and abs(upper[1] + upper[3] - row[1]) < 1e-6:
            upper[3] += row[3]
        else:
            out.append(row)
            above[row[0], row[2]] = row
    return out


def drawing(lines: Iterable[Iterable[Segment]], size: tuple[int, int], ink: str, ground: str, title: str) -> str:
    """A window with these ``lines`` of segments, ``size`` columns and lines large, as SVG."""
    canvas = _Canvas(ink, ground)
    for y, line in enumerate(lines):
        x = 0
        for segment in line:
            x = canvas.segment(segment, x, y)
    width, height = size[0] * WIDTH + 2 * PAD, size[1] * HEIGHT + PAD + BAR
    dots = "".join(
        f'<circle cx="{18 + 16 * i}" cy="14" r="5" fill="{colour}"/>'
        for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_number(width)} {_number(height)}" '
            f'font-family="{_FONTS}" font-size="{SIZE}">',
            f'<rect width="100%" height="100%" rx="9" fill="{ground}" stroke="#808a9a" stroke-opacity=".35"/>{dots}',
            f'<text x="{_number(width / 2)}" y="18" text-anchor="middle" fill="{ink}" fill-opacity=".6" '
            f'font-size="12">{escape(title)}</text>',
            f'<g transform="translate({PAD} {BAR})">',
            *canvas.lines(),
            "</g></svg>\n",
        ]
    )
