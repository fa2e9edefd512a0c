"""The tap between two real QEMUs. Runs where QEMU is installed."""

import threading
from pathlib import Path

import pytest

import xbrletools
from tests.qemu.guest import QEMU
from tests.qemu.test_migration import machine, started
from xbrletools.net.address import Address
from xbrletools.net.tap import Tap

pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it")
CHANNELS = 4


def test_a_destination_takes_multifd_through_the_tap_and_the_capture_is_the_sources_memory(tmp_path):
    """It takes what connects first for the main channel, whose first bytes come after those of the others."""
    with machine(tmp_path, "target", "-S", "-incoming", "defer") as target, machine(tmp_path, "source") as source:
        started(source)
        target.command("migrate-set-capabilities", capabilities=[{"capability": "multifd", "state": True}])
        target.command("migrate-set-parameters", **{"multifd-channels": CHANNELS})
        sock = Path(target._sockets.name) / "in"
        target.command("migrate-incoming", uri=f"unix:{sock}")
        tap = Tap(Address(), tmp_path / "S", Address(path=str(sock)))
        thread = threading.Thread(target=tap.run)
        thread.start()
        try:
            source.migrate(str(tap.address), ["multifd"], **{"multifd-channels": CHANNELS})
        finally:
            tap.migration.recordings or tap.stop()
            thread.join(60)
        truth = source.memory()
    assert [r.error for r in tap.recordings if r.error] == []
    channels = [tmp_path / f"S.{i + 1}" for i in range(CHANNELS)]
    assert (xbrletools.open(tmp_path / "S", channels=channels).memory()["pc.ram"] == truth).all()
