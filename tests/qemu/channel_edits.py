"""Edits of a multifd channel's packets and of a mapped-ram file, and what a real QEMU says of them."""

import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from construct import Int32ub

import xbrletools
from tests.qemu.edits import TIMEOUT, Said, said_of
from tests.qemu.guest import RAM, Emulator, boot_sector
from xbrletools.formats import Grammar, mapped_ram, multifd

HANGS = 8  # seconds without an answer after which a QEMU waits for a channel that another thread has given up
FAILED = 1.0  # seconds that a QEMU has to end after it says that loading failed


def ask_channels(
    emulator: Emulator, files: list[Path], capabilities: list[str], uri: str | None = None, **parameters: object
) -> Said:
    """Have a QEMU that is set up as `tests.qemu.guest.Machine` load a stream.

    It comes from ``uri``, by default over as many connections as there are ``files``, the main channel's first.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        boot, control, incoming = (Path(folder) / name for name in ("boot", "qmp", "in"))
        boot.write_bytes(boot_sector())
        command = [*emulator.command, "-accel", "tcg", "-S", "-m", str(RAM >> 20), "-nodefaults", "-display", "none"]
        command += ["-net", "none", "-machine", "pc", "-drive", f"file={boot},format=raw,if=ide,snapshot=on"]
        command += ["-qmp", f"unix:{control},server=on,wait=off", "-incoming", "defer"]
        process = subprocess.Popen(
            command, env=os.environ | emulator.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        connections: list[Any] = []
        loaded: bool | None = None
        try:
            loaded = _loads(process, control, incoming, files, connections, capabilities, uri, parameters)
        finally:
            if process.poll() is None:
                process.kill() if loaded is None else process.terminate()
            printed = process.communicate(timeout=TIMEOUT)[1]
            for one in connections:
                one.close()
    return said_of(bool(loaded), printed)


def _loads(process, control, incoming, files, connections, capabilities, uri, parameters) -> bool | None:
    """Whether it loads. None where it hangs."""
    answers = None
    end = time.monotonic() + TIMEOUT
    while answers is None and time.monotonic() < end:
        qmp = socket.socket(socket.AF_UNIX)
        try:
            qmp.connect(os.fspath(control))
            answers = qmp.makefile("r")
        except OSError:
            qmp.close()
            time.sleep(0.05)
    connections += [answers, qmp]
    qmp.settimeout(TIMEOUT)
    answers.readline()

    def order(name: str, **arguments: object) -> object:
        qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while line := answers.readline():
            answer = json.loads(line)
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]
        return None

    try:
        order("qmp_capabilities")
        order("migrate-set-capabilities", capabilities=[{"capability": c, "state": True} for c in capabilities])
        if parameters:
            order("migrate-set-parameters", **parameters)
        order("migrate-incoming", uri=uri or f"unix:{incoming}")
        qmp.settimeout(HANGS)
        for path in [] if uri else files:
            one = socket.socket(socket.AF_UNIX)
            connections.append(one)
            one.connect(os.fspath(incoming))
            threading.Thread(target=_feed, args=(one, path.read_bytes()), daemon=True).start()
            time.sleep(0.1)  # so that they are accepted in this order
        while time.monotonic() < end and process.poll() is None:
            about = order("query-migrate")
            if isinstance(about, dict) and about.get("status") == "failed":  # some versions hang then
                end = min(end, time.monotonic() + FAILED)
            status = order("query-status")
            if not isinstance(status, dict):
                return False
            if status["status"] != "inmigrate":
                time.sleep(0.05)
                return process.poll() is None
            time.sleep(0.02)
    except TimeoutError:
        return None
    except (OSError, ValueError):
        pass
    return None if process.poll() is None else False


def _feed(one: socket.socket, data: bytes) -> None:
    try:
        one.sendall(data)
        one.shutdown(socket.SHUT_WR)
    except OSError:
        pass


# -- edits -------------------------------------------------------------------------------------------------------------


class Channels:
    """The files of a migration over channels, the main one first, and a packet with pages in one of them."""

    def __init__(self, files: list[bytes], folder: Path, rng: random.Random) -> None:
        self.files = files
        self.paths = written(files, folder)
        packets = xbrletools.open(self.paths[0], channels=self.paths[1:]).stream.packets
        assert packets is not None
        ids = [multifd.Init.parse(f[: multifd.Init.sizeof()]).id[0] for f in files[1:]]
        place = int(rng.choice(np.flatnonzero((packets.normal > 0) & ~packets.is_sync).tolist()))
        self.file = 1 + ids.index(int(packets.channel[place]))
        self.at, self.stop = int(packets.offset[place]), int(packets.stop[place])
        self.normal, self.allocated = int(packets.normal[place]), int(packets.allocated[place])

    def with_bytes(self, at: int, what: bytes, instead_of: int | None = None) -> list[bytes]:
        """The files with other bytes at a place of the channel."""
        data = self.files[self.file]
        end = at + (len(what) if instead_of is None else instead_of)
        return [data[:at] + what + data[end:] if i == self.file else f for i, f in enumerate(self.files)]

    def with_field(self, name: str, value: int, grammar: Grammar = multifd.PacketHeader, at: int | None = None):
        """The files with another value in a field of the packet, or of the connection's first bytes."""
        place, start = self.at if at is None else at, 0
        for part in grammar.subcons:
            if part.name == name:
                return self.with_bytes(place + start, value.to_bytes(part.sizeof(), "big"))
            start += part.sizeof()
        raise KeyError(name)


def written(files: list[bytes], folder: Path) -> list[Path]:
    """The files of a migration in a folder."""
    paths = [folder / f"c{i}" for i in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


_OFFSETS = multifd.PacketHeader.sizeof()
#: By name an edit of a channel.
CHANNEL_EDITS: dict[str, Callable[[Channels], list[bytes]]] = {
    "whole": lambda c: c.files,
    "magic": lambda c: c.with_field("magic", multifd.MAGIC + 1),
    "version": lambda c: c.with_field("version", 2),
    "unknown flag": lambda c: c.with_field("flags", 0x80),
    "another method": lambda c: c.with_field("flags", 2),
    "more room": lambda c: c.with_field("pages_allocated", c.allocated + 1),
    "pages that have no room": lambda c: c.with_field("normal_pages", c.allocated + 1),
    "a page more": lambda c: c.with_field("normal_pages", c.normal + 1),
    "another size": lambda c: c.with_field("next_packet_size", 5),
    "another number": lambda c: c.with_field("packet_number", 99999),
    "unknown block": lambda c: c.with_bytes(c.at + _OFFSETS - multifd.BLOCK_NAME_MAX, b"nosuch\0"),
    "page beyond": lambda c: c.with_bytes(c.at + _OFFSETS, (1 << 24).to_bytes(8, "big")),
    "channel's version": lambda c: c.with_field("version", 2, multifd.Init, 0),
    "channel's id": lambda c: c.with_bytes(24, b"\x09"),
    "cut": lambda c: c.with_bytes(c.at + 100, b"", 1 << 40),
    "cut at a packet": lambda c: c.with_bytes(c.at, b"", 1 << 40),
    "reserved": lambda c: c.with_bytes(c.at + 40, b"\1"),
}


def mapped_edits(data: bytes, at: int) -> dict[str, bytes]:
    """Edits of a mapped-ram file whose first block's header stands at ``at``."""
    header = mapped_ram.Header.parse(data[at : at + mapped_ram.Header.sizeof()])

    def with_field(name: str, value: int) -> bytes:
        changed = dict(header) | {name: value}
        made = b"".join(s.build(changed[s.name]) for s in _FIELDS)
        return data[:at] + made + data[at + len(made) :]

    return {
        "whole": data,
        "version": with_field("version", 2),
        "page size": with_field("page_size", 4097),
        "bitmap beyond": with_field("bitmap_offset", (1 << 64) - 4096),
        "bitmap a byte on": with_field("bitmap_offset", header.bitmap_offset + 1),
        "bitmap a byte before": with_field("bitmap_offset", header.bitmap_offset - 1),
        "bitmap far on": with_field("bitmap_offset", header.bitmap_offset + (1 << 20)),
        "pages a page on": with_field("pages_offset", header.pages_offset + 4096),
        "odd pages": with_field("pages_offset", header.pages_offset + 1),
        "pages beyond": with_field("pages_offset", (1 << 64) - 4096),
        "cut": data[: header.pages_offset + 8192],
        "another page": data[: header.pages_offset + 4096] + b"xx" + data[header.pages_offset + 4098 :],
    }


_FIELDS = [s if s.name != "version" else s.name / Int32ub for s in mapped_ram.Header.subcons]
