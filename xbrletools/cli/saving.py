"""What the commands that write streams share: the output file, and options that say how a stream is written."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ..errors import XbrleError
from ..text import size


def save(path: str, pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces`` to a file, or to standard output for ``-``. A regular file appears when it is whole."""
    if path == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            file.writelines(pieces)
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise


def named(text: str) -> tuple[bytes, int]:
    """NAME=SIZE, as a block's name and a number of bytes.

    Raises:
        XbrleError: it is not.
    """
    name, _, number = text.rpartition("=")
    if not name:
        raise XbrleError(f"{text!r} is not NAME=SIZE")
    return os.fsencode(name), size(number)


bases = click.option(
    "--base", "bases", type=named, multiple=True, metavar="NAME=OFFSET", help="A block's place in ram_addr space."
)

POLICIES = ("none", "posted", "intended", "v2", "xbzrle")
DUPS = ("posted", "fixed", "safe")


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a sender chooses: --policy, --dup-pages, --cache, --seed."""
    for option in (
        click.option("--seed", type=int, default=0, help="Of the sample that policy intended takes."),
        click.option("--cache", "cache_bytes", type=size, metavar="BYTES", help="The page cache's size [128M]."),
        click.option(
            "--dup-pages",
            type=click.Choice(DUPS),
            help="Dup pages in the cache: left out as posted (corrupts), fixed (entered), or safe (never a base).",
        ),
        click.option("--policy", type=click.Choice(POLICIES), help="When a page goes out as a delta."),
    ):
        function = option(function)
    return function
