"""Small streams of made-up machines: RAM blocks, and sections of devices whose bytes a test chooses."""

from tests.streams import StreamBuilder
from xbrletools.capture import open_capture
from xbrletools.formats import machine
from xbrletools.model import Stream


def cmos(low: int, high: int = 0, base: int = 640) -> bytes:
    """CMOS of a PC with these bytes of RAM below and above 4 GiB. Below 16 MiB they are not stated."""
    out = bytearray(128)
    out[0x15:0x17] = base.to_bytes(2, "little")
    out[0x34:0x36] = ((low - (16 << 20)) >> 16).to_bytes(2, "little")
    out[0x5B:0x5E] = (high >> 16).to_bytes(3, "little")
    return bytes(out)


def pci(command: int = 2, bars: dict[int, int] | None = None, **more: object) -> bytes:
    """The section of a PCI device: the registers that tell where its memory is."""
    fields = dict.fromkeys(
        ("status", "revision", "interface", "class_", "cache_line", "latency", "header_type", "self_test"), 0
    )
    set_bars = [(bars or {}).get(i, 0) for i in range(6)]
    about = {"version": 2, "vendor": 0x1AF4, "device": 0x1110, "command": command, "bars": set_bars}
    return bytes(machine.PciDevice.build(fields | about | {"rest": bytes(256 - 0x28)} | more))


def stream(
    blocks: dict[bytes, int], sections: dict[bytes, bytes], pages: dict[bytes, bytes] | None = None, parts: int = 0
) -> Stream:
    """A stream with these blocks, whose first pages hold ``pages``, and these device sections, with footers.

    ``parts`` empty sections of RAM stand before its end.
    """
    import numpy as np

    built = StreamBuilder(blocks)
    for block in blocks:
        content = (pages or {}).get(block, b"")
        for at in range(0, len(content), 4096):
            page = np.frombuffer(content[at : at + 4096].ljust(4096, b"\0"), np.uint8)
            built.page(at, page, block)
        if not content:
            built.dup(0, 0, block)
    for _ in range(parts):
        built.part()
    tail = b""
    for i, (name, data) in enumerate(sections.items(), 10):
        head = b"\x04" + i.to_bytes(4, "big") + bytes([len(name)]) + name + bytes(4) + (1).to_bytes(4, "big")
        tail += head + data + b"\x7e" + i.to_bytes(4, "big")
    return open_capture(built.end().bytes(tail + b"\0"), cache=False).stream
