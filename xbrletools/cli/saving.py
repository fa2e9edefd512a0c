"""What the commands that write streams share: the output file, and the options of a sender."""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import click

from ..text import size
from .writer import write_bytes

_HOLE = 1 << 16  # bytes of zeros that become a hole


def save(path: str, pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces`` to a file, or to standard output for ``-``. A regular file appears only when it is complete."""
    if path == "-":
        write_bytes(pieces)
        return
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            file.writelines(pieces)
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _write_sparse(file, pieces)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise


def _write_sparse(file: BinaryIO, pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces``, and leave a hole where a large one is all zeros."""
    for piece in pieces:
        if len(piece) >= _HOLE and not any(piece[:64]) and bytes(piece).count(0) == len(piece):
            file.seek(len(piece), os.SEEK_CUR)
        else:
            file.write(piece)
    file.truncate()


POLICIES = ("none", "posted", "intended", "v2", "xbzrle")
DUPS = ("posted", "fixed", "safe")


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a sender chooses: --policy, --dup-pages, --cache, --seed."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed for --policy intended."
        ),
        click.option(
            "--cache",
            "cache_bytes",
            type=size,
            metavar="BYTES",
            help="Size of the sender's page cache (default: 128M).",
        ),
        click.option(
            "--dup-pages",
            type=click.Choice(DUPS),
            help="\b\n"
            "Dup pages (one repeated byte) in the cache:\n"
            "posted  not cached; memory goes wrong, as in\n"
            "        the posted patch\n"
            "fixed   cached, as other pages are\n"
            "safe    cached, but never a base\n"
            "Default: fixed if the dialect's own senders\n"
            "cache dup pages, else safe.",
        ),
        click.option(
            "--policy",
            type=click.Choice(POLICIES),
            help="\b\n"
            "When to send a delta of a cached page:\n"
            "none      never\n"
            "posted    if byte 0 is the same: the only one\n"
            "          that the posted patch looks at\n"
            "intended  if less than 30 % of a sample of\n"
            "          bytes changed, as that patch meant\n"
            "v2        if it takes a third of a page or\n"
            "          less, as that patch's version 2\n"
            "xbzrle    after the first pass, as QEMU does\n"
            "          since 2012\n"
            "Default: xbzrle for XBZRLE, else posted.",
        ),
    ):
        function = option(function)
    return function
