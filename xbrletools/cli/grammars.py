"""`xbrle grammars`: the layouts of the stream for Kaitai Struct, ImHex and Lua, generated and written to a folder."""

from pathlib import Path

import click

from ..text import label, shown
from .guide import Page
from .options import examples, json_lines
from .saving import Output, writing
from .writer import say, say_object

#: The tools, as in `grammars.files.TARGETS`, which the help names without importing the grammars.
NAMES = ("ksy", "hexpat", "lua")


@click.command(cls=Page, epilog=examples("grammars", "grammars ksy -o /tmp/xbrle-ksy"))
@click.argument("target", metavar="[ksy|hexpat|lua]", required=False, type=click.Choice(NAMES))
@writing(metavar="DIR", required=False, folder=True, help="Write the files into this folder.")
@json_lines
def command(target: str | None, output: Output | None, as_json: bool) -> int:
    """Write the layouts of the stream for other tools: Kaitai Struct (ksy), ImHex (hexpat), Lua and Wireshark (lua).

    The layouts are generated from the grammars that xbrle itself reads with. The files that put them in a stream's
    order go with them. Without -o: list the files.
    """
    from ..errors import XbrleError
    from ..grammars.files import TARGETS, files, written_by_hand
    from ..outputs import filling

    if output is None:
        for name in NAMES if target is None else (target,):
            _list(name, TARGETS[name][1], files(name), set(written_by_hand(name)), as_json)
        if not as_json:
            say("To write them out, use: xbrle grammars ksy -o DIR")
        return 0
    if target is None:
        raise click.UsageError("Say for which tool: ksy, hexpat or lua.")
    if output.is_stdout:
        raise XbrleError("the grammars are several files: give a folder, not -")
    made = files(target)
    with filling(output.path, output.force) as folder:
        for name, data in made.items():
            (folder / name).write_bytes(data)
    if as_json:
        folder_name = Path(output.path)
        by_hand = {str(folder_name / n) for n in written_by_hand(target)}
        _list(target, TARGETS[target][1], {str(folder_name / n): d for n, d in made.items()}, by_hand, as_json)
    else:
        say(f'{len(made)} files in {label(output.path)}. formats/README.md, "Other tools", says how to use them.')
    return 0


def _list(target: str, about: str, made: dict[str, bytes], by_hand: set[str], as_json: bool) -> None:
    """Print a line or an object for each file."""
    if not as_json:
        say(f"{target}: for {about}")
    for name, data in made.items():
        generated = name not in by_hand
        if as_json:
            file = shown(name.encode("utf-8", "surrogateescape"))
            say_object({"type": "grammar", "target": target, "file": file, "bytes": len(data), "generated": generated})
        else:
            say(f"  {name:24}  {len(data):7,} bytes  {'generated' if generated else 'written by hand'}")
