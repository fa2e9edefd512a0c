"""What the browser keeps of a user: the theme. Without one, the terminal's background chooses."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..errors import XbrleError
from ..outputs import MEMORY, replacing
from .terminal import brightness

_LIGHT = {"7", "15"}  # the numbers of light backgrounds among a terminal's 16 colours


def folder() -> Path:
    """The folder of this program in the user's state (XDG)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "xbrletools"


def is_light() -> bool:
    """Whether the terminal's background is light: by ``COLORFGBG``, as rxvt and Konsole set it, else by asking it."""
    told = os.environ.get("COLORFGBG", "")
    if told:
        return told.rpartition(";")[2] in _LIGHT
    return (brightness() or 0.0) > 0.5


def theme(names: Collection[str]) -> str | None:
    """The theme that was last chosen, None where none of ``names`` was."""
    with suppress(OSError, ValueError):
        name = (folder() / "theme").read_text(encoding="utf-8").strip()
        return name if name in names else None
    return None


def keep_theme(name: str) -> None:
    """Remember a theme. Where that fails, the next browser opens in the usual one."""
    with suppress(OSError, XbrleError):
        folder().mkdir(parents=True, exist_ok=True)
        with replacing(folder() / "theme", force=True, mode=MEMORY) as file:
            file.write(name.encode())
