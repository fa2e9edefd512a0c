"""The kinds of migration that a real QEMU makes here, and how one becomes a capture that is held against the truth."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np

import xbrletools
from tests.qemu.guest import END, FIRST, Emulator, Machine
from xbrletools.net.tap import Address, Recording, Tap
from xbrletools.verify.rules import Severity


class Way(Enum):
    """How a migration's bytes come into a file."""

    CAPTURE = auto()  # QEMU connects to `xbrle capture`
    FORWARD = auto()  # `xbrle capture --forward` stands between QEMU and a destination
    EXEC = auto()  # QEMU pipes into a command
    FILE = auto()  # QEMU writes the file
    OFFSET = auto()  # QEMU writes the file from an offset on


FILE_OFFSET = 0x3000
EVER, NEVER = (0,), (99,)


@dataclass(frozen=True)
class Kind:
    """A kind of migration: how it is asked for, and which QEMUs can make it: from ``since`` on, until ``before``."""

    name: str
    capabilities: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    way: Way = Way.CAPTURE
    since: tuple[int, ...] = EVER
    before: tuple[int, ...] = NEVER
    shows: str | None = None  # a kind of record that it must have

    def made_by(self, emulator: Emulator) -> bool:
        """Whether this QEMU can make it."""
        return self.since <= emulator.version < self.before

    @property
    def postcopy(self) -> bool:
        """Whether the destination runs before all pages are there."""
        return "postcopy-ram" in self.capabilities


def multifd(name: str, channels: int = 2, since: tuple[int, ...] = EVER, **parameters: Any) -> Kind:
    """A migration over several channels."""
    words = {k.replace("_", "-"): v for k, v in parameters.items()}
    return Kind(f"multifd{name}", ("multifd",), {"multifd-channels": channels, **words}, since=since)


XBZRLE = ("xbzrle",), {"xbzrle-cache-size": 8 << 20}
FILES = (8, 2)  # from this version on there is file:
MAPPED = (9, 0)  # and mapped-ram, zero-page-detection
KINDS = (
    Kind("plain"),
    Kind("plain, exec", way=Way.EXEC),
    Kind("plain, file", way=Way.FILE, since=FILES),
    Kind("plain, file with offset", way=Way.OFFSET, since=FILES),
    Kind("plain, forwarded", way=Way.FORWARD),
    Kind("xbzrle", *XBZRLE, shows="xbzrle"),
    Kind("xbzrle, exec", *XBZRLE, way=Way.EXEC, shows="xbzrle"),
    Kind("xbzrle, forwarded", *XBZRLE, way=Way.FORWARD, shows="xbzrle"),
    Kind("compress", ("compress",), {"compress-level": 1}, before=(9, 1), shows="compressed"),
    Kind("validate-uuid", ("validate-uuid",)),
    multifd(""),
    multifd(" zlib", 3, multifd_compression="zlib"),
    multifd(" zstd", multifd_compression="zstd"),
    multifd(", zero pages by the main channel", since=MAPPED, zero_page_detection="legacy"),
    multifd(", zero pages not looked for", since=MAPPED, zero_page_detection="none"),
    Kind("multifd, forwarded", ("multifd",), {"multifd-channels": 4}, Way.FORWARD),
    Kind("mapped-ram", ("mapped-ram",), way=Way.FILE, since=MAPPED),
    Kind("mapped-ram with offset", ("mapped-ram",), way=Way.OFFSET, since=MAPPED),
    Kind("mapped-ram, multifd", ("mapped-ram", "multifd"), {"multifd-channels": 2}, Way.FILE, since=MAPPED),
    Kind("postcopy", ("postcopy-ram",), way=Way.FORWARD),
    Kind("postcopy-preempt", ("postcopy-ram", "postcopy-preempt"), way=Way.FORWARD),
)


@contextlib.contextmanager
def machine(emulator: Emulator, folder: Path, name: str, *more: str, own_memory: bool = False) -> Iterator[Machine]:
    """A QEMU that is ended with the block."""
    one = Machine(emulator, folder, name, *more, own_memory=own_memory)
    try:
        yield one
    finally:
        one.close()


def started(guest: Machine) -> None:
    """Wait until the guest changes its pages."""
    for _ in guest.patiently("start the guest"):
        if (guest.memory()[FIRST >> 8 : END >> 8, 0x210] != 0).any():
            return


def loaded(target: Machine) -> np.ndarray:
    """Wait until a destination has loaded its stream. Returns its memory, (pages, 4096) uint8."""
    for _ in target.patiently("load the stream"):
        if target.command("query-status")["status"] != "inmigrate":
            break
    return target.memory()


def record(tap: Tap, guest: Machine, kind: Kind) -> list[Recording]:
    """Migrate into the tap, and give what it recorded."""
    thread = threading.Thread(target=tap.run)
    thread.start()
    try:
        guest.migrate(str(tap.address), list(kind.capabilities), kind.postcopy, **kind.parameters)
    finally:
        if not tap.recordings:
            tap.stop()
        thread.join(60)
    assert not thread.is_alive()
    assert [r.error for r in tap.recordings if r.error] == []
    return tap.recordings


def recorded(kind: Kind, emulator: Emulator, folder: Path) -> tuple[Path, list[Path], np.ndarray]:
    """Make a capture of this kind: its main file, its other channels, and the paused source's memory."""
    main = folder / "S"
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(machine(emulator, folder, "source"))
        started(source)
        if kind.way in (Way.CAPTURE, Way.FORWARD):
            forward = stack.enter_context(destination(kind, emulator, folder)) if kind.way is Way.FORWARD else None
            recordings = record(Tap(Address(), main, forward), source, kind)
            channels = [r.path for r in recordings if not r.main and not r.reverse and r.path]
            return main, channels, source.memory()
        where = {
            Way.EXEC: f"exec:cat > {main}",
            Way.FILE: f"file:{main}",
            Way.OFFSET: f"file:{main},offset={FILE_OFFSET}",
        }[kind.way]
        source.migrate(where, list(kind.capabilities), **kind.parameters)
        return main, [], source.memory()


@contextlib.contextmanager
def destination(kind: Kind, emulator: Emulator, folder: Path) -> Iterator[Address]:
    """A destination that waits for a migration of this kind. Returns where it listens."""
    more = ("-S", "-incoming", "defer")
    with machine(emulator, folder, "target", *more, own_memory=kind.postcopy) as target:
        target.allow(list(kind.capabilities), **kind.parameters)
        sock = Path(target._sockets.name) / "in"
        target.command("migrate-incoming", uri=f"unix:{sock}")
        yield Address(path=str(sock))


def wrong_pages(main: Path, channels: list[Path], truth: np.ndarray) -> int:
    """Pages of RAM in a capture that are not the source's, or not known to be. Also holds it to be clean and whole."""
    capture = xbrletools.open(main, channels=channels)
    assert capture.facts.complete
    assert [f for f in capture.verify() if f.severity is Severity.ERROR] == []
    image = capture.memory()
    rows = image.space.slice(image.space.index("pc.ram"))
    wrong = (image.pages[rows] != truth).any(axis=1) | ~image.known[rows]
    assert truth[FIRST >> 8 : END >> 8].any()
    return int(np.count_nonzero(wrong))
