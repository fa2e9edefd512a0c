"""What a guest's machine writes down about its memory, as a stream carries it: CMOS, PCI registers, e820, virtio-mem.

Facts: README.md, "Where memory lies". A stream holds these bytes inside device sections or inside memory. CMOS, PCI
registers and e820 are little-endian whatever the stream is. virtio-mem's fields are the stream's own, big-endian.
"""

from construct import Array, Byte, Bytes, Int16ul, Int24ul, Int32ub, Int32ul, Int64ub, Int64ul, Padding, Struct

from . import Grammar

RTC = b"mc146818rtc"  # idstr of the section whose data begins with CMOS

#: CMOS bytes that state the size of RAM. ``base`` counts KiB below 640 KiB. ``extended`` counts KiB above 1 MiB.
#: ``above_16m`` and ``above_4g`` count 64 KiB.
Cmos: Grammar = Struct(
    Padding(0x15),
    "base" / Int16ul,
    Padding(0x30 - 0x17),
    "extended" / Int16ul,
    Padding(2),
    "above_16m" / Int16ul,
    Padding(0x5B - 0x36),
    "above_4g" / Int24ul,
)
CMOS_BASE_KIB = (256, 640)  # what ``base`` can be on a PC; other boards with this clock leave zeros
CMOS_UNIT = 64 << 10
CMOS_WRAPS = (1 << 24) * CMOS_UNIT  # ``above_4g`` counts modulo this

PCI_VERSIONS = (1, 2)  # what a PCI device's data begins with
PCI_COMMAND_MEMORY = 1 << 1
PCI_CLASS_VGA = 0x0300
PCI_HEADER_BRIDGE = 1
PCI_BAR_IO = 1 << 0
PCI_BAR_64 = 2 << 1
PCI_BAR_WIDTH = 3 << 1
PCI_BAR_PREFETCH = 1 << 3
PCI_BAR_FLAGS = 0xF
PCI_NOWHERE = 0xFFFFFFFF

#: The registers of a PCI device as its section begins: be32 version, then configuration space.
PciDevice: Grammar = Struct(
    "version" / Int32ub,
    "vendor" / Int16ul,
    "device" / Int16ul,
    "command" / Int16ul,
    "status" / Int16ul,
    "revision" / Byte,
    "interface" / Byte,
    "class_" / Int16ul,
    "cache_line" / Byte,
    "latency" / Byte,
    "header_type" / Byte,
    "self_test" / Byte,
    "bars" / Array(6, Int32ul),
    "rest" / Bytes(256 - 0x28),
)
#: The windows of a bridge, from configuration space 0x20 on: memory behind it lies inside one of them.
PciBridge: Grammar = Struct(
    "base" / Int16ul,
    "limit" / Int16ul,
    "prefetch_base" / Int16ul,
    "prefetch_limit" / Int16ul,
    "prefetch_base_high" / Int32ul,
    "prefetch_limit_high" / Int32ul,
)
PCI_BRIDGE_AT = 0x20

#: Where a host bridge keeps PAM, in its configuration space: 7 bytes that say what 0xc0000 to 0xfffff shows.
PAM_AT = {b"I440FX": 0x59, b"mch": 0x90}
#: The ranges that the nibbles of PAM govern, in order: (start, length). Bit 0 of a nibble: reads come from RAM.
PAM_RANGES = [
    (0xF0000, 0x10000),
    *((0xC0000 + i * 0x4000, 0x4000) for i in range(12)),
]
PAM_NIBBLES = [(0, 4), *((1 + i // 2, 4 * (i % 2)) for i in range(12))]  # (byte, shift) of each of them
PAM_READ = 1

E820Entry: Grammar = Struct("start" / Int64ul, "length" / Int64ul, "type" / Int32ul)
E820_RAM = 1

#: What virtio-mem migrates of its region, as it stands in the opaque data of QEMU before 8; a bitmap follows.
VirtioMem: Grammar = Struct(
    "addr" / Int64ub,
    "region_size" / Int64ub,
    "block_size" / Int64ub,
    "node" / Int32ub,
    "usable_region_size" / Int64ub,
    "size" / Int64ub,
    "requested_size" / Int64ub,
)
#: The section of its own that QEMU 8 and later write; the bitmap follows.
VirtioMemEarly: Grammar = Struct(
    "addr" / Int64ub,
    "region_size" / Int64ub,
    "block_size" / Int64ub,
    "node" / Int32ub,
    "size" / Int64ub,
)
VIRTIO_MEM_WORD = 8  # the bitmap is be64 words, the lowest bit of each first
