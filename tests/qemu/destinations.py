"""Pairs of a source and a destination that differ in one thing, each asked of real QEMUs and of `xbrle check`."""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from construct import Int32ub

import xbrletools
from tests.qemu.edits import TIMEOUT, Said, ask, name
from tests.qemu.guest import PROGRAM, Emulator
from xbrletools.analysis.check import Answer, check
from xbrletools.analysis.destination import of_capture
from xbrletools.net.qmp import connected, described, saved, with_devices
from xbrletools.verify.receivers import RECEIVERS

MACHINE = "pc-i440fx-7.2"
CARD = ("-device", "e1000,addr=0x5,romfile=")


@dataclass(frozen=True)
class Pair:
    """A source and a destination, by their options. ``edit`` changes the stream on the way.

    ``plugged`` is a device that is plugged into the source. ``capabilities`` are switched on at the source.
    ``dumps``: the description also has what -dump-vmstate writes. ``loads`` is what to expect of versions before
    ``refused_since``.
    """

    title: str
    source: tuple[str, ...]
    destination: tuple[str, ...]
    loads: bool
    machine: str = MACHINE
    edit: Callable[[bytes], bytes] | None = None
    plugged: tuple[tuple[str, str], ...] = ()
    capabilities: tuple[str, ...] = ()
    dumps: bool = False
    refused_since: tuple[int, ...] = (99,)


def with_subsection(data: bytes) -> bytes:
    """The network card's state with a subsection that no QEMU knows."""
    card = next(s for s in xbrletools.open(data).sections if s.owner is not None and s.owner.idstr.endswith(b"e1000"))
    return data[: card.end] + b"\x05" + name(b"e1000/nosuch") + Int32ub.build(1) + data[card.end :]


def with_version(data: bytes) -> bytes:
    """The network card's state as a newer QEMU would number it."""
    card = next(s for s in xbrletools.open(data).sections if s.owner is not None and s.owner.idstr.endswith(b"e1000"))
    return data[: card.data - 4] + Int32ub.build(9) + data[card.data :]


def without_device(data: bytes) -> bytes:
    """The stream without the network card's section."""
    card = next(s for s in xbrletools.open(data).sections if s.owner is not None and s.owner.idstr.endswith(b"e1000"))
    return data[: card.offset] + data[card.end + 5 :]


PAIRS = (
    Pair("the same", CARD, CARD, True),
    Pair("another machine version", (), (), False, machine="pc-i440fx-7.1"),
    Pair("another board", (), (), False, machine="pc-q35-7.2"),
    Pair("a missing device", CARD, (), False),
    Pair("one device more", (), CARD, True),
    Pair("a device in another slot", CARD, ("-device", "e1000,addr=0x6,romfile="), False),
    Pair("another device in the slot", CARD, ("-device", "rtl8139,addr=0x5,romfile="), False),
    Pair("less memory", ("-m", "32"), ("-m", "16"), False),
    Pair("more memory", ("-m", "16"), ("-m", "24"), False),
    Pair("another CPU model", ("-cpu", "qemu64"), ("-cpu", "Nehalem"), True),
    Pair("fewer CPUs", ("-smp", "2"), ("-smp", "1"), False),
    Pair("more CPUs", ("-smp", "1"), ("-smp", "2"), True, refused_since=(11,)),  # piix4_pm has a row of them since
    Pair("a subsection that the destination lacks", CARD, CARD, False, edit=with_subsection, dumps=True),
    Pair("a newer version of a device", CARD, CARD, False, edit=with_version),
    Pair("a device whose section is missing", CARD, CARD, True, edit=without_device),
    Pair(
        "a hot-plugged device that is absent",
        (),
        (),
        False,
        plugged=(("driver", "e1000"), ("id", "hot"), ("romfile", "")),
    ),
    Pair("a capability that must agree", (), (), False, capabilities=("x-ignore-shared",)),
    Pair("another amount of video memory", ("-device", "VGA,vgamem_mb=16"), ("-device", "VGA,vgamem_mb=8"), False),
    Pair("a serial port less", ("-serial", "null"), (), False),
)


def _options(machine: str, more: tuple[str, ...]) -> tuple[str, ...]:
    memory = () if "-m" in more else ("-m", "16")
    return "-M", machine, *memory, "-nodefaults", *more


class Waiting:
    """A QEMU that waits at -S, and its QMP socket."""

    def __init__(self, emulator: Emulator, options: tuple[str, ...]) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.socket = str(Path(self._folder.name) / "qmp")
        quiet = ("-display", "none", "-accel", "tcg", "-S", "-qmp", f"unix:{self.socket},server=on,wait=off")
        self.process = subprocess.Popen(
            [*emulator.command, *quiet, *options],
            env=os.environ | emulator.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            assert self.process.poll() is None, "QEMU has ended"
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
                one.connect(self.socket)
                break
            time.sleep(0.02)

    def orders(self, *orders: tuple[str, dict]) -> list:
        """Run QMP commands. Gives what they return."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(TIMEOUT)
            one.connect(self.socket)
            answers, out = one.makefile("r"), []
            answers.readline()
            for order, arguments in (("qmp_capabilities", {}), *orders):
                one.sendall(json.dumps({"execute": order, "arguments": arguments}).encode())
                answer = json.loads(answers.readline())
                while "event" in answer:
                    answer = json.loads(answers.readline())
                assert "return" in answer, answer
                out.append(answer["return"])
            return out[1:]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()


@contextlib.contextmanager
def waiting(emulator: Emulator, machine: str, more: tuple[str, ...]) -> Iterator[Waiting]:
    """A QEMU that waits, and is ended with the block."""
    one = Waiting(emulator, _options(machine, more))
    try:
        yield one
    finally:
        one.close()


def stream_of(pair: Pair, emulator: Emulator, path: Path, machine: str = MACHINE) -> Path:
    """What the source of a pair writes, and what becomes of it on the way."""
    with waiting(emulator, machine, pair.source) as source:
        if pair.plugged:
            source.orders(("device_add", dict(pair.plugged)))
        states = [{"capability": c, "state": True} for c in pair.capabilities]
        source.orders(
            ("migrate-set-capabilities", {"capabilities": states}), ("migrate", {"uri": f"exec:cat > {path}"})
        )
        end = time.monotonic() + TIMEOUT
        while source.orders(("query-migrate", {}))[0].get("status") != "completed":
            assert time.monotonic() < end
            time.sleep(0.05)
    if pair.edit is not None:
        path.write_bytes(pair.edit(path.read_bytes()))
    return path


def real(pair: Pair, emulator: Emulator, stream: Path) -> Said:
    """What the destination of a pair says of a stream."""
    return ask(emulator, stream, *_options(pair.machine, pair.destination), quiet=False)


def dumped(machine: str, emulator: Emulator, path: Path) -> Path | None:
    """What a machine's program writes for -dump-vmstate. None where it cannot be had.

    It goes through every module that there is. One in another root would find those of this machine in the place of
    its own, which end it: so it runs with that root as its own.
    """
    audio = ("-audio", "none") if emulator.version >= (8,) else ()
    options = ("-display", "none", *audio, "-M", machine, "-dump-vmstate")
    if emulator.root is None:
        command = [*emulator.command, *options, str(path)]
        done = subprocess.run(command, env=os.environ | emulator.environment, check=False, capture_output=True)
        return path if done.returncode == 0 else None
    with tempfile.TemporaryDirectory(dir=emulator.root / "tmp") as folder:
        inside = Path("/tmp") / Path(folder).name / "dump"
        own = ("unshare", "--map-root-user", "chroot", str(emulator.root), f"/usr/bin/{PROGRAM}")
        done = subprocess.run([*own, *options, str(inside)], check=False, capture_output=True)
        if done.returncode == 0:
            path.write_bytes((Path(folder) / "dump").read_bytes())
    return path if done.returncode == 0 else None


def answered(pair: Pair, emulator: Emulator, folder: Path) -> tuple[Answer, Said]:
    """What `check` answers of a pair, and what the real destination says."""
    stream = stream_of(pair, emulator, folder / "S")
    with waiting(emulator, pair.machine, pair.destination) as target, connected(target.socket) as asked:
        about = described(asked, target.socket)
        with saved(asked) as own, xbrletools.open(own) as capture:
            about = with_devices(about, of_capture(capture.stream))
    with xbrletools.open(stream) as capture:
        receiver = RECEIVERS[f"qemu-{emulator.version[0]}.{emulator.version[1]}"]
        answer = check(capture.stream, about, receiver)
    return answer, real(pair, emulator, stream)


__all__ = ["CARD", "PAIRS", "Pair", "answered", "dumped", "real", "stream_of", "waiting", "with_version"]
