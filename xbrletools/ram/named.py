"""Dialects by the name that a user or a file gives them."""

from ..errors import XbrleError
from ..formats.dialects import DIALECTS, Dialect


def dialect_named(name: str) -> Dialect:
    """The dialect called ``name``.

    Raises:
        XbrleError: no dialect has that name.
    """
    if name not in DIALECTS:
        raise XbrleError(f"unknown dialect {name!r}: use one of {', '.join(DIALECTS)}")
    return DIALECTS[name]
