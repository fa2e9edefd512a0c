"""The themes: dark, light, and high contrast. A mark or a word always says what a colour says."""

from textual.app import App
from textual.theme import Theme

from .palette import CONTRAST, DARK, LIGHT, Palette, with_marks

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
        variables={FAINT: colours.faint} | (_words(colours) if colours.plain else {}),
    )


def _words(colours: Palette) -> dict[str, str]:
    """The colours of words where there are few: Textual would mix them."""
    names = {"primary": colours.accent, "secondary": colours.delta, "accent": colours.accent, "error": colours.wrong}
    names |= {"warning": colours.healed, "success": colours.good}
    return {f"text-{name}": colours.text(colour) for name, colour in names.items()}


_PALETTES = {"xbrle-dark": DARK, "xbrle-light": LIGHT, "xbrle-contrast": CONTRAST}
THEMES = tuple(_theme(name, colours) for name, colours in _PALETTES.items())
THEME_NAMES = tuple(_PALETTES)
_FEW = tuple(_theme(name, with_marks(colours)) for name, colours in _PALETTES.items())


def palette_of(theme: str) -> Palette:
    """The colours of a theme. Those of Textual's own are drawn on as the dark one."""
    return _PALETTES.get(theme, DARK)


def use_few_colours(app: App[int], plain: bool) -> None:
    """Have the themes made of a terminal's own colours where it has few others. Without any, greys tell more."""
    if plain and not app.no_color:
        for theme in _FEW:
            app.register_theme(theme)
        app.refresh_css()
