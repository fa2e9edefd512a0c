"""What guides a user: help in one layout, commands in groups, names that were meant, and what a shell completes.

This module imports nothing that `xbrle --help` need not import.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..urls import is_url
from .writer import COLORS, choose_colors

#: What a user wants to do, and the commands for it.
GROUPS = {
    "Look at a capture": ("info", "dump", "stats", "top", "page", "blame", "grep", "yara", "diff", "tui"),
    "Explain it": ("verify", "why", "check", "describe", "log", "sender", "whatif", "converge", "simulate"),
    "Take memory out": ("extract", "salvage"),
    "Ask many captures": ("tables", "query"),
    "Write a stream": ("encode", "transcode", "vectors", "samples", "grammars"),
    "Record a migration": ("capture",),
    "Serve it to others": ("serve", "report"),
}

#: What else a user of a command may want.
SEE_ALSO = {
    "info": ("verify", "stats", "tui"),
    "dump": ("page", "stats"),
    "verify": ("why", "salvage", "report"),
    "stats": ("top", "dump", "whatif"),
    "top": ("page", "stats", "converge"),
    "page": ("blame", "dump", "top"),
    "blame": ("page", "diff"),
    "grep": ("page", "extract", "yara"),
    "yara": ("grep", "page", "extract"),
    "diff": ("page", "blame"),
    "extract": ("salvage", "grep"),
    "salvage": ("verify", "extract"),
    "describe": ("check",),
    "check": ("describe", "verify", "why"),
    "why": ("verify", "check"),
    "log": ("verify", "sender"),
    "sender": ("whatif", "transcode"),
    "encode": ("transcode", "vectors"),
    "transcode": ("encode", "whatif"),
    "whatif": ("converge", "sender"),
    "converge": ("simulate", "whatif"),
    "simulate": ("converge", "whatif"),
    "vectors": ("encode", "verify"),
    "samples": ("info", "verify", "vectors"),
    "tables": ("query", "verify"),
    "query": ("tables", "top"),
    "grammars": ("vectors", "dump"),
    "capture": ("info", "tui"),
    "tui": ("serve", "info"),
    "serve": ("tui", "report"),
    "report": ("serve", "verify"),
}

#: What stands for what on a command line.
ARGUMENTS = {
    "S": "A capture: a file that holds a migration stream, or - for standard input.",
    "[S]": "A capture: a file that holds a migration stream, or - for standard input.",
    "[S2]": "A second capture.",
    "[S2|IMAGE]": "A second capture, or an image of memory. Without it, S is compared with itself at another moment.",
    "ADDR": "BLOCK:0xOFFSET, 0xOFFSET in the main RAM block, phys:0xADDRESS or virt:0xADDRESS.",
    "RANGE": "An address as BLOCK:0xOFFSET, phys:0xADDRESS or virt:0xADDRESS, then a length as +64 or +4K, or the last "
    "address as -0x1fff.",
    "[FILTER]...": "Which records count, for example kind:dup pass:2-3. A range is A-B, A+LENGTH, or 5- from 5 on. The "
    "help of xbrle dump lists the fields.",
    "RULES": "A file of YARA rules, or a folder with such files.",
    "PATTERN": "What to look for: text, if no option says otherwise.",
    "[COMMAND]...": "A command, or a group and its command, such as vectors write.",
    "LINE|LOG": "A line that QEMU or libvirt printed, or a file of such lines.",
    "SNAP...": "Snapshots of memory, oldest first: folders of xbrle extract, or raw files.",
    "[WORKLOAD]": "A JSON file that describes guest, sender and link.",
    "DIR": "A folder of vectors.",
    "[SOURCE]...": "Captures: files or URLs.",
    "[SQL]": "One SELECT over the tables, as DuckDB understands it.",
    "[ksy|hexpat|lua]": "The tool: Kaitai Struct, ImHex, or Lua and Wireshark. By default all are listed.",
    "tcp:HOST:PORT|unix:PATH": "Where to listen.",
}
STATUSES = (
    "Exit status: 0 all is well, 1 something is wrong or missing, 2 wrong usage, or it cannot be read or written."
)

#: Parameters by the paragraph of the help that lists them. The first paragraph has all others.
OUTPUT = frozenset(("as_json", "sarif", "output", "force", "limit", "color", "xbrle_help"))
HOW_TO_READ = frozenset(
    (
        "dialect",
        "endian",
        "page_size",
        "channel",
        "no_beside",
        "snapshot",
        "stream",
        "offset",
        "no_cache",
        "salvage",
        "blocks",
        "follow",
    )
)
#: The options and arguments that name files or folders to read. No command writes in their place.
READ = frozenset(
    (
        "capture",
        "other",
        "channel",
        "to_channel",
        "snapshots",
        "workload",
        "layout",
        "device_tail",
        "map_file",
        "check",
        "sender_log",
        "receiver_log",
        "symbols",
        "destination",
        "dump_vmstate",
        "sources",
        "manifests",
        "rule_file",
        "more_rules",
        "from_pcap",
    )
)
FILES = READ | {"output", "qmp", "line"}
_SCANNED_MAX = 1 << 26  # bytes of a capture whose blocks a shell completes: it must not wait for a long scan


# -- completion --------------------------------------------------------------------------------------------------------


class Known(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 cannot subscript it
    """Text of which a shell can complete the values that there are. Others are refused later, with a better reason."""

    name = "text"

    def __init__(self, what: str) -> None:
        self.what = what

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The values that begin with what was typed. Whatever goes wrong, a shell gets none."""
        try:
            return [CompletionItem(value) for value in _VALUES[self.what](ctx) if value.startswith(incomplete)]
        except Exception:
            return []


def _dialects(_: click.Context) -> Iterator[str]:
    from ..formats.dialects import DIALECTS

    yield from DIALECTS


def _rules(_: click.Context) -> Iterator[str]:
    from ..verify.rules import RULES

    yield from RULES


def _kinds(_: click.Context) -> Iterator[str]:
    from ..formats.ram import Kind

    yield from (kind.name.lower() for kind in Kind)


def _blocks(context: click.Context) -> Iterator[str]:
    from ..capture import open_capture
    from ..text import shown

    path = context.params.get("capture") or next(
        iter(context.args), None
    )  # click leaves arguments before an open option
    if isinstance(path, str) and os.path.getsize(path) <= _SCANNED_MAX:  # noqa: PTH202 - a Path each is slow
        with open_capture(path) as opened:
            yield from [shown(block.name) for block in opened.blocks]


_VALUES = {"dialect": _dialects, "rule": _rules, "kind": _kinds, "block": _blocks}
_KNOWN = {
    "dialect": "dialect",
    "to": "dialect",
    "explain": "rule",
    "by_finding": "rule",
    "by_kind": "kind",
    "block": "block",
    "by_block": "block",
}


# -- commands ----------------------------------------------------------------------------------------------------------


class Page(click.Command):
    """A command whose help has one layout, and which takes no option twice that has one value."""

    has_colors = True

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.has_colors:
            self.params.append(
                click.Option(
                    ["--color"],
                    type=click.Choice(COLORS),
                    default="auto",
                    expose_value=False,
                    callback=lambda _context, _param, value: choose_colors(value),
                    help="Colours in the output (default: on a terminal, if NO_COLOR is not set).",
                )
            )
        self.params.sort(key=lambda p: p.name in HOW_TO_READ)
        for param in self.params:
            if type(param.type) is type(click.STRING):
                if param.name in FILES:
                    param.type = click.Path(readable=False)
                elif param.name in _KNOWN:
                    param.type = Known(_KNOWN[param.name])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            click.UsageError: it is wrong, or an option that has one value is given twice.
        """
        if not ctx.resilient_parsing:
            *_, order = self.make_parser(ctx).parse_args(list(args))
            for param, count in Counter(order).items():
                if count > 1 and isinstance(param, click.Option) and not (param.multiple or param.is_flag):
                    raise click.UsageError(f"{max(param.opts, key=len)} is given {count} times: give it once", ctx)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _check_urls(value for name, value in ctx.params.items() if name in READ)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the arguments mean, then the options by what they are for."""
        named = [p.make_metavar(ctx) for p in self.params if isinstance(p, click.Argument)]
        rows = [(name, ARGUMENTS[name]) for name in named if name in ARGUMENTS]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        titles = ("Options", "Which records", "What is printed or written", "How S is read")
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in titles}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections[titles[_section(param.name or "")]].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, and its exit statuses, if the text does not name them."""
        super().format_help_text(ctx, formatter)
        if "Exit status" not in (self.help or "") and "exits 0" not in (self.help or ""):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(STATUSES)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and which commands to see also."""
        super().format_epilog(ctx, formatter)
        root = ctx.command_path.split()[1:2]
        others = SEE_ALSO.get(root[0] if root else "", ())
        if others:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"See also: {', '.join(f'xbrle {name}' for name in others)}")


def _check_urls(values: Iterable[object]) -> None:
    """Look, before any work, whether what it takes to read the URLs among these values of options is installed.

    Raises:
        XbrleError: it is not, or URLs like one of them are not read.
    """
    for value in values:
        for name in value if isinstance(value, tuple) else (value,):
            if is_url(name):
                from ..source import remote

                remote.check(str(name))


class Screen(Page):
    """A command that prints no text in which colours mean something."""

    has_colors = False


def _section(name: str) -> int:
    if name.startswith("by_"):
        return 1
    return 2 if name in OUTPUT or name == "help" else 3 if name in HOW_TO_READ else 0


SAMPLES = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/samples"  # noqa: PTH100, PTH120
COPY_SAMPLES = "to copy them out, use: xbrle samples -o samples"


def is_sample(path: str | bytes | None) -> bool:
    """Whether this names a shipped sample as the examples in the help do, ``samples/NAME``."""
    folder, name = os.path.split(os.fsdecode(path or b""))
    return folder == "samples" and bool(name) and os.path.exists(f"{SAMPLES}/{name}")  # noqa: PTH110 - a Path is slow


def unknown(word: str, commands: list[str]) -> str:
    """What to say of a word that is neither a command nor a file."""
    from difflib import get_close_matches

    near = get_close_matches(word, commands)
    if near:
        return f"there is no command {word!r}. Did you mean {' or '.join(near)}?"
    if is_sample(word):
        return f"{word!r} is not there: samples come with xbrletools; {COPY_SAMPLES}"
    if os.sep in word or "." in word:
        return f"{word!r} is neither a command nor a file that is there. To see the commands, use: xbrle --help"
    return f"there is no command {word!r}. To see the commands, use: xbrle --help"


@click.command(cls=Screen, epilog="\b\nExamples:\n  xbrle help grep\n  xbrle help --man /tmp/man1")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.option(
    "--man", metavar="DIR", help="Write a manual page of each command into DIR, such as ~/.local/share/man/man1."
)
@click.option("--force", is_flag=True, help="With --man: replace pages that are there already.")
@click.pass_context
def helping(context: click.Context, words: tuple[str, ...], man: str | None, force: bool) -> None:
    """Show the help of a command, or of all, or write the manual pages."""
    root = context.find_root()
    if man is None:
        if force:
            raise click.UsageError("--force needs --man")
        root.command.main([*words, "--help"], prog_name=root.info_name, standalone_mode=False)
        return
    if words:
        raise click.UsageError("--man writes the pages of all commands, so it excludes COMMAND")
    from .manual import write_pages
    from .writer import say

    assert isinstance(root.command, click.Group)
    say(f"{write_pages(root.command, man, force)} manual pages in {man}")


SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Screen,
    epilog="\b\nExamples:\n"
    '  eval "$(xbrle completion bash)"\n'
    "  xbrle completion bash > ~/.local/share/bash-completion/completions/xbrle\n"
    "  xbrle completion zsh > ~/.zfunc/_xbrle\n"
    "  xbrle completion fish > ~/.config/fish/completions/xbrle.fish",
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, files, dialects, rules and RAM blocks."""
    from click.shell_completion import get_completion_class

    from .writer import say

    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(context.find_root().command, {}, "xbrle", "_XBRLE_COMPLETE").source())


#: Commands that are about `xbrle` itself.
OWN = {"help": helping, "completion": completion}
OWN_HELP = {"help": "Show the help of a command.", "completion": "Print what makes bash, zsh or fish complete."}
