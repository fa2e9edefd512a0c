"""Addresses as users write them: in a RAM block, guest-physical as phys:0x1000, or virtual as virt:0xffff80000000."""

from dataclasses import dataclass

from ..errors import XbrleError
from ..memory.moments import space_of
from ..model import Stream
from ..physical import infer
from ..text import address as parse_address
from ..text import called, shown
from . import vmcoreinfo
from .cpus import cpus_of
from .paging import NotMappedError, tables_of, translate

VIRTUAL, PHYSICAL = "virt", "phys"
ADDRESS_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """A byte of a block, by its index. ``said`` is how it was found, for a person, and empty for a plain address.

    ``sure``: evidence says where memory lies, and not a rule that may not hold for this guest.
    """

    block: int
    offset: int
    said: str = ""
    sure: bool = True


def locate(stream: Stream, text: str, cpu: int | None = None) -> Place:
    """The byte at an address. Virtual ones are looked up in the page tables of CPU ``cpu`` at the end of the stream.

    By default these are the tables of the first CPU that uses any. A block that is called virt or phys goes first.

    Raises:
        NotMappedError: nothing is mapped there, what is mapped there is unknown, or it is not RAM of the guest.
        XbrleError: this is not an address, or virtual addresses cannot be looked up.
    """
    name, number = parse_address(text)
    if name not in (VIRTUAL, PHYSICAL) or called([b.name for b in stream.blocks], name):
        return Place(*space_of(stream).locate(text))
    if not 0 <= number <= ADDRESS_MAX:
        raise XbrleError(f"invalid address {text!r}: an address has 64 bits")
    where = infer.map_of(stream)
    said, physical = "", number
    if name == VIRTUAL:
        tables = tables_of(cpus_of(stream), cpu)
        page = translate(tables, vmcoreinfo.reader_at_end(stream, where), number)
        physical = page.address
        said = f"{number:#x} is guest-physical {physical:#x} by the page tables of CPU {tables.cpu} at the end, "
    r = next((r for r in where.ranges if r.start <= physical < r.end), None)
    if r is None:
        raise NotMappedError(
            f"{said or f'{number:#x} is '}not in memory that has a known place (xbrle info shows the physical map)"
        )
    block, offset = space_of(stream).index(r.block), r.offset + physical - r.start
    said = f"{said or f'guest-physical {number:#x}, '}which is {shown(r.block)}:{offset:#x}"
    return Place(block, offset, said, sure=not where.assumed)
