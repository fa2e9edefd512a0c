"""qcow2 as far as an internal snapshot's VM state needs it: header, snapshot table, two levels of cluster tables.

Facts: README.md, "Wrappers". All integers are big-endian. The VM state stands in the snapshot's own address space, from
the first entry of its L1 table past the disk on.
"""

from construct import Byte, Bytes, Const, If, Int16ub, Int32ub, Int64ub, Padded, Struct, this

from . import Grammar

MAGIC = b"QFI\xfb"
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00  # the offset in an entry of either table
ZERO = 1  # an L2 entry's bit 0: the cluster reads as zeros
COMPRESSED = 1 << 62
COPIED = 1 << 63
L1_MAX = 32 << 20  # bytes of an L1 table
CLUSTER_BITS = range(9, 22)

INCOMPATIBLE_DATA_FILE = 1 << 2  # clusters lie in another file, at the same offsets as in the disk
INCOMPATIBLE_COMPRESSION = 1 << 3  # the header says how clusters are compressed
INCOMPATIBLE_EXTENDED_L2 = 1 << 4  # an L2 entry is followed by the state of its 32 subclusters
INCOMPATIBLE_KNOWN = 0x1F

COMPRESSION_DEFLATE = 0  # raw deflate
COMPRESSION_ZSTD = 1
SECTOR = 512  # bytes: a compressed cluster's size counts in these

#: An entry of either table.
Entry: Grammar = Int64ub

#: An entry of an L2 table where the header has `INCOMPATIBLE_EXTENDED_L2`. Bit i of ``allocated`` and of ``zeros`` is
#: subcluster i's. ``zeros`` is the high half of the bitmap.
ExtendedEntry: Grammar = Struct("entry" / Entry, "zeros" / Int32ub, "allocated" / Int32ub)
SUBCLUSTERS = 32

#: Where a compressed cluster stands: the low bits of its entry are an offset, those above it count more sectors.
COMPRESSED_BITS = 62


def compressed_offset_bits(cluster_bits: int) -> int:
    """How many bits of a compressed cluster's entry are its offset."""
    return COMPRESSED_BITS - (cluster_bits - 8)


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
HEADER_V2 = 72  # bytes of a header of version 2

#: What follows in a header of version 3.
HeaderRest: Grammar = Struct(
    "compatible_features" / Int64ub,
    "autoclear_features" / Int64ub,
    "refcount_order" / Int32ub,
    "header_length" / Int32ub,
    "compression" / If(this.header_length > 104, Byte),  # the bytes of a header without it
)

#: A header extension: its type, the bytes of its data, the data, and padding.
ExtensionHead: Grammar = Struct("type" / Int32ub, "length" / Int32ub)
EXTENSION_END = 0
EXTENSION_DATA_FILE = 0x44415441  # the data file's name
EXTENSION_ALIGNMENT = 8

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
