"""Where device sections end without footers, against the same machine's stream with footers. With every QEMU found."""

import pytest

import xbrletools
from tests.qemu.guest import EMULATORS
from tests.qemu.kinds import machine
from xbrletools.formats.qevm import SectionType
from xbrletools.table.sections import Boundary

pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label),
]
DEVICES = {
    "plain": (),
    "bridge": ("-device", "pci-bridge,chassis_nr=1"),  # goes first, whatever its id
    "eeprom": ("-device", "i82559er", "-device", "dc390"),  # whose version is a date
    "two bridges": ("-device", "pci-bridge,id=a,chassis_nr=1", "-device", "pci-bridge,bus=a,addr=1,chassis_nr=2"),
    "bridge between": (
        "-device",
        "virtio-balloon-pci",
        "-device",
        "pci-bridge,chassis_nr=1",
        "-device",
        "virtio-rng-pci",
    ),
}


@pytest.mark.parametrize("devices", DEVICES.values(), ids=DEVICES)
def test_each_device_is_found_without_footers(devices, emulator, tmp_path):
    found = {}
    for footers in ("on", "off"):
        stream = tmp_path / footers
        more = (*devices, "-global", f"migration.send-section-footer={footers}", "-S")
        with machine(emulator, tmp_path, footers, *more) as source:
            source.migrate(f"exec:cat > {stream}", [])
        with xbrletools.open(stream, cache=False) as capture:
            full = list(capture.sections.of_types(SectionType.FULL))
            assert capture.facts.footers == (footers == "on")
            found[footers] = [(s.owner, s.end - s.data) for s in full]
    assert Boundary.HEADER in {s.found_by for s in full}
    assert found["off"] == found["on"]
