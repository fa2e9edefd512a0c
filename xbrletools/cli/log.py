"""`xbrle log`: the mig.log that either end would have written, and whether a real one is it."""

import sys

import click

import xbrletools

from ..analysis import miglog
from ..errors import XbrleError
from ..memory.ramaddr import layout
from ..text import shown, size
from . import EXIT_FINDINGS, reading, salvaging, warn
from .output import report

LINE_SHOWN = 200  # of a real line, which may be anything


@click.command()
@reading
@salvaging
@click.option("--end", type=click.Choice([e.value for e in miglog.End]), required=True, help="Whose log.")
@click.option("--check", metavar="FILE", help="Compare a real log, plain or compressed, instead of writing one.")
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="NAME=OFFSET",
    help="Where a block lies in ram_addr space, for the sender's addresses; repeatable.",
)
def command(
    capture: str,
    end: str,
    check: str | None,
    bases: tuple[str, ...],
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
) -> int:
    """The mig.log that either end of a debug build would have written for S.

    The sender writes each page's global ram_addr, the receiver its offset in the block. The receiver's log ends before
    the record that a debug build rejects.

    With --salvage it goes on to the end of S: records whose page is in doubt have no line, and lines are numbered as
    the records that were read.
    """
    given = dict(map(_base, bases))
    with xbrletools.open(capture, dialect, endian, page_size) as c:
        if check is not None and c.salvaged:
            raise click.UsageError("--check and --salvage exclude each other: what is lost has no line to compare")
        places = None
        if end == miglog.End.SENDER.value:
            places, source = layout(c.blocks, c.page_size, given)
            warn(f"block addresses from {source}")
        elif given:
            raise click.UsageError("--base is for the sender's log; the receiver writes offsets in the block")
        written = miglog.written(c.stream, miglog.End(end), places)
        if written.stop is not None:
            warn(f"the log ends before record {written.stopped_at}: {written.stop.value}")
        status = report(c.problems) if c.salvaged else 0
        if written.left_out:
            warn(f"{written.left_out} records have no line: their page is in doubt, or no log has such records")
        if c.damage is not None and not c.salvaged:
            warn(f"{c.damage.message} (at offset {c.damage.offset:#x})")
        if check is not None:
            return _check(written, check)
        for piece in miglog.text(written.log):
            sys.stdout.write(piece.decode())
        whole = c.damage is None and not written.left_out and (written.stop is None or written.refused)
        return max(status, 0 if whole else EXIT_FINDINGS)


def _base(text: str) -> tuple[bytes, int]:
    name, equals, offset = text.rpartition("=")
    if not equals:
        raise XbrleError(f"{text!r} is no base; write pc.ram=0x0")
    return name.encode("utf-8", "surrogateescape"), size(offset)


def _check(written: miglog.Written, path: str) -> int:
    real = miglog.read(path)
    if not len(real) and len(written.log):
        click.echo(f"{path}: holds no lines; {len(written.log)} were to come")
        return EXIT_FINDINGS
    found = miglog.compare(written.log, real)
    if found.agrees:
        if found.cut:
            click.echo(f"{path}: {found.lines} lines agree; it is cut there, {len(written.log)} were to come")
        else:
            click.echo(f"{path}: all {found.lines} lines agree")
        return 0
    click.echo(f"{path}: line {found.lines + 1} differs")
    click.echo(f"expected: {_shown(found.expected, 'the end of the log')}")
    click.echo(f"found:    {_shown(found.found, 'the end of the log')}")
    return EXIT_FINDINGS


def _shown(line: bytes | None, missing: str) -> str:
    return f"({missing})" if line is None else shown(line[:LINE_SHOWN])
