"""ACPI tables that tell where memory lies: SRAT (which range is whose) and NFIT (NVDIMMs).

Facts: README.md, "Where memory lies", and the ACPI specification 6.5, 5.2.6,
5.2.16.2, 5.2.25.2, 6.4.3.5.1. QEMU hands its tables
to the firmware as one file, which is a RAM block of its own.
"""

from construct import Byte, Bytes, Const, Int16ul, Int32ul, Int64ul, Padding, Struct

from . import Grammar

BLOCK = b"/rom@etc/acpi/tables"
OEM = b"BOCHS"
REVISIONS = (1, 2, 3)

Header: Grammar = Struct(
    "signature" / Bytes(4),
    "length" / Int32ul,
    "revision" / Byte,
    "checksum" / Byte,
    "oem" / Bytes(6),
    "oem_table" / Bytes(8),
    "oem_revision" / Int32ul,
    "creator" / Bytes(4),
    "creator_revision" / Int32ul,
)

SRAT = b"SRAT"
SRAT_ENTRIES_AT = Header.sizeof() + 12
SRAT_MEMORY = 1
ENABLED, HOTPLUG, NONVOLATILE = 1, 2, 4  # flags of an SRAT memory entry

#: An entry of SRAT that places memory.
Affinity: Grammar = Struct(
    "type" / Const(SRAT_MEMORY, Byte),
    "length" / Byte,
    "domain" / Int32ul,
    Padding(2),
    "start" / Int64ul,
    "size" / Int64ul,
    Padding(4),
    "flags" / Int32ul,
)
SratEntry: Grammar = Struct("type" / Byte, "length" / Byte)

#: An address range of 64 bits as AML has it: in the DSDT, where PCI may place memory.
QWordRange: Grammar = Struct(
    "tag" / Const(b"\x8a\x2b\x00"),
    "type" / Const(0, Byte),  # memory
    "flags" / Byte,
    "type_flags" / Byte,
    "granularity" / Int64ul,
    "minimum" / Int64ul,
    "maximum" / Int64ul,
    "translation" / Int64ul,
    "length" / Int64ul,
)
QWORD_TAG = b"\x8a\x2b\x00\x00"

NFIT = b"NFIT"
NFIT_ENTRIES_AT = Header.sizeof() + 4
NFIT_RANGE = 0

NfitEntry: Grammar = Struct("type" / Int16ul, "length" / Int16ul)
#: The entry of NFIT that places an NVDIMM.
PersistentRange: Grammar = Struct(
    "type" / Const(NFIT_RANGE, Int16ul),
    "length" / Int16ul,
    "index" / Int16ul,
    "flags" / Int16ul,
    Padding(4),
    "domain" / Int32ul,
    "kind" / Bytes(16),
    "start" / Int64ul,
    "size" / Int64ul,
)
