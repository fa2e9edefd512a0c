"""Captures whose every name is hostile: to terminals, paths, JSON, HTML, and to the markup of Rich and Textual."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.codec import wire
from tests.posted import encoded
from xbrletools.formats import libvirt, multifd, qevm, ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

PAGE = ram.PAGE_SIZE
FORGED = Path("/tmp/forged-by-a-name")
NAMES = [
    b"\x1b[31mred\x1b]0;title\x07\x1b[2J\x1bc",
    b"../../../../../../tmp/forged-by-a-name",
    b"/tmp/forged-by-a-name",
    b"..",
    b"nul\0byte",
    b"line\nfeed\r\ttab\x0b\x0c\x85",
    "\u202ebidi\u2066\u200f\u061c\ufeff\u2028\u2029".encode(),
    "\u009b31m\u0090\u009d0;c1\u009c".encode(),
    b"\x9b31m\x90raw c1\xff\xfe",
    b"[bold red]rich[/] [@click=app.quit]textual[/] [link=file:///etc]x[/link] [/nothing] \\[",
    b"<script>alert(1)</script><img src=x onerror=alert(1)>&amp;&#x1b;\"'",
    b'","forged":true,"x":"\\u001b',
    b"%2e%2e%2f${HOME}`id`$(id);|& *?~!",
    b"A" * 255,
    b"\x1b[A" * 85,
    b"../" * 85,
    "\u202e".encode() * 85,
    b"[b]" * 85,
    b"<b>" * 85,
    b"\n" * 255,
    b"\0" * 255,
]


def _section(kind: SectionType, number: int, name: bytes = b"ram", version: int = 4) -> bytes:
    start = {"section_id": number, "idstr": name, "instance_id": 0, "version_id": version}
    return qevm.SectionHeader.build({"type": int(kind), "start": start, "part": {"section_id": number}})


def _footer(number: int) -> bytes:
    return qevm.Footer.build({"section_id": number})


def _configuration(names: Sequence[bytes]) -> bytes:
    machine = b"\0".join(names)[:2000]
    head = {"type": 5, "idstr": b"configuration/capabilities", "version_id": 1}
    listed = qevm.SubsectionHeader.build(head) + qevm.Capabilities.build({"names": list(names)})
    return bytes([SectionType.CONFIGURATION]) + struct.pack(">I", len(machine)) + machine + listed


def _discard(name: bytes) -> bytes:
    data = b"\0" + qevm.IdStr.build(name) + b"\0" + struct.pack(">QQ", 0, 0)
    return bytes([SectionType.COMMAND]) + struct.pack(">HH", qevm.Command.POSTCOPY_RAM_DISCARD, len(data)) + data


def _records(name: bytes, seed: int) -> bytes:
    """A page, a dup page, a delta against what the dup page lost, with the sum of what the sender held."""
    old = wire.noise(1, PAGE, seed=seed)[0]
    new = old.copy()
    new[7] ^= 1
    payload = encoded("posted", old.tobytes(), new.tobytes())
    header = {"flags": 3, "padding": 0, "length": len(payload), "checksum": int(new.sum(dtype=np.uint64))}
    delta = DIALECTS["posted"].header("little").build(header) + payload
    named = qevm.IdStr.build(name)
    kept = int(Flag.CONTINUE)
    out = struct.pack(">Q", Flag.PAGE) + named + old.tobytes()
    out += struct.pack(">Q", Flag.COMPRESS | kept) + b"\0"
    return out + struct.pack(">Q", Flag.XBRLE | kept) + delta


def _description(names: Sequence[bytes]) -> bytes:
    texts = [n.decode("utf-8", "replace") for n in names]
    devices = [
        {
            "name": text,
            "instance_id": 0,
            "vmsd_name": text,
            "version": 1,
            "fields": [
                {"name": text, "type": other, "size": 2},
                {"name": f"{other}\ud800", "type": "uint16", "size": 2},
            ],
            "subsections": [{"vmsd_name": text, "version": 1, "fields": []}],
        }
        for text, other in zip(texts, [*texts[1:], texts[0]], strict=True)
    ]
    return json.dumps({"page_size": PAGE, "devices": devices}).encode()


def captured(names: Sequence[bytes] = NAMES) -> bytes:
    """A stream with footers in which each name is a block's, a device's, a capability and part of the machine's."""
    out = qevm.FileHeader.build({"version": 3}) + _configuration(names)
    out += _section(SectionType.START, 2) + struct.pack(">Q", len(names) * 2 * PAGE | Flag.MEM_SIZE)
    for name in names:
        out += ram.BlockEntry.build({"idstr": name, "length": 2 * PAGE})
    eos = struct.pack(">Q", Flag.EOS)
    out += eos + _footer(2) + b"".join(_discard(n) for n in names)
    for i, name in enumerate(names):
        out += _section(SectionType.PART, 2) + _records(name, i) + eos + _footer(2)
    out += _section(SectionType.END, 2) + eos + _footer(2)
    for i, name in enumerate(names):
        out += _section(SectionType.FULL, 10 + i, name, 1) + b"data" + _footer(10 + i)
    described = _description(names)
    return out + b"\0" + bytes([SectionType.VMDESCRIPTION]) + struct.pack(">I", len(described)) + described


def saved(names: Sequence[bytes]) -> dict[str, bytes]:
    """Files around a stream: a libvirt save file whose XML and cookie are the names, and bytes that are not one."""
    xml = b"<domain><name>" + b"".join(n.replace(b"\0", b"") for n in names) + b"</name></domain>\0"
    fields = {"magic": libvirt.MAGIC, "version": 2, "data_length": 2 * len(xml), "was_running": 1, "format": 0}
    head = libvirt.header("little").build(fields | {"cookie_offset": len(xml), "unused": [0] * 14})
    asked = [struct.pack(">HH", 3, 13 + len(n)) + bytes(12) + qevm.IdStr.build(n) for n in names]
    return {
        "saved.img": head + xml + xml + captured(names[:4]),
        "return.bin": b"".join(asked),
        "nothing.bin": b"\n".join(names),
        "escape.bin": names[0] * 9,
        "cut.bin": captured(names)[:5000],
    }


def channel(name: bytes) -> bytes:
    """A multifd channel whose packet names that block."""
    packet = {"version": 1, "flags": 1, "pages_allocated": 1, "normal_pages": 1, "next_packet_size": PAGE}
    packet |= {"packet_number": 1, "zero_pages": 0, "reserved": bytes(28), "ramblock": name.ljust(256, b"\0")[:256]}
    init = multifd.Init.build({"version": 1, "uuid": bytes(16), "id": b"\1"})
    return init + multifd.PacketHeader.build(packet) + bytes(8) + bytes(PAGE)
