"""XBRLE and XBZRLE migration streams: read them, verify them, and have their memory.

``xbrletools.open(path)`` gives a `Capture`. Everything else hangs off it.
docs/library.md says what is public and stays.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import XbrleError
from .version import __version__

if TYPE_CHECKING:
    from .capture import Capture, open_capture as open  # noqa: I001
    from .memory.image import Image
    from .memory.replay import View
    from .model import Block
    from .table.record import Record
    from .table.table import RecordTable
    from .verify.rules import Finding
    from .verify.verdict import Verdict

__all__ = [
    "Block",
    "Capture",
    "Finding",
    "Image",
    "Record",
    "RecordTable",
    "Verdict",
    "View",
    "XbrleError",
    "__version__",
    "open",
]

#: Where each name is that is imported only when it is used: the command line's help needs none of them.
_LAZY = {
    "open": ("capture", "open_capture"),
    "Capture": ("capture", "Capture"),
    "Block": ("model", "Block"),
    "Finding": ("verify.rules", "Finding"),
    "Image": ("memory.image", "Image"),
    "Record": ("table.record", "Record"),
    "RecordTable": ("table.table", "RecordTable"),
    "Verdict": ("verify.verdict", "Verdict"),
    "View": ("memory.replay", "View"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    """The public names, also those that are not imported yet."""
    return sorted({*__all__, "__doc__", "__file__", "__name__", "__path__"})
