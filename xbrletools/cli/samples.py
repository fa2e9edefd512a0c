"""`xbrle samples`: the small streams that come with xbrletools, listed or copied out. They lie in samples/."""

import shutil
from pathlib import Path

import click

from ..errors import XbrleError
from ..text import label, shown
from .guide import SAMPLES, Page
from .options import examples, json_lines
from .saving import Output, writing
from .writer import say, say_object

FOLDER = Path(SAMPLES)  # a link in a clone, a folder in an installed package

#: The samples that tell a story, by their first file. samples/README.md has the answer to each.
STORIES = {
    "stale-base.bin": "The sender forgot dup pages: 10 pages wrong, 4 lasting.",
    "truncated.bin": "The connection broke in the fourth pass.",
    "xbzrle-wrong-base.bin": "Three XBZRLE deltas have another base than was sent.",
    "multifd.bin": "A migration over several connections, with .1 and .2.",
    "migration.pcapng": "The same migration as tcpdump records it: a packet dump.",
    "mapped-ram.bin.xz": "A file of QEMU 10 with the capability mapped-ram, packed.",
    "libvirt.save": "A libvirt save file: header, the domain's XML, a stream.",
    "posted-8m.bin": "A real migration by the patch's debug build, 8 MiB.",
    "xbzrle-16m.bin": "A real migration by QEMU 7.2 with XBZRLE, 16 MiB.",
}


def _files() -> list[Path]:
    """All that is copied: streams, true memory, README.md. What builds them stays."""
    files = sorted(p for p in FOLDER.iterdir() if p.is_file() and p.suffix != ".py") if FOLDER.is_dir() else []
    if not files:
        raise XbrleError(f"{FOLDER}: the samples are missing there. Install xbrletools again")
    return files


@click.command(cls=Page, epilog=examples("samples", "samples -o /tmp/xbrle-samples"))
@writing(metavar="DIR", required=False, folder=True, help="Copy all samples into this folder.")
@json_lines
def command(output: Output | None, as_json: bool) -> int:
    """List the small captures that come with xbrletools, or copy them out to try commands on them.

    Their pages are made up, or blanked where they held firmware. README.md, which is copied too, says of each how it
    was made and what the right answer is.
    """
    from ..outputs import filling

    files = _files()
    if output is None and as_json:
        _say_files(files)
        return 0
    if output is None:
        sizes = {p.name: p.stat().st_size for p in files}
        for name, about in STORIES.items():
            say(f"{name:21}  {about}")
        others = [n for n in sizes if n.endswith(".bin") and n not in STORIES]
        say(f"{len(others)} others have one dialect each, for example {others[0]}. README.md has all.")
        say(f"They take {sum(sizes.values()) / (1 << 20):.1f} MiB. To copy them out, use: xbrle samples -o DIR")
        return 0
    if output.is_stdout:
        raise XbrleError("the samples are several files: give a folder, not -")
    with filling(output.path, output.force) as folder:
        for path in files:
            shutil.copyfile(path, folder / path.name)
    if as_json:
        _say_files([Path(output.path) / path.name for path in files])
        return 0
    say(f"{len(files)} files in {label(output.path)}. To begin, use: xbrle verify {label(output.path)}/stale-base.bin")
    return 0


def _say_files(files: list[Path]) -> None:
    """Print an object for each file."""
    for path in files:
        about = {"file": shown(bytes(path)), "bytes": path.stat().st_size, "story": STORIES.get(path.name)}
        say_object({"type": "sample", **about})
