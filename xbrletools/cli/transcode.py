"""xbrle transcode: a capture as another sender would have written it, or with pages blanked."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from . import EXIT_FINDINGS, reading, warn
from .saving import bases, choosing, named, save

if TYPE_CHECKING:
    from ..capture import Capture
    from ..formats.dialects import Dialect


@click.command()
@reading
@click.option("-o", "--output", required=True, metavar="T", help="The stream to write; - is standard output.")
@click.option("--to", metavar="DIALECT", help="The dialect to write; by default the capture's own.")
@click.option("--ram-version", type=click.Choice(["3", "4"]), help="The RAM section's version to write.")
@click.option("--to-endian", type=click.Choice(["little", "big"]), help="The byte order to write.")
@click.option("--checksum/--no-checksum", default=None, help="Checksums in posted headers.")
@choosing
@bases
@click.option(
    "--block", "blocks", type=named, multiple=True, metavar="NAME=SIZE", help="The blocks of a v3 capture's memory."
)
@click.option(
    "--redact", multiple=True, metavar="block=NAME|page=RANGE", help="Blank these pages and keep everything else."
)
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    output: str,
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
) -> int:
    """Write capture S as another sender would have: another dialect, RAM version, byte order, policy or cache.

    --policy none writes every delta as a full page; --policy posted runs the posted sender's model over S. Both keep
    the order of the records, dup pages and sections. Pages are what the source held. --redact blanks the contents of a
    block's pages (block=pc.bios) or of a range (page=pc.ram:0xe0000-0xfffff, page=0x1000+0x2000) and changes no
    record's size.
    """
    from ..capture import open_capture
    from ..formats import ram
    from ..model import Block
    from ..sender.cache import DEFAULT_BYTES
    from ..sender.policy import Dups, Policy, rules_of
    from ..sender.saver import Form
    from ..sender.transcode import places, transcode

    with open_capture(capture, dialect, endian, page_size) as source:
        if redact:
            if to or ram_version or policy or to_endian or checksum is not None:
                raise XbrleError("--redact keeps every record as it is; write another stream first, then redact that")
            from ..sender.redact import chosen, redacted

            save(output, redacted(source.stream, chosen(source.stream, redact)))
        else:
            target = _target(source, to, int(ram_version) if ram_version else None)
            own = Policy.XBZRLE if target.encoding.name == "ZRUN" else Policy.POSTED
            chosen_policy = Policy(policy) if policy else own
            dups = Dups(dup_pages) if dup_pages else None
            if dups is None and chosen_policy is not Policy.NONE and not target.caches_dup and policy != "posted":
                dups = Dups.SAFE
            form = Form(target, to_endian or source.facts.reading.endian, page_size=source.page_size)
            form = replace(form, checksums=_has_checksums(source) if checksum is None else checksum)
            rules = rules_of(target, chosen_policy, dups, source.page_size, seed)
            where = places(source.stream, form.version, dict(bases), [Block(name, length) for name, length in blocks])
            if form.version == ram.VERSION_FLAT and source.facts.ram_version != ram.VERSION_FLAT:
                warn(f"ram_addrs are taken from {where.source}")
            save(output, transcode(source.stream, form, rules, cache_bytes or DEFAULT_BYTES, where))
        if source.damage is not None:
            warn(f"{source.name}: {source.damage.message}; written up to offset {source.damage.offset:#x}")
            return EXIT_FINDINGS
    return 0


def _target(source: "Capture", name: str | None, version: int | None) -> "Dialect":
    """The dialect to write: the one named, else the capture's own, else what fits its version."""
    from ..formats import ram
    from ..formats.dialects import DIALECTS
    from ..ram.named import dialect_named

    if name is not None:
        target = dialect_named(name)
        if version is not None and target.ram_version != version:
            raise XbrleError(f"dialect {name} is of RAM version {target.ram_version}, not {version}")
        return target
    own = source.facts.ram_version
    if source.dialect is not None and version in (None, own):
        return source.dialect
    if (version or own) != ram.VERSION_FLAT:
        today = source.facts.configuration is not None or source.facts.footers  # QEMU 2.4 and later
        return DIALECTS["xbzrle" if today else "posted"]
    return DIALECTS["m115dbg" if own == ram.VERSION_FLAT and source.facts.reading.page_sum else "m115"]


def _has_checksums(source: "Capture") -> bool:
    """Whether the capture's deltas say that their checksums count."""
    from ..formats.xbrle import HeaderFlag

    return bool((source.records.columns.header_flags & int(HeaderFlag.CHECKSUM)).any())
