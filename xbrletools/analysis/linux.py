"""A Linux guest as drgn sees it: its symbols from a vmlinux, its memory as the stream gives it. No core is written.

Facts: drgn, "Program.set_linux_kernel_custom" and "add_memory_segment". drgn is an extra, and imported when it is used.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import XbrleError
from ..formats.elf import Machine
from ..memory.image import Image, State
from ..physical.layout import PhysicalMap
from ..text import shown
from .vmcoreinfo import VmCoreInfo

_ARCHITECTURES = {
    Machine.X86_64: "X86_64",
    Machine.AARCH64: "AARCH64",
    Machine.PPC64: "PPC64",
    Machine.S390: "S390X",
    Machine.RISCV: "RISCV64",
}


def faults() -> tuple[type[Exception], ...]:
    """What drgn raises where the guest's memory is unknown, or does not hold what is looked for."""
    import drgn

    return (
        drgn.FaultError,
        getattr(drgn, "BadDataError", drgn.FaultError),  # since drgn 0.2
        drgn.ObjectAbsentError,
        drgn.OutOfBoundsError,
        LookupError,
        AttributeError,
        ValueError,
        TypeError,
        ArithmeticError,
        RuntimeError,  # NotImplementedError and RecursionError, too
        AssertionError,
    )


def check_installed() -> None:
    """Look whether what reads a guest's structures is installed, before any work.

    Raises:
        XbrleError: it is not.
    """
    try:
        import drgn  # noqa: F401
    except ImportError:
        raise XbrleError("drgn is missing. To name owners of pages, use: pip install 'xbrletools[symbols]'") from None


def program_of(image: Image, where: PhysicalMap, info: VmCoreInfo, vmlinux: str) -> Any:
    """Drgn's program for the guest, whose memory is ``image``.

    Raises:
        XbrleError: drgn is missing or does not know the machine, or ``vmlinux`` is not the guest's kernel.
    """
    check_installed()
    import drgn

    name = _ARCHITECTURES.get(where.machine)
    if name is None:
        raise XbrleError(f"owners of pages cannot be named for a guest of machine {where.machine.name.lower()}")
    flags = drgn.PlatformFlags.IS_64_BIT
    if where.endian == "little":
        flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
    program = drgn.Program(drgn.Platform(getattr(drgn.Architecture, name), flags))
    read = _reader(image, where)
    for r in where.ranges:
        program.add_memory_segment(r.start, r.length, read, True)
    logging.getLogger("drgn").setLevel(logging.CRITICAL)  # it would print what it ignores; here that is an error
    try:
        Path(vmlinux).open("rb").close()
        program.set_linux_kernel_custom(info.text, False)
        program.load_debug_info([vmlinux])
        banner = program["linux_banner"].string_()
    except (drgn.MissingDebugInfoError, KeyError):
        raise XbrleError(f"{vmlinux}: is not the guest's kernel with debug information: {_wanted(info)}") from None
    except OSError as error:
        raise XbrleError(f"{vmlinux}: {error.strerror or error}") from None
    except faults() as error:
        raise XbrleError(f"{vmlinux}: cannot be used: {error}"[:300]) from None
    release = (info.get("OSRELEASE") or "").encode()
    if not banner.startswith(b"Linux version " + release + b" "):
        raise XbrleError(f"{vmlinux}: is another kernel: memory has {shown(banner[:80])}. {_wanted(info)}")
    return program


def _wanted(info: VmCoreInfo) -> str:
    build = info.get("BUILD-ID")
    return f"the guest runs {info.get('OSRELEASE')}" + (f", build ID {build}" if build else "")


def _reader(image: Image, where: PhysicalMap) -> Callable[[int, int, int, bool], memoryview]:
    """What drgn reads guest-physical memory with. Memory that is not wholly recovered cannot be read."""
    import drgn

    size, ranges, recovered = image.space.page_size, where.ranges, int(State.RECOVERED)
    firsts = [int(image.space.first[image.space.index(r.block)]) for r in ranges]
    starts, state, memory = [r.start for r in ranges], image.state, image.pages.reshape(-1)

    def read(address: int, count: int, offset: int, physical: bool) -> memoryview:
        at = bisect_right(starts, address) - 1  # it is called some 100,000 times, so it is short
        r = ranges[at] if at >= 0 else None
        if r is None or address + count > r.end:
            raise drgn.FaultError("not in guest-physical memory", address)
        place = firsts[at] * size + r.offset + address - r.start
        for page in range(place // size, -(-(place + count) // size)):
            if state[page] != recovered:
                raise drgn.FaultError("the stream does not give this memory", address)
        return memory[place : place + count].data

    return read
