"""What the commands that write share: the options for the output, the file itself, and the options of a sender."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import click

from ..outputs import MEMORY, Target, protecting, refuse, replacing
from ..progress import tell
from ..text import shown, size
from .options import inputs
from .writer import RawOutput, say_object

STDOUT = "-"
_NAMES = ("-o", "--output")
_HOLE = 1 << 16  # bytes of zeros that become a hole


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes: a path as the user gave it, or ``-`` for standard output."""

    path: str
    force: bool = False

    @property
    def is_stdout(self) -> bool:
        """Whether it is standard output. What a command says then goes to standard error."""
        return self.path == STDOUT

    @property
    def target(self) -> Target:
        """What writers take.

        Raises:
            XbrleError: it is standard output, and that is a terminal or closed.
        """
        return cast("BinaryIO", RawOutput()) if self.is_stdout else self.path

    def refuse(self, *beside: str) -> None:
        """Look whether it may be written, and what stands ``beside`` it, by what their names end in.

        Raises:
            XbrleError: it is being read, is there already, or cannot be.
        """
        if self.is_stdout:
            _ = self.target
            return
        for ending in ("", *beside):
            refuse(self.path + ending, self.force)

    def save(self, pieces: Iterable[bytes | memoryview], mode: int | None = MEMORY) -> int:
        """Write ``pieces``. A file appears when it is whole, and has holes where large pieces are all zeros.

        Returns how many bytes it has.

        Raises:
            XbrleError: it may not be written, or cannot be.
        """
        with replacing(self.target, self.force, mode) as file:
            at = 0
            for piece in pieces:
                at += len(piece)
                tell("writing", at)
                if len(piece) >= _HOLE and not any(piece[:64]) and bytes(piece).count(0) == len(piece):
                    file.seek(at)
                else:
                    file.write(piece)
            file.truncate(at)
        return at

    def say_object(self, about: Mapping[str, Any]) -> None:
        """Print an object about what was written, to standard error where standard output has what was written."""
        say_object({"output": None if self.is_stdout else shown(os.fsencode(self.path)), **about}, err=self.is_stdout)


def writing(
    *names: str,
    metavar: str,
    help: str,
    required: bool = True,
    folder: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the option with these ``names`` (-o and --output) and --force, and the `Output` that they name.

    What may not be written is refused before S is opened. While the command runs, none of the files that it was told to
    read is replaced. The command gets ``output``, None where the option is not given.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            path, force = options.pop("output"), options.pop("force")
            if path is None and force:
                raise click.UsageError(f"--force needs {max(names or _NAMES, key=len)}")
            with protecting(inputs(options)):
                output = None if path is None else Output(path, force)
                if output is not None and not folder:
                    output.refuse()
                return function(*arguments, output=output, **options)

        what = "Replace files that are there already." if folder else "Replace a file that is there already."
        option = click.option(*(names or _NAMES), "output", metavar=metavar, required=required, help=help)
        return option(click.option("--force", is_flag=True, help=what)(checked))

    return decorate


POLICIES = ("none", "posted", "intended", "v2", "xbzrle")
DUPS = ("posted", "fixed", "safe")


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a sender chooses: --policy, --dup-pages, --cache, --seed."""
    for option in (
        click.option(
            "--seed",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            metavar="N",
            help="Seed for --policy intended.",
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
