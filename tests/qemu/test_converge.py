"""`converge` against a real QEMU that is throttled: what it predicts from one recording is what QEMU then does."""

import shutil
import time
from pathlib import Path

import pytest

import xbrletools
from tests.qemu.guest import EMULATORS, Machine
from tests.qemu.kinds import Kind, machine, record, started
from xbrletools.analysis.arrivals import beside
from xbrletools.analysis.converge import Answer, converge
from xbrletools.analysis.link import Link
from xbrletools.analysis.writes import writes_of
from xbrletools.net.tap import Address, Tap

MIB = 1 << 20
DOWNTIME = 100  # milliseconds
RECORDED = 4 * MIB  # what `record` gives a migration before it lets it end
SLOW, FAST = 2 * MIB, 16 * MIB  # of bandwidth, in bytes a second
WAIT = 12  # seconds after which a migration that goes round and round does not converge
ROUNDS = 10  # that it then has gone at least

pytestmark = pytest.mark.skipif(not EMULATORS, reason="QEMU is not installed")


@pytest.fixture(scope="module", params=sorted({EMULATORS[0].label, EMULATORS[-1].label}) if EMULATORS else [])
def recorded(request, tmp_path_factory):
    """A QEMU, and the recording of a migration of it that did not converge until it was let."""
    emulator = next(e for e in EMULATORS if e.label == request.param)
    folder = tmp_path_factory.mktemp("converge")
    with machine(emulator, folder, "source") as source:
        started(source)
        record(Tap(Address(), folder / "S"), source, Kind("plain"))
    yield emulator, folder / "S"
    shutil.rmtree(folder)


def converged(guest: Machine, bandwidth: int) -> bool:
    """Whether QEMU's migration ends by itself, at this bandwidth."""
    guest.allow([], **{"max-bandwidth": bandwidth, "downtime-limit": DOWNTIME})
    guest.command("migrate", uri="exec:cat > /dev/null")
    end = time.monotonic() + WAIT
    while True:
        about = guest.command("query-migrate")
        assert about.get("status") not in ("failed", "cancelled"), about
        if about.get("status") == "completed":
            return True
        if time.monotonic() > end and about.get("ram", {}).get("dirty-sync-count", 0) >= ROUNDS:
            return False
        assert time.monotonic() < end + 10 * WAIT
        time.sleep(0.05)


@pytest.mark.parametrize("bandwidth", [SLOW, FAST])
def test_what_is_predicted_is_what_qemu_does(recorded, bandwidth, tmp_path: Path):
    emulator, path = recorded
    with xbrletools.open(path) as capture:
        when = beside(capture.source)
        assert when is not None
        assert when.offset[-1] == path.stat().st_size
        writes = writes_of(capture.stream, when, 1.0)
        plain = converge(capture.stream, writes, Link(bandwidth), DOWNTIME / 1000, [MIB]).outcomes[0]
        assumed = writes_of(capture.stream, None, RECORDED)
        without = converge(capture.stream, assumed, Link(bandwidth), DOWNTIME / 1000, [MIB]).outcomes[0]
    assert without.answer is plain.answer
    assert plain.answer is (Answer.YES if bandwidth == FAST else Answer.NO), plain
    with machine(emulator, tmp_path, "source") as source:
        started(source)
        assert converged(source, bandwidth) == (plain.answer is Answer.YES)
