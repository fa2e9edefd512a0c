"""Where what can be made or fetched again is kept: the user's cache folder."""

import os
from pathlib import Path


def folder() -> Path:
    """``$XDG_CACHE_HOME/xbrletools``, by default in ``~/.cache``.

    Raises:
        RuntimeError: there is no home.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "xbrletools"
