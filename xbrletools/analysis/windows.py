"""Which Windows a guest is: its build and where its kernel lies, by what the kernel keeps at known places.

Facts: formats/README.md, "Memory images". This is untried on a real guest. So everything must agree before it counts:
an address of the kernel's own, a machine's number twice, a folder's name, and the head of an image that names itself.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from construct import ConstructError

from ..errors import XbrleError
from ..formats import paging, windows
from ..model import Stream
from ..physical import reading
from ..physical.layout import PhysicalMap
from . import sentwhole, vmcoreinfo
from .cpus import Cpu
from .paging import NotMappedError, Tables, tables_of, translate

BELOW_ENTRY = 32 << 20  # bytes of a kernel's image before the place where system calls enter it
CANDIDATES_MAX = 64

_ROOT = re.compile(r"[A-Za-z]:\\[ -~]{1,250}")
_KDBG = re.compile(rb"KDBG..\0\0\0.{5}\xff\xff", re.DOTALL)

ReadVirtual = Callable[[int, int], bytes | None]


class Windows(NamedTuple):
    """A Windows guest. What nothing shows is None. ``version`` is as in 10.0, ``base`` a virtual address."""

    version: str
    build: int | None
    product: str | None
    root: str
    base: int | None
    evidence: tuple[str, ...]


def windows_of(stream: Stream, where: PhysicalMap, cpus: tuple[Cpu, ...]) -> Windows | None:
    """The Windows in a guest with these CPUs, or None where its kernel's shared data is not where it always is."""
    try:
        tables = tables_of(cpus)
    except XbrleError:
        return None
    read = _reader(stream, where, tables)
    raw = read(windows.SHARED_DATA, windows.SharedData.sizeof())
    if raw is None:
        return None
    data = windows.SharedData.parse(raw)
    root = data.root.decode("utf-16-le", "replace").partition("\0")[0]
    machine = windows.MACHINES.get(data.image_low)
    if machine is None or data.image_high != data.image_low or not _ROOT.fullmatch(root) or not 5 <= data.major <= 99:
        return None
    evidence = [f"KUSER_SHARED_DATA at {windows.SHARED_DATA:#x}, by the page tables of CPU {tables.cpu}"]
    base = None
    for candidate, found in _candidates(stream, where, tables, cpus):
        if _is_kernel(read, candidate, data.image_low):
            base = candidate
            evidence.append(f"the image ntoskrnl.exe at {base:#x}, {found}")
            break
    return Windows(
        f"{data.major}.{data.minor}",
        (data.build & windows.BUILD_NUMBER) or None,
        windows.PRODUCTS.get(data.product),
        root,
        base,
        tuple(evidence),
    )


def _reader(stream: Stream, where: PhysicalMap, tables: Tables) -> ReadVirtual:
    """A function of (virtual address, length): the bytes there, or None where one of them is not known.

    The bytes lie in one page of 4 KiB.
    """
    physical = vmcoreinfo.reader_at_end(stream, where)

    def read(address: int, length: int) -> bytes | None:
        if address % (1 << paging.PAGE_SHIFT) + length > 1 << paging.PAGE_SHIFT:
            return None
        try:
            return physical(translate(tables, physical, address).address, length)
        except NotMappedError:
            return None

    return read


def _candidates(stream: Stream, where: PhysicalMap, tables: Tables, cpus: tuple[Cpu, ...]) -> Iterator[tuple[int, str]]:
    """Virtual addresses where the kernel's image may begin, and how each was found, the likeliest first."""
    for base in _by_kdbg(stream):
        yield base, "where KDBG says that it is"
    entry = cpus[tables.cpu].registers.get("lstar") if tables.cpu < len(cpus) else None
    if not entry:
        return
    from .mappings import Walk

    word = int.from_bytes(windows.IMAGE, "big")
    places = [
        (i, offset)
        for i in sorted({next(i for i, b in enumerate(stream.blocks) if b.name == r.block) for r in where.ranges})
        for offset in reading.pages_that_begin(stream, i, 1 << paging.PAGE_SHIFT, word)
    ]
    found, _ = Walk(stream, where, tables).virtual_of([i for i, _ in places], [offset for _, offset in places])
    below = sorted({a for addresses in found for a in addresses if entry - BELOW_ENTRY < a <= entry}, reverse=True)
    for base in below[:CANDIDATES_MAX]:
        yield base, f"the nearest below {entry:#x}, where system calls enter"


def _by_kdbg(stream: Stream) -> list[int]:
    """The kernel's bases that KDBG names, in pages that were sent whole, each once, in file order."""
    found: dict[int, None] = {}
    for match in sentwhole.matches(stream, _KDBG, windows.DebuggerData.sizeof()):
        base = int(windows.DebuggerData.parse(match[0]).base)
        if not base % (1 << paging.PAGE_SHIFT):
            found[base] = None
        if len(found) >= CANDIDATES_MAX:
            break
    return list(found)


def _is_kernel(read: ReadVirtual, base: int, machine: int) -> bool:
    """Whether an image for this machine begins at a virtual address, and its exports call it ntoskrnl.exe."""
    head = read(base, 1 << paging.PAGE_SHIFT)
    if head is None:
        return False
    try:
        at = int(windows.DosHeader.parse(head).pe)
        image = windows.PeHeader.parse(head[at:])
        directory = read(base + image.exports, windows.ExportDirectory.sizeof())
        name = read(base + windows.ExportDirectory.parse(directory or b"").name, len(windows.KERNEL))
    except ConstructError:
        return False
    return head.startswith(windows.IMAGE) and image.machine == machine and name == windows.KERNEL
