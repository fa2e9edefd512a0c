"""qcow2 as far as an internal snapshot's VM state needs it: header, snapshot table, two levels of cluster tables.

Facts: README.md, "Wrappers". All integers are big-endian. The VM state stands in the snapshot's own address space, from
the first entry of its L1 table past the disk on.
"""

from construct import Bytes, Const, If, Int16ub, Int32ub, Int64ub, Padded, Struct, this

from . import Grammar

MAGIC = b"QFI\xfb"
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00  # the offset in an entry of either table
ZERO = 1  # an L2 entry's bit 0: the cluster reads as zeros
COMPRESSED = 1 << 62
CLUSTER_BITS = range(9, 22)

INCOMPATIBLE_DATA_FILE = 1 << 2
INCOMPATIBLE_EXTENDED_L2 = 1 << 4

#: An entry of either table.
Entry: Grammar = Int64ub

Header: Grammar = Struct(
    "magic" / Const(MAGIC),
    "version" / Int32ub,
    "backing_file_offset" / Int64ub,
    "backing_file_size" / Int32ub,
    "cluster_bits" / Int32ub,
    "size" / Int64ub,
    "crypt_method" / Int32ub,
    "l1_size" / Int32ub,
    "l1_table_offset" / Int64ub,
    "refcount_table_offset" / Int64ub,
    "refcount_table_clusters" / Int32ub,
    "snapshots" / Int32ub,
    "snapshots_offset" / Int64ub,
    "incompatible_features" / If(this.version >= 3, Int64ub),
)

#: The 64-bit sizes that follow a snapshot's fixed part, in newer files.
SnapshotExtra: Grammar = Struct("vm_state_size" / Int64ub, "disk_size" / Int64ub)

Snapshot: Grammar = Struct(
    "l1_table_offset" / Int64ub,
    "l1_size" / Int32ub,
    "id_length" / Int16ub,
    "name_length" / Int16ub,
    "date_seconds" / Int32ub,
    "date_nanoseconds" / Int32ub,
    "vm_clock" / Int64ub,
    "vm_state_size" / Int32ub,
    "extra_length" / Int32ub,
    "extra" / If(this.extra_length >= SnapshotExtra.sizeof(), Padded(this.extra_length, SnapshotExtra)),
    "rest" / If(this.extra_length < SnapshotExtra.sizeof(), Bytes(this.extra_length)),
    "id" / Bytes(this.id_length),
    "name" / Bytes(this.name_length),
)
SNAPSHOT_ALIGNMENT = 8
