"""What `transcode` makes of channels, of mapped-ram and of postcopy, loaded by real destinations."""

import socket
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.qemu.guest import EMULATORS, Emulator
from tests.qemu.kinds import KINDS, MAPPED, Kind, loaded, machine, recorded
from xbrletools.cli import main

pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label),
]
BY_NAME = {kind.name: kind for kind in KINDS}
OWN_PAGES = 1  # of a destination's firmware, which it writes after it has loaded


def kind_for(name: str, emulator: Emulator) -> Kind:
    kind = BY_NAME[name]
    if not kind.made_by(emulator):
        pytest.skip(f"QEMU {emulator.label} cannot make this kind")
    return kind


def written(name: str, emulator: Emulator, folder: Path, *options: str) -> tuple[Path, np.ndarray]:
    """A migration of this kind, written anew, and the source's memory."""
    stream, channels, truth = recorded(kind_for(name, emulator), emulator, folder)
    beside = [word for channel in channels for word in ("--channel", str(channel))]
    assert main(["transcode", str(stream), *beside, "-o", str(folder / "T"), *options]) == 0
    return folder / "T", truth


def wrong(memory: np.ndarray, truth: np.ndarray) -> int:
    return int(np.count_nonzero((memory != truth).any(axis=1)))


@pytest.mark.parametrize("options", [("--to", "xbzrle"), ("--policy", "none")], ids=["xbzrle", "plain"])
@pytest.mark.parametrize("name", ["multifd", "multifd zlib", "mapped-ram", "mapped-ram, multifd", "postcopy"])
def test_one_plain_stream_of_it_loads_in_an_ordinary_destination(name, options, emulator, tmp_path):
    stream, truth = written(name, emulator, tmp_path, *options)
    with machine(emulator, tmp_path, "target", "-S", "-incoming", f"exec:cat {stream}") as target:
        assert wrong(loaded(target), truth) <= OWN_PAGES


@pytest.mark.parametrize("name", ["plain", "xbzrle", "multifd", "postcopy", "mapped-ram"])
def test_a_mapped_ram_file_of_it_loads(name, emulator, tmp_path):
    if emulator.version < MAPPED:
        pytest.skip(f"QEMU {emulator.label} does not have mapped-ram")
    file, truth = written(name, emulator, tmp_path, "--to", "mapped-ram")
    with machine(emulator, tmp_path, "target", "-S", "-incoming", "defer") as target:
        target.allow(["mapped-ram"])
        target.command("migrate-incoming", uri=f"file:{file}")
        assert wrong(loaded(target), truth) <= OWN_PAGES


@pytest.mark.parametrize("name", ["plain", "xbzrle", "multifd", "postcopy"])
def test_mapped_ram_and_back_loads(name, emulator, tmp_path):
    """A QEMU without mapped-ram holds what `--to mapped-ram` writes as well: as a plain stream made of it again."""
    file, truth = written(name, emulator, tmp_path, "--to", "mapped-ram")
    assert (xbrletools.open(file).memory()["pc.ram"] == truth).all()
    assert main(["transcode", str(file), "-o", str(tmp_path / "P"), "--policy", "none"]) == 0
    with machine(emulator, tmp_path, "target", "-S", "-incoming", f"exec:cat {tmp_path / 'P'}") as target:
        assert wrong(loaded(target), truth) <= OWN_PAGES


def test_with_its_advice_a_postcopy_stream_loads_where_postcopy_is_switched_on(emulator, tmp_path):
    stream, truth = written("postcopy", emulator, tmp_path, "--keep-advice")
    with machine(emulator, tmp_path, "target", "-S", "-incoming", "defer", own_memory=True) as target:
        target.allow(["postcopy-ram"])
        path = str(Path(target._sockets.name) / "in")
        target.command("migrate-incoming", uri=f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as source:
            source.connect(path)
            source.sendall(stream.read_bytes())
            source.shutdown(socket.SHUT_WR)  # QEMU looks for a VM description, which a postcopy stream does not have
            for _ in target.patiently("load the stream"):
                if target.command("query-status")["status"] != "inmigrate":
                    break
        target.command("pmemsave", val=0, size=truth.size, filename=str(tmp_path / "memory"))
    memory = np.fromfile(tmp_path / "memory", np.uint8).reshape(-1, 4096)
    ram = np.ones(len(truth), bool)
    ram[0xA0:0x100] = False  # in a PC's physical space the VGA and the firmware lie over these
    assert wrong(memory[ram], truth[ram]) <= OWN_PAGES
