"""Virtual addresses: a real Linux guest against its kernel's symbols, and page tables that a test makes."""

import json
import lzma
import struct

import numpy as np
import pytest

import xbrletools
from tests.analysis import tables
from tests.cli.run import run
from tests.conftest import CORPUS
from xbrletools.analysis import mappings, paging, vmcoreinfo
from xbrletools.analysis.cpus import Cpu, cpus_of
from xbrletools.analysis.locate import locate
from xbrletools.formats.elf import Machine
from xbrletools.physical.infer import map_of

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LINUX = CORPUS / "linux-guest" / "keep-xbzrle-192m.bin.xz"
SLIDE, PHYS_BASE, TEXT = 0x1DC00000, -0x18200000, 0xFFFFFFFF80000000


@pytest.fixture(scope="module")
def linux(tmp_path_factory):
    if not LINUX.exists():
        pytest.skip("the corpus of real captures is not there")
    path = tmp_path_factory.mktemp("linux") / "s.bin"
    path.write_bytes(lzma.decompress(LINUX.read_bytes()))
    return path


@pytest.fixture(scope="module")
def symbols():
    """Where the guest's kernel has its symbols, KASLR included."""
    (packed,) = LINUX.parent.glob("*.isf.json.xz")
    named = json.loads(lzma.decompress(packed.read_bytes()))["symbols"]
    return {name: s["address"] + SLIDE for name, s in named.items()}


def walk_of(path, **more):
    stream = xbrletools.open(path, cache=False).stream
    return stream, mappings.Walk(stream, map_of(stream), paging.tables_of(cpus_of(stream)), **more)


class TestLinux:
    def test_a_symbol_of_the_kernel_is_where_its_memory_says(self, linux, symbols, capsys):
        at = symbols["linux_banner"]
        status, out, err = run(capsys, "page", linux, f"virt:{at:#x}", "--inspect", hex(at % 4096), "--no-cache")
        assert status == 0
        assert "Linux version" in out
        physical = at - TEXT + PHYS_BASE
        assert f"{at:#x} is guest-physical {physical:#x} by the page tables of CPU 0 at the end" in err
        assert (
            (run(capsys, "page", linux, f"phys:{physical:#x}", "--json", "--no-cache")[1])
            == run(capsys, "page", linux, f"virt:{at:#x}", "--cpu", "1", "--json", "--no-cache")[1]
        )

    def test_kernel_text_direct_map_and_vmalloc_lie_where_the_kernels_own_values_say(self, linux, symbols):
        stream, walk = walk_of(linux)
        tables, where = paging.tables_of(cpus_of(stream)), map_of(stream)
        read = vmcoreinfo.reader_at_end(stream, where)

        def word(symbol: str) -> int:
            (value,) = struct.unpack("<Q", read(symbols[symbol] - TEXT + PHYS_BASE, 8))
            return value

        for name in ("_stext", "_etext", "_sdata", "init_task", "init_top_pgt"):
            assert paging.translate(tables, read, symbols[name]).address == symbols[name] - TEXT + PHYS_BASE
        direct = word("page_offset_base")
        for physical in (0x100000, 0x19A6000, 191 * MIB):
            assert paging.translate(tables, read, direct + physical).address == physical
        found = walk.mappings()
        begin = int(np.searchsorted(found.virtual, np.uint64(direct)))
        in_direct = found.virtual[begin:] - np.uint64(direct) < 64 * (1 << 40)
        assert (found.physical[begin:][in_direct] == found.virtual[begin:][in_direct] - np.uint64(direct)).all()
        assert in_direct.sum() > 90
        vmalloc = found.virtual[(found.virtual >= word("vmalloc_base")) & (found.virtual < word("vmemmap_base"))]
        assert len(vmalloc) > 500
        assert len(found.unknown) == 0
        assert not found.cut

    def test_one_address_and_all_at_once_agree(self, linux):
        stream, walk = walk_of(linux)
        found = walk.mappings()
        tables, read = paging.tables_of(cpus_of(stream)), vmcoreinfo.reader_at_end(stream, map_of(stream))
        for i in range(0, len(found.virtual), 997):
            page = paging.translate(tables, read, int(found.virtual[i]) + 0x123)
            assert (page.address, page.size) == (int(found.physical[i]) + 0x123, int(found.length[i]))

    def test_volatility_walks_to_the_same_pages(self, linux):
        pytest.importorskip("volatility3")
        from volatility3.framework import contexts
        from volatility3.framework.layers import intel, physical

        from xbrletools.volatility.captures import CaptureStacker

        stream, walk = walk_of(linux)
        context = contexts.Context()
        context.config["base.location"] = linux.as_uri()
        context.add_layer(physical.FileLayer(context, "base", "base"))
        memory = CaptureStacker.stack(context, "base")
        context.add_layer(memory)
        context.config["x.memory_layer"] = memory.name
        context.config["x.page_map_offset"] = cpus_of(stream)[0].registers["cr3"] & ~0xFFF
        layer = intel.Intel32e(context, "x", "x")
        theirs = [
            (virtual, at, length) for virtual, length, at, _, _ in layer.mapping(0, (1 << 48) - 1, ignore_errors=True)
        ]
        ours = [(v & (1 << 48) - 1, p, n) for v, p, n in rows(walk.mappings()) if p < 192 * MIB]  # others are devices
        assert in_pages(ours) == in_pages(theirs)
        assert len(ours) > 10000

    def test_grep_prints_addresses_that_lead_back(self, linux, symbols, capsys):
        status, out, err = run(capsys, "grep", linux, "Linux version 6.1", "--virtual", "--json", "--no-cache")
        hits = [json.loads(line) for line in out.splitlines()]
        assert status == 0
        assert symbols["linux_banner"] in {a for h in hits for a in h["virtual"]}
        assert "page tables of CPU 0 at the end" in err
        stream = xbrletools.open(linux, cache=False).stream
        for hit in hits:
            assert len(hit["virtual"]) >= 2  # the kernel's own, and the direct map
            for address in hit["virtual"]:
                place = locate(stream, f"virt:{address:#x}")
                assert (stream.blocks[place.block].name.decode(), place.offset) == (hit["block"], hit["offset"])
        text = run(capsys, "grep", linux, "Linux version 6.1", "--virtual", "--no-cache")[1]
        assert f"virt:{symbols['linux_banner']:#x}" in text

    def test_blame_takes_a_virtual_address(self, linux, symbols, capsys):
        at = symbols["linux_banner"]
        status, out, _ = run(capsys, "blame", linux, f"virt:{at:#x}+16", "--no-cache")
        assert (status, f"pc.ram:{at - TEXT + PHYS_BASE:#010x}" in out) == (0, True)


def rows(found):
    return zip(found.virtual.tolist(), found.physical.tolist(), found.length.tolist(), strict=True)


def in_pages(mapped) -> set[tuple[int, int]]:
    return {(virtual + at, physical + at) for virtual, physical, n in mapped for at in range(0, n, 4 * KIB)}


#: A mapping of each size, as (virtual, physical, length), at both ends of the addresses.
MAPPED = [
    (0x1000, 0x5000, 4 * KIB),
    (0x40200000, 0x400000, 2 * MIB),
    (0x8040000000, 0, GIB),
    (-0x200000, 0x7000, 4 * KIB),
]


@pytest.mark.parametrize("levels", [4, 5])
class TestX86:
    def test_pages_of_each_size_are_found_both_ways(self, levels):
        stream, cpu = tables.x86(MAPPED, levels)
        walk = mappings.Walk(stream, map_of(stream), paging.tables_of([cpu]))
        read = vmcoreinfo.reader_at_end(stream, map_of(stream))
        for virtual, physical, size in MAPPED:
            address = virtual % (1 << 64)
            page = paging.translate(paging.tables_of([cpu]), read, address + size - 1)
            assert (page.address, page.size) == (physical + size - 1, size)
        expected = sorted((virtual % (1 << 64), physical, size) for virtual, physical, size in MAPPED)
        assert list(rows(walk.mappings())) == expected
        assert [v for v, _, _ in rows(walk.mappings(upper=True))] == [(1 << 64) - 0x200000]
        which, virtual = walk.mappings(np.array([0x7004, 0x9000])).of(np.array([0x7004, 0x9000]))
        assert (which.tolist(), virtual.tolist()) == (
            [0, 0, 1],
            [0x8040007004, (1 << 64) - 0x200000 + 4, 0x8040009000],
        )

    def test_what_is_not_mapped_says_which_entry_ends_the_walk(self, levels):
        stream, cpu = tables.x86(MAPPED, levels)
        read = vmcoreinfo.reader_at_end(stream, map_of(stream))
        with pytest.raises(paging.NotMappedError, match=r"0x3000 is not mapped by .* CPU 0: the entry of level 1 "):
            paging.translate(paging.tables_of([cpu]), read, 0x3000)
        with pytest.raises(paging.NotMappedError, match="between the two halves"):
            paging.translate(paging.tables_of([cpu]), read, 1 << 60)

    def test_a_table_outside_of_ram_is_unknown_and_not_empty(self, levels):
        stream, cpu = tables.x86(MAPPED, levels, astray=(0x4000_0000_0000, 1 << 40))
        read = vmcoreinfo.reader_at_end(stream, map_of(stream))
        with pytest.raises(paging.NotMappedError, match=r"lies is unknown: .* 0x10000000000 .* not RAM"):
            paging.translate(paging.tables_of([cpu]), read, 0x4000_0000_0000)
        walk = mappings.Walk(stream, map_of(stream), paging.tables_of([cpu]))
        assert walk.mappings().unknown.tolist() == [1 << 40]
        assert len(walk.mappings().virtual) == len(MAPPED)


def test_tables_that_lead_to_themselves_do_not_make_the_work_endless(monkeypatch):
    stream, cpu = tables.looped()
    walk = mappings.Walk(stream, map_of(stream), paging.tables_of([cpu]))
    monkeypatch.setattr(mappings, "PATHS_MAX", 1000)
    found = walk.mappings()
    assert found.cut
    assert len(found.virtual) <= 4 * 1000


def test_too_many_tables_are_said(monkeypatch):
    stream, cpu = tables.x86(MAPPED, 4)
    monkeypatch.setattr(mappings, "TABLES_MAX", 1)
    assert mappings.Walk(stream, map_of(stream), paging.tables_of([cpu])).mappings().cut


@pytest.mark.parametrize(
    ("registers", "words"),
    [
        ({"cr0": 1, "efer": 0, "cr4": 0}, "does not use page tables"),
        (
            {"cr0": 1 << 31 | 1, "efer": 0, "cr4": 0},
            "32-bit protected mode, paging, and only the page tables",
        ),
    ],
)
def test_a_cpu_without_such_tables_says_why(registers, words):
    cpu = Cpu(0, Machine.X86_64, registers | {"cr3": 0}, {"cs": (0, 0, 0, 1 << 22)})
    with pytest.raises(xbrletools.XbrleError, match=words):
        paging.tables_of([cpu])


def test_a_stream_without_cpus_and_a_cpu_that_is_not_there_are_said():
    with pytest.raises(xbrletools.XbrleError, match="does not have in a known form"):
        paging.tables_of([])
    cpu = Cpu(0, Machine.RISCV, {}, {})
    with pytest.raises(xbrletools.XbrleError, match="no CPU 3"):
        paging.tables_of([cpu], 3)
    with pytest.raises(xbrletools.XbrleError, match="riscv, whose page tables are not known"):
        paging.tables_of([cpu])


class TestArm:
    def test_both_halves_are_looked_up_by_their_own_tables(self):
        stream, cpu = tables.arm(lower_bits=39, upper_bits=48)
        read, found = vmcoreinfo.reader_at_end(stream, map_of(stream)), paging.tables_of([cpu])
        for virtual, physical, size in tables.ARM_MAPPED:
            page = paging.translate(found, read, virtual % (1 << 64) + 5)
            assert (page.address, page.size) == (physical + 5, size)
        walk = mappings.Walk(stream, map_of(stream), found)
        assert list(rows(walk.mappings())) == sorted((v % (1 << 64), p, n) for v, p, n in tables.ARM_MAPPED)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"sctlr_el1": 0}, "does not use page tables"),
            ({"pstate": 8}, "is at EL2"),
            ({"tcr_el1": 25 | 16 << 16 | 1 << 14 | 2 << 30}, "another form than 4 KiB"),
            ({"tcr_el1": 60 | 16 << 16 | 2 << 30}, "states 4 bits"),
            ({"tcr_el1": 1 << 7 | 1 << 23}, "does not use page tables"),
        ],
    )
    def test_what_is_not_known_is_said(self, change, words):
        _, cpu = tables.arm(lower_bits=39, upper_bits=48)
        other = Cpu(0, cpu.machine, {**cpu.registers, **change}, {})
        with pytest.raises(xbrletools.XbrleError, match=words):
            paging.tables_of([other])


def test_phys_addresses_and_what_is_not_ram(tmp_path, capsys):
    stream, _ = tables.x86(MAPPED, 4)
    (tmp_path / "s").write_bytes(bytes(stream.data))
    status, _, err = run(capsys, "page", tmp_path / "s", "phys:0x5000")
    assert (status, "guest-physical 0x5000, which is pc.ram:0x5000" in err) == (0, True)
    status, out, err = run(capsys, "page", tmp_path / "s", "phys:0xffffffffff")
    assert (status, out) == (1, "")
    assert "not in memory that has a known place" in err
    status, _, err = run(capsys, "page", tmp_path / "s", "virt:0x1000")  # its stream does not have CPUs
    assert (status, "does not have in a known form" in err) == (2, True)
    assert run(capsys, "page", tmp_path / "s", "virt:-1")[0] == 2
