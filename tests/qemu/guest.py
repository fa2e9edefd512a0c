"""A real QEMU with a guest of this project's own: a boot sector that keeps changing some pages."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = "qemu-system-x86_64"
ROOTS = Path(os.environ.get("XBRLE_QEMU_ROOTS") or Path.home() / ".cache" / "xbrletools" / "qemu")
RAM = 16 << 20
FIRST, END = 0x2000, 0x8000  # segments of the pages that the guest changes
DEADLINE = 120  # seconds after which a step counts as hung


@dataclass(frozen=True)
class Emulator:
    """A QEMU that is here: its version, and how it is started. ``root`` is the other system's that it stands in."""

    version: tuple[int, ...]
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    root: Path | None = None

    @property
    def label(self) -> str:
        """The version as it is written, like 10.0.13."""
        return ".".join(map(str, self.version))


def version_of(command: tuple[str, ...], environment: dict[str, str]) -> tuple[int, ...] | None:
    """What ``--version`` answers, or None where the program does not start."""
    done = subprocess.run(
        [*command, "--version"], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else None


def in_root(root: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """How the QEMU of another Debian's root is started, with that root's loader, libraries, modules and firmware.

    It needs neither chroot nor any right, and sees the files of this machine under their own names.
    """
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    share = root / "usr" / "share"
    loader = root / "lib64" / "ld-linux-x86-64.so.2"
    command = (str(loader), "--library-path", str(libraries), str(root / "usr" / "bin" / PROGRAM))
    firmware = ("-L", str(share / "qemu"), "-L", str(share / "seabios"))
    return (*command, *firmware), {"QEMU_MODULE_DIR": str(libraries / "qemu")}


def emulators() -> Iterator[Emulator]:
    """Every QEMU that can be found: the machine's own, then those in the roots that .ci/install-tools made."""
    own = shutil.which(PROGRAM)
    roots = [root for root in sorted(ROOTS.glob("*")) if (root / "usr" / "bin" / PROGRAM).exists()]
    places = [((own,), {}, None)] if own else []
    for command, environment, root in (*places, *((*in_root(r), r) for r in roots)):
        version = version_of(command, environment)
        if version is not None:
            yield Emulator(version, command, environment, root)


EMULATORS = sorted(emulators(), key=lambda emulator: emulator.version)


def boot_sector() -> bytes:
    """Real-mode code, then the signature that makes a BIOS start it.

    It goes round the pages from FIRST to END, writing a counter at each page's start and adding it up at 0x210. Every
    eighth round it clears a page. Before each page it changes CR0.WP, which empties the TLB: QEMU's translator before
    9.0 loses writes through entries that are older than the migration's last look at the dirty bitmap. Interrupts
    stay off, so that nothing else writes.
    """
    page = (
        b"\x0f\x20\xc0"  # mov eax, cr0
        b"\x66\x35\x00\x00\x01\x00"  # xor eax, 0x10000
        b"\x0f\x22\xc0"  # mov cr0, eax
        b"\x8e\xc1"  # mov es, cx
        b"\x89\xd8"  # mov ax, bx
        b"\x01\xc8"  # add ax, cx
        b"\x26\xa3\x00\x00"  # mov es:[0], ax
        b"\x26\x01\x06\x10\x02"  # add es:[0x210], ax
        b"\x81\xc1\x00\x01"  # add cx, 0x100
        b"\x81\xf9" + END.to_bytes(2, "little")  # cmp cx, END
    )
    page += b"\x72" + (-len(page) - 2 & 0xFF).to_bytes(1, "little")  # jb page
    clear = (
        b"\xf6\xc3\x07"  # test bl, 7
        b"\x75\x0d"  # jnz over
        b"\xb9\x00\x08"  # mov cx, 0x800
        b"\x31\xc0"  # xor ax, ax
        b"\x31\xff"  # xor di, di
        b"\x90\x90\x90\x90"  # nop
        b"\xf3\xab"  # rep stosw: the page of the last segment
    )
    wait = b"\xb9\x00\x40\xe2\xfe"  # mov cx, 0x4000; loop $
    body = b"\xb9" + FIRST.to_bytes(2, "little") + page + b"\x43" + clear + wait  # mov cx, FIRST ... inc bx
    code = b"\xfa\xfc\x31\xdb" + body  # cli; cld; xor bx, bx
    code += b"\xe9" + (-len(body) - 3 & 0xFFFF).to_bytes(2, "little")  # jmp round
    return code.ljust(510, b"\0") + b"\x55\xaa"


class Machine:
    """One QEMU process, its QMP connection, and its RAM as a file, unless it is to have ``own_memory``."""

    def __init__(self, emulator: Emulator, folder: Path, name: str, *more: str, own_memory: bool = False) -> None:
        self.ram = folder / f"{name}.ram"
        boot = folder / "boot.img"
        boot.write_bytes(boot_sector())
        # a Unix socket's path has little room
        self._sockets = tempfile.TemporaryDirectory(dir="/tmp")
        path = Path(self._sockets.name) / "qmp"
        backend = f"memory-backend-file,id=pc.ram,size={RAM},mem-path={self.ram},share=on"
        backend += ",x-use-canonical-path-for-ramblock-id=off"
        memory = () if own_memory else ("-object", backend, "-machine", "memory-backend=pc.ram")
        command = [*emulator.command, "-accel", "tcg", "-m", str(RAM >> 20), "-nodefaults", "-display", "none"]
        command += ["-net", "none", "-machine", "pc", *memory]
        command += ["-drive", f"file={boot},format=raw,if=ide,snapshot=on"]
        command += ["-qmp", f"unix:{path},server=on,wait=off", *more]
        self.process = subprocess.Popen(
            command,
            env=os.environ | emulator.environment,
            stdin=subprocess.DEVNULL,
        )
        self._qmp = self._connect(path)
        self._answers = self._qmp.makefile("r")
        self._answers.readline()
        self.command("qmp_capabilities")

    def _connect(self, path: Path) -> socket.socket:
        for _ in self.patiently("listen"):
            one = socket.socket(socket.AF_UNIX)
            try:
                one.connect(os.fspath(path))
            except OSError:
                one.close()
                continue
            one.settimeout(DEADLINE)
            return one
        raise AssertionError("unreachable")

    def patiently(self, what: str):
        """Tries some times a second, until the deadline."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            assert self.process.poll() is None, "QEMU has ended"
            yield
            time.sleep(0.05)
        raise AssertionError(f"QEMU did not {what}")

    def command(self, name: str, **arguments: Any) -> Any:
        """One QMP command. Returns what it answers."""
        self._qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self._answers.readline())
            if "error" in answer:
                raise AssertionError(f"{name}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def memory(self) -> np.ndarray:
        """The guest's RAM as it is, (pages, 4096) uint8."""
        return np.fromfile(self.ram, np.uint8).reshape(-1, 4096)

    def allow(self, capabilities: list[str], **parameters: Any) -> None:
        """Set what a migration may use, and how."""
        states = [{"capability": c, "state": True} for c in capabilities]
        self.command("migrate-set-capabilities", capabilities=states)
        self.command("migrate-set-parameters", **parameters)

    def migrate(self, uri: str, capabilities: list[str], postcopy: bool = False, **parameters: Any) -> dict[str, Any]:
        """Migrate while the guest keeps working, some rounds, and then to the end. Gives query-migrate's answer."""
        slow = 1 << 20 if postcopy else 4 << 20  # too slow to end before postcopy begins
        self.allow(capabilities, **{"max-bandwidth": slow, "downtime-limit": 1, **parameters})
        self.command("migrate", uri=uri)
        about: dict[str, Any] = {}
        for _ in self.patiently("finish the migration"):
            about = self.command("query-migrate")
            assert about.get("status") not in ("failed", "cancelled"), about
            if about.get("status") == "completed":
                return about
            rounds = about.get("ram", {}).get("dirty-sync-count", 0)
            if rounds >= (2 if postcopy else 5) and about["status"] == "active":
                if postcopy:
                    self.command("migrate-start-postcopy")
                else:
                    self.command("migrate-set-parameters", **{"max-bandwidth": 1 << 30, "downtime-limit": 2000})
        return about

    def close(self) -> None:
        self._answers.close()
        self._qmp.close()
        self.process.kill()
        self.process.wait()
        self._sockets.cleanup()
