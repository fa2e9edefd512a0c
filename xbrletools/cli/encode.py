"""`xbrle encode`: a migration stream from memory snapshots."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import XbrleError
from ..text import size
from . import warn
from .guide import Page
from .options import DIALECT_NAMES, json_object, named_number, ram_addresses
from .saving import Output, choosing, writing

if TYPE_CHECKING:
    from ..model import Block
    from ..sender.addresses import PageAddresses
    from ..sender.policy import Rules
    from ..sender.saver import RecordForm


def _page_size(text: str) -> int:
    """A page size that a stream can have."""
    from ..codec.batches import checked_page_size

    try:
        return checked_page_size(size(text))
    except ValueError as error:
        raise XbrleError(str(error)) from None


@click.command(
    cls=Page,
    epilog="\b\nExamples:\n"
    "  xbrle extract samples/posted-8m.bin --at 2000 -o /tmp/before\n"
    "  xbrle extract samples/posted-8m.bin --view sender -o /tmp/after\n"
    "  xbrle encode /tmp/before /tmp/after --dialect xbzrle -o /tmp/stream.bin",
)
@click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
@writing(metavar="S", help="The stream to write; - for standard output.")
@click.option(
    "--block",
    "blocks",
    type=named_number,
    multiple=True,
    metavar="NAME=SIZE",
    help="A RAM block of raw snapshots, in the order of the files' bytes. Repeatable.",
)
@click.option("--layout", metavar="FILE", help='The blocks as JSON: {"blocks": [{"name": ..., "length": ...}]}.')
@ram_addresses
@click.option(
    "--dialect",
    default="posted",
    show_default=True,
    metavar="NAME",
    help=f"The form in which deltas are written. One of: {DIALECT_NAMES}.",
)
@click.option(
    "--endian",
    type=click.Choice(["little", "big"]),
    default="little",
    show_default=True,
    help="The sending host's byte order.",
)
@click.option(
    "--page-size", type=_page_size, default="4096", show_default=True, metavar="BYTES", help="The guest's page size."
)
@click.option("--checksum/--no-checksum", default=True, show_default=True, help="Write checksums in posted headers.")
@choosing
@click.option("--rate", type=size, metavar="BYTES", help="Bytes per section (default: 3355443, a tenth of 32M).")
@click.option(
    "--block-section/--no-block-section",
    default=None,
    help="Write an empty section of block migration (disks) before each RAM section, as QEMU of 2011 did "
    "(default: except for XBZRLE).",
)
@click.option(
    "--last-in-end",
    is_flag=True,
    help="Send the last snapshot's changes as full pages in END, the section sent when the guest is stopped.",
)
@click.option("--device-tail", metavar="FILE", help="Device sections to write after RAM, as bytes of a stream.")
@json_object
def command(
    snapshots: tuple[str, ...],
    output: Output,
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
    as_json: bool,
) -> int:
    """Write a migration stream from memory snapshots, given in time order.

    The first snapshot is sent whole, then what changed in each later one, so the receiver ends up with the last. A
    snapshot is a raw file with one RAM block after the other (--block pc.ram=16M --block pc.bios=128K), or a folder
    written by xbrle extract.

    A delta holds what changed in a page since an earlier version, its base. A dup page (one repeated byte) is a base
    only in dialects whose own senders cache dup pages, unless --dup-pages says otherwise. --dup-pages posted repeats
    the posted patch's mistake: the receiver's memory is then wrong.
    """
    from ..formats.dialects import Encoding
    from ..model import Block
    from ..ram.named import dialect_named
    from ..sender.addresses import MAIN_BLOCK
    from ..sender.cache import DEFAULT_BYTES
    from ..sender.encode import RATE, Plan, encode
    from ..sender.policy import Dups, Policy, rules_of
    from ..sender.saver import RecordForm
    from ..sender.snapshots import open_snapshots, read_layout

    target = dialect_named(dialect)
    is_xbzrle = target.encoding is Encoding.ZRUN
    if blocks and layout:
        raise XbrleError("--block and --layout both list the blocks: give only one of them")
    given = read_layout(layout) if layout else [Block(name, length) for name, length in blocks]
    mapped, given = open_snapshots(snapshots, given, page_size, MAIN_BLOCK)
    form = RecordForm(target, endian, checksum, page_size)
    plan = Plan(
        rate=RATE if rate is None else max(1, rate),
        block_section=not is_xbzrle if block_section is None else block_section,
        last_in_end=last_in_end,
        device_tail=Path(device_tail).read_bytes() if device_tail else b"",
    )
    own = Policy.XBZRLE if is_xbzrle else Policy.POSTED
    dups = Dups(dup_pages) if dup_pages else None if target.caches_dup else Dups.SAFE
    rules = rules_of(target, Policy(policy) if policy else own, dups, page_size, seed)
    length = output.save(encode(mapped, _placed(given, form, bases), form, rules, cache_bytes or DEFAULT_BYTES, plan))
    if as_json:
        output.say_object({"type": "encode", "bytes": length, **_about(target.name, rules, snapshots)})
    return 0


def _about(dialect: str, rules: "Rules", snapshots: Sequence[str]) -> dict[str, Any]:
    return {"dialect": dialect, "policy": rules.policy.value, "snapshots": len(snapshots)}


def _placed(blocks: "Sequence[Block]", form: "RecordForm", bases: tuple[tuple[bytes, int], ...]) -> "PageAddresses":
    """Where the RAM blocks lie in ram_addr space, said where the stream depends on it."""
    from ..formats import ram
    from ..sender.addresses import addresses_in_blocks

    where = addresses_in_blocks(blocks, form.version, form.page_size, dict(bases))
    if form.version == ram.VERSION_FLAT and len(blocks) > 1:
        warn(f"ram_addrs are taken from {where.source}")
    return where
