"""A real migration over the loopback, recorded by tcpdump and by `xbrle capture` at once: both have the same bytes."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import xbrletools
from tests.cli.run import run
from tests.qemu.guest import EMULATORS, Emulator
from tests.qemu.kinds import KINDS, destination, machine, record, started, wrong_pages
from xbrletools.net.tap import Address, Tap
from xbrletools.source.opening import open_source

BY_NAME = {kind.name: kind for kind in KINDS}
RECORDED = ("xbzrle", "multifd", "multifd zlib", "postcopy-preempt")
TCPDUMP = shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/usr/bin:/sbin")
_WAIT = 30  # seconds


def may_record() -> bool:
    """Whether tcpdump may record the loopback here."""
    if TCPDUMP is None:
        return False
    done = subprocess.run([TCPDUMP, "-i", "lo", "-L"], capture_output=True, timeout=_WAIT, check=False)
    return done.returncode == 0


pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.skipif(not may_record(), reason="tcpdump is not installed, or may not record here"),
]


@contextmanager
def tcpdump(path: Path, port: int, *more: str) -> Iterator[None]:
    """Record what goes to a port of the loopback."""
    command = [TCPDUMP, "-i", "lo", "-U", "-B", "262144", "-s", "0", *more, "-w", path, f"tcp port {port}"]
    with subprocess.Popen([str(a) for a in command], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "listening on lo" in process.stderr.readline()
            yield
            time.sleep(1)
        finally:
            process.terminate()


@pytest.mark.parametrize("name", RECORDED)
def test_a_dump_has_what_the_tap_recorded(name, tmp_path, capsys):
    kind, emulator = BY_NAME[name], EMULATORS[0]
    assert isinstance(emulator, Emulator)
    dump, main = tmp_path / "lo.pcap", tmp_path / "S"
    with ExitStack() as stack:
        source = stack.enter_context(machine(emulator, tmp_path, "source"))
        started(source)
        forward = stack.enter_context(destination(kind, emulator, tmp_path)) if "postcopy" in name else None
        tap = Tap(Address("127.0.0.1", 0), main, forward)
        with tcpdump(dump, tap.address.port):
            recordings = record(tap, source, kind)
        truth = source.memory()
    opened = open_source(dump)
    assert bytes(opened.view) == main.read_bytes()
    forth = [r for r in recordings if not r.reverse and r.size]
    channels = [r.path.read_bytes() for r in forth if not r.main]
    assert sorted(bytes(c.view) for c in opened.rebuilt.channels) == sorted(channels)
    assert not any(o.lost for o in opened.rebuilt.oddities)
    back = [r.path.read_bytes() for r in recordings if r.reverse and r.main and r.size]
    assert ([bytes(opened.rebuilt.back.view)] if opened.rebuilt.back else []) == back
    if forward is None:
        assert wrong_pages(dump, [], truth) == 0
    status, _, _ = run(capsys, "capture", "--from-pcap", dump, "-o", tmp_path / "T")
    assert status == 0
    assert (tmp_path / "T").read_bytes() == main.read_bytes()
    assert len(list(tmp_path.glob("T.[0-9]"))) == len(channels)
    of_dump = xbrletools.open(dump)
    of_files = xbrletools.open(main, channels=[r.path for r in forth if not r.main])
    assert of_dump.records.counts() == of_files.records.counts()
