"""Dialects by the name that a user or a file gives them."""

from ..errors import XbrleError
from ..formats.dialects import DIALECTS, Dialect
from .detect import PAGE_SIZES


def dialect_named(name: str) -> Dialect:
    """The dialect called ``name``.

    Raises:
        XbrleError: no dialect has that name.
    """
    if name not in DIALECTS:
        raise XbrleError(f"unknown dialect {name!r}: use one of {', '.join(DIALECTS)}")
    return DIALECTS[name]


def check_options(dialect: str | None, endian: str | None, page_size: int | None) -> None:
    """Refuse now, and not at the first scan, what no stream can be forced to.

    Raises:
        XbrleError: there is no such dialect, byte order or page size.
    """
    if endian not in (None, "little", "big"):
        raise XbrleError(f"byte order {endian!r} is neither little nor big")
    if dialect is not None:
        dialect_named(dialect)
    if page_size is not None and not (isinstance(page_size, int) and page_size in PAGE_SIZES):
        raise XbrleError(f"pages of {page_size} bytes: targets have {', '.join(map(str, sorted(PAGE_SIZES)))}")
