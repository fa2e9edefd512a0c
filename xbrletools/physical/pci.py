"""What PCI registers say of memory: what a PC shows between 0xc0000 and 1 MiB, and where a device's memory is mapped.

Facts: formats/README.md, "Where memory lies", the PCI Local Bus Specification 3.0, 6.2.5, and for PAM the data sheets
of the 82441FX and the MCH. A device's section and its blocks begin with the same bus path.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from construct import ConstructError

from ..formats import machine
from ..model import Block, Stream
from . import reading
from .layout import MIB, Range

_PATH = re.compile(rb"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](:[0-9a-f]{2}\.[0-7])*")
ISA_VGA = b"vga.vram"
_CONFIG = 4  # configuration space begins after the version

#: The BAR that holds a block, by (vendor, device) and the block's own name, where more than one could.
_BAR_OF = {
    (0x1234, 0x1111, b"vga.vram"): 0,  # the standard VGA
    (0x1013, 0x00B8, b"vga.vram"): 0,  # Cirrus
    (0x1AF4, 0x1050, b"vga.vram"): 0,  # virtio-vga
    (0x1B36, 0x0100, b"vga.vram"): 0,  # qxl
    (0x1B36, 0x0100, b"qxl.vram"): 1,
    (0x15AD, 0x0405, b"vga.vram"): 1,  # VMware's
}


class Shown(NamedTuple):
    """Whether reads of ``[start, start + length)``, between 0xc0000 and 1 MiB, come from RAM."""

    start: int
    length: int
    ram: bool


def path_of(name: bytes) -> bytes | None:
    """The bus path that a block's or a section's name begins with, or None where there is none."""
    path, slash, _ = name.rpartition(b"/")
    return path if slash and _PATH.fullmatch(path) else None


def devices(stream: Stream, path: bytes | None) -> Iterator[Any]:
    """The registers of the device at a bus path, as `machine.PciDevice`, from each section of it that has them."""
    for section in reading.at_path(stream, path) if path else ():
        try:
            device = machine.PciDevice.parse(reading.head(stream, section, machine.PciDevice.sizeof()))
        except ConstructError:
            continue
        if device.version in machine.PCI_VERSIONS and device.vendor not in (0, 0xFFFF):
            yield device


def pam(stream: Stream) -> list[Shown] | None:
    """What PAM says of 0xc0000 to 1 MiB, in rising order, or None where the machine has no host bridge with PAM."""
    for name, at in machine.PAM_AT.items():
        for section in reading.named(stream, name):
            raw = reading.head(stream, section, machine.PciDevice.sizeof())[_CONFIG:][at:][: _pam_bytes()]
            if len(raw) < _pam_bytes():
                continue
            nibbles = [raw[byte] >> shift & 0xF for byte, shift in machine.PAM_NIBBLES]
            ranges = zip(machine.PAM_RANGES, nibbles, strict=True)
            return sorted(
                (Shown(start, length, bool(nibble & machine.PAM_READ)) for (start, length), nibble in ranges),
                key=lambda s: s.start,
            )
    return None


def _pam_bytes() -> int:
    return 1 + max(byte for byte, _ in machine.PAM_NIBBLES)


def has_vga(stream: Stream) -> bool:
    """Whether a VGA adapter hides the RAM behind its window: its memory is a block, and its class is VGA.

    An adapter whose registers the stream does not have counts as VGA. A block without a bus path can be a memory
    backend of any name, so that only the name of an ISA adapter's memory counts there.
    """
    for block in stream.blocks:
        path = path_of(block.name)
        if block.name == ISA_VGA or (path is not None and (b"vga" in block.name or b"qxl" in block.name)):
            classes = [d.class_ for d in devices(stream, path)]
            if not classes or machine.PCI_CLASS_VGA in classes:
                return True
    return False


class Bar(NamedTuple):
    """A memory register that the guest has set: its number, the address in it, and whether it is prefetchable."""

    number: int
    address: int
    prefetchable: bool


def bars(device: Any) -> list[Bar]:
    """The memory registers of a device that the guest has set."""
    found, i = [], 0
    count = 2 if device.header_type & 0x7F == machine.PCI_HEADER_BRIDGE else len(device.bars)
    while i < count:
        bar, number = device.bars[i], i
        i += 1
        if bar & machine.PCI_BAR_IO:
            continue
        address, unset = bar & ~machine.PCI_BAR_FLAGS, machine.PCI_NOWHERE & ~machine.PCI_BAR_FLAGS
        if bar & machine.PCI_BAR_WIDTH == machine.PCI_BAR_64 and i < count:
            address |= device.bars[i] << 32
            unset |= machine.PCI_NOWHERE << 32
            i += 1
        if address not in (0, unset):
            found.append(Bar(number, address, bool(bar & machine.PCI_BAR_PREFETCH)))
    return found


class Nowhere(NamedTuple):
    """Why the memory of a PCI device has no place. ``mapped``: the guest has mapped it all the same."""

    reason: str
    mapped: bool


def place(stream: Stream, block: Block) -> Range | Nowhere:
    """Where the memory of a PCI device is mapped, or why it has no place."""
    path = path_of(block.name) or b""
    active = [d for d in devices(stream, path) if d.command & machine.PCI_COMMAND_MEMORY]
    found = {bar for device in active for bar in bars(device) if bar.address % block.length == 0}
    if not found:
        return Nowhere("memory of a PCI device that the guest has not mapped", mapped=False)
    own = block.name.rpartition(b"/")[2]
    usual = [n for d in active if (n := _BAR_OF.get((d.vendor, d.device, own))) is not None]
    for narrower in ({b for b in found if b.prefetchable}, {b for b in found if b.number in usual}):
        found = narrower or found
    if len(found) > 1:
        return Nowhere("memory of a PCI device, and more than one of its registers could place it", mapped=True)
    bar = found.pop()
    if not _passes(stream, path, bar.address, block.length):
        return Nowhere("memory of a PCI device behind a bridge that does not forward its address", mapped=False)
    return Range(bar.address, block.length, block.name, 0, f"PCI register BAR{bar.number} of {path.decode()}")


def _passes(stream: Stream, path: bytes, address: int, length: int) -> bool:
    """Whether every bridge above the device at ``path`` forwards these addresses to it."""
    above, colon, _ = path.rpartition(b":")
    while colon and _PATH.fullmatch(above):
        if not any(_forwards(d, address, length) for d in devices(stream, above)):
            return False
        above, colon, _ = above.rpartition(b":")
    return True


def _forwards(bridge: Any, address: int, length: int) -> bool:
    """Whether a bridge's windows hold these addresses. Their bounds count MiB in the upper 12 bits of 16."""
    if bridge.header_type & 0x7F != machine.PCI_HEADER_BRIDGE or not bridge.command & machine.PCI_COMMAND_MEMORY:
        return False
    raw = machine.PciDevice.build(bridge)[_CONFIG + machine.PCI_BRIDGE_AT :]
    window = machine.PciBridge.parse(raw)
    low = window.prefetch_base | window.prefetch_base_high << 16
    high = window.prefetch_limit | window.prefetch_limit_high << 16
    windows = [(window.base, window.limit), (low, high)]
    return any((b >> 4) * MIB <= address and address + length <= ((e >> 4) + 1) * MIB for b, e in windows)
