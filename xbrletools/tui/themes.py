"""The themes: dark, light, and high contrast. A mark or a word always says what a colour says."""

from textual.theme import Theme

FAINT = "faint"  # the variable for what matters less. It must still be easy to read

THEMES = (
    Theme(
        name="xbrle-dark",
        primary="#7aa2f7",
        secondary="#9ece6a",
        accent="#7dcfff",
        warning="#e0af68",
        error="#f7768e",
        success="#9ece6a",
        foreground="#d5d9e8",
        background="#16181f",
        surface="#1c1f29",
        panel="#2a2e3d",
        dark=True,
        variables={FAINT: "#8e96ab"},
    ),
    Theme(
        name="xbrle-light",
        primary="#1f4fa3",
        secondary="#2d6a2d",
        accent="#00617a",
        warning="#8a5200",
        error="#b00020",
        success="#2d6a2d",
        foreground="#1b1d24",
        background="#fbfbfc",
        surface="#f1f2f5",
        panel="#dfe2ea",
        dark=False,
        variables={FAINT: "#5b6270"},
    ),
    Theme(
        name="xbrle-contrast",
        primary="#ffff00",
        secondary="#00ff00",
        accent="#00ffff",
        warning="#ffff00",
        error="#ff8080",
        success="#00ff00",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#000080",
        dark=True,
        variables={FAINT: "#ffffff"},
    ),
)
