"""Edits of a multifd channel's packets and of a mapped-ram file, and what a real QEMU says of them."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from tests.qemu.edits import TIMEOUT, Said, said_of
from tests.qemu.guest import RAM, Emulator, boot_sector

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
        connections: list[socket.socket] = []
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
    connections.append(qmp)
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
            one.connect(os.fspath(incoming))
            connections.append(one)
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
