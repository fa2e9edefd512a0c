"""The themes: dark, light, and high contrast. A mark or a word always says what a colour says."""

from textual.theme import Theme

from .palette import CONTRAST, DARK, LIGHT, Palette

FAINT = "faint"  # the variable for what matters less. It must still be easy to read


def _theme(name: str, colours: Palette) -> Theme:
    return Theme(
        name=name,
        primary=colours.accent,
        secondary=colours.delta,
        accent=colours.page,
        warning=colours.healed,
        error=colours.wrong,
        success=colours.good,
        foreground=colours.ink,
        background=colours.ground,
        surface=colours.surface,
        panel=colours.panel,
        dark=colours.dark,
        variables={FAINT: colours.faint},
    )


_PALETTES = {"xbrle-dark": DARK, "xbrle-light": LIGHT, "xbrle-contrast": CONTRAST}
THEMES = tuple(_theme(name, colours) for name, colours in _PALETTES.items())


def palette_of(theme: str) -> Palette:
    """The colours of a theme. Those of Textual's own are drawn on as the dark one."""
    return _PALETTES.get(theme, DARK)
