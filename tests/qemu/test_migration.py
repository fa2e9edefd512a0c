"""A real migration, recorded by this project, against the source's own memory. With every QEMU that is found."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.memory.test_truth import check_clean
from tests.qemu.guest import EMULATORS, END, FIRST, RAM, Emulator, Machine
from tests.qemu.kinds import KINDS, Kind, Way, loaded, machine, record, recorded, started, wrong_pages
from xbrletools.cli import main
from xbrletools.formats.qevm import SectionType
from xbrletools.net.tap import Address, Tap
from xbrletools.table.kinds import IS_DELTA

pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label),
]
BY_NAME = {kind.name: kind for kind in KINDS}
OWN_PAGES = 1  # of a destination's firmware, which it writes after it has loaded


def kind_for(name: str, emulator: Emulator) -> Kind:
    """The kind of this name. Skips the test where this QEMU cannot make it."""
    kind = BY_NAME[name]
    if not kind.made_by(emulator):
        pytest.skip(f"QEMU {emulator.label} cannot make this kind")
    return kind


def other_pages(memory: np.ndarray, truth: np.ndarray) -> int:
    """How many pages differ."""
    return int(np.count_nonzero((memory != truth).any(axis=1)))


def loaded_from(emulator: Emulator, folder: Path, stream: Path, *more: str) -> np.ndarray:
    """The memory of a destination that has loaded this stream, (pages, 4096) uint8."""
    with machine(emulator, folder, "target", *more, "-S", "-incoming", f"exec:cat {stream}") as target:
        return loaded(target)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_recorded_migration_gives_the_sources_memory(name, emulator, tmp_path):
    kind = kind_for(name, emulator)
    stream, channels, truth = recorded(kind, emulator, tmp_path)
    assert wrong_pages(stream, channels, truth) == 0
    capture = xbrletools.open(stream, channels=channels)
    if kind.shows:
        assert capture.records.counts()[kind.shows] > 0
    if kind.postcopy:
        assert "postcopy_run" in {command.name for command in capture.facts.commands}
    if kind.way is Way.CAPTURE:
        assert len(channels) == kind.parameters.get("multifd-channels", 0)


@pytest.mark.parametrize("name", ["xbzrle, forwarded", "multifd, forwarded"])
def test_a_destination_behind_the_tap_gets_the_same_memory(name, emulator, tmp_path):
    """The recording stands between: both ends and the capture agree."""
    kind = kind_for(name, emulator)
    with machine(emulator, tmp_path, "target", "-S", "-incoming", "defer") as target:
        target.allow(list(kind.capabilities), **kind.parameters)
        sock = Path(target._sockets.name) / "in"
        target.command("migrate-incoming", uri=f"unix:{sock}")
        with machine(emulator, tmp_path, "source") as source:
            started(source)
            recordings = record(Tap(Address(), tmp_path / "S", Address(path=str(sock))), source, kind)
            truth = source.memory()
        assert other_pages(loaded(target), truth) <= OWN_PAGES
    channels = [r.path for r in recordings if not r.main and not r.reverse]
    assert wrong_pages(tmp_path / "S", channels, truth) == 0


@pytest.mark.parametrize("name", ["plain", "xbzrle"])
def test_a_recorded_stream_loads_in_a_destination(name, emulator, tmp_path):
    stream, _, truth = recorded(kind_for(name, emulator), emulator, tmp_path)
    assert other_pages(loaded_from(emulator, tmp_path, stream), truth) <= OWN_PAGES


@pytest.mark.parametrize(
    ("name", "options"),
    [("plain", ("--to", "xbzrle")), ("compress", ("--to", "xbzrle")), ("xbzrle", ("--policy", "none"))],
)
def test_a_transcoded_stream_loads_in_a_destination(name, options, emulator, tmp_path):
    stream, _, truth = recorded(kind_for(name, emulator), emulator, tmp_path)
    assert main(["transcode", str(stream), "-o", str(tmp_path / "T"), *options]) == 0
    counts = xbrletools.open(tmp_path / "T").records.counts()
    assert "compressed" not in counts
    if name != "compress":  # packed pages are few enough to be all sent in the first sweep, which has no deltas
        assert ("xbzrle" in counts) == (name == "plain")
    assert other_pages(loaded_from(emulator, tmp_path, tmp_path / "T"), truth) <= OWN_PAGES


def test_an_encoded_stream_loads_in_a_destination(emulator, tmp_path):
    """`encode` writes neither CONFIGURATION nor footers, so the destination is told not to wait for them."""
    stream, _, truth = recorded(BY_NAME["xbzrle"], emulator, tmp_path)
    records = xbrletools.open(stream).records
    second_pass, first_delta = (int(np.flatnonzero(r)[0]) for r in (records.pass_ == 2, IS_DELTA[records.columns.kind]))
    moments = (*records.number[[second_pass, first_delta]].tolist(), records.last_number + 1)
    snapshots = [str(tmp_path / f"before-{moment}") for moment in moments]
    for moment, snapshot in zip(moments, snapshots, strict=True):
        assert main(["extract", str(stream), "--at", str(moment - 1), "-o", snapshot]) == 0
    assert main(["encode", *snapshots, "--dialect", "xbzrle", "-o", str(tmp_path / "T")]) == 0
    assert xbrletools.open(tmp_path / "T").records.counts()["xbzrle"] > 0
    bare = [w for g in ("send-configuration", "send-section-footer") for w in ("-global", f"migration.{g}=off")]
    assert other_pages(loaded_from(emulator, tmp_path, tmp_path / "T", *bare), truth) <= OWN_PAGES


@pytest.mark.parametrize("name", ["labdom-raw", "labdom-gzip", "labdom-bzip2"])
def test_a_save_file_of_libvirt_written_anew_loads_in_a_destination(name, emulator, tmp_path, corpus):
    (tmp_path / "S").write_bytes(corpus(f"qemu-7.2/{name}.save"))
    assert main(["transcode", str(tmp_path / "S"), "-o", str(tmp_path / "T"), "--to", "xbzrle"]) == 0
    more = ("-machine", "pc-i440fx-7.2,usb=off", "-cpu", "qemu64")
    truth = np.frombuffer(corpus(f"qemu-7.2/{name}.truth"), np.uint8).reshape(-1, 4096)
    assert other_pages(loaded_from(emulator, tmp_path, tmp_path / "T", *more), truth) == 0


def saved(guest: Machine, path: Path) -> np.ndarray:
    """Guest-physical memory as QEMU writes it out, (pages, 4096) uint8."""
    guest.command("pmemsave", val=0, size=RAM, filename=str(path))
    return np.fromfile(path, np.uint8).reshape(-1, 4096)


def test_a_background_snapshot_is_memory_as_it_was_when_it_began(emulator, tmp_path):
    """It does not have an END section: the RAM's PARTs are followed by the devices."""
    with machine(emulator, tmp_path, "source", own_memory=True) as source:
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


def test_each_internal_snapshot_of_a_qcow2_image_is_memory_at_its_moment(emulator, tmp_path):
    image, truths = tmp_path / "disk.qcow2", {}
    with machine(emulator, tmp_path, "source") as source:
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
