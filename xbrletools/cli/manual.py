"""Manual pages, made of what the help of each command is made of. man(7) of groff describes the form."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from .. import __version__
from ..outputs import replacing


class _Roff(click.HelpFormatter):
    """What click would write as text, as the source of a manual page."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """How the command is called."""
        self.write(f".SH SYNOPSIS\n.B {_escaped(prog)}\n{_escaped(args)}\n.SH DESCRIPTION\n")

    def write_heading(self, heading: str) -> None:
        """The title of a section."""
        self.write(f".SH {_escaped(heading).upper()}\n")

    def write_paragraph(self) -> None:
        """Begin a paragraph."""
        self.write(".PP\n")

    def write_text(self, text: str) -> None:
        """Paragraphs. One that begins with a backspace keeps its lines."""
        for paragraph in text.split("\n\n"):
            kept = paragraph.lstrip().startswith("\b")
            lines = [line for line in paragraph.replace("\b", "").split("\n") if line.strip()]
            if kept and lines[0].startswith("Examples"):
                self.write(".SH EXAMPLES\n")
                lines = lines[1:]
            else:
                self.write(".PP\n")
            text = "\n".join(map(_escaped, lines if kept else map(str.strip, lines)))
            self.write(f".nf\n{text}\n.fi\n" if kept else f"{text}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Names with what they mean."""
        for name, meaning in rows:
            text = "\n.br\n".join(map(_escaped, meaning.replace("\b\n", "").split("\n")))
            self.write(f".TP\n.B {_escaped(name)}\n{text}\n")


def _escaped(text: str) -> str:
    """A line of text in which roff sees no request. Hyphens stay those that a user can copy."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def page(command: click.Command, path: str, summary: str, parent: click.Context | None) -> str:
    """The source of the manual page of the command that is called by ``path``, such as ``xbrle grep``."""
    context = click.Context(command, info_name=path.split()[-1], parent=parent)
    formatter = _Roff()
    command.format_help(context, formatter)
    name = path.replace(" ", "-")
    head = f'.TH "{name.upper()}" "1" "" "xbrletools {__version__}" "User Commands"\n'
    head += f".SH NAME\n{_escaped(name)} \\- {_escaped(summary.rstrip('.'))}\n"
    return head + formatter.getvalue()


def pages(root: click.Group) -> Iterator[tuple[str, str]]:
    """The name of each manual page and its source: of ``xbrle``, and of each of its commands."""
    yield "xbrle", page(root, "xbrle", "inspect QEMU migration streams", None)
    yield from _below(root, "xbrle", click.Context(root, info_name="xbrle"))


def _below(group: click.Group, path: str, context: click.Context) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        called = f"{path} {name}"
        yield called.replace(" ", "-"), page(command, called, command.get_short_help_str(200), context)
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            yield from _below(command, called, inner)


def write_pages(root: click.Group, folder: str, force: bool) -> int:
    """Write the manual pages into ``folder``, which is made if it is not there. Gives how many there are.

    Raises:
        XbrleError: one is there already and ``force`` is not given, or it cannot be written.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for name, text in pages(root):
        with replacing(Path(folder) / f"{name}.1", force) as file:
            file.write(text.encode())
        count += 1
    return count
