"""The loops in C as they were built, if they were: whether they are in use, without importing NumPy."""

import os
from types import ModuleType

REVISION = 9  # of `_native.c`

loops: ModuleType | None = None
if os.environ.get("XBRLE_NATIVE") != "0":
    try:
        from . import _native

        if getattr(_native, "REVISION", None) == REVISION:  # an older build may still be installed
            loops = _native
    except ImportError:
        pass


def state() -> str:
    """Whether the loops in C are in use, in words, and why not."""
    if loops is not None:
        return "in use"
    if os.environ.get("XBRLE_NATIVE") == "0":
        return "turned off by XBRLE_NATIVE=0"
    return "not built: NumPy does their work"
