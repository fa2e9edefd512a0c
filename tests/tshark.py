"""tshark with the dissector in formats/wireshark, as another user than root where tests run as root."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "formats" / "wireshark" / "qemu_migration.lua"
ROOTS = Path(os.environ.get("XBRLE_QEMU_ROOTS") or Path.home() / ".cache" / "xbrletools" / "qemu")
NOBODY = 65534


@dataclass(frozen=True)
class Shark:
    """A tshark: its version, and how it is started."""

    version: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def _as_nobody() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def _started(command: tuple[str, ...], environment: tuple[tuple[str, str], ...]) -> Shark | None:
    done = subprocess.run(
        [*_as_nobody(), *command, "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | dict(environment),
    )
    words = done.stdout.split()
    return Shark(words[2].rstrip("."), command, environment) if done.returncode == 0 and len(words) > 2 else None


@cache
def sharks() -> tuple[Shark, ...]:
    """Every tshark that is here: the machine's own, and those in roots of newer Debians."""
    found = []
    if own := shutil.which("tshark"):
        found.append(_started((own,), ()))
    for root in sorted(ROOTS.glob("*")):
        program, libraries = root / "usr" / "bin" / "tshark", root / "usr" / "lib" / "x86_64-linux-gnu"
        if program.exists():
            loader = root / "lib64" / "ld-linux-x86-64.so.2"
            command = (str(loader), "--library-path", str(libraries), str(program))
            environment = (("WIRESHARK_DATA_DIR", str(root / "usr" / "share" / "wireshark")),)
            found.append(_started(command, environment))
    return tuple(s for s in found if s is not None)


FIELDS = ("kind", "offset", "block", "page", "length", "runs", "changed")


def dissected(shark: Shark, dump: bytes, *options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Every PDU of a dump, as fields of the dissector, and the marks."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        (place / "dump").write_bytes(dump)
        shutil.copy(SCRIPT, place / "it.lua")
        for file in place.iterdir():
            file.chmod(0o644)
        command = [*_as_nobody(), *shark.command, "-X", f"lua_script:{place / 'it.lua'}", *options]
        command += ["-r", str(place / "dump"), "-Y", "qemu_mig", "-T", "json", "--no-duplicate-keys", "-J", "qemu_mig"]
        done = subprocess.run(
            command,
            capture_output=True,
            env=os.environ | dict(shark.environment) | {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"},
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert b"Lua" not in done.stderr and b"lua" not in done.stderr, done.stderr.decode()[-2000:]
    marks: list[str] = []
    pdus: list[dict[str, Any]] = []
    for packet in json.loads(done.stdout.decode("utf-8", "replace")):
        found = packet["_source"]["layers"].get("qemu_mig", [])
        for layer in found if isinstance(found, list) else [found]:
            _collect(layer, pdus, marks)
    return pdus, marks


def _collect(layer: Any, pdus: list[dict[str, Any]], marks: list[str]) -> None:
    if not isinstance(layer, dict):
        return
    flat: dict[str, Any] = {}
    _flatten(layer, flat, marks)
    if flat:
        pdus.append(flat)


def _flatten(layer: Any, flat: dict[str, Any], marks: list[str]) -> None:
    for name, value in layer.items():
        if name == "_ws.expert":
            every = value if isinstance(value, list) else [value]
            marks += [one.get("_ws.expert.message", "") for one in every]
        elif isinstance(value, dict):
            _flatten(value, flat, marks)
        elif name.startswith("qemu_mig."):
            flat.setdefault(name.removeprefix("qemu_mig."), value)
