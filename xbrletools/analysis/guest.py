"""What guest this is, as far as its memory and its CPUs show: the kernel's release, where it lies, what each CPU does.

Facts: formats/README.md, "Memory images", and Linux, Documentation/admin-guide/kdump/vmcoreinfo.rst. Every answer names
its evidence. A banner alone is weak evidence: a file in memory can hold one. So it counts where VMCOREINFO names the
same release, or where all banners agree.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..model import Stream, once
from ..physical import reading
from ..physical.layout import PhysicalMap
from . import sentwhole, vmcoreinfo
from .cpus import Cpu, cpus_of
from .vmcoreinfo import VmCoreInfo
from .windows import Windows, windows_of

BANNERS = 64  # banners that are looked at
CPUS_MAX = 8  # CPUs that are listed for a person

_BANNER = re.compile(rb"Linux version (\d+\.\d+[!-~]*) \([ -~]{8,400}\n?")
_BANNER_MAX = 512  # bytes
_COUNTERS = ("rip", "pc", "nip", "psw_addr")  # where a CPU is, by the names of machines


class Guest(NamedTuple):
    """A guest. What nothing shows is None. ``evidence`` says for a person what the rest stands on.

    ``kaslr_offset`` is how far the kernel's virtual addresses are moved, ``phys_base`` what Linux calls so.
    """

    release: str | None
    banner: str | None
    build_id: str | None
    kaslr_offset: int | None
    phys_base: int | None
    evidence: tuple[str, ...]
    cpus: tuple[Cpu, ...]
    windows: Windows | None = None


def guest_of(stream: Stream, where: PhysicalMap) -> Guest:
    """The guest in a stream whose memory lies as ``where`` says."""
    info, cpus = _vmcoreinfo(stream, where), cpus_of(stream)
    found = banners(stream)
    evidence = [f"VMCOREINFO from {info.found}"] if info is not None else []
    release = info.get("OSRELEASE") if info is not None else None
    releases = {name for name, _ in found}
    if release is None and len(releases) == 1:
        release = next(iter(releases))
        evidence.append("the kernel's banner in memory, the only one")
    banner = _banner_of([text for name, text in found if name == release])
    return Guest(
        release,
        banner,
        info.get("BUILD-ID") if info is not None else None,
        _number(info, "KERNELOFFSET", 16),
        _number(info, "NUMBER(phys_base)", 10),
        tuple(evidence),
        cpus,
        windows_of(stream, where, cpus) if release is None else None,
    )


def _banner_of(texts: list[str]) -> str | None:
    """The banner in texts with what ends them: the longest, or a whole line that it begins with.

    In the kernel's log, bytes of an older line may stand behind a banner.
    """
    longest = max((text.rstrip("\n") for text in texts), key=len, default=None)
    lines = [text.rstrip("\n") for text in texts if text.endswith("\n")]
    return min((line for line in lines if longest and longest.startswith(line)), key=len, default=longest)


def _number(info: VmCoreInfo | None, key: str, base: int) -> int | None:
    text = info.get(key) if info is not None else None
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def _vmcoreinfo(stream: Stream, where: PhysicalMap) -> VmCoreInfo | None:
    """VMCOREINFO of the device, or, without a device, of the page that begins as VMCOREINFO does."""
    info = vmcoreinfo.of_device(stream, vmcoreinfo.reader_at_end(stream, where), where.endian)
    if info is not None or len(stream.data) > sentwhole.SEARCHED:
        return info
    word = int.from_bytes(vmcoreinfo.BEGINS[:4], "big")
    for r in where.ranges:
        index = next(i for i, b in enumerate(stream.blocks) if b.name == r.block)
        for offset in reading.pages_that_begin(stream, index, stream.page_size, word)[:BANNERS]:
            raw = reading.read(stream, r.block, offset, stream.page_size)
            text = vmcoreinfo.of_page(raw) if raw is not None else None
            if text is not None and r.offset <= offset < r.offset + r.length:
                return VmCoreInfo(text, f"the page at {r.start + offset - r.offset:#x}")
    return None


@once
def banners(stream: Stream) -> tuple[tuple[str, str], ...]:
    """The banners of Linux in pages that were sent whole, as (release, text), each text once, with its line feed.

    Captures larger than `sentwhole.SEARCHED` are not searched.
    """
    found: dict[str, str] = {}
    for match in sentwhole.matches(stream, _BANNER, _BANNER_MAX):
        found.setdefault(match[0].decode("ascii"), match[1].decode("ascii"))
        if len(found) >= BANNERS:
            break
    return tuple((release, text) for text, release in found.items())


def _windows_as_json(found: Windows) -> dict[str, Any]:
    return {
        "version": found.version,
        "build": found.build,
        "product": found.product,
        "system_root": found.root,
        "kernel_base": found.base,
        "evidence": list(found.evidence),
    }


def as_json(guest: Guest) -> dict[str, Any]:
    """The guest as JSON has it."""
    return {
        "release": guest.release,
        "banner": guest.banner,
        "build_id": guest.build_id,
        "kaslr_offset": guest.kaslr_offset,
        "phys_base": guest.phys_base,
        "evidence": list(guest.evidence),
        "windows": _windows_as_json(guest.windows) if guest.windows is not None else None,
        "cpus": [
            {
                "number": cpu.number,
                "machine": cpu.machine.name.lower(),
                "pc": next((cpu.registers[n] for n in _COUNTERS if n in cpu.registers), None),
                "cr3": cpu.registers.get("cr3") if cpu.mode is not None else None,
                "mode": cpu.mode,
            }
            for cpu in guest.cpus
        ],
    }


def words(who: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What guest it is, and where its CPUs are: label and value of each line, of a guest as JSON has it."""
    lines = []
    if who["release"] is not None:
        lines.append(("guest", f"Linux {who['release']}, by {'; '.join(who['evidence'])}"))
        if who["banner"] is not None:
            lines.append(("", who["banner"]))
        offsets = [
            f"{name} {value:#x}"
            for name, value in (("KASLR offset", who["kaslr_offset"]), ("phys_base", who["phys_base"]))
            if value is not None
        ]
        lines += [("", ", ".join(offsets))] if offsets else []
    if (found := who["windows"]) is not None:
        build = f" build {found['build']}" if found["build"] is not None else ""
        product = f", {found['product']}" if found["product"] is not None else ""
        lines.append(("guest", f"Windows {found['version']}{build}{product}, by {'; '.join(found['evidence'])}"))
        base = f", kernel at {found['kernel_base']:#x}" if found["kernel_base"] is not None else ""
        lines.append(("", f"{found['system_root']}{base}"))
    for cpu in who["cpus"][:CPUS_MAX]:
        state = [f"at {cpu['pc']:#x}" if cpu["pc"] is not None else "", cpu["mode"] or cpu["machine"]]
        state += [f"CR3 {cpu['cr3']:#x}"] if cpu["cr3"] else []
        lines.append((f"CPU {cpu['number']}", ", ".join(filter(None, state))))
    if len(who["cpus"]) > CPUS_MAX:
        lines.append(("", f"and {len(who['cpus']) - CPUS_MAX} CPUs more"))
    return lines
