"""Builds the samples that tell a story: `python samples/cases.py`, in an environment that has xbrletools.

Each is a migration of a small guest whose pages hold lines of text, so that what is right can be seen. README.md says
what happened in each. Every byte goes through the grammars of formats/ and the encoders of codec/, and nothing is drawn
at random, so running this again gives the same bytes.
"""

import json
import lzma
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import xbrletools
from xbrletools.codec import deltas
from xbrletools.codec.checksum import byte_sum
from xbrletools.codec.layout import dtype_of
from xbrletools.formats import libvirt, multifd, packets, qevm, ram, xbrle
from xbrletools.formats.dialects import DIALECTS, Dialect
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.sender.mapped import final_memory, to_mapped

PAGE = ram.PAGE_SIZE
LINE = 64  # bytes of a line of text
PAGES = 256  # of pc.ram
USED = range(16, 40)  # the pages with text; all others hold zeros

Page = NDArray[np.uint8]  # (4096,)
Versions = Mapping[int, int]  # line -> how often it was written anew
ZERO: Page = np.zeros(PAGE, np.uint8)


@dataclass(frozen=True, slots=True)
class Case:
    """One story: its files, and pc.ram as the source held it at the end, (256, 4096) uint8."""

    files: dict[str, bytes]
    truth: NDArray[np.uint8]


def text(number: int, versions: Versions | None = None) -> Page:
    """A page of 64 lines. Each line names the page, itself, and its version, which is 1 if ``versions`` lacks it."""
    versions = versions or {}
    lines = [f"guest page {number:03d}, line {i:02d}, version {versions.get(i, 1)}" for i in range(PAGE // LINE)]
    return np.frombuffer("".join(line.ljust(LINE - 1) + "\n" for line in lines).encode(), np.uint8)


class Writer:
    """Writes a stream with one RAM block, pc.ram, and keeps what the receiver ends up with out of it.

    ``machine`` None frames as QEMU did in 2011. Otherwise CONFIGURATION names it, sections have footers, and a
    description of the devices follows EOF.
    """

    def __init__(self, dialect: str, machine: bytes | None = None) -> None:
        self.dialect: Dialect = DIALECTS[dialect]
        self.modern = machine is not None
        self.named = False
        self.sent = 0
        self.out = bytearray(qevm.FileHeader.build({"version": qevm.VERSION}))
        if machine is not None:
            self.out += bytes([SectionType.CONFIGURATION])
            self.out += qevm.Configuration.build({"machine": machine, "subsections": []})
        self.section(SectionType.START, close=False)
        entries = [{"idstr": b"pc.ram", "length": PAGES * PAGE}]
        self.put(PAGES * PAGE | int(Flag.MEM_SIZE), blocks={"entries": entries})

    def put(self, word: int, **parts: object) -> None:
        """Write one record."""
        record = ram.record(ram.VERSION_NAMED, self.dialect, "little")
        self.out += record.build({"word": word, "blocks": None, "name": None, "body": None, **parts})

    def section(self, kind: SectionType, close: bool = True) -> None:
        """Close the open ram section and open the next."""
        if close:
            self.close()
        start = {"section_id": 2, "idstr": ram.IDSTR, "instance_id": 0, "version_id": ram.VERSION_NAMED}
        self.out += qevm.SectionHeader.build({"type": kind, "start": start, "part": {"section_id": 2}})

    def close(self, number: int = 2) -> None:
        """End a section: ram's with its EOS."""
        if number == 2:
            self.put(int(Flag.EOS))
        if self.modern:
            self.out += qevm.Footer.build({"section_id": number})

    def end(self) -> bytes:
        """Close ram, write one device and the container's end, and give the whole stream."""
        self.close()
        device = {"section_id": 3, "idstr": b"timer", "instance_id": 0, "version_id": 2}
        self.out += qevm.SectionHeader.build({"type": SectionType.FULL, "start": device, "part": None})
        self.out += bytes(24)
        self.close(3)
        self.out.append(SectionType.EOF)
        if self.modern:
            names = {"cpu_ticks_offset": "int64", "unused": "unused_buffer", "cpu_clock_offset": "int64"}
            fields = [{"name": name, "type": kind, "size": 8} for name, kind in names.items()]
            timer = {"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields": fields}
            said = json.dumps({"page_size": PAGE, "devices": [timer]}).encode()
            self.out += bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": said})
        return bytes(self.out)

    # -- pages ---------------------------------------------------------------------------------------------------

    def _address(self, place: int, flag: int) -> tuple[int, bytes | None]:
        first, self.named = not self.named, True
        self.sent += 1
        return place * PAGE | flag | (0 if first else int(Flag.CONTINUE)), b"pc.ram" if first else None

    def page(self, place: int, content: Page) -> None:
        """A page in full, or as a dup page if it is all zeros."""
        if not content.any():
            word, name = self._address(place, int(Flag.COMPRESS))
            self.put(word, name=name, body={"fill": 0})
            return
        word, name = self._address(place, int(Flag.PAGE))
        self.put(word, name=name, body={"checksum": 0, "data": content.tobytes()})

    def delta(self, place: int, base: Page, content: Page) -> None:
        """A delta from what the sender takes for the base."""
        payload, lengths = deltas.encode(self.dialect.encoding, base[None], content[None])
        word, name = self._address(place, ram.delta_flag(ram.VERSION_NAMED))
        header = dict.fromkeys(dtype_of(self.dialect.header("little")).names or (), 0)
        header |= {"flags": 1, "length": int(lengths[0]) + self.dialect.length_counts}
        if "checksum" in header:
            checked = int(xbrle.HeaderFlag.XBRLE | xbrle.HeaderFlag.CHECKSUM)
            header |= {"flags": checked, "checksum": int(byte_sum(content[None])[0])}
        self.put(word, name=name, body={"header": header, "payload": payload.tobytes()})

    def all(self, memory: NDArray[np.uint8]) -> None:
        """The first pass: every page."""
        for place, content in enumerate(memory):
            self.page(place, content)


def guest() -> NDArray[np.uint8]:
    """pc.ram when the migration begins, (256, 4096) uint8."""
    memory = np.zeros((PAGES, PAGE), np.uint8)
    for place in USED:
        memory[place] = text(place)
    return memory


def _update(writer: Writer, memory: NDArray[np.uint8], places: Iterable[int], versions: Versions) -> None:
    """One pass in which the guest writes these lines of these pages anew, sent as deltas."""
    writer.section(SectionType.PART)
    for place in places:
        new = text(place, versions)
        writer.delta(place, memory[place], new)
        memory[place] = new


# -- the stories ---------------------------------------------------------------------------------------------------


def stale_base() -> Case:
    """The posted sender forgets dup pages: 10 pages were cleared and written again, and 4 of them stay wrong."""
    writer, memory = Writer("posted"), guest()
    writer.all(memory)
    _update(writer, memory, range(16, 32), {5: 2})
    cleared = range(24, 34)
    before = {place: memory[place].copy() for place in cleared}  # the sender's cache goes on holding this
    writer.section(SectionType.PART)
    for place in cleared:
        writer.page(place, ZERO)
    writer.section(SectionType.PART)
    for place in cleared:
        memory[place] = text(place, {5: 2, 9: 3})
        writer.delta(place, before[place], memory[place])
    writer.section(SectionType.PART)
    for place in range(16, 30):
        new = text(place, {5: 2, 9: 3, 40: 4})
        if place < 24:
            writer.delta(place, memory[place], new)
        else:
            new = new.copy()
            new[0] = ord("G")  # the sender looks at byte 0 alone, and sends the page in full: that heals it
            writer.page(place, new)
        memory[place] = new
    writer.section(SectionType.END)
    memory[17] = text(17, {0: 5})
    writer.page(17, memory[17])
    return Case({"stale-base.bin": writer.end()}, memory)


def truncated() -> Case:
    """The connection broke in the fourth pass, in the middle of a page that was sent in full."""
    writer, memory = Writer("xbzrle", b"pc-i440fx-7.2"), guest()
    writer.all(memory)
    for number in range(3):
        _update(writer, memory, list(USED)[number * 4 : number * 4 + 12], {3 + number: 2 + number})
    memory[30] = text(30, dict.fromkeys(range(64), 5))
    writer.page(30, memory[30])
    return Case({"truncated.bin": bytes(writer.out[:-1000])}, memory)


def xbzrle_wrong_base() -> Case:
    """The guest wrote three pages between the moment they were sent and the moment they were cached.

    Line 8 is not sent again, so the receiver never gets it. Line 9 goes back to what the receiver has, which shows it.
    """
    writer, memory = Writer("xbzrle", b"pc-i440fx-7.2"), guest()
    writer.all(memory)
    for place in (20, 21, 22):
        memory[place] = text(place, {7: 2, 8: 2, 9: 2})  # what the cache holds: the receiver has version 1
    _update(writer, memory, range(16, 28), {7: 3, 8: 2, 9: 1})
    _update(writer, memory, range(18, 30), {7: 1, 8: 2, 12: 4})
    writer.section(SectionType.END)
    return Case({"xbzrle-wrong-base.bin": writer.end()}, memory)


def _packets(channel: int, pages: list[tuple[int, Page]]) -> bytes:
    """One channel: its pages four a packet, then a SYNC for each of the main channel's three."""
    out = multifd.Init.build({"version": multifd.VERSION, "uuid": bytes(16), "id": bytes([channel])})
    room, number = multifd.PACKET_PAGES // PAGE, channel
    fixed = {"version": multifd.VERSION, "zero_pages": 0, "reserved": bytes(28)}

    def sync() -> bytes:
        head = {"flags": int(multifd.Flag.SYNC), "pages_allocated": 0, "normal_pages": 0, "next_packet_size": 0}
        header = fixed | head | {"packet_number": number, "ramblock": bytes(multifd.BLOCK_NAME_MAX)}
        return multifd.PacketHeader.build(header) + bytes(room * multifd.Offset.sizeof())

    for at in range(0, len(pages), 4):
        some = pages[at : at + 4]
        head = {"flags": 0, "pages_allocated": room, "normal_pages": len(some), "next_packet_size": len(some) * PAGE}
        name = b"pc.ram".ljust(multifd.BLOCK_NAME_MAX, b"\0")
        offsets = [place * PAGE for place, _ in some] + [0] * (room - len(some))
        header = fixed | head | {"packet_number": number, "ramblock": name}
        out += multifd.Packet.build({"header": header, "offsets": offsets})
        out += b"".join(content.tobytes() for _, content in some)
        number += 2
    for _ in range(3):
        out += sync()
        number += 2
    return bytes(out)


def multifd_channels() -> Case:
    """Zero pages on the main channel, pages with text on two others, as QEMU before 9.0 sends them."""
    writer, memory = Writer("xbzrle", b"pc-i440fx-8.2"), guest()
    writer.section(SectionType.PART)
    for place in sorted(set(range(PAGES)) - set(USED)):
        writer.page(place, ZERO)
    writer.section(SectionType.END)
    pages = [(place, memory[place]) for place in USED]
    channels = {f"multifd.bin.{n + 1}": _packets(n, pages[n::2]) for n in range(2)}
    return Case({"multifd.bin": writer.end(), **channels}, memory)


def _plain(machine: bytes) -> tuple[bytes, NDArray[np.uint8]]:
    writer, memory = Writer("xbzrle", machine), guest()
    writer.all(memory)
    writer.section(SectionType.PART)
    memory[16] = text(16, {0: 2})
    writer.page(16, memory[16])
    writer.section(SectionType.END)
    return writer.end(), memory


def mapped_ram() -> Case:
    """A file of QEMU 10 with the capability mapped-ram: each page has a fixed place. Packed, as it is mostly holes."""
    data, memory = _plain(b"pc-i440fx-10.0")
    stream = xbrletools.open(data).stream
    out = b"".join(bytes(piece) for piece in to_mapped(stream, final_memory(stream)))
    return Case({"mapped-ram.bin.xz": lzma.compress(out)}, memory)


XML = """<domain type='kvm'>
  <name>sample</name>
  <memory unit='KiB'>1024</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
</domain>
"""


def libvirt_save() -> Case:
    """What `virsh save` writes: a header, the domain's XML and a plain stream."""
    data, memory = _plain(b"pc-i440fx-7.2")
    xml = XML.encode() + b"\0"
    fields = {"magic": libvirt.MAGIC, "version": libvirt.VERSION, "data_length": len(xml), "was_running": 1}
    fields |= {"format": int(libvirt.Format.RAW), "cookie_offset": 0, "unused": [0] * 14}
    return Case({"libvirt.save": libvirt.header("little").build(fields) + xml + data}, memory)


SEGMENT = 1448  # bytes of a TCP segment over Ethernet
SENT = 1_700_000_000  # seconds since 1970, when the dump begins


def _segments(port: int, data: bytes) -> list[tuple[int, bytes]]:
    """What a connection's client sends: the packets, each with its time in microseconds."""

    def packet(number: int, payload: bytes, flags: int) -> bytes:
        tcp = {"source": port, "destination": 4444, "sequence": number, "acknowledged": 1, "words": 5 << 4}
        segment = packets.Tcp.build(tcp | {"flags": flags, "window": 65535, "checksum": 0, "urgent": 0}) + payload
        ip = {"version_and_words": 0x45, "service": 0, "total": packets.Ipv4.sizeof() + len(segment), "ttl": 64}
        ip |= {"identification": 0, "fragment": 0, "protocol": packets.Protocol.TCP, "checksum": 0}
        ends = {"source": bytes((192, 0, 2, 1)), "destination": bytes((192, 0, 2, 2))}
        ethernet = {"destination": b"\2\0\0\0\0\2", "source": b"\2\0\0\0\0\1", "protocol": packets.Ethertype.IPV4}
        return packets.Ethernet.build(ethernet) + packets.Ipv4.build({**ip, **ends}) + segment

    first = port % 100
    pieces = [data[at : at + SEGMENT] for at in range(0, len(data), SEGMENT)]
    out = [(first - 1000, packet(999, b"", packets.TcpFlag.SYN))]
    for i, piece in enumerate(pieces):
        late = 1500 if i % 7 == 3 else 0  # it comes after the next one
        sent = packet(1000 + i * SEGMENT, piece, packets.TcpFlag.ACK)
        out.append((i * 1000 + late + first, sent))
        out += [(i * 1000 + 300 + first, sent)] if i % 11 == 5 else []  # it comes twice
    return [*out, (100_000 + first, packet(1000 + len(data), b"", packets.TcpFlag.FIN | packets.TcpFlag.ACK))]


def packet_dump() -> Case:
    """What tcpdump records of the migration in `multifd_channels`: segments in another order, and some twice."""
    made = multifd_channels()
    sent = [one for port, data in enumerate(made.files.values(), 50_000) for one in _segments(port, data)]
    order = "little"

    def block(kind: packets.Block, body: bytes) -> bytes:
        body += bytes(-len(body) % packets.BLOCK_ALIGN)
        length = len(body) + packets.BLOCK_LENGTH_LEAST
        return packets.block_head(order).build({"type": kind, "length": length}) + body + length.to_bytes(4, "little")

    section = {"byte_order": packets.BYTE_ORDER[::-1], "major": 1, "minor": 0, "section_length": packets.LENGTH_UNKNOWN}
    interface = {"link": packets.Link.ETHERNET, "reserved": 0, "snaplen": 0}
    out = block(packets.Block.SECTION, packets.section_body(order).build(section))
    out += block(packets.Block.INTERFACE, packets.interface_body(order).build(interface))
    for moment, packet in sorted(sent):
        time = SENT * packets.MICRO + moment
        head = {
            "interface": 0,
            "high": time >> 32,
            "low": time % (1 << 32),
            "captured": len(packet),
            "length": len(packet),
        }
        out += block(packets.Block.ENHANCED, packets.enhanced_body(order).build(head) + packet)
    return Case({"migration.pcapng": out}, made.truth)


CASES: dict[str, Callable[[], Case]] = {
    "stale-base": stale_base,
    "truncated": truncated,
    "xbzrle-wrong-base": xbzrle_wrong_base,
    "multifd": multifd_channels,
    "mapped-ram": mapped_ram,
    "libvirt": libvirt_save,
    "packets": packet_dump,
}


def main() -> None:
    """Write every file beside this one."""
    for make in CASES.values():
        for name, data in make().files.items():
            (Path(__file__).parent / name).write_bytes(data)


if __name__ == "__main__":
    main()
