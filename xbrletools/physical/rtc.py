"""The size of a PC's RAM below and above 4 GiB, as its CMOS states it.

Facts: formats/README.md, "Where memory lies". QEMU fills these bytes when the machine is made. A guest could overwrite
them, so that the sum is held against the blocks.
"""

from typing import NamedTuple

from construct import ConstructError

from ..formats import machine
from ..model import Stream
from . import reading

KIB, MIB = 1 << 10, 1 << 20


class Sizes(NamedTuple):
    """Bytes of RAM below 4 GiB and above it. The second is counted modulo `machine.CMOS_WRAPS`."""

    low: int
    high: int


def sizes(stream: Stream) -> Sizes | None:
    """What CMOS states.

    Gives None where the stream does not have CMOS, or where a board that is not a PC left it empty.
    """
    for section in reading.named(stream, machine.RTC):
        try:
            cmos = machine.Cmos.parse(reading.head(stream, section, machine.Cmos.sizeof()))
        except ConstructError:
            return None
        least, most = machine.CMOS_BASE_KIB
        states = cmos.above_16m or cmos.extended or cmos.above_4g
        if not (least <= cmos.base <= most or (not cmos.base and states)):
            return None
        unit = machine.CMOS_UNIT
        low = 16 * MIB + cmos.above_16m * unit if cmos.above_16m else MIB + cmos.extended * KIB
        return Sizes(low, cmos.above_4g * unit)
    return None
