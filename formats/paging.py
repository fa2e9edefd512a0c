"""Page tables, by which a CPU makes guest-physical addresses of virtual ones: x86-64, and 64-bit Arm with 4 KiB pages.

Facts: README.md, "Page tables"; Intel's Software Developer's Manual, volume 3, 4.5 "4-level paging and 5-level paging";
Arm's Architecture Reference Manual, D8.3 "Translation table descriptor formats". Levels are counted from the pages up:
a table of level 1 has entries for pages of 4 KiB, one of level 2 for 2 MiB, one of level 3 for 1 GiB.
"""

from typing import NamedTuple

from construct import Int64ul

PAGE_SHIFT = 12  # the smallest page, and a table, have 4 KiB
INDEX_BITS = 9  # of an address, which choose an entry of a table
LARGE_LEVELS = (2, 3)  # an entry of these may be a page
LEVELS_MAX = 5

Entry = Int64ul
ENTRIES = (1 << PAGE_SHIFT) // Entry.sizeof()  # of a table
PRESENT = 1 << 0  # in all layouts: without this bit the rest is the guest's own


class Layout(NamedTuple):
    """What the bits of an entry mean.

    An entry above level 1 is a page where the bits of ``large`` are ``large_value``. An entry of level 1 counts where
    the bits of ``page`` are all set. ``address`` are the bits of the guest-physical address.
    """

    large: int
    large_value: int
    page: int
    address: int


X86_64 = Layout(large=1 << 7, large_value=1 << 7, page=PRESENT, address=0x000F_FFFF_FFFF_F000)
AARCH64 = Layout(large=1 << 1, large_value=0, page=PRESENT | 1 << 1, address=0x0000_FFFF_FFFF_F000)


def shift_of(level: int) -> int:
    """How many low bits of an address lie in what one entry of a table of this level covers."""
    return PAGE_SHIFT + INDEX_BITS * (level - 1)


CR3_TABLE = 0x000F_FFFF_FFFF_F000  # the bits of CR3 that are the top table's address
TTBR_TABLE = 0x0000_FFFF_FFFF_FFFE  # the same of TTBR0_EL1 and TTBR1_EL1, whose top tables can be small


def _system(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """How the section `cpu` of a 64-bit Arm guest names a system register: as Linux' KVM does, of 64 bits."""
    return 0x6030_0000_0013_0000 | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


#: System registers of Arm by that number.
SYSTEM_REGISTERS = {
    _system(3, 0, 1, 0, 0): "sctlr_el1",
    _system(3, 0, 2, 0, 0): "ttbr0_el1",
    _system(3, 0, 2, 0, 1): "ttbr1_el1",
    _system(3, 0, 2, 0, 2): "tcr_el1",
}
SCTLR_MMU = 1 << 0
TCR_WIDE = 1 << 59  # DS: entries with addresses of 52 bits, another layout


class Half(NamedTuple):
    """Where TCR_EL1 describes one half of the addresses: the ``register`` with its table, and three fields' places.

    ``size`` is where TxSZ begins: the half has 64 - TxSZ bits. ``off`` is EPDx: nothing is looked up. ``granule`` is
    where TGx begins, which is ``of_4k`` for tables of 4 KiB.
    """

    register: str
    size: int
    off: int
    granule: int
    of_4k: int


LOWER = Half("ttbr0_el1", size=0, off=7, granule=14, of_4k=0)
UPPER = Half("ttbr1_el1", size=16, off=23, granule=30, of_4k=2)
SIZE_BITS, GRANULE_BITS = 0x3F, 0x3
ADDRESS_BITS = range(16, 49)  # of a half, that tables of 4 KiB and addresses of 48 bits can have
