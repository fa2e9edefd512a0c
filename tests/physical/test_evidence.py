"""Each kind of evidence on made-up machines: what it decides, and what contradicts it or leaves it open."""

import pytest

from tests.physical import machines
from xbrletools.formats import acpi, fdt, machine
from xbrletools.model import Block
from xbrletools.physical import devicetree, libvirt, virtiomem
from xbrletools.physical.infer import map_of
from xbrletools.physical.layout import Range, covered, left_of
from xbrletools.physical.segments import Segment, choose, fill

MIB, GIB = 1 << 20, 1 << 30
RTC = machine.RTC


def placed(where, block):
    return [(r.start, r.length, r.offset) for r in where.ranges if r.block == block]


def unplaced(where):
    return {u.block: u.reason for u in where.unplaced}


class TestPc:
    def test_cmos_says_where_ram_is_split(self):
        where = map_of(machines.stream({b"pc.ram": 3 * GIB}, {RTC: machines.cmos(GIB, 2 * GIB)}))
        assert placed(where, b"pc.ram") == [(0, GIB, 0), (4 * GIB, 2 * GIB, GIB)]
        assert where.is_whole

    def test_devices_are_found_after_any_number_of_equal_sections(self):
        where = map_of(machines.stream({b"pc.ram": 3 * GIB}, {RTC: machines.cmos(GIB, 2 * GIB)}, parts=50))
        assert placed(where, b"pc.ram") == [(0, GIB, 0), (4 * GIB, 2 * GIB, GIB)]

    def test_cmos_that_does_not_sum_up_to_the_blocks_is_not_believed(self):
        where = map_of(machines.stream({b"pc.ram": 3 * GIB}, {RTC: machines.cmos(GIB, GIB)}))
        assert placed(where, b"pc.ram") == []
        assert "no blocks sum up" in unplaced(where)[b"pc.ram"]

    def test_srat_that_contradicts_cmos_places_nothing(self):
        blocks = {b"pc.ram": 2 * GIB, acpi.BLOCK: 4096}
        entries = srat((0, 640 << 10, 0), (MIB, GIB - MIB, 0), (4 * GIB, GIB, 0))
        where = map_of(machines.stream(blocks, {RTC: machines.cmos(2 * GIB)}, {acpi.BLOCK: entries}))
        assert "SRAT" in unplaced(where)[b"pc.ram"]
        assert "CMOS" in unplaced(where)[b"pc.ram"]

    def test_srat_says_which_node_is_first_where_names_do_not(self):
        blocks = {b"b": 512 * MIB, b"a": 256 * MIB, acpi.BLOCK: 4096}
        entries = srat((0, 640 << 10, 0), (MIB, 255 * MIB, 0), (256 * MIB, 512 * MIB, 1))
        where = map_of(machines.stream(blocks, {RTC: machines.cmos(768 * MIB)}, {acpi.BLOCK: entries}))
        assert placed(where, b"a") == [(0, 256 * MIB, 0)]
        assert placed(where, b"b") == [(256 * MIB, 512 * MIB, 0)]

    def test_a_split_without_cmos_is_assumed_and_a_map_with_it_is_not_whole(self):
        where = map_of(machines.stream({b"pc.ram": 4 * GIB}, {}))
        assert placed(where, b"pc.ram")
        assert not where.is_whole

    def test_ram_up_to_1_tib_is_not_placed_where_it_may_begin_at_1_tib(self):
        where = map_of(machines.stream({b"pc.ram": 1020 * GIB}, {RTC: machines.cmos(2 * GIB, 1018 * GIB)}))
        assert "1 TiB" in unplaced(where)[b"pc.ram"]

    def test_memory_of_a_pci_device_lies_at_its_register(self):
        blocks = {b"pc.ram": 64 * MIB, b"0000:00:04.0/iv": 4 * MIB}
        sections = {
            RTC: machines.cmos(64 * MIB),
            b"0000:00:04.0/ivshmem-plain": machines.pci(bars={2: 0xFE00000C, 3: 1}),
        }
        where = map_of(machines.stream(blocks, sections))
        assert placed(where, b"0000:00:04.0/iv") == [(0x1FE000000, 4 * MIB, 0)]  # a register of 64 bits takes two
        sections[b"0000:00:04.0/ivshmem-plain"] = machines.pci(bars={0: 0xFEC00000, 2: 0xFE000008})
        where = map_of(machines.stream(blocks, sections))
        assert placed(where, b"0000:00:04.0/iv") == [(0xFE000000, 4 * MIB, 0)]
        sections[b"0000:00:04.0/ivshmem-plain"] = machines.pci(command=0, bars={2: 0xFE000008})
        where = map_of(machines.stream(blocks, sections))
        assert placed(where, b"0000:00:04.0/iv") == []
        assert where.is_whole

    def test_a_second_block_of_ram_is_not_placed_without_evidence(self):
        where = map_of(machines.stream({b"pc.ram": 64 * MIB, b"mem0": 32 * MIB}, {RTC: machines.cmos(64 * MIB)}))
        (left,) = where.unplaced
        assert (left.block, left.length, left.hint) == (b"mem0", 32 * MIB, 4 * GIB)
        assert "--map" in str(left)

    @pytest.mark.parametrize(
        "name", [b"dimm-flash", b"vgamem", b"lsa", b"nvram0", b"a.rom", b"my.bios", b"/objects/prom", b"x.tag", b"qxl1"]
    )
    def test_a_backend_whose_name_sounds_like_a_device_is_memory_of_the_guest(self, name):
        where = map_of(machines.stream({b"pc.ram": 64 * MIB, name: 32 * MIB}, {RTC: machines.cmos(64 * MIB)}))
        assert unplaced(where) == {name: "the stream does not say where a memory module lies"}
        assert not where.is_whole
        assert sum(length for _, length, _ in placed(where, b"pc.ram")) == 64 * MIB  # no VGA window hides a part

    def test_equal_nodes_in_the_order_of_their_names_are_held_against_the_bios(self):
        bios = bytes(range(256)) * 256
        below = bytes(MIB - len(bios)) + bios
        sections = {RTC: machines.cmos(64 * MIB)}
        blocks = {b"ram-node0": 32 * MIB, b"ram-node1": 32 * MIB, b"pc.bios": len(bios)}
        right = map_of(machines.stream(blocks, sections, {b"pc.bios": bios, b"ram-node0": below}))
        assert placed(right, b"ram-node1") == [(32 * MIB, 32 * MIB, 0)]
        wrong = map_of(machines.stream(blocks, sections, {b"pc.bios": bios, b"ram-node1": below}))
        assert "the BIOS lies in ram-node1" in unplaced(wrong)[b"ram-node0"]
        assert placed(wrong, b"ram-node0") == placed(wrong, b"ram-node1") == []


def srat(*ranges: tuple[int, int, int]) -> bytes:
    """A file of ACPI tables with an SRAT of ranges of RAM, (start, length, node)."""
    body = bytes(12)
    for start, size, domain in ranges:
        entry = {"length": acpi.Affinity.sizeof() + 8, "domain": domain, "start": start, "size": size, "flags": 1}
        body += acpi.Affinity.build(entry) + bytes(8)
    head = {
        "signature": acpi.SRAT,
        "length": acpi.Header.sizeof() + len(body),
        "revision": 1,
        "checksum": 0,
        "oem": b"BOCHS ",
        "oem_table": b"BXPC    ",
        "oem_revision": 1,
        "creator": b"BXPC",
        "creator_revision": 1,
    }
    return bytes(64) + acpi.Header.build(head) + body


class TestVirtioMem:
    def early(self, *plugged: int, addr: int = 4 * GIB) -> bytes:
        head = {
            "addr": addr,
            "region_size": 256 * MIB,
            "block_size": 2 * MIB,
            "node": 0,
            "size": len(plugged) * 2 * MIB,
        }
        bitmap = sum(1 << i for i in plugged)
        words = b"".join((bitmap >> 64 * i & (1 << 64) - 1).to_bytes(8, "big") for i in range(2))
        return bytes(machine.VirtioMemEarly.build(head)) + words

    def test_plugged_parts_are_placed_and_the_rest_is_named(self):
        blocks = {b"pc.ram": 64 * MIB, b"0000:00:05.0/vm": 256 * MIB}
        sections = {RTC: machines.cmos(64 * MIB), b"0000:00:05.0/virtio-mem-device-early": self.early(0, 1, 65)}
        where = map_of(machines.stream(blocks, sections))
        assert placed(where, b"0000:00:05.0/vm") == [
            (4 * GIB, 4 * MIB, 0),
            (4 * GIB + 130 * MIB, 2 * MIB, 130 * MIB),
        ]
        assert sum(u.length for u in where.unplaced) == 250 * MIB

    def test_a_region_that_would_overlap_ram_is_not_believed(self):
        blocks = {b"pc.ram": 64 * MIB, b"0000:00:05.0/vm": 256 * MIB}
        state = self.early(0, 1, addr=32 * MIB)
        sections = {RTC: machines.cmos(64 * MIB), b"0000:00:05.0/virtio-mem-device-early": state}
        where = map_of(machines.stream(blocks, sections))
        assert placed(where, b"0000:00:05.0/vm") == []
        assert "overlap" in unplaced(where)[b"0000:00:05.0/vm"]

    def test_a_bitmap_that_contradicts_the_size_is_not_believed(self):
        raw = bytearray(self.early(0, 1))
        raw[-1] ^= 4
        assert virtiomem._early(bytes(raw)) is None
        assert virtiomem._early(self.early(0, 1)) is not None
        assert virtiomem._early(self.early(0, addr=4 * GIB + 4096)) is None


class TestChoice:
    def test_equal_nodes_with_free_names_cannot_be_told_apart(self):
        nodes = [Segment(0, GIB, 0), Segment(4 * GIB, GIB, 1)]
        assert choose([Block(b"x", GIB), Block(b"y", GIB)], nodes, (), False).blocks is None
        named = [Block(b"ram-node1", GIB), Block(b"ram-node0", GIB)]
        assert choose(named, nodes, (), False).blocks == (named[1], named[0])

    def test_lengths_outweigh_names_that_contradict_them(self):
        blocks = [Block(b"ram-node0", GIB), Block(b"ram-node1", 2 * GIB)]
        found = choose(blocks, [Segment(0, 2 * GIB, 0), Segment(2 * GIB, GIB, 1)], (), False)
        assert found.blocks == (blocks[1], blocks[0])
        assert found.notes

    def test_one_block_or_a_sum_of_others_is_undecided_unless_there_is_one_block(self):
        blocks = [Block(b"x", 2 * GIB), Block(b"y", GIB), Block(b"z", GIB)]
        assert choose(blocks, [Segment(0, 2 * GIB)], (), False).blocks is None
        assert choose(blocks, [Segment(0, 2 * GIB)], (), True).blocks == (blocks[0],)

    def test_offsets_of_the_block_list_order_blocks_that_nothing_else_does(self):
        blocks = [Block(b"x", GIB, address=GIB), Block(b"y", GIB, address=0)]
        nodes = [Segment(0, GIB, 0), Segment(4 * GIB, GIB, 1)]
        assert choose(blocks, nodes, (), False).blocks == (blocks[1], blocks[0])

    def test_blocks_run_on_over_the_hole(self):
        filled = fill([Segment(0, GIB), Segment(4 * GIB, 2 * GIB)], [Block(b"x", 2 * GIB), Block(b"y", GIB)], "")
        assert [(r.start, r.length, r.block, r.offset) for r in filled] == [
            (0, GIB, b"x", 0),
            (4 * GIB, GIB, b"x", GIB),
            (5 * GIB, GIB, b"y", 0),
        ]


def tree(*memory: tuple[int, int, int | None], total: int | None = None) -> bytes:
    """A device tree with these ranges of memory, (start, length, node)."""
    names = b"reg\0numa-node-id\0compatible\0"
    words = []

    def prop(name: bytes, value: bytes) -> None:
        words.append(
            (3).to_bytes(4, "big") + len(value).to_bytes(4, "big") + names.index(name + b"\0").to_bytes(4, "big")
        )
        words.append(value + bytes(-len(value) % 4))

    words.append((1).to_bytes(4, "big") + bytes(4))
    prop(b"compatible", b"linux,dummy-virt\0")
    for start, length, node in memory:
        name = b"memory@%x\0" % start
        words.append((1).to_bytes(4, "big") + name + bytes(-len(name) % 4))
        prop(b"reg", start.to_bytes(8, "big") + length.to_bytes(8, "big"))
        if node is not None:
            prop(b"numa-node-id", node.to_bytes(4, "big"))
        words.append((2).to_bytes(4, "big"))
    words += [(2).to_bytes(4, "big"), (9).to_bytes(4, "big")]
    structure, size = b"".join(words), fdt.Header.sizeof()
    head = {
        "total": total or size + len(structure) + len(names),
        "structure": size,
        "strings": size + len(structure),
        "reserved": size,
        "last_compatible": 16,
        "boot_cpu": 0,
        "strings_size": len(names),
        "structure_size": len(structure),
    }
    return bytes(fdt.Header.build(head)) + structure + names


class TestDeviceTree:
    def test_it_names_the_ranges_and_their_nodes(self):
        found = devicetree.parse(tree((GIB, 256 * MIB, 1), (GIB + 256 * MIB, GIB, 0)), "here")
        assert found.ram == (Segment(GIB, 256 * MIB, 1), Segment(GIB + 256 * MIB, GIB, 0))
        assert found.compatible == (b"linux,dummy-virt",)

    def test_a_tree_that_breaks_off_anywhere_does_not_break_the_reader(self):
        whole = tree((GIB, 256 * MIB, None))
        for end in range(len(whole)):
            devicetree.parse(whole[:end], "")
            devicetree.parse(whole[:end] + b"\xff" * (len(whole) - end), "")

    def test_it_places_blocks_with_free_names(self):
        blocks = {b"foo": 64 * MIB, b"virt.flash0": 64 * MIB}
        where = map_of(machines.stream(blocks, {}, {b"foo": tree((GIB, 64 * MIB, None))}))
        assert placed(where, b"foo") == [(GIB, 64 * MIB, 0)]
        assert where.is_whole

    def test_equal_nodes_in_the_order_of_their_names_are_held_against_what_lies_where_ram_begins(self):
        blocks = {b"ram-node0": 32 * MIB, b"ram-node1": 32 * MIB}
        told = tree((GIB, 32 * MIB, 0), (GIB + 32 * MIB, 32 * MIB, 1))
        right = map_of(machines.stream(blocks, {}, {b"ram-node0": told}))
        assert placed(right, b"ram-node1") == [(GIB + 32 * MIB, 32 * MIB, 0)]
        wrong = map_of(machines.stream(blocks, {}, {b"ram-node1": told}))
        assert "ram-node0 would be first and begins with zeros" in unplaced(wrong)[b"ram-node0"]
        assert wrong.ranges == ()

    def test_one_that_does_not_fit_the_blocks_does_not_count(self):
        where = map_of(machines.stream({b"mach-virt.ram": 64 * MIB}, {}, {b"mach-virt.ram": tree((GIB, GIB, None))}))
        assert placed(where, b"mach-virt.ram") == [(GIB, 64 * MIB, 0)]
        assert any("does not fit" in note for note in where.notes)


XML = b"""<domain><name>x</name><cpu><numa><cell id='0' cpus='0' memory='1' unit='GiB'/>
<cell id='1' memory='2097152' unit='KiB'/></numa></cpu><devices>
<memory model='dimm'><target><size unit='KiB'>524288</size><node>0</node></target>
<address type='dimm' slot='0' base='0x100000000'/></memory>
<memory model='nvdimm'><target><size unit='KiB'>262144</size><label><size unit='KiB'>128</size></label></target>
<address type='dimm' slot='1' base='0x120000000'/></memory></devices></domain>"""


class TestLibvirt:
    def test_it_names_modules_and_nodes(self):
        found = libvirt.parse(XML)
        assert found.nodes == ((0, GIB), (1, 2 * GIB))
        assert [(m.slot, m.start, m.size, m.usable) for m in found.modules] == [
            (0, 4 * GIB, 512 * MIB, 512 * MIB),
            (1, 0x120000000, 256 * MIB, 256 * MIB - (128 << 10)),
        ]

    @pytest.mark.parametrize(
        "xml",
        [
            b"",
            b"<domain>",
            b"<domain/>" * 2,
            b'<!DOCTYPE a [<!ENTITY b "c">]><domain>&b;</domain>',
            XML.replace(b"KiB", b"furlongs"),
            XML.replace(b"524288", b"x"),
        ],
    )
    def test_what_cannot_be_read_says_nothing(self, xml):
        assert libvirt.parse(xml) is None

    def test_a_module_lies_where_it_says(self, monkeypatch):
        stream = machines.stream({b"pc.ram": 64 * MIB, b"memdimm0": 512 * MIB}, {RTC: machines.cmos(64 * MIB)})
        monkeypatch.setattr(libvirt, "domain", lambda stream: libvirt.parse(XML))
        where = map_of(stream)
        assert placed(where, b"memdimm0") == [(4 * GIB, 512 * MIB, 0)]
        assert where.is_whole


def test_ranges_that_lie_over_others_hide_them():
    below = [Range(0, 100, b"a", 0), Range(200, 100, b"b", 50)]
    left = covered(below, [Range(10, 10, b"c", 0), Range(90, 120, b"d", 0), Range(250, 10, b"e", 0)])
    assert [(r.start, r.length, r.block, r.offset) for r in left] == [
        (0, 10, b"a", 0),
        (20, 70, b"a", 20),
        (210, 40, b"b", 60),
        (260, 40, b"b", 110),
    ]
    assert left_of(b"a", 120, left) == [(10, 10), (90, 30)]


class TestMany:
    def test_a_fragmented_virtio_mem_device_is_placed_and_summed_up(self):
        bits = 1 << 16
        head = {"addr": 4 * GIB, "region_size": bits * MIB, "block_size": MIB, "node": 0, "size": bits // 2 * MIB}
        state = machine.VirtioMemEarly.build(head) + b"\x55" * (bits // 8)
        blocks = {b"pc.ram": 64 * MIB, b"0000:00:05.0/vm": bits * MIB}
        sections = {RTC: machines.cmos(64 * MIB), b"0000:00:05.0/virtio-mem-device-early": bytes(state)}
        where = map_of(machines.stream(blocks, sections))
        assert len(placed(where, b"0000:00:05.0/vm")) == bits // 2
        (left,) = where.unplaced
        assert (left.length, f"{bits // 2} parts" in left.reason) == (bits // 2 * MIB, True)

    def test_thousands_of_blocks_are_listed_and_not_searched_for(self):
        blocks = {b"pc.ram": 64 * MIB} | {b"m%d" % i: 4096 for i in range(3000)}
        where = map_of(machines.stream(blocks, {RTC: machines.cmos(64 * MIB)}))
        assert placed(where, b"pc.ram")
        assert len(where.unplaced) == 3000
