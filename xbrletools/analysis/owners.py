"""Whose a page of guest memory is: a process, a file, a slab cache, a part of the kernel, or nobody's.

The guest's own structures say so, as memory has them at the end of the stream: the ``struct page`` of each page, the
areas of each process, and the kernel's symbols, which drgn reads from a vmlinux with debug information. The memory that
drgn sees is the reconstructed one, through the guest-physical layout. No core is written.

Facts: Linux, Documentation/mm/physical_memory.rst and include/linux/mm_types.h; drgn, "Linux kernel special objects".
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..errors import XbrleError
from ..memory.moments import memory_of
from ..model import Stream
from ..physical.layout import PhysicalMap
from ..text import shown
from . import vmcoreinfo
from .linux import faults, program_of
from .structpages import Page, StructPages
from .vmcoreinfo import VmCoreInfo

Ints = NDArray[np.int64]

TASKS_MAX = 1 << 20  # list entries that are followed: a damaged list can be a circle
AREAS_MAX = 1 << 17
COMMAND_MAX = 1 << 10  # bytes of a command line that are read
NAME_MAX = 48  # characters of a command line or a path
_ANON = 1  # in page.mapping: what it points to is an anon_vma; bit 1 is for movable and KSM pages
_POINTER = ~3
_VM_SHARED, _VM_WRITE = 8, 2  # of vm_flags, as /proc/PID/maps shows them


@dataclass(frozen=True, slots=True)
class Owner:
    """What a page belongs to. ``kind`` is one of `KINDS`, ``name`` says which one, ``what`` which part of it.

    ``pid`` is a process's.
    """

    kind: str
    name: str
    what: str = ""
    pid: int | None = None


KINDS = ("process", "file", "slab", "kernel", "free", "unknown")
UNKNOWN = Owner("unknown", "unknown")
FREE = Owner("free", "free")
RESERVED = Owner("kernel", "kernel", "reserved at boot")


@dataclass(frozen=True, slots=True)
class Owners:
    """The ``owners``, the ``index`` (n,) of each page's owner among them, and what could not be read (``notes``)."""

    owners: tuple[Owner, ...]
    index: Ints
    notes: tuple[str, ...] = ()

    def of(self, row: int) -> Owner:
        """The owner of a page, by its place among those that were asked for."""
        return self.owners[int(self.index[row])]


@dataclass(slots=True)
class _Area:
    """Pages [start, stop) of what a mapping or an anon_vma numbers, that belong to ``owner``."""

    start: int
    stop: int
    owner: Owner


@dataclass(slots=True)
class _Guest:
    """The guest as drgn sees it, and what was found of it. Page frames are numbers of guest-physical pages."""

    program: Any
    info: VmCoreInfo
    page_size: int
    areas: dict[int, list[_Area]] = field(default_factory=dict)  # by the address of an anon_vma or a mapping
    frames: dict[int, Owner] = field(default_factory=dict)
    boot: dict[int, Owner] = field(default_factory=dict)  # what was there at boot; the kernel gives some of it back
    notes: list[str] = field(default_factory=list)

    def tried(self, what: str, work: Callable[[], None]) -> None:
        """Do a part of the work. Where memory that it needs is unknown or not as expected, that is noted."""
        try:
            work()
        except faults() as error:
            self.notes.append(f"{what} cannot be read: {type(error).__name__} {error}"[:200])


def owners_of(stream: Stream, where: PhysicalMap, vmlinux: str, block: Ints, address: Ints) -> Owners:
    """Whose the pages at ``address`` (n,) of blocks ``block`` (n,), by index, are at the end of the stream.

    ``vmlinux`` is the file of the guest's kernel with debug information.

    Raises:
        XbrleError: drgn is missing, the guest is not a Linux whose VMCOREINFO is there, or ``vmlinux`` is another
            kernel's.
    """
    image = memory_of(stream)
    info = vmcoreinfo.find(stream, image, where)
    if info is None:
        raise XbrleError("--symbols needs a Linux guest whose VMCOREINFO is in memory, and this capture shows none")
    guest = _Guest(program_of(image, where, info, vmlinux), info, stream.page_size)
    guest.tried("the kernel's image", lambda: _kernel(guest))
    guest.tried("vmalloc areas", lambda: _vmalloc(guest))
    guest.tried("the list of processes", lambda: _processes(guest))
    frames = _frames(where, stream, block, address)
    placed = np.flatnonzero(frames >= 0)
    owners, index = [UNKNOWN], np.zeros(len(block), np.int64)
    known: dict[Owner, int] = {UNKNOWN: 0}
    for row, owner in zip(placed.tolist(), _of_frames(guest, frames[placed]), strict=True):
        index[row] = known.setdefault(owner, len(known))
    owners = list(known)
    for b in distinct(block[frames < 0]).tolist():
        of_block = Owner("unknown", f"block {shown(stream.blocks[b].name)}", "not in guest-physical memory")
        index[(frames < 0) & (block == b)] = len(owners)
        owners.append(of_block)
    return Owners(tuple(owners), index, tuple(guest.notes))


def _frames(where: PhysicalMap, stream: Stream, block: Ints, address: Ints) -> Ints:
    """The page frame of each page, (n,) int64, -1 where it does not lie in guest-physical memory."""
    frames = np.full(len(block), -1, np.int64)
    names = [b.name for b in stream.blocks]
    for r in where.ranges:
        inside = (block == names.index(r.block)) & (address >= r.offset) & (address < r.offset + r.length)
        frames[inside] = (address[inside] - r.offset + r.start) // stream.page_size
    return frames


# -- what the guest has ------------------------------------------------------------------------------------------------


def _kernel(guest: _Guest) -> None:
    """The kernel's image by its symbols, and the areas of its CPUs."""
    program, size = guest.program, guest.page_size
    parts = (
        ("_text", "_end", "image"),
        ("_stext", "_etext", "text"),
        ("__start_rodata", "__end_rodata", "read-only data"),
        ("_sdata", "_edata", "data"),
        ("__bss_start", "__bss_stop", "data"),
    )
    for first, last, what in parts:
        try:
            start, stop = (program.symbol(name).address for name in (first, last))
            frame = _physical(guest, start) // size
        except LookupError:
            continue
        for i in range(min(-(-(stop - start) // size), AREAS_MAX)):
            guest.boot[frame + i] = Owner("kernel", "kernel", what)
    owner = Owner("kernel", "kernel", "per-CPU data")
    base = program["pcpu_base_addr"].value_()
    length = program["pcpu_nr_units"].value_() * program["pcpu_unit_size"].value_()
    for at in range(base, base + min(length, AREAS_MAX * size), size):
        guest.boot[_physical(guest, at) // size] = owner


def _physical(guest: _Guest, address: int) -> int:
    """Where a virtual address of the kernel lies, by its own page tables."""
    from drgn.helpers.linux.mm import follow_phys

    return int(follow_phys(guest.program["init_mm"].address_of_(), address).value_())


def _vmalloc(guest: _Guest) -> None:
    """The pages of vmalloc areas, by the function that asked for them, and of kernel stacks."""
    from drgn.helpers.linux.mm import for_each_vmap_area

    for area in islice(for_each_vmap_area(guest.program), TASKS_MAX):
        guest.tried("a vmalloc area", lambda area=area: _vmap_area(guest, area.vm))  # type: ignore[misc]


def _vmap_area(guest: _Guest, vm: Any) -> None:
    if not vm or not vm.pages:
        return
    try:
        caller = shown(guest.program.symbol(vm.caller.value_()).name.encode())
    except LookupError:
        caller = "?"
    owner = Owner("kernel", "kernel", f"vmalloc by {caller}")
    for frame in _frames_of(guest, vm):
        guest.frames[frame] = owner


def _frames_of(guest: _Guest, vm: Any) -> list[int]:
    """The page frames of a vm_struct."""
    from drgn.helpers.linux.mm import page_to_pfn

    count = min(vm.nr_pages.value_(), AREAS_MAX)
    return [page_to_pfn(vm.pages[i]).value_() for i in range(count)]


def _processes(guest: _Guest) -> None:
    """The areas of every process, and every kernel stack."""
    from drgn.helpers.linux.pid import for_each_task

    seen: set[int] = set()
    for task in islice(for_each_task(guest.program), TASKS_MAX):
        guest.tried("a kernel stack", lambda task=task: _stack(guest, task))  # type: ignore[misc]
        mm = task.mm
        if mm and mm.value_() not in seen:
            seen.add(mm.value_())
            guest.tried("a process", lambda task=task: _process(guest, task))  # type: ignore[misc]


def _stack(guest: _Guest, task: Any) -> None:
    owner = Owner("kernel", "kernel", "stacks")
    if hasattr(task, "stack_vm_area"):  # it is null where the task has ended
        frames: Iterable[int] = _frames_of(guest, task.stack_vm_area) if task.stack_vm_area else ()
    else:
        size = guest.program.type("union thread_union").size
        first = _physical(guest, task.stack.value_()) // guest.page_size
        frames = range(first, first + size // guest.page_size)
    for frame in frames:
        guest.frames[frame] = owner


def _process(guest: _Guest, task: Any) -> None:
    """The areas of a process, by what the pages in them point to: an anon_vma, or a file's mapping."""
    from drgn.helpers.linux.mm import for_each_vma, vma_name

    pid, name = task.tgid.value_(), _command(task)
    for vma in islice(for_each_vma(task.mm), AREAS_MAX):
        start = vma.vm_pgoff.value_()
        stop = start + (vma.vm_end.value_() - vma.vm_start.value_()) // guest.page_size
        what = _text(vma_name(vma) or b"") or "anonymous"
        owner = Owner("process", name, what, pid)
        if vma.anon_vma:
            guest.areas.setdefault(vma.anon_vma.value_(), []).append(_Area(start, stop, owner))
        flags = vma.vm_flags.value_()
        if vma.vm_file and flags & _VM_SHARED and flags & _VM_WRITE:
            mapping = vma.vm_file.f_mapping.value_()
            guest.areas.setdefault(mapping, []).append(_Area(start, stop, owner))


def _command(task: Any) -> str:
    """A process as a person knows it: its command line, or its name where that is not there."""
    from drgn.helpers.linux.mm import access_remote_vm

    name: bytes = task.comm.string_()
    try:
        start, end = task.mm.arg_start.value_(), task.mm.arg_end.value_()
        length = max(0, min(end - start, COMMAND_MAX))  # what the guest claims can be any number
        words = [word for word in access_remote_vm(task.mm, start, length).split(b"\0") if word]
    except faults():
        words = []
    return _text(b" ".join(words) if words else name)


# -- pages -------------------------------------------------------------------------------------------------------------

_TYPES = {"table": "page tables", "offline": "given back by a balloon"}


def _of_frames(guest: _Guest, frames: Ints) -> Iterator[Owner]:
    """The owner of each page frame, in their order."""
    try:
        pages = StructPages(guest.program, guest.info)
    except faults() as error:
        raise XbrleError(f"the kernel's struct page is not as expected: {error}"[:300]) from None
    named: dict[int, Owner] = {}
    for frame in frames.tolist():
        own = guest.frames.get(frame)
        if own is not None:
            yield own
            continue
        try:
            page = pages.of(frame)
            owner = UNKNOWN if page is None else _of_page(guest, page, named)
        except faults():
            owner = UNKNOWN
        yield guest.boot.get(frame, RESERVED) if owner is RESERVED else owner


def _of_page(guest: _Guest, page: Page, named: dict[int, Owner]) -> Owner:
    """The owner that a page's structure shows. ``named`` has the files that were named before, by their mapping."""
    if page.reserved:
        return RESERVED
    if page.type == "buddy":
        return FREE
    if page.type == "slab":
        return _slab(guest, page.address)
    if page.type in _TYPES:
        return Owner("kernel", "kernel", _TYPES[page.type])
    mapping = page.mapping & _POINTER
    if not mapping:
        return Owner("kernel", "kernel", "other pages")
    found = [a for a in guest.areas.get(mapping, ()) if a.start <= page.index < a.stop]
    if found:
        owner, others = found[0].owner, len({a.owner.pid for a in found}) - 1
        return Owner(owner.kind, owner.name, f"{owner.what} (+{others})", owner.pid) if others else owner
    if page.mapping & _ANON:
        return Owner("process", "a process that is gone or not listed", "anonymous")
    if mapping not in named:
        named[mapping] = _file(guest, mapping)
    return named[mapping]


def _slab(guest: _Guest, address: int) -> Owner:
    """The slab cache of a page whose structure stands at ``address``."""
    import drgn

    try:
        try:
            cache = drgn.Object(guest.program, "struct slab *", address).slab_cache
        except LookupError:  # before Linux 5.17
            cache = drgn.Object(guest.program, "struct page *", address).slab_cache
        return Owner("slab", f"slab {_text(cache.name.string_())}")
    except faults():
        return Owner("slab", "slab", "of an unknown cache")


def _file(guest: _Guest, mapping: int) -> Owner:
    """The file whose page cache a mapping is: the kind of file system, and the path."""
    import drgn
    from drgn.helpers.linux.fs import inode_path

    try:
        inode = drgn.Object(guest.program, "struct address_space *", mapping).host
        system = _text(inode.i_sb.s_type.name.string_())
    except faults():
        return Owner("file", "page cache", "of an unknown file")
    try:
        path = _text(inode_path(inode) or b"")
    except faults():
        path = ""
    return Owner("file", f"{system} (page cache)", path or "a file without a name")


def _text(name: bytes) -> str:
    """Text of the guest's, printable, at most `NAME_MAX` characters."""
    safe = shown(name)
    return safe if len(safe) <= NAME_MAX else safe[: NAME_MAX - 3] + "..."
