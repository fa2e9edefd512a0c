"""A running QEMU asked over its QMP socket: what it has as a destination.

A QEMU that was started with -S and without -incoming is asked to save itself: it migrates into a socket of ours, and
that stream says exactly which sections it has. Else its object tree is asked, which says less.
"""

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from ..analysis.destination import Description

TIMEOUT = 60.0  # seconds that one answer may take
LINE_MAX = 1 << 24  # bytes of one answer
PIECE = 1 << 20  # bytes that are read of a stream at once
WAITS = "inmigrate"  # the state of a guest that waits for a migration
NEW = "prelaunch"  # the state of a guest that never ran
_BLOCK = re.compile(r"^\s*(\S+)\s+\S+ \S+\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)\s+(0x[0-9a-f]+)", re.IGNORECASE)
_MACHINE_TYPE = "-machine"


class QmpError(Exception):
    """QEMU did not answer, or refused a command."""


class Qmp:
    """A connection to a QMP socket, by its path.

    Raises:
        QmpError: it cannot be opened, or nobody speaks QMP there.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise QmpError(f"{path}: {error.strerror or error}") from None
        self._answers: BinaryIO = self._socket.makefile("rb")
        greeting = self._read()
        if "QMP" not in greeting:
            raise QmpError(f"{path}: what answers there does not speak QMP")
        self.command("qmp_capabilities")

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()

    def command(self, name: str, **arguments: Any) -> Any:
        """Run one command, and give what it returns.

        Raises:
            QmpError: QEMU refuses it, or does not answer.
        """
        try:
            self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{name}: {error}") from None
        while True:
            answer = self._read()
            if "error" in answer:
                about = answer["error"]
                raise QmpError(f"{name}: {about.get('desc') if isinstance(about, dict) else about}")
            if "return" in answer:
                return answer["return"]

    def _read(self) -> dict[str, Any]:
        try:
            line = self._answers.readline(LINE_MAX)
            found = json.loads(line) if line else None
        except (OSError, ValueError, RecursionError) as error:
            raise QmpError(f"QEMU's answer cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise QmpError("QEMU has closed the connection")
        return found


@contextmanager
def connected(path: str) -> Iterator[Qmp]:
    """A connection that is closed with the block.

    Raises:
        QmpError: there is none to be had.
    """
    qmp = Qmp(path)
    try:
        yield qmp
    finally:
        qmp.close()


def described(qmp: Qmp, path: str) -> Description:
    """What the QEMU says of itself.

    Raises:
        QmpError: it does not answer as QEMU does.
    """
    try:
        return _described(qmp, path)
    except (TypeError, KeyError, AttributeError) as error:
        raise QmpError(f"an answer has another form than QEMU's: {error!r}") from None


def _described(qmp: Qmp, path: str) -> Description:
    number = qmp.command("query-version")["qemu"]
    machine = str(qmp.command("qom-get", path="/machine", property="type"))
    cpus = qmp.command("query-cpus-fast")
    switched_on = [c["capability"] for c in qmp.command("query-migrate-capabilities") if c["state"]]
    return Description(
        sources=(f"QMP: {path}",),
        version=(int(number["major"]), int(number["minor"]), int(number["micro"])),
        machine=machine.removesuffix(_MACHINE_TYPE),
        cpu=str(cpus[0]["qom-type"]) if cpus and "qom-type" in cpus[0] else _cpu_type(qmp, cpus),
        cpus=len(cpus),
        uuid=str(qmp.command("query-uuid")["UUID"]),
        blocks=_blocks(qmp),
        backends={str(m.get("id")): int(m["size"]) for m in qmp.command("query-memdev")},
        capabilities=frozenset(map(str, switched_on)),
        pci=_pci(qmp),
    )


def _cpu_type(qmp: Qmp, cpus: Any) -> str | None:
    with suppress(QmpError, LookupError, TypeError):
        return str(qmp.command("qom-get", path=cpus[0]["qom-path"], property="type"))
    return None


def _blocks(qmp: Qmp) -> dict[str, int] | None:
    """RAM blocks with the lengths that they have now, by the monitor's `info ramblock`."""
    with suppress(QmpError):
        text = str(qmp.command("human-monitor-command", **{"command-line": "info ramblock"}))
        found = [_BLOCK.match(line) for line in text.splitlines()]
        return {m[1]: int(m[2], 16) for m in found if m is not None} or None
    return None


def _pci(qmp: Qmp) -> frozenset[str] | None:
    """The addresses of PCI devices on the first bus, as sections are named after them."""
    with suppress(QmpError):
        buses = qmp.command("query-pci")
        return frozenset(
            f"0000:{int(bus['bus']):02x}:{int(device['slot']):02x}.{int(device['function'])}"
            for bus in buses
            for device in bus["devices"]
        )
    return None


# -- the exact answer --------------------------------------------------------------------------------------------------


def can_save_itself(qmp: Qmp) -> bool:
    """Whether it can be asked to migrate away: its guest never ran, and it does not wait for a migration.

    Raises:
        QmpError: it does not answer.
    """
    return bool(qmp.command("query-status").get("status") == NEW)


@contextmanager
def saved(qmp: Qmp) -> Iterator[Path]:
    """Have a QEMU whose guest never ran save itself. Gives the file with its stream, which goes with the block.

    Raises:
        QmpError: it does not, or cannot reach our socket.
    """
    with tempfile.TemporaryDirectory(prefix="xbrle-") as folder:
        Path(folder).chmod(0o755)
        path, file = Path(folder) / "s", Path(folder) / "stream"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.settimeout(TIMEOUT)
            listening.bind(os.fspath(path))
            path.chmod(0o777)
            listening.listen(1)
            qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 33})
            qmp.command("migrate", uri=f"unix:{path}")
            try:
                one, _ = listening.accept()
                with one, file.open("wb") as out:
                    one.settimeout(TIMEOUT)
                    while piece := one.recv(PIECE):
                        out.write(piece)
            except OSError as error:
                raise QmpError(f"it does not save itself: {error}") from None
        yield file


def with_devices(asked: Description, captured: Description) -> Description:
    """What QMP says, with the blocks and devices of the stream that the same QEMU wrote."""
    return replace(asked, devices=captured.devices, blocks=captured.blocks or asked.blocks)
