"""Colours by meaning: cold ones are data, warm ones are trouble, white is the cursor and what has just changed.

A letter, a mark or a word always says what a colour says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from rich.style import Style

STEPS = 16  # of the ramp
READABLE = 4.5  # the contrast that WCAG 2 (AA) asks of text
VISIBLE = 3.0  # and of what is not text


def mixed(colour: str, other: str, share: float) -> str:
    """A colour with a ``share``, from 0 to 1, of another in it."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def contrast(colour: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21, as WCAG 2 defines it."""
    low, high = sorted((_luminance(colour), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@lru_cache(maxsize=512)
def _legible(colour: str, ink: str, ground: str, least: float) -> str:
    shares = (mixed(colour, ink, i / 10) for i in range(11))
    return next((c for c in shares if contrast(c, ground) >= least), ink)


def _ramp(*stops: str) -> tuple[str, ...]:
    out = []
    for i in range(STEPS):
        place = i / (STEPS - 1) * (len(stops) - 1)
        below = min(int(place), len(stops) - 2)
        out.append(mixed(stops[below], stops[below + 1], place - below))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one theme. ``ramp`` runs from few to many. ``never`` and ``once`` stand below it on the map.

    From ``printable`` to ``zero`` they are those of bytes by their class. Where it is ``plain``, there are not enough
    colours to tell what is wrong: marks do. None of those that there are is mixed with another then.
    """

    dark: bool
    ground: str
    surface: str
    panel: str
    line: str
    ink: str
    dim: str
    faint: str
    accent: str
    page: str
    dup: str
    delta: str
    wrong: str
    healed: str
    unknown: str
    good: str
    never: str
    once: str
    printable: str
    blank: str
    control: str
    high: str
    ones: str
    zero: str
    ramp: tuple[str, ...]
    plain: bool = False
    fills: str = "███"  # what bars of pages, dup pages and deltas are filled with

    @property
    def bright(self) -> str:
        """What the cursor, the playhead and pages that have just changed are drawn in."""
        return "#ffffff" if self.dark else "#000000"

    def calm(self, colour: str) -> str:
        """A colour for a large area, where a mark's own would shout."""
        return colour if self.plain else mixed(colour, self.ground, 0.25)

    def text(self, colour: str, ground: str | None = None) -> str:
        """A colour for words: with so much of the ink in it that they are easy to read, on another ground too."""
        ground = self.ground if ground is None else ground
        if self.plain:
            return colour if contrast(colour, ground) >= VISIBLE else self.ink
        return _legible(colour, self.ink, ground, READABLE)

    def on(self, fill: str) -> str:
        """The colour for words on a badge of the colour ``fill``."""
        return max(self.ground, self.ink, "#000000", key=lambda colour: contrast(colour, fill))

    def byte(self, colour: str, ground: str) -> str:
        """A colour for a byte on a ground. Zeros are dim on purpose: they need only be seen."""
        return _legible(colour, self.ink, ground, VISIBLE if colour == self.zero else READABLE)


DARK = Palette(
    dark=True,
    ground="#10131a",
    surface="#161a23",
    panel="#1d2230",
    line="#2f3648",
    ink="#d8deea",
    dim="#a3adc0",
    faint="#8590a6",
    accent="#8ab4f8",
    page="#4f97e0",
    dup="#7a879e",
    delta="#6fd8b0",
    wrong="#ff5a36",
    healed="#f0c24f",
    unknown="#dcc8ff",
    good="#6fd8b0",
    never="#0c0e13",
    once="#16233c",
    printable="#9fd0ff",
    blank="#6fb3a0",
    control="#a8b0bf",
    high="#d7b98a",
    ones="#e0c7ff",
    zero="#6a748c",
    ramp=_ramp("#1d3a66", "#1f5d8c", "#2a8aa6", "#45b5b0", "#7fd8c4", "#bff5e4"),
)
LIGHT = Palette(
    dark=False,
    ground="#fbfaf7",
    surface="#f3f2ee",
    panel="#e9e8e3",
    line="#cfcdc6",
    ink="#20242e",
    dim="#515766",
    faint="#5f6472",
    accent="#1c4fa0",
    page="#2f7cc9",
    dup="#8b94a3",
    delta="#0b7057",
    wrong="#a81e08",
    healed="#b98200",
    unknown="#43217f",
    good="#0b7057",
    never="#ffffff",
    once="#edf0f2",
    printable="#134f94",
    blank="#0a8163",
    control="#59606f",
    high="#8a5a10",
    ones="#7547c4",
    zero="#8a909b",
    ramp=_ramp("#dfe9f2", "#a9d3dc", "#5bb0bf", "#2a83ad", "#1f4f94", "#161b4d"),
)
CONTRAST = Palette(
    dark=True,
    ground="#000000",
    surface="#000000",
    panel="#000080",
    line="#808080",
    ink="#ffffff",
    dim="#ffffff",
    faint="#ffffff",
    accent="#00ffff",
    page="#60a0ff",
    dup="#a0a0a0",
    delta="#00ff80",
    wrong="#ff8080",
    healed="#ffff00",
    unknown="#ff80ff",
    good="#00ff00",
    never="#000000",
    once="#202020",
    printable="#ffffff",
    blank="#ffffff",
    control="#ffffff",
    high="#ffffff",
    ones="#ffffff",
    zero="#b0b0b0",
    ramp=_ramp("#203060", "#2060c0", "#00a0c0", "#60ffd0"),
)


@lru_cache(maxsize=8)
def without_colour(palette: Palette) -> Palette:
    """A palette for a terminal that shows greys only: what is wrong must not be dimmer there than what is not.

    Kinds of records are greys that can be told apart.
    """
    dup, page, delta = (mixed(palette.bright, palette.ground, share) for share in (0.7, 0.45, 0.15))
    found = replace(palette, page=page, dup=dup, delta=delta, plain=True, fills="█░▓")
    return replace(found, wrong=palette.bright, healed=palette.ink, unknown=palette.ink)


def _few(*colours: str) -> tuple[str, ...]:
    """A ramp of as many colours as there are."""
    return tuple(colours[i * len(colours) // STEPS] for i in range(STEPS))


#: For terminals of 16 colours: each is one of those, so that no two that differ become the same one there.
_FEW_DARK = replace(
    DARK,
    ground="#000000",
    surface="#000000",
    panel="#0000aa",
    line="#555555",
    ink="#ffffff",
    dim="#aaaaaa",
    faint="#aaaaaa",
    accent="#55ffff",
    page="#5555ff",
    dup="#aaaaaa",
    delta="#55ff55",
    wrong="#ff5555",
    healed="#ffff55",
    unknown="#ff55ff",
    good="#55ff55",
    never="#000000",
    once="#555555",
    ramp=_few("#5555ff", "#00aaaa", "#55ffff"),
    plain=True,
)
#: On white, yellow, green and cyan cannot be read.
_FEW_LIGHT = replace(
    LIGHT,
    ground="#ffffff",
    surface="#ffffff",
    panel="#aaaaaa",
    line="#aaaaaa",
    ink="#000000",
    dim="#555555",
    faint="#555555",
    accent="#0000aa",
    page="#0000aa",
    dup="#555555",
    delta="#00aaaa",
    wrong="#aa0000",
    healed="#aa00aa",
    unknown="#000000",
    good="#0000aa",
    never="#ffffff",
    once="#aaaaaa",
    ramp=_few("#00aaaa", "#5555ff", "#0000aa"),
    plain=True,
)


def with_marks(palette: Palette) -> Palette:
    """A palette for a terminal of few colours, where marks tell what is wrong."""
    return _FEW_DARK if palette.dark else _FEW_LIGHT


@lru_cache(maxsize=4096)
def style(colour: str | None = None, ground: str | None = None, bold: bool = False) -> Style:
    """A style, made once."""
    return Style(color=colour, bgcolor=ground, bold=bold or None)


@lru_cache(maxsize=64)
def pairs(colours: Sequence[str]) -> list[Style]:
    """The style of a half block for each upper and lower colour, at ``upper * len(colours) + lower``."""
    return [style(upper, lower) for upper in colours for lower in colours]
