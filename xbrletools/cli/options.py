"""The options that several commands have, how their values are written, and the capture that they open."""

import functools
import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import click
from click.core import ParameterSource

from ..errors import XbrleError
from ..text import size
from ..urls import is_url, without_secrets
from . import warn
from .guide import HOW_TO_READ, READ

if TYPE_CHECKING:
    from ..capture import Capture

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: The names in `formats.dialects`, which `--help` need not import.
DIALECT_NAMES = "posted, xbzrle, xbzrle-rfc, lm2, lm2dbg, m115, m115dbg, nov03a, nov03b, nov09, sep10, sep20"
BLOCK_MAX = 1 << 60  # bytes of a RAM block that can be asked for; an address in it takes 64 bits


def _all_of(*options: Decorator) -> Decorator:
    """One decorator that adds these options, in the order in which the help lists them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def examples(*commands: str) -> str:
    """The end of a command's help: commands that run on the samples, each without its ``xbrle``."""
    return "\b\nExamples:\n" + "\n".join(f"  xbrle {command}" for command in commands)


# -- values -----------------------------------------------------------------------------------------------------------


class Finite(click.FloatRange):
    """A number in a range, and neither infinite nor NaN, for which JSON has no word."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that ``value`` is."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Rate(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 cannot subscript it
    """A speed as a number of bytes a second: given in bits as links are named (10G), or in bytes (117MB).

    ``bare``: how many of a number without a unit make a byte a second, 8 where it is in bits, 1 where in bytes.
    """

    name = "rate"
    _form = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(i?)(B|bit/s|bit|b|B/s)?")
    _units: ClassVar = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

    def __init__(self, bare: int) -> None:
        self.bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The bytes a second that ``value`` means."""
        if isinstance(value, float):
            return value
        match = self._form.fullmatch(str(value))
        if self.bare == 1 and (match is None or match[1] == match[0]):
            return Finite(1).convert(value, param, ctx)
        found = 0.0
        if match:
            scale = (1024 if match[3] else 1000) ** self._units[match[2]]
            found = float(match[1][:30]) * scale / (1 if (match[4] or "").startswith("B") else 8)
        if not 1 <= found <= 1e15:
            self.fail(f"{value!r} is not a speed: use 10G for 10 Gbit/s, or 117MB for 117 million bytes a second")
        return found


def named_number(text: str) -> tuple[bytes, int]:
    """``NAME=NUMBER`` as a block's name and a number of bytes.

    Raises:
        XbrleError: it is not written that way.
    """
    name, equals, number = text.rpartition("=")
    if not name or not equals:
        raise XbrleError(f"invalid block {text!r}: use NAME=NUMBER, for example pc.ram=8M")
    return os.fsencode(name), size(number)


def block_sizes(text: str) -> tuple[tuple[bytes, int], ...]:
    """``NAME=SIZE,...`` as (name, length in bytes) each.

    Raises:
        XbrleError: it is not written that way.
    """
    blocks: dict[bytes, int] = {}
    for part in text.split(","):
        name, length = named_number(part)
        if name in blocks:
            raise XbrleError(f"block {os.fsdecode(name)!r} is given twice")
        if not 0 < length <= BLOCK_MAX:
            raise XbrleError(f"block {os.fsdecode(name)!r} cannot have {length:,} bytes: use 1 to {BLOCK_MAX:,}")
        blocks[name] = length
    return tuple(blocks.items())


_TIME = re.compile(r"\+?\d+(\.\d+)?s|\d[^\s]*[:T].*")
_CHANNELS_MAX = 256  # files S.1, S.2 ... beside S that are looked for


def inputs(options: Mapping[str, Any]) -> list[str]:
    """The files and folders that a command reads: those that its options name, what lies beside S, and the index."""
    from ..formats.times import SUFFIX
    from ..source.beside import channels_beside, reverse
    from ..source.keeping import folder

    named: list[str] = []
    for name in READ & options.keys():
        value = options[name]
        named += value if isinstance(value, tuple) else [value] if value is not None else []
    mains = [options[name] for name in ("capture", "other") if options.get(name) is not None]
    mains = [path for path in mains if not is_url(path)]  # what is fetched is protected when it comes
    beside = [f"{path}.{n}" for path in mains for n in range(1, _CHANNELS_MAX + 1)]
    with suppress(RuntimeError):  # there is no home
        named.append(str(folder()))
    named += [str(path) for main in mains for path in channels_beside(main)]  # S.chan1 of S.chan0 as well
    named += [back for main in mains if (back := reverse(main)) is not None]
    named += [path for path in beside if os.path.exists(path)]  # noqa: PTH110 - a Path each is slow
    timed = [os.path.splitext(main)[0] for main in mains] + mains + named  # noqa: PTH122 - S.bin of S.bin.xz
    return named + [path + SUFFIX for path in timed if os.path.exists(path + SUFFIX)]  # noqa: PTH110


# -- options ----------------------------------------------------------------------------------------------------------

PASS_HELP = "just after the last record of this pass, of any block (the passes of each block are counted alone)."


TIME_HELP = "A time, 12.5s after the first byte or 07:40:01 UTC, stands for the last record that had come."


class RecordOrTime(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 cannot subscript it
    """The number of a record, or a time, which stays text until the capture is open."""

    name = "record"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number or the text."""
        text = str(value)
        if _TIME.fullmatch(text):
            return text
        return click.IntRange(0).convert(value, param, ctx)


def one_of(ctx: click.Context, param: click.Parameter, value: int | str | None) -> int | str | None:
    """Refuse ``--X RECORD`` beside ``--X-pass N``, in whichever order they stand."""
    name = str(param.name)
    other = name.removesuffix("_pass") if name.endswith("_pass") else f"{name}_pass"
    if value is not None and ctx.params.get(other) is not None:
        first, second = (f"--{n.replace('_', '-')}" for n in sorted((name, other)))
        raise click.UsageError(f"{first} and {second} exclude each other: both name a moment", ctx)
    return value


def moment_options(text: str, by_pass: str, name: str = "at") -> Decorator:
    """The options --at RECORD|TIME and --at-pass N, or others called ``name``, for a command that calls `record_at`.

    ``text`` and ``by_pass`` say what is done at the record, and at the pass.
    """
    return _all_of(
        click.option(
            f"--{name}", type=RecordOrTime(), metavar="RECORD|TIME", callback=one_of, help=f"{text} {TIME_HELP}"
        ),
        click.option(
            f"--{name}-pass", type=click.IntRange(0), metavar="N", callback=one_of, help=f"{by_pass} {PASS_HELP}"
        ),
    )


def moment(text: str, by_pass: str) -> Decorator:
    """The options of `moment_options`, of which the command gets one parameter: ``at``, a record, None for the end.

    Put it below `reading` or `salvaging`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def at_moment(*arguments: Any, **options: Any) -> Any:
            options["at"] = record_at(options["opened"], options["at"], options.pop("at_pass"))
            return function(*arguments, **options)

        return moment_options(text, by_pass)(at_moment)

    return decorate


def record_at(opened: "Capture", record: int | str | None, number_of_pass: int | None) -> int | None:
    """The record after which memory is meant, None for the end. Here moments with other names become records.

    ``record`` is a number, or a time as text.

    Raises:
        XbrleError: there is no such pass, or no such time.
    """
    if isinstance(record, str):
        from ..analysis import arrivals

        when = arrivals.beside(opened.stream.source)
        if when is None:
            raise XbrleError(f"{record} is a time, and no arrival times lie beside {opened.name} (xbrle capture)")
        return arrivals.record_at(opened.stream, when, record)
    if number_of_pass is None:
        return record
    from ..memory.moments import ends_of_pass
    from ..text import shown

    ends = ends_of_pass(opened.stream, number_of_pass)
    last, main = max(ends.values()), opened.space.main
    if ends.get(main, last) != last:
        of_block = shown(opened.records.names[next(b for b in ends if ends[b] == last)])
        of_main = f"of {shown(opened.blocks[main].name)} it ended at record {ends[main]} (--at {ends[main]})"
        warn(f"pass {number_of_pass} ends at record {last}, in {of_block}; {of_main}")
    return last


at_record = moment("Show memory just after this record (default: at the end).", "Show memory")
json_object = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
json_lines = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")


def limiting(what: str, default: str = "all") -> Decorator:
    """The option --limit N. ``what`` says of what; ``default`` is told. 0 is for all, None where it is not given."""
    return click.option("--limit", type=click.IntRange(0), metavar="N", help=f"{what} 0 for all (default: {default}).")


viewing = click.option(
    "--view",
    type=click.Choice(["receiver", "sender"]),
    default="receiver",
    show_default=True,
    help="Whose memory: what the destination ended up with, or what the source really held.",
)

ram_addresses = click.option(
    "--base",
    "bases",
    type=named_number,
    multiple=True,
    metavar="NAME=OFFSET",
    help="Where this block begins in ram_addr, the sender's numbering of all RAM (default: inferred). Repeatable.",
)


def giving_blocks(what: str) -> Decorator:
    """The option --blocks, and what it is for. The command gets (name, length in bytes) of each, or None."""
    return click.option("--blocks", type=block_sizes, metavar="NAME=SIZE,...", help=what)


def choosing_stream(dump: str) -> Decorator:
    """The option --stream N, of a command that reads a packet dump. ``dump`` says which."""
    what = f"Which migration of {dump} (default: the only one)."
    return click.option("--stream", type=click.IntRange(1), metavar="N", help=what)


READING = _all_of(
    click.argument("capture", metavar="S"),
    click.option(
        "--dialect",
        metavar="NAME",
        help=f"The form in which deltas are written (default: detected). One of: {DIALECT_NAMES}.",
    ),
    click.option(
        "--endian", type=click.Choice(["little", "big"]), help="The sending host's byte order (default: detected)."
    ),
    click.option(
        "--page-size", type=size, metavar="BYTES", help="The guest's page size, for example 4K (default: detected)."
    ),
    click.option(
        "--channel",
        multiple=True,
        metavar="FILE",
        help="Another channel of S's migration, of multifd or preempt (default: S.1, S.2 ... if S needs them).",
    ),
    click.option("--no-beside", is_flag=True, help="Do not read channels that lie beside S, such as S.1."),
    click.option("--snapshot", metavar="NAME", help="Internal snapshot of a qcow2 image (default: the last)."),
    choosing_stream("a packet dump, if it has several"),
    click.option("--offset", type=size, metavar="N", help="Where in the file the stream begins (default: found)."),
    click.option("--no-cache", is_flag=True, help="Do not use or write the saved scan of a large capture."),
)

_SALVAGING = _all_of(
    click.option(
        "--salvage",
        is_flag=True,
        help="Skip damaged ranges; pages they may have affected are shown as unknown.",
    ),
    giving_blocks("With --salvage: the RAM blocks, if the capture's own list is lost."),
)

# -- the capture ------------------------------------------------------------------------------------------------------

#: What `opening` takes of a command's options.
_OPENING = HOW_TO_READ | {"capture"}


def opening(options: Mapping[str, Any], tell: Callable[[str], None] | None = None) -> "Capture":
    """Open the capture that a command's options name: S, and how to read it.

    ``tell`` is called with the names of channels beside S. By default they are said on standard error.

    Raises:
        XbrleError: it cannot be opened or read.
    """
    from ..capture import open_capture

    return open_capture(
        options["capture"],
        options["dialect"],
        options["endian"],
        options["page_size"],
        salvage=options.get("salvage", False),
        blocks=options.get("blocks") or (),
        channels=options["channel"],
        snapshot=options["snapshot"],
        cache=not options["no_cache"],
        offset=options["offset"],
        stream=options["stream"],
        follow=options.get("follow", False) and options["capture"] != "-",
        beside=None if options["no_beside"] else tell or _say_beside(),
    )


@contextmanager
def naming(*paths: str) -> Iterator[None]:
    """Where memory does not suffice for what is read of these files, say so with their names, and what to do next.

    Raises:
        XbrleError: memory does not suffice.
    """
    try:
        yield
    except MemoryError as error:
        limit = _memory_limit()
        least = "info, dump, stats and top need the least memory"
        room = f"This process may have {limit} bytes of it (ulimit -v): raise that"
        if limit is None:
            room = "The system does not have more"
        reason = str(error) or "there is not enough memory"
        names = " and ".join("standard input" if path == "-" else without_secrets(path) for path in paths)
        raise XbrleError(f"{names}: {reason}. {room}; {least}") from error


def _memory_limit() -> str | None:
    """How many bytes of memory this process may have, for a person, or None where that is not limited."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else f"{limit:,}"


def _say_beside() -> Callable[[str], None]:
    """What says which files were taken beside S. The browser, whose own thread reads, shows them in its overview."""
    context = click.get_current_context(silent=True)  # there is none where a command's work is done elsewhere
    return _say_nothing if context is not None and context.info_name == "tui" else say_beside


def _say_nothing(_names: str) -> None:
    """Say nothing."""


def say_beside(names: str) -> None:
    """Say which files were taken beside S."""
    warn(f"reading the channels {names} too (--no-beside leaves them out)")


def reading_with(**fixed: Any) -> Decorator:
    """As `reading`, with options of `opening` that the user does not choose."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function).parameters

        @functools.wraps(function)
        def with_capture(*arguments: Any, **options: Any) -> Any:
            read = [options[name] for name in ("capture", "other") if options.get(name) is not None]
            with naming(*read), opening(options | fixed) as opened:
                kept = {name: value for name, value in options.items() if name in own or name not in _OPENING}
                return function(*arguments, opened=opened, **kept)

        return READING(with_capture)

    return decorate


def reading(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument S and the options that say how to read it.

    The command is called with ``opened``, the capture that they name, which is closed when the command is done. A
    command that has one of these options as a parameter gets its value as well.
    """
    return reading_with()(function)


def salvaging(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `reading`, for commands that can also read on after damage: with --salvage and --blocks."""
    return before(_blocks_need_salvage)(reading(_SALVAGING(function)))


def _blocks_need_salvage(salvage: bool, blocks: tuple[tuple[bytes, int], ...] | None) -> None:
    if blocks and not salvage:
        raise click.UsageError("--blocks needs --salvage")


def given(*names: str) -> list[str]:
    """Those of the options with these names that the command line has, each as a user writes it."""
    context = click.get_current_context()
    return [
        max(p.opts, key=len)
        for p in context.command.params
        if p.name in names and context.get_parameter_source(p.name) is ParameterSource.COMMANDLINE
    ]


def refuse(why: str, *names: str) -> None:
    """Refuse the options with these names, which would be ignored: an option is honoured or refused.

    Raises:
        click.UsageError: the command line has one of them. The message goes on with ``why``.
    """
    found = given(*names)
    if found:
        raise click.UsageError(f"{', '.join(found)} {why}")


def before(check: Callable[..., None]) -> Decorator:
    """Call ``check`` with the options that it names before S is opened: to refuse wrong usage without reading S."""
    wanted = inspect.signature(check).parameters

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            check(**{name: options[name] for name in wanted})
            return function(*arguments, **options)

        return checked

    return decorate
