"""`xbrle blame`: the record that last wrote each byte."""

import json

import click

import xbrletools

from ..analysis.blame import blame
from ..errors import XbrleError
from ..formats.ram import Kind
from ..memory.replay import View
from ..table.sections import Stage
from ..text import shown, size
from . import reading, salvaging, viewing
from .output import report


@click.command()
@reading
@salvaging
@click.argument("span", metavar="ADDR+LEN")
@click.option("--at", type=int, metavar="RECORD", help="Memory just after this record, not at the end.")
@viewing
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def command(
    capture: str,
    span: str,
    at: int | None,
    view: str,
    as_json: bool,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
) -> int:
    """The record of S that last wrote each of LEN bytes from ADDR, say pc.ram:0x315000+4K.

    A full or dup page writes all its bytes, a delta those that it changes. Bytes that are unknown, for want of a base
    or since a delta does not decode, are marked so; those that no record wrote have none.
    """
    address, plus, length = span.rpartition("+")
    if not plus:
        raise XbrleError(f"{span!r} has no length; write {span}+16")
    with xbrletools.open(capture, dialect, endian, page_size) as opened:
        status = report(opened.problems)
        block, offset = opened.space.locate(address)
        name = shown(opened.blocks[block].name)
        table = opened.records
        header = f"{'address':{len(name) + 11}} {'length':>8}  record pass stage kind"
        for found in blame(opened.stream, block, offset, size(length), at, View(view)):
            row = None if found.record is None else opened.records.row(found.record)
            stage = 0 if row is None else int(table.sections.stages(table.sections.of(table.columns.offset[[row]]))[0])
            about = {
                "record": found.record,
                "pass": None if row is None else int(table.pass_[row]),
                "stage": Stage(stage).name.lower() if stage else None,
                "kind": None if row is None else Kind(int(table.columns.kind[row])).name.lower(),
            }
            if as_json:
                place = {"block": name, "offset": found.offset, "length": found.length}
                click.echo(json.dumps(place | about | {"unknown": found.unknown, "lapsed": found.lapsed, "view": view}))
                continue
            if header:
                click.echo(header)
                header = ""
            where = f"{name}:{found.offset:#010x} {found.length:8}"
            if row is None:
                word = "unknown: what was written here is lost" if found.lapsed else "never written"
                click.echo(f"{where}       -    - -     {word}")
                continue
            unknown = "  unknown" if found.unknown else ""
            stage_word = str(about["stage"] or "-").upper()
            click.echo(f"{where} {found.record:7} {about['pass']:4} {stage_word:5} {about['kind']}{unknown}")
        return status
