"""tshark with the dissector in formats/exports, as another user than root where tests run as root."""

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
SCRIPT = ROOT / "formats" / "exports" / "qemu_migration.lua"
ROOTS = Path(os.environ.get("XBRLE_QEMU_ROOTS") or Path.home() / ".cache" / "xbrletools" / "qemu")
NOBODY = 65534


@dataclass(frozen=True)
class Shark:
    """A tshark: its version, and how it is started. ``root`` is the folder that it takes for /, if it has one."""

    version: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    root: Path = Path("/")


def _started(command: tuple[str, ...], environment: tuple[tuple[str, str], ...], root: Path) -> Shark | None:
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=False, env=os.environ | dict(environment)
    )
    words = done.stdout.split()
    return Shark(words[2].rstrip("."), command, environment, root) if done.returncode == 0 and len(words) > 2 else None


@cache
def sharks() -> tuple[Shark, ...]:
    """Every tshark that is here: the machine's own, and those in roots of newer Debians.

    Root starts them as nobody. A root lies in root's own folder, into which nobody cannot look: there chroot leads.
    """
    as_root = os.geteuid() == 0
    found = []
    if own := shutil.which("tshark"):
        nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if as_root else ()
        found.append(_started((*nobody, own), (), Path("/")))
    for root in sorted(ROOTS.glob("*")):
        program, libraries = root / "usr" / "bin" / "tshark", root / "usr" / "lib" / "x86_64-linux-gnu"
        if not program.exists():
            continue
        if as_root:
            command = ("chroot", f"--userspec={NOBODY}:{NOBODY}", str(root), "/usr/bin/tshark")
            found.append(_started(command, (), root))
        else:
            loader = root / "lib64" / "ld-linux-x86-64.so.2"
            command = (str(loader), "--library-path", str(libraries), str(program))
            data = ("WIRESHARK_DATA_DIR", str(root / "usr" / "share" / "wireshark"))
            found.append(_started(command, (data,), Path("/")))
    return tuple(s for s in found if s is not None)


def dissected(shark: Shark, dump: bytes, *options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Every PDU of a dump, as fields of the dissector, and the marks."""
    out = _run(shark, dump, *options, "-T", "json", "--no-duplicate-keys", "-J", "qemu_mig")
    marks: list[str] = []
    pdus: list[dict[str, Any]] = []
    for packet in json.loads(out.decode("utf-8", "replace")):
        found = packet["_source"]["layers"].get("qemu_mig", [])
        for layer in found if isinstance(found, list) else [found]:
            _collect(layer, pdus, marks)
    return pdus, marks


def columns(shark: Shark, dump: bytes, names: tuple[str, ...], *options: str) -> dict[str, list[str]]:
    """All values of some fields in a dump, each field's in their order, and those of ``_ws.expert.message``."""
    wanted = {n: f"qemu_mig.{n}" for n in names} | {"marks": "_ws.expert.message"}
    fields = [word for name in wanted.values() for word in ("-e", name)]
    out = _run(shark, dump, *options, "-T", "fields", "-E", "aggregator=;", *fields).decode("utf-8", "replace")
    rows = [line.split("\t") for line in out.splitlines()]
    return {n: [v for row in rows for v in row[i].split(";") if v] for i, n in enumerate(wanted)}


def _run(shark: Shark, dump: bytes, *options: str) -> bytes:
    """What tshark prints of the packets that the dissector takes."""
    with tempfile.TemporaryDirectory(dir=None if shark.root == Path("/") else shark.root / "tmp") as folder:
        place = Path(folder)
        inside = Path("/") / place.relative_to(shark.root)
        place.chmod(0o755)
        (place / "dump").write_bytes(dump)
        shutil.copy(SCRIPT, place / "it.lua")
        for file in place.iterdir():
            file.chmod(0o644)
        command = [*shark.command, "-X", f"lua_script:{inside / 'it.lua'}", *options]
        command += ["-r", str(inside / "dump"), "-Y", "qemu_mig"]
        done = subprocess.run(
            command,
            capture_output=True,
            env=os.environ | dict(shark.environment) | {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"},
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert b"Lua" not in done.stderr and b"lua" not in done.stderr, done.stderr.decode()[-2000:]
    return done.stdout


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
