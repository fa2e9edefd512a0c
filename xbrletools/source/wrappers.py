"""Files that hold a migration stream among other things: libvirt's save files, qcow2 snapshots, packet dumps.

Facts: formats/README.md, "Wrappers". No memory is sized by a header's claim: what it claims is read piece by piece.
"""

import re
from typing import NamedTuple

from ..errors import XbrleError
from ..formats import libvirt, qcow2
from ..formats.libvirt import Format
from .ahead import Ahead

_READ = 1 << 16  # bytes that are read at once, more than any header here has
XML_MAX = 16 << 20  # bytes of a domain's XML that are kept

_NAME = re.compile(rb"<name>([^<]*)</name>")


class LibvirtSave(NamedTuple):
    """A libvirt save file's header. ``xml`` is the domain's. The stream begins ``start`` bytes into the file."""

    xml: bytes
    cookie: bytes
    running: bool
    format: int
    start: int
    unfinished: bool

    @property
    def domain(self) -> bytes:
        """The domain's name in its XML. It is empty where the XML does not say it."""
        found = _NAME.search(self.xml)
        return found[1] if found else b""

    @property
    def packed(self) -> str:
        """How the stream is packed, as one word."""
        return Format(self.format).name.lower() if self.format in set(Format) else f"format {self.format}"

    def __str__(self) -> str:
        return f"libvirt save file, {self.packed}" + (", unfinished" if self.unfinished else "")


class Qcow2Snapshot(NamedTuple):
    """The internal snapshot whose VM state was opened, and the names of all snapshots that have one.

    ``backed``: the image has a backing file, which does not matter for VM state.
    """

    id: bytes
    name: bytes
    disk_size: int
    vm_state_size: int
    names: tuple[bytes, ...]
    backed: bool = False

    def __str__(self) -> str:
        return f"qcow2 internal snapshot, one of {len(self.names)}"


class PacketDump(NamedTuple):
    """A packet dump, and which of its ``migrations`` was opened: the one of this ``number``, from 1 on.

    ``connection`` are the main channel's endpoints. ``begins``: the dump has its first bytes.
    """

    connection: str
    number: int
    migrations: int
    packets: int
    begins: bool

    def __str__(self) -> str:
        return f"packet dump, migration {self.number} of {self.migrations}, {self.connection}"


Wrapping = LibvirtSave | Qcow2Snapshot | PacketDump


def is_libvirt(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a libvirt save file."""
    return head.startswith((libvirt.MAGIC, libvirt.MAGIC_UNFINISHED))


def is_qcow2(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a qcow2 image."""
    return head.startswith(qcow2.MAGIC)


def libvirt_save(raw: Ahead, name: str) -> LibvirtSave:
    """Read a save file up to where its stream begins.

    Raises:
        XbrleError: the file ends before that, or its version is unknown.
    """
    size = libvirt.header("little").sizeof()
    head = raw.read(size)
    if len(head) < size:
        raise XbrleError(f"{name}: ends inside the libvirt header", len(head))
    parsed = libvirt.header("little").parse(head)
    if parsed.version > libvirt.VERSION:
        parsed = libvirt.header("big").parse(head)
    if parsed.version > libvirt.VERSION:
        raise XbrleError(
            f"{name}: is a libvirt save file of version {parsed.version}; this reads version {libvirt.VERSION}"
        )
    kept = bytearray()
    left = parsed.data_length
    while left:
        piece = raw.read(min(_READ, left))
        if not piece:
            end = size + parsed.data_length - left
            raise XbrleError(f"{name}: ends inside the domain's XML, of {parsed.data_length:,} bytes", end)
        left -= len(piece)
        kept += piece[: max(0, XML_MAX - len(kept))]
    xml = bytes(kept[: parsed.cookie_offset] if parsed.cookie_offset else kept).split(b"\0", 1)[0]
    cookie = bytes(kept[parsed.cookie_offset :]).split(b"\0", 1)[0] if parsed.cookie_offset else b""
    return LibvirtSave(
        xml,
        cookie,
        bool(parsed.was_running),
        parsed.format,
        size + parsed.data_length,
        parsed.magic == libvirt.MAGIC_UNFINISHED,
    )
