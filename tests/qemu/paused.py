"""A real QEMU of any target whose guest never runs. Registers and memory are set through the port for debuggers."""

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DEADLINE = 60  # seconds after which a step counts as hung


class Paused:
    """One QEMU process, its QMP connection, and its port for debuggers."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        qmp, gdb = folder / "qmp", folder / "gdb"
        ports = ("-qmp", f"unix:{qmp},server=on,wait=off", "-chardev", f"socket,path={gdb},server=on,wait=off,id=gdb")
        self.process = subprocess.Popen(
            [*command, "-display", "none", "-nodefaults", *ports, "-gdb", "chardev:gdb"],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._gdb = self._connect(gdb)
        self._qmp = self._connect(qmp)
        self._answers = self._qmp.makefile("r")
        self._answers.readline()
        self.command("qmp_capabilities")

    def _connect(self, path: Path) -> socket.socket:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            one = socket.socket(socket.AF_UNIX)
            try:
                one.connect(os.fspath(path))
            except OSError:
                one.close()
                time.sleep(0.05)
                continue
            one.settimeout(DEADLINE)
            return one
        raise AssertionError("QEMU does not listen")

    def command(self, name: str, **arguments: Any) -> Any:
        """One QMP command. Returns what it answers."""
        self._qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self._answers.readline())
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]

    def monitor(self, line: str) -> str:
        """What the monitor for people answers."""
        return self.command("human-monitor-command", **{"command-line": line})

    def migrate(self, path: Path) -> None:
        """Migrate into a file."""
        self.command("migrate", uri=f"exec:cat > {path}")
        self.until(lambda: self.command("query-migrate").get("status") in ("completed", "failed"))
        assert self.command("query-migrate")["status"] == "completed"

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + DEADLINE
        while not true():
            assert time.monotonic() < end, "it never came so far"
            time.sleep(0.05)

    # -- the debugger's port ------------------------------------------------------------------------------------------

    def packet(self, text: str) -> str:
        """One packet of gdb's remote protocol. Returns the answer."""
        self._gdb.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())
        got = b""
        while not (found := re.search(rb"\$([^#]*)#[0-9a-f]{2}", got)):
            part = self._gdb.recv(1 << 16)
            assert part, "QEMU has ended"
            got += part
        self._gdb.sendall(b"+")
        return found[1].decode()

    def registers(self) -> dict[str, int]:
        """The numbers of the registers that can be set, by name."""
        self.packet("qSupported:xmlRegisters=i386")
        numbers: dict[str, int] = {}
        at = 0
        for part in re.findall(r'href="([^"]+)"', self._document("target.xml")):
            for element in re.findall(r"<reg [^>]+>", self._document(part)):
                given = re.search(r'regnum="(\d+)"', element)
                at = int(given[1]) if given else at
                numbers.setdefault(re.search(r'name="([^"]+)"', element)[1], at)
                at += 1
        return numbers

    def _document(self, name: str) -> str:
        text = ""
        while True:
            part = self.packet(f"qXfer:features:read:{name}:{len(text):x},ff0")
            text += part[1:]
            if part[:1] != "m":
                return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)

    def set(self, number: int, value: bytes) -> bool:
        """Set a register. Gives false where QEMU does not let it be set."""
        return self.packet(f"P{number:x}={value.hex()}") == "OK"

    def length(self, number: int) -> int:
        """The bytes of a register, 0 where it cannot be read."""
        answer = self.packet(f"p{number:x}")
        return 0 if answer.startswith("E") else len(answer) // 2

    def write(self, address: int, data: bytes) -> None:
        """Write guest-physical memory."""
        assert self.packet("Qqemu.PhyMemMode:1") == "OK"
        for at in range(0, len(data), 1024):
            part = data[at : at + 1024]
            assert self.packet(f"M{address + at:x},{len(part):x}:{part.hex()}") == "OK"

    def close(self) -> None:
        self._answers.close()
        self._qmp.close()
        self._gdb.close()
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def paused(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Paused]:
    """A QEMU that is ended with the block."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a Unix socket's path has little room
        one = Paused(command, Path(folder), environment or {})
        try:
            yield one
        finally:
            one.close()
