"""xbrle encode: a migration stream from memory snapshots."""

from pathlib import Path

import click

from ..errors import XbrleError
from ..text import size
from . import warn
from .saving import bases, choosing, named, save


@click.command()
@click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="S", help="The stream to write; - is standard output.")
@click.option("--block", "blocks", type=named, multiple=True, metavar="NAME=SIZE", help="A block, in the files' order.")
@click.option("--layout", metavar="FILE", help='The blocks as JSON: {"blocks": [{"name": ..., "length": ...}]}.')
@bases
@click.option("--dialect", default="posted", show_default=True, metavar="NAME", help="How deltas are written.")
@click.option("--endian", type=click.Choice(["little", "big"]), default="little", show_default=True)
@click.option("--page-size", type=size, default="4096", show_default=True, metavar="BYTES")
@click.option("--checksum/--no-checksum", default=True, show_default=True, help="Checksums in posted headers.")
@choosing
@click.option("--rate", type=size, metavar="BYTES", help="Bytes a section [3355443, a tenth of 32 MiB].")
@click.option(
    "--block-section/--no-block-section", default=None, help="An idle block section before each RAM one [v4 of 2011]."
)
@click.option("--last-in-end", is_flag=True, help="Send the last snapshot's changes in END, as full pages.")
@click.option("--device-tail", metavar="FILE", help="Device sections to put after RAM, as they stand in a stream.")
def command(
    snapshots: tuple[str, ...],
    output: str,
    blocks: tuple[tuple[bytes, int], ...],
    layout: str | None,
    bases: tuple[tuple[bytes, int], ...],
    dialect: str,
    endian: str,
    page_size: int,
    checksum: bool,
    policy: str | None,
    dup_pages: str | None,
    cache_bytes: int | None,
    seed: int,
    rate: int | None,
    block_section: bool | None,
    last_in_end: bool,
    device_tail: str | None,
) -> int:
    """Write a migration stream from memory snapshots in time order: SNAP0 whole, then what changed in each.

    A snapshot is a raw file, its blocks one after the other (--block pc.ram=16M --block pc.bios=128K), or a folder
    that xbrle extract wrote. The receiver ends up with the last snapshot. By default a dup page is never the base of a
    delta; --dup-pages posted makes the posted patch's mistake, after which the receiver's memory is wrong.
    """
    from ..codec.batches import checked_page_size
    from ..formats import ram
    from ..formats.dialects import Encoding
    from ..model import Block
    from ..ram.named import dialect_named
    from ..sender.cache import DEFAULT_BYTES
    from ..sender.encode import RATE, Plan, encode, placed
    from ..sender.policy import Dups, Policy, rules_of
    from ..sender.saver import Form
    from ..sender.snapshots import open_snapshots, read_layout
    from ..sender.transcode import MAIN_BLOCK

    target = dialect_named(dialect)
    if blocks and layout:
        raise XbrleError("--block and --layout both name the blocks; give one of them")
    try:
        checked_page_size(page_size)
    except ValueError as error:
        raise XbrleError(str(error)) from None
    given = read_layout(layout) if layout else [Block(name, length) for name, length in blocks]
    mapped, given = open_snapshots(snapshots, given, page_size, MAIN_BLOCK)
    own = Policy.XBZRLE if target.encoding is Encoding.ZRUN else Policy.POSTED
    dups = Dups(dup_pages) if dup_pages else None if target.caches_dup else Dups.SAFE
    form = Form(target, endian, checksum, page_size)
    where = placed(given, form.version, page_size, dict(bases))
    if form.version == ram.VERSION_FLAT and len(given) > 1:
        warn(f"ram_addrs are taken from {where.source}")
    plan = Plan(
        rate=RATE if rate is None else max(1, rate),
        block_section=target.encoding is not Encoding.ZRUN if block_section is None else block_section,
        last_in_end=last_in_end,
        device_tail=Path(device_tail).read_bytes() if device_tail else b"",
    )
    rules = rules_of(target, Policy(policy) if policy else own, dups, page_size, seed)
    save(output, encode(mapped, where, form, rules, cache_bytes or DEFAULT_BYTES, plan))
    return 0
