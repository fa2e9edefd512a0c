"""The command line, `xbrle`: one module a command, each imported when it is called.

This module imports neither NumPy nor construct, so that `xbrle --help` answers at once.
"""

import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import __version__
from ..errors import XbrleError
from ..interrupts import LAST_ACTS, interruptible
from ..source.changed import SHRUNK, Read, watching
from ..text import label
from ..urls import is_url
from .guide import COPY_SAMPLES, GROUPS, OWN, OWN_HELP, is_sample, unknown
from .writer import choose_colors, flush, give_up_output, outlive_reader, say
from .writer import warn as warn  # every command has it from here

EXIT_FINDINGS = 1  # findings of severity error, a difference, or damaged input that was read as far as possible
EXIT_UNREADABLE = 2  # cannot be read, cannot be written, or wrong usage
EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141  # what reads our output ended first: what a shell says of a program that SIGPIPE ended

#: Every command and what it does; `xbrletools.cli.NAME` has it as `command`.
COMMANDS = {
    "info": "Identify a capture: container, machine, dialect, RAM blocks, passes.",
    "dump": "List every section and record, one a line.",
    "verify": "Report what is wrong: findings with rule, place and evidence.",
    "stats": "Count records and bytes by kind, block and pass.",
    "top": "Show which pages were sent most often, by resends, bytes and passes.",
    "page": "Show every record of one page, or its bytes after any record.",
    "blame": "Show which record last wrote each byte.",
    "grep": "Search memory, or every version of it, for bytes, text or a regex.",
    "yara": "Judge memory by YARA rules, or follow their patterns over time.",
    "diff": "Compare captures, moments of one, or a capture and an image of memory.",
    "extract": "Write memory to files: raw, ELF core or LiME.",
    "salvage": "Recover what a damaged or truncated capture still holds.",
    "describe": "Describe a destination: machine, RAM blocks, devices, capabilities.",
    "check": "Say whether a capture would load at a destination, and what would refuse it.",
    "why": "Explain a log line of QEMU or libvirt, and find what it is about.",
    "log": "Write the mig.log of either end, or check a real one.",
    "sender": "Identify the program that wrote a capture, and its page cache.",
    "encode": "Write a migration stream from memory snapshots.",
    "transcode": "Rewrite a capture in another dialect or policy, or blank pages.",
    "whatif": "Compare the bytes that other encodings and caches would have sent.",
    "converge": "Say whether a migration would converge over a link, and with which downtime.",
    "simulate": "Simulate a migration over a link, with and without deltas.",
    "vectors": "Write test cases with known answers, or check an implementation against them.",
    "tables": "Write what many captures hold into tables in Parquet.",
    "query": "Ask a capture, or a folder of tables, in SQL.",
    "capture": "Record a migration, as its destination or as a proxy.",
    "tui": "Browse a capture in the terminal.",
    "serve": "Browse a capture in a web browser.",
    "report": "Write one HTML page of all that is known about a capture, or about two.",
    "grammars": "Write the stream's layouts for Kaitai Struct, ImHex, Lua and Wireshark.",
    "samples": "List the captures that come with xbrletools, or copy them out.",
}

#: Those whose exit status is a verdict. They keep it when the program that reads their output ends early.
VERDICTS = frozenset(
    ("info", "verify", "stats", "diff", "salvage", "check", "why", "converge", "sender", "vectors", "tables")
)


#: Those that draw themselves, or that show how far they are in their own way.
WITHOUT_PROGRESS = frozenset(("tui", "serve", "capture", "help", "completion"))


class _ReaderGone(Exception):  # noqa: N818 - this is not an error
    """The program that reads our output has ended."""


class _Stopped(Exception):  # noqa: N818 - this is not an error
    """The command was interrupted. click would write to a terminal that may be gone with it."""


class _Lazy(click.Group):
    """A group that imports a command's module when the command is called, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *OWN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return OWN.get(cmd_name)
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called. A file alone is for `info`.

        Raises:
            click.UsageError: there is neither such a command nor such a file.
        """
        word = args[0]
        if word not in COMMANDS and word not in OWN and not ctx.resilient_parsing:
            if word != "-" and not os.path.lexists(word) and not is_url(word):
                raise click.UsageError(unknown(word, [*COMMANDS, *OWN]), ctx)
            args = ["info", *args]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, and files, for a shell. No command is imported for it."""
        described = (COMMANDS | OWN_HELP).items()
        found = [CompletionItem(name, help=text) for name, text in described if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete), CompletionItem(incomplete, "file")]

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. For a reader of our output that has ended, click would exit with 1, which means findings."""
        if not _kept:
            guard()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None
        except KeyboardInterrupt:
            raise _Stopped from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        grouped = {name for names in GROUPS.values() for name in names}
        rest = tuple(name for name in COMMANDS if name not in grouped)
        for title, names in {**GROUPS, "Others": rest}.items():
            if names:
                with formatter.section(title):
                    formatter.write_dl([(name, COMMANDS[name]) for name in names])
        with formatter.section("About xbrle"):
            formatter.write_dl(list(OWN_HELP.items()))


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        import platform

        from ..codec.built import state

        say(f"xbrle, version {__version__}\nPython {platform.python_version()}; loops in C: {state()}")
        context.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version, and whether the loops in C are in use.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Inspect QEMU migration streams: list their records, rebuild guest memory, find what is wrong.

    S stands for a capture: a file that holds a migration stream, for example a recorded live migration, a savevm
    snapshot or a libvirt save file. Give - to read it from standard input. An address is BLOCK:0xOFFSET, or 0xOFFSET in
    the main RAM block; for page and blame also guest-physical, phys:0x1000, or virtual, virt:0xffff800000001000. Sizes
    take K, M, G and T, each 1024 times the one before. Data goes to standard output, everything else to standard error.

    Exit status 0: all is well. 1: errors, differences or missing data were found. 2: the input cannot be read, the
    output cannot be written, or the usage is wrong. 130: interrupted. 141: the program that reads the output ended
    early; commands whose status is a verdict, such as verify, diff and check, give the verdict all the same.

    To start with: xbrle info S, then xbrle verify S. xbrle S is short for xbrle info S, and xbrle help COMMAND for
    xbrle COMMAND --help. The examples use captures that come with xbrletools: xbrle samples -o samples copies them to
    where you are. The documents have a tutorial, and a glossary for the words: docs/tutorial.md, docs/glossary.md.
    """
    del debug  # `main` looks for it itself: a wrong command line never comes here
    choose_colors("auto")
    if context.invoked_subcommand not in WITHOUT_PROGRESS:
        context.with_resource(_telling())
    outlive_reader(context.invoked_subcommand in VERDICTS)


@contextmanager
def _telling() -> Iterator[None]:
    """Show how far long work is. What that takes is imported when a command is, not for `xbrle --help`."""
    from .shown import telling

    with telling():
        yield


_SHRUNK = b"xbrle: a file that was being read has shrunk or its disk fails. Copy the file, then run xbrle on the copy\n"
_kept: list[Any] = []  # the signal handler's function, which must live as long as the process


def guard() -> None:
    """End the process with a message and status 2 when mapped bytes that no longer exist are read (SIGBUS).

    Python runs its own signal handlers after the faulting instruction, which never completes. A handler that C calls
    runs at once, and may only write and leave. Sources check a file's length before they read its bytes. This handler
    is for files that shrink in between. Where there is no SIGBUS (Windows), or no C library to ask, there is no guard.
    """
    import signal

    if not hasattr(signal, "SIGBUS"):
        return
    try:
        import ctypes

        library = ctypes.CDLL(None)
    except (ImportError, OSError, TypeError):
        return

    def gone(_: int) -> None:
        for act in LAST_ACTS:
            with suppress(Exception):
                act()
        os.write(2, _SHRUNK)
        os._exit(EXIT_UNREADABLE)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(gone)
    _kept.append(handler)
    library.signal(int(signal.SIGBUS), handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Every failure becomes one line and an exit status."""
    _keep_standard_descriptors()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing here uses it, and its threads take long to start
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold characters that the locale lacks
    try:
        with interruptible():
            return _run(arguments)
    except KeyboardInterrupt:  # it came when the command had ended
        return EXIT_INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    with watching() as read:
        status = _ended(arguments, read)
    changes = {change: None for file in read if (change := file.change()) is not None}
    for change in changes if status <= EXIT_UNREADABLE else ():
        warn(change)
    return max(status, EXIT_FINDINGS) if changes else status


def _ended(arguments: Sequence[str] | None, read: list[Read]) -> int:
    """How a command ended, as an exit status. ``read`` are the files that it opens, none where all was said of them."""
    try:
        status = cli.main(arguments, prog_name="xbrle", standalone_mode=False)
        flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt, _Stopped):
        warn("interrupted")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        _show(error)
        return EXIT_UNREADABLE
    except (BrokenPipeError, _ReaderGone):
        give_up_output()
        return EXIT_READER_GONE
    except OSError as error:
        warn(f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror or str(error))
        if isinstance(error, FileNotFoundError) and is_sample(error.filename):
            warn(f"samples come with xbrletools; {COPY_SAMPLES}")
        return EXIT_UNREADABLE
    except (XbrleError, MemoryError) as error:
        warn(str(error) or type(error).__name__)
        if SHRUNK in str(error):
            read.clear()
        return EXIT_UNREADABLE
    except Exception as error:
        if "--debug" in (sys.argv[1:] if arguments is None else arguments):
            raise
        if any(file.change() is not None for file in read):  # it was something else the next time it was looked at
            return EXIT_UNREADABLE
        warn(f"internal error, {type(error).__name__}: {error}. To see where, use: xbrle --debug COMMAND ...")
        return EXIT_UNREADABLE


def _keep_standard_descriptors() -> None:
    """Fill standard descriptors that are closed: a file that is opened later must not become standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _show(error: click.ClickException) -> None:
    """Print wrong usage as click does, but with whatever the user gave escaped: file names may be evidence.

    A message about what was given is one line. One about what was not has the choices, each in a line.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the whole help
        say(error.format_message(), err=True)
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        say(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", err=True)
    message = error.format_message()
    say(f"Error: {message if isinstance(error, click.MissingParameter) else label(message)}", err=True)
