"""A real migration, recorded by this project, against the source's own memory. Runs where QEMU is installed."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.memory.test_truth import check_clean
from tests.qemu.guest import END, FIRST, QEMU, RAM, Machine
from xbrletools.cli import main
from xbrletools.formats.qevm import SectionType
from xbrletools.net.tap import Address, Recording, Tap

pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it")

MODES = {
    "plain": ((), {}),
    "xbzrle": (("xbzrle",), {"xbzrle-cache-size": 8 << 20}),
    "compress": (("compress",), {"compress-level": 1}),
    "multifd": (("multifd",), {"multifd-channels": 2}),
    "multifd-zlib": (("multifd",), {"multifd-channels": 3, "multifd-compression": "zlib"}),
    "multifd-zstd": (("multifd",), {"multifd-channels": 2, "multifd-compression": "zstd"}),
}


@contextlib.contextmanager
def machine(folder: Path, name: str, *more: str, own_memory: bool = False) -> Iterator[Machine]:
    one = Machine(folder, name, *more, own_memory=own_memory)
    try:
        yield one
    finally:
        one.close()


def started(guest: Machine) -> None:
    """Wait until the guest changes its pages."""
    for _ in guest.patiently("start the guest"):
        if (guest.memory()[FIRST >> 8 : END >> 8, 0x210] != 0).any():
            return


def record(tap: Tap, guest: Machine, capabilities: tuple[str, ...], parameters: dict) -> list[Recording]:
    thread = threading.Thread(target=tap.run)
    thread.start()
    guest.migrate(str(tap.address), list(capabilities), **parameters)
    thread.join(60)
    assert not thread.is_alive()
    return tap.recordings


@pytest.mark.parametrize("mode", MODES)
def test_a_recorded_migration_gives_the_sources_memory(mode, tmp_path):
    capabilities, parameters = MODES[mode]
    with machine(tmp_path, "source") as source:
        started(source)
        recordings = record(Tap(Address(), tmp_path / "S"), source, capabilities, parameters)
        truth = source.memory()
    channels = [r.path for r in recordings if not r.main]
    capture = xbrletools.open(tmp_path / "S", channels=channels)
    image = capture.memory()
    assert image.known.all()
    assert np.flatnonzero((image["pc.ram"] != truth).any(axis=1)).tolist() == []
    assert truth[FIRST >> 8 : END >> 8].any()
    check_clean(capture)
    counts = capture.records.counts()
    assert len(channels) == parameters.get("multifd-channels", 0)
    if mode == "xbzrle":
        assert counts["xbzrle"] > 0
    if mode == "compress":
        assert counts["compressed"] > 0


def test_a_real_destination_behind_the_tap_gets_the_same_memory(tmp_path):
    """The recording stands between: both ends and the capture agree."""
    with machine(tmp_path, "target", "-S", "-incoming", "defer") as target, machine(tmp_path, "source") as source:
        started(source)
        sock = Path(target._sockets.name) / "in"
        target.command("migrate-incoming", uri=f"unix:{sock}")
        tap = Tap(Address(), tmp_path / "S", Address(path=str(sock)))
        record(tap, source, ("xbzrle",), {"xbzrle-cache-size": 8 << 20})
        truth = source.memory()
        for _ in target.patiently("load the migration"):
            if target.command("query-status")["status"] != "inmigrate":
                break
        loaded = target.memory()
    image = xbrletools.open(tmp_path / "S").memory()
    assert (image["pc.ram"] == truth).all()
    assert len(np.flatnonzero((loaded != truth).any(axis=1))) <= 1  # its firmware's own page


def test_a_recorded_stream_loads_in_a_real_destination(tmp_path):
    with machine(tmp_path, "source") as source:
        started(source)
        record(Tap(Address(), tmp_path / "S"), source, ("xbzrle",), {"xbzrle-cache-size": 8 << 20})
        truth = source.memory()
    with machine(tmp_path, "target", "-S", "-incoming", f"exec:cat {tmp_path / 'S'}") as target:
        for _ in target.patiently("load the stream"):
            if target.command("query-status")["status"] != "inmigrate":
                break
        loaded = target.memory()
    assert len(np.flatnonzero((loaded != truth).any(axis=1))) <= 1


@pytest.mark.parametrize(
    ("mode", "options"),
    [("plain", ("--to", "xbzrle")), ("compress", ("--to", "xbzrle")), ("xbzrle", ("--policy", "none"))],
)
def test_a_stream_of_this_projects_making_loads_in_a_real_destination(mode, options, tmp_path):
    capabilities, parameters = MODES[mode]
    with machine(tmp_path, "source") as source:
        started(source)
        record(Tap(Address(), tmp_path / "S"), source, capabilities, parameters)
        truth = source.memory()
    assert main(["transcode", str(tmp_path / "S"), "-o", str(tmp_path / "T"), *options]) == 0
    counts = xbrletools.open(tmp_path / "T").records.counts()
    assert "compressed" not in counts
    if mode != "compress":  # packed pages are few enough to be all sent in the first sweep, which has no deltas
        assert ("xbzrle" in counts) == (mode == "plain")
    with machine(tmp_path, "target", "-S", "-incoming", f"exec:cat {tmp_path / 'T'}") as target:
        for _ in target.patiently("load the stream"):
            if target.command("query-status")["status"] != "inmigrate":
                break
        loaded = target.memory()
    assert len(np.flatnonzero((loaded != truth).any(axis=1))) <= 1


@pytest.mark.parametrize("name", ["labdom-raw", "labdom-gzip", "labdom-bzip2"])
def test_a_save_file_of_libvirt_written_anew_loads_in_a_real_destination(name, tmp_path, corpus):
    (tmp_path / "S").write_bytes(corpus(f"qemu-7.2/{name}.save"))
    assert main(["transcode", str(tmp_path / "S"), "-o", str(tmp_path / "T"), "--to", "xbzrle"]) == 0
    more = ("-machine", "pc-i440fx-7.2,usb=off", "-cpu", "qemu64", "-S", "-incoming", f"exec:cat {tmp_path / 'T'}")
    with machine(tmp_path, "target", *more) as target:
        for _ in target.patiently("load the stream"):
            if target.command("query-status")["status"] != "inmigrate":
                break
        assert target.memory().tobytes() == corpus(f"qemu-7.2/{name}.truth")


def saved(guest: Machine, path: Path) -> np.ndarray:
    """Guest-physical memory as QEMU writes it out, (pages, 4096) uint8."""
    guest.command("pmemsave", val=0, size=RAM, filename=str(path))
    return np.fromfile(path, np.uint8).reshape(-1, 4096)


def test_a_background_snapshot_is_memory_as_it_was_when_it_began(tmp_path):
    """It does not have an END section: the RAM's PARTs are followed by the devices."""
    with machine(tmp_path, "source", own_memory=True) as source:
        time.sleep(3)
        source.command("stop")
        truth = saved(source, tmp_path / "truth")
        tap = Tap(Address(), tmp_path / "S")
        try:
            thread = threading.Thread(target=tap.run)
            thread.start()
            source.migrate(str(tap.address), ["background-snapshot"])
        except AssertionError as refused:
            pytest.skip(f"no background snapshots here: {refused}")
        finally:
            if not tap.recordings:
                tap.close()
            thread.join(60)
    capture = xbrletools.open(tmp_path / "S")
    assert truth[FIRST >> 8 : END >> 8].any()
    assert (capture.memory()["pc.ram"] == truth).all()
    assert capture.facts.complete
    assert SectionType.END not in {s.type for s in capture.sections}
    check_clean(capture)


def job(guest: Machine, name: str, **arguments: object) -> None:
    """Run a command that QEMU does as a job, to its end."""
    guest.command(name, **{"job-id": "j", **arguments})
    for _ in guest.patiently(name):
        (about,) = guest.command("query-jobs")
        if about["status"] == "concluded":
            break
    assert "error" not in about, about
    guest.command("job-dismiss", id="j")


def test_each_internal_snapshot_of_a_qcow2_image_is_memory_at_its_moment(tmp_path):
    image, truths = tmp_path / "disk.qcow2", {}
    with machine(tmp_path, "source") as source:
        started(source)
        job(source, "blockdev-create", options={"driver": "file", "filename": str(image), "size": 0})
        source.command("blockdev-add", **{"driver": "file", "filename": str(image), "node-name": "f"})
        job(source, "blockdev-create", options={"driver": "qcow2", "file": "f", "size": 4 << 20})
        source.command("blockdev-add", **{"driver": "qcow2", "file": "f", "node-name": "d"})
        for name in ("first", "second"):
            source.command("stop")
            truths[name] = source.memory()
            job(source, "snapshot-save", tag=name, vmstate="d", devices=["d"])
            source.command("cont")
            time.sleep(1)
    assert (truths["first"] != truths["second"]).any()
    for name, truth in truths.items():
        capture = xbrletools.open(image, snapshot=name)
        assert (capture.memory()["pc.ram"] == truth).all()
        check_clean(capture)
    assert (xbrletools.open(image).memory()["pc.ram"] == truths["second"]).all()
