"""The command line, `xbrle`: one module a command, each imported when it is called.

This module imports neither NumPy nor construct, so that `xbrle --help` answers at once.
"""

import functools
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from .. import __version__
from ..errors import XbrleError
from ..text import inert, size

EXIT_FINDINGS = 1  # findings of severity error, a difference, or damaged input of which all that could be had was given
EXIT_UNREADABLE = 2  # cannot be read, cannot be written, or wrong usage
EXIT_INTERRUPTED = 130

#: Every command and what it answers; `xbrletools.cli.NAME` has it as `command`.
COMMANDS = {
    "info": "What is this: container, machine, dialect, blocks, sections, passes.",
    "dump": "Every section and record, one line each.",
    "verify": "What is wrong with it: findings with rule ids and evidence.",
    "stats": "Passes, kinds and ratios; the sender's own statistics table.",
    "page": "One page's story: every record that touched it, its bytes at any, old and new side by side.",
    "blame": "The record that last wrote each byte.",
    "grep": "Bytes, text or an expression in memory, or in every version of it.",
    "diff": "What differs between two captures, or two moments of one.",
    "extract": "Memory: raw files, an ELF core or LiME, at any record.",
    "salvage": "What can be had from a damaged or truncated capture.",
    "log": "The mig.log that either end would have written.",
    "sender": "The sender's fingerprint: dialect, build, cache, how many choices a model predicts.",
    "encode": "A stream from memory snapshots.",
    "transcode": "Another dialect, version or policy; or blanked pages.",
    "whatif": "What other encodings and cache sizes would have cost.",
    "simulate": "Total time and downtime over a link, with and without deltas.",
    "vectors": "Golden vectors: write them, check an implementation against them.",
    "capture": "Record a migration: be its destination, or stand between its ends.",
    "tui": "Browse it on the terminal.",
    "serve": "Browse it in a web browser.",
    "report": "One HTML page of all that is known: passes, pages, findings, sender.",
}


class _ReaderGone(Exception):  # noqa: N818 - no error
    """Who reads our output has gone, which is its right."""


class _Lazy(click.Group):
    """A group that imports a command's module when the command is called, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """As ever, but click would make an exit status of 1 of a pipe whose reader has gone."""
        if not _kept:
            guard()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xbrle")
def cli() -> None:
    """The microscope for QEMU's RAM migration streams.

    Give a capture's file, or - for standard input. Addresses are BLOCK:0xOFFSET or 0xOFFSET, sizes take K, M and G.
    Data goes to standard output, everything else to standard error.
    """


def reading(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that reads a capture has: S, and options for how to read it and all that goes with it.

    With channels, a snapshot or --no-cache the command's ``capture`` is what opens S so.
    """

    @functools.wraps(function)
    def opening(
        *arguments: Any, capture: str, channel: tuple[str, ...], snapshot: str | None, no_cache: bool, **options: Any
    ) -> Any:
        if not channel and snapshot is None and not no_cache:
            return function(*arguments, capture=capture, **options)
        from ..source.opening import Input

        return function(*arguments, capture=Input(capture, channel, snapshot, cache=not no_cache), **options)

    read: Callable[..., Any] = opening
    for option in (
        click.option("--no-cache", is_flag=True, help="Keep no index of a large S, and use none."),
        click.option("--snapshot", metavar="NAME", help="Which internal snapshot of a qcow2 image [the last]."),
        click.option("--channel", multiple=True, metavar="FILE", help="A multifd channel beside S; give each of them."),
        click.option("--page-size", type=int, metavar="BYTES", help="The target's page size, if not found by itself."),
        click.option("--endian", type=click.Choice(["little", "big"]), help="The sending host's byte order."),
        click.option("--dialect", metavar="NAME", help="How deltas read, if not found by itself."),
        click.argument("capture", metavar="S"),
    ):
        read = option(read)
    return read


def salvaging(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that can read on after damage: --salvage and --blocks. They stand below `reading`.

    Where --salvage is given, the command's ``capture`` is what opens S that way.
    """

    @functools.wraps(function)
    def with_salvage(
        *arguments: Any, capture: Any, salvage: bool, blocks: tuple[tuple[bytes, int], ...] | None, **options: Any
    ) -> Any:
        if salvage:
            from dataclasses import replace

            from ..source.opening import Input

            named = capture if isinstance(capture, Input) else Input(capture)
            capture = replace(named, salvage=True, blocks=blocks or ())
        elif blocks:
            raise click.UsageError("--blocks goes with --salvage")
        return function(*arguments, capture=capture, **options)

    read: Callable[..., Any] = with_salvage
    for option in (
        giving_blocks("With --salvage: the RAM blocks, where the capture's own list is lost."),
        click.option("--salvage", is_flag=True, help="Read on after damage; what it puts in doubt is unknown."),
    ):
        read = option(read)
    return read


BLOCK_MAX = 1 << 60  # bytes of a RAM block that can be asked for; an address in it takes 64 bits


def giving_blocks(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option --blocks, and what it is for; the command gets (name, length in bytes) of each, or None."""
    return click.option("--blocks", type=block_sizes, metavar="NAME=SIZE,...", help=what)


def block_sizes(text: str) -> tuple[tuple[bytes, int], ...]:
    """``NAME=SIZE,...`` as (name, length in bytes) each.

    Raises:
        XbrleError: it is not written that way.
    """
    blocks: dict[bytes, int] = {}
    for part in text.split(","):
        name, equals, length = part.rpartition("=")
        if not name or not equals:
            raise XbrleError(f"{part!r} is no block; write pc.ram=8M,pc.bios=128K")
        block = name.encode("utf-8", "surrogateescape")
        if block in blocks:
            raise XbrleError(f"the block {name!r} is named twice")
        blocks[block] = size(length)
        if not 0 < blocks[block] <= BLOCK_MAX:
            raise XbrleError(f"no block has {length} bytes: {name!r}")
    return tuple(blocks.items())


def viewing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option of every command that shows memory: --view."""
    return click.option(
        "--view",
        type=click.Choice(["receiver", "sender"]),
        default="receiver",
        help="What the destination ended up with (the default), or what the source really held.",
    )(function)


def warn(message: str) -> None:
    """Say something that is not data. A file's name is the user's, but may be evidence too: it is escaped."""
    click.echo(f"xbrle: {inert(message)}", err=True)


_SHRUNK = b"xbrle: a file that was being read has shrunk, or its disk fails: its bytes cannot be had any more\n"
_kept: list[Any] = []  # what a signal's handler needs for as long as there is a process


def guard() -> None:
    """Have a read of mapped bytes that are gone (SIGBUS) end this process with a message and the status for that.

    A handler of Python's own runs when the faulting instruction is done, which is never; one that C calls runs at once.
    It may do no more than this: write, and leave. Sources look at a file's length before they look at its bytes, so
    this is for what happens in between.
    """
    import ctypes
    import signal

    def gone(_: int) -> None:
        os.write(2, _SHRUNK)
        os._exit(EXIT_UNREADABLE)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(gone)
    _kept.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGBUS), handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; every failure becomes one line and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name from a stream may not exist in the locale's code
    try:
        status = cli.main(arguments, prog_name="xbrle", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        warn("interrupted")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_UNREADABLE
    except (BrokenPipeError, _ReaderGone):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (XbrleError, OSError, MemoryError) as error:
        warn(str(error) or type(error).__name__)
        return EXIT_UNREADABLE
