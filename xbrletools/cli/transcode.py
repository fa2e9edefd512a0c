"""`xbrle transcode`: a capture as another sender would have written it, or with pages blanked."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from ..text import some
from . import EXIT_FINDINGS, warn
from .guide import Page
from .options import before, examples, json_object, named_number, ram_addresses, reading, refuse
from .output import report
from .saving import Output, choosing, writing

if TYPE_CHECKING:
    from ..capture import Capture
    from ..formats.dialects import Dialect
    from ..sender.addresses import PageAddresses
    from ..sender.policy import Rules
    from ..sender.saver import RecordForm

MAPPED = "mapped-ram"


#: The options that say how records are written.
_WRITTEN = (
    *("ram_version", "to_endian", "checksum", "policy", "dup_pages", "cache_bytes", "seed"),
    *("bases", "blocks", "keep_advice"),
)


def _usage(redact: tuple[str, ...], to: str | None) -> None:
    if redact:
        why = "cannot be used with --redact, which keeps every record: write another stream first, then redact that"
        refuse(why, "to", *_WRITTEN)
    if to == MAPPED:
        why = "cannot be used with --to mapped-ram, which does not have deltas, versions or postcopy"
        refuse(why, *_WRITTEN)


@click.command(
    cls=Page,
    epilog=examples(
        "transcode samples/posted-8m.bin --to xbzrle -o /tmp/xbzrle.bin",
        "transcode samples/posted-8m.bin --policy none -o /tmp/full-pages.bin",
        "transcode samples/xbzrle-16m.bin --to mapped-ram -o /tmp/mapped.bin",
        "transcode samples/posted-8m.bin --redact block=pc.bios -o /tmp/t.bin",
    ),
)
@before(_usage)
@writing(metavar="T", help="The stream to write; - for standard output.")
@reading
@click.option(
    "--to",
    metavar="DIALECT",
    help="The dialect to write (default: that of S; see --dialect). mapped-ram: a file for QEMU 9.0 or later.",
)
@click.option(
    "--keep-advice",
    is_flag=True,
    help="Keep the commands that announce postcopy and open a return path (default: leave them out).",
)
@click.option("--ram-version", type=click.Choice(["3", "4"]), help="The RAM section's version (default: as in S).")
@click.option("--to-endian", type=click.Choice(["little", "big"]), help="The byte order to write (default: as in S).")
@click.option("--checksum/--no-checksum", default=None, help="Write checksums in posted headers (default: as in S).")
@choosing
@ram_addresses
@click.option(
    "--block",
    "blocks",
    type=named_number,
    multiple=True,
    metavar="NAME=SIZE",
    help="A RAM block to divide the memory of a v3 capture into. Repeatable.",
)
@click.option(
    "--redact",
    multiple=True,
    metavar="block=NAME|page=RANGE",
    help="Blank these pages and keep everything else. Repeatable.",
)
@json_object
def command(
    opened: "Capture",
    output: Output,
    to: str | None,
    ram_version: str | None,
    to_endian: str | None,
    checksum: bool | None,
    policy: str | None,
    dup_pages: str | None,
    cache_bytes: int | None,
    seed: int,
    bases: tuple[tuple[bytes, int], ...],
    blocks: tuple[tuple[bytes, int], ...],
    redact: tuple[str, ...],
    keep_advice: bool,
    as_json: bool,
) -> int:
    """Write S as another sender would have: another dialect, RAM version, byte order, policy or cache.

    --policy none writes every delta as a full page. The other policies decide anew which pages go out as deltas.
    --policy posted decides as the posted patch would. In dialect posted it then also repeats that patch's mistake with
    dup pages (one repeated byte), unless --dup-pages says otherwise. Every policy keeps the order of records, dup pages
    and sections. The pages are those of the source, also where the receiver's went wrong.

    The result is one plain stream that a destination can load from a file. Pages of multifd channels (--channel) and of
    a mapped-ram file become records. Of postcopy nothing stays but, with --keep-advice, what announces it. The
    destination then needs postcopy and a return path. The devices come after all pages.

    --to mapped-ram writes memory at the end of S to fixed places of a sparse file.

    --redact blanks the pages of a block (block=pc.bios) or of a range (page=pc.ram:0xe0000-0xfffff or
    page=0x1000+0x2000). No record changes its size.

    Sums are written anew, so that T can look whole where S is not. Exit status: 0 T is written, 1 it is, and S is
    damaged, as verify finds it, or pages are unknown, 2 S cannot be read or T cannot be written.
    """
    missing, dialect = 0, None if opened.dialect is None else opened.dialect.name
    if redact:
        from ..sender.redact import pages_to_blank, redacted

        length = output.save(redacted(opened.stream, pages_to_blank(opened.stream, redact)))
    elif to == MAPPED:
        length, missing, dialect = *_mapped(opened, output), None
    else:
        from ..formats import ram
        from ..sender.cache import DEFAULT_BYTES
        from ..sender.transcode import transcode

        target = _target(opened, to, int(ram_version) if ram_version else None)
        dialect = target.name
        if (opened.facts.ram_version, target.ram_version) != (ram.VERSION_FLAT, ram.VERSION_NAMED):
            refuse("is for a capture of RAM version 3 that becomes version 4, which divides its memory", "blocks")
        form = _form(opened, target, to_endian, checksum)
        rules, where = _rules(opened, target, policy, dup_pages, seed), _places(opened, form, bases, blocks)
        length = output.save(transcode(opened.stream, form, rules, cache_bytes or DEFAULT_BYTES, where, keep_advice))
    if as_json:
        _say_written(output, length, dialect, to, redact)
    if not redact:
        _say_what_is_left_out(opened, keep_advice)
    return max(missing, _say_damage(opened))


def _say_damage(opened: "Capture") -> int:
    """Say what is wrong with the capture. Returns the exit status."""
    from ..memory.replay import View
    from .faults import say_verdict

    status = max(report(opened.problems), say_verdict(opened, view=View.SENDER))
    if opened.damage is not None:  # which is a problem that `report` counts
        warn(f"{opened.name}: {opened.damage.message}; written up to offset {opened.damage.offset:#x}")
    return status


def _say_written(output: Output, length: int, dialect: str | None, to: str | None, redact: tuple[str, ...]) -> None:
    about = {"bytes": length, "dialect": dialect, "mapped_ram": to == MAPPED, "redacted": list(redact)}
    output.say_object({"type": "transcode", **about})


def _mapped(opened: "Capture", output: Output) -> tuple[int, int]:
    """Write a mapped-ram file. Returns its length in bytes and the exit status."""
    from ..sender.mapped import final_memory, to_mapped, unknown_pages

    image = final_memory(opened.stream)
    length = output.save(to_mapped(opened.stream, image))
    unknown = unknown_pages(opened.stream, image)
    if unknown:
        warn(f"{some(unknown, 'page is', 'pages are')} unknown; the file gives them as zeros")
    return length, EXIT_FINDINGS if unknown else 0


def _say_what_is_left_out(opened: "Capture", keep_advice: bool) -> None:
    from ..sender.framing import dropped, words_of

    gone = words_of(dropped(opened.stream, keep_advice))
    if gone:
        warn(f"{gone}. A destination needs a return path or postcopy for them")


def _form(opened: "Capture", target: "Dialect", endian: str | None, checksum: bool | None) -> "RecordForm":
    """How the stream is written: what is not asked for is as in the capture."""
    from ..sender.saver import RecordForm

    form = RecordForm(target, endian or opened.facts.reading.endian, page_size=opened.page_size)
    return replace(form, checksums=_has_checksums(opened) if checksum is None else checksum)


def _rules(opened: "Capture", target: "Dialect", policy: str | None, dup_pages: str | None, seed: int) -> "Rules":
    """When the sender sends a delta. A dup page is not a base, unless the target caches it or the user says so."""
    from ..sender.policy import Dups, Policy, rules_of

    own = Policy.XBZRLE if target.encoding.name == "ZRUN" else Policy.POSTED
    chosen = Policy(policy) if policy else own
    dups = Dups(dup_pages) if dup_pages else None
    if dups is None and chosen is not Policy.NONE and not target.caches_dup and policy != "posted":
        dups = Dups.SAFE
    return rules_of(target, chosen, dups, opened.page_size, seed)


def _places(
    opened: "Capture", form: "RecordForm", bases: tuple[tuple[bytes, int], ...], blocks: tuple[tuple[bytes, int], ...]
) -> "PageAddresses":
    """Where the RAM blocks lie in ram_addr space."""
    from ..formats import ram
    from ..model import Block
    from ..sender.addresses import addresses_in_stream

    where = addresses_in_stream(
        opened.stream, form.version, dict(bases), [Block(name, length) for name, length in blocks]
    )
    if form.version == ram.VERSION_FLAT and opened.facts.ram_version != ram.VERSION_FLAT:
        warn(f"ram_addrs are taken from {where.source}")
    return where


def _target(source: "Capture", name: str | None, version: int | None) -> "Dialect":
    """The dialect to write: the one named, else the capture's own, else one for its RAM version."""
    from ..formats import ram
    from ..formats.dialects import DIALECTS
    from ..ram.named import dialect_named

    if name is not None:
        target = dialect_named(name)
        if version is not None and target.ram_version != version:
            raise XbrleError(f"dialect {name} needs RAM version {target.ram_version}, not {version}")
        return target
    own = source.facts.ram_version
    if source.dialect is not None and version in (None, own):
        return source.dialect
    if (version or own) != ram.VERSION_FLAT:
        today = source.facts.configuration is not None or source.facts.footers  # QEMU 2.4 and later
        return DIALECTS["xbzrle" if today else "posted"]
    return DIALECTS["m115dbg" if own == ram.VERSION_FLAT and source.facts.reading.page_sum else "m115"]


def _has_checksums(source: "Capture") -> bool:
    """Whether any delta of the capture is flagged as having a checksum."""
    from ..formats.xbrle import HeaderFlag

    return bool((source.records.columns.header_flags & int(HeaderFlag.CHECKSUM)).any())
