"""What guest a capture holds, against what is known of real ones."""

import json

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import CORPUS
from tests.physical import machines
from xbrletools.analysis import guest
from xbrletools.formats import machine
from xbrletools.physical.infer import map_of

MIB = 1 << 20
BANNER = b"Linux version 6.9.1-test (someone@somewhere) (gcc 13) #1 SMP Thu"


@pytest.fixture(scope="module")
def linux():
    packed = CORPUS / "linux-guest" / "keep-xbzrle-192m.bin.xz"
    if not packed.exists():
        pytest.skip("the corpus of real captures is not there")
    return xbrletools.open(packed)


def test_a_linux_guest_is_known_by_what_it_wrote_of_itself(linux):
    found = guest.guest_of(linux.stream, map_of(linux.stream))
    assert found.release == "6.1.0-50-cloud-amd64"
    assert found.banner.startswith("Linux version 6.1.0-50-cloud-amd64 (debian-kernel@lists.debian.org)")
    assert "#1 SMP" in found.banner
    assert (found.kaslr_offset, found.phys_base) == (0x1DC00000, -0x18200000)
    assert len(found.build_id) == 40
    assert [(c.registers["rip"], c.registers["cr3"], c.mode) for c in found.cpus] == [
        (0xFFFFFFFF9EC71441, 0xB89E000, "64-bit mode, 4 levels of page tables"),
        (0xFFFFFFFF9EC71467, 0xB8A0000, "64-bit mode, 4 levels of page tables"),
    ]
    assert "device vmcoreinfo" in found.evidence[0]


def of(*texts: bytes) -> guest.Guest:
    page = b"".join(text + b"\n\0" for text in texts)
    stream = machines.stream({b"pc.ram": 64 * MIB}, {machine.RTC: machines.cmos(64 * MIB)}, {b"pc.ram": page})
    return guest.guest_of(stream, map_of(stream))


def test_a_banner_names_the_kernel_where_all_banners_agree():
    assert of(BANNER).release == "6.9.1-test"
    assert of(BANNER, b"[    0.000000] " + BANNER).banner == BANNER.decode()
    other = BANNER.replace(b"6.9.1", b"6.8.0")
    assert (of(BANNER, other).release, of(BANNER, other).banner) == (None, None)
    assert of(b"Linux version of the driver").release is None


def test_info_shows_it(capsys, tmp_path):
    data = bytes(machines.stream({b"pc.ram": MIB}, {}, {b"pc.ram": BANNER}).data)
    (tmp_path / "s").write_bytes(data)
    status, out, _ = run(capsys, "info", tmp_path / "s", "--json")
    assert status == 0
    assert json.loads(out)["guest"]["release"] == "6.9.1-test"
    assert "Linux 6.9.1-test" in run(capsys, "info", tmp_path / "s")[1]
