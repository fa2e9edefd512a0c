"""XBRLE and XBZRLE migration streams: read them, verify them, and have their memory.

``xbrletools.open(path)`` gives a `Capture`. Everything else hangs off it.
"""

from typing import TYPE_CHECKING, Any

from .errors import XbrleError
from .version import __version__

if TYPE_CHECKING:
    from .capture import Capture, open_capture as open  # noqa: I001

__all__ = ["Capture", "XbrleError", "__version__", "open"]

_LAZY = {"open": "open_capture", "Capture": "Capture"}


def __getattr__(name: str) -> Any:
    """Import the front only when it is used: the command line's help needs none of it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import capture

    return getattr(capture, _LAZY[name])
