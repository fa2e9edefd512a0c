"""What a real QEMU makes of edited channels of multifd and of edited mapped-ram files, against what its receiver says.

`python -m tests.qemu --channels` asks about every edit. A QEMU that gives a channel up often hangs, which takes time.
"""

import random
from pathlib import Path

import pytest

import xbrletools
from tests.qemu.channel_edits import CHANNEL_EDITS, Channels, ask_channels, mapped_edits, written
from tests.qemu.guest import EMULATORS, Emulator
from tests.qemu.kinds import KINDS, MAPPED, recorded
from xbrletools.errors import XbrleError
from xbrletools.verify.receivers import RECEIVERS, Destination, outcome

pytestmark = pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it")
IN_THE_GATE = ("whole", "channel's version", "another number", "page beyond")
FIRST_NAME = b"\x06pc.ram"


def channels_of(emulator: Emulator, folder: Path) -> list[bytes]:
    """The files of a migration over channels, the main one first."""
    main, others, _ = recorded(next(k for k in KINDS if k.name == "multifd"), emulator, folder)
    return [p.read_bytes() for p in (main, *others)]


def mapped_of(emulator: Emulator, folder: Path) -> bytes:
    """A mapped-ram file."""
    return recorded(next(k for k in KINDS if k.name == "mapped-ram"), emulator, folder)[0].read_bytes()


def ours_of(emulator: Emulator, paths: list[Path], capability: str):
    """What the receiver of an emulator's version says. None where it is not asked, since this is not a stream."""
    receiver = RECEIVERS["qemu-" + ".".join(map(str, emulator.version[:2]))]
    try:
        capture = xbrletools.open(paths[0], channels=paths[1:])
        return outcome(capture.stream, capture.verify(), receiver, Destination(capabilities=frozenset([capability])))
    except XbrleError:
        return None


def channel_difference(name: str, seed: int, emulator: Emulator, files: list[bytes], folder: Path) -> str | None:
    """What QEMU and its receiver say of an edit of channels, where that is not the same."""
    paths = written(CHANNEL_EDITS[name](Channels(files, folder, random.Random(seed))), folder)
    return _compared(name, emulator, paths, "multifd", None, {"multifd-channels": len(files) - 1})


def mapped_difference(name: str, emulator: Emulator, data: bytes, folder: Path) -> str | None:
    """The same of an edit of a mapped-ram file."""
    at = data.index(FIRST_NAME) + len(FIRST_NAME) + 8
    paths = written([mapped_edits(data, at)[name]], folder)
    return _compared(name, emulator, paths, "mapped-ram", f"file:{paths[0]}", {})


def _compared(name, emulator, paths, capability, uri, parameters) -> str | None:
    ours = ours_of(emulator, paths, capability)
    if ours is None or ours.loads is None:
        return None
    real = ask_channels(emulator, paths, [capability], uri, **parameters)
    same = ours.loads == real.loads and (not ours.said or list(ours.said) == real.lines)
    return None if same else f"{name} {emulator.label}: {real} and not {ours}"


@pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label)
def test_a_real_qemu_makes_of_channels_what_its_receiver_says(emulator, tmp_path):
    files = channels_of(emulator, tmp_path)
    found = [channel_difference(name, 1, emulator, files, tmp_path) for name in IN_THE_GATE]
    assert [f for f in found if f] == []


@pytest.mark.parametrize("emulator", [e for e in EMULATORS if e.version >= MAPPED], ids=lambda e: e.label)
def test_a_real_qemu_makes_of_mapped_ram_what_its_receiver_says(emulator, tmp_path):
    data = mapped_of(emulator, tmp_path)
    names = mapped_edits(data, data.index(FIRST_NAME) + len(FIRST_NAME) + 8)
    assert [f for name in names if (f := mapped_difference(name, emulator, data, tmp_path))] == []
