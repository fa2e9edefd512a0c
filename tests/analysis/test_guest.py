"""What guest a capture holds, against what is known of real ones."""

import json

import pytest

import xbrletools
from tests.analysis import tables
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
    assert found.banner.endswith("#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)")
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


def test_what_stands_behind_a_banner_in_the_log_is_not_part_of_it():
    assert of(BANNER + b"2)", BANNER).banner == BANNER.decode()
    assert of(BANNER, BANNER[:40] + b"\xff").banner == BANNER.decode()  # cut: not a line


def test_info_shows_it(capsys, tmp_path):
    data = bytes(machines.stream({b"pc.ram": MIB}, {}, {b"pc.ram": BANNER}).data)
    (tmp_path / "s").write_bytes(data)
    status, out, _ = run(capsys, "info", tmp_path / "s", "--json")
    assert status == 0
    assert json.loads(out)["guest"]["release"] == "6.9.1-test"
    assert "Linux 6.9.1-test" in run(capsys, "info", tmp_path / "s")[1]


def windows(**more):
    stream = tables.windows(**more)
    return guest.guest_of(stream, map_of(stream)).windows


def test_a_windows_guest_is_known_by_its_shared_data_and_its_kernels_image():
    found = windows()
    assert (found.version, found.build, found.product, found.root) == ("10.0", 19045, "workstation", "C:\\Windows")
    assert found.base == tables.KERNEL
    assert "KUSER_SHARED_DATA at 0xfffff78000000000, by the page tables of CPU 0" in found.evidence[0]
    assert "where system calls enter" in found.evidence[1]


def test_kdbg_names_the_kernels_base_where_it_is_not_scrambled():
    found = windows(kdbg=tables.KERNEL)
    assert (found.base, "KDBG" in found.evidence[1]) == (tables.KERNEL, True)
    assert windows(kdbg=tables.KERNEL + 0x100000).base is None  # nothing begins there


def test_a_kernel_that_does_not_name_itself_has_no_base():
    assert windows(name=b"another.exe").base is None
    assert windows(name=b"another.exe").build == 19045


def test_shared_data_counts_only_where_all_of_it_agrees():
    assert windows(x2e=0x14C) is None  # two different machines
    assert windows(x30=0x31) is None  # not a folder
    assert windows(x26c=0) is None  # no version
    assert windows(build=0).build is None  # before Windows 10


def test_info_and_the_report_show_a_windows_guest(capsys, tmp_path):
    (tmp_path / "s").write_bytes(bytes(tables.windows().data))
    status, out, _ = run(capsys, "info", tmp_path / "s", "--json")
    about = json.loads(out)["guest"]
    assert (status, about["release"], about["windows"]["build"]) == (0, None, 19045)
    assert about["windows"]["kernel_base"] == tables.KERNEL
    out = " ".join(run(capsys, "info", tmp_path / "s")[1].split())
    assert "Windows 10.0 build 19045, workstation, by KUSER_SHARED_DATA" in out
    assert run(capsys, "report", tmp_path / "s", "-o", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert "Windows 10.0 build 19045" in page
    assert f"{tables.KERNEL:#x}" in page


def test_the_report_shows_what_info_shows_of_a_linux_guest(linux, capsys, tmp_path):
    from xbrletools.analysis import report

    page = report.page(report.gather(linux.stream, linux.source), {}, "a test")
    for text in ("Linux 6.1.0-50-cloud-amd64", "KASLR offset 0x1dc00000", "phys_base -0x18200000", "CR3 0xb89e000"):
        assert text in page
    assert "64-bit mode, 4 levels of page tables" in page
    assert "CMOS: 201,326,592 bytes below 4 GiB" in page
