"""What files begin with that are not migration streams but that people take for one, and what to do with each.

Facts: README.md, "What is not a stream". Each row says where its bytes are from.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Magic:
    """``what`` begins with ``magic`` at ``offset``. ``advice`` says what to do next. ``source`` knows the bytes."""

    magic: bytes
    what: str
    advice: str
    source: str
    offset: int = 0


_COMPARE = "to compare it with a capture S, use: xbrle diff S FILE"
_AS_ELF = (
    "To compare a guest with a capture, dump the guest as ELF (dump-guest-memory without -z, -l and -s; "
    "virsh dump --memory-only without --format)"
)
_DISKDUMP = f"it holds memory already: open it in crash. {_AS_ELF}"
_VMWARE = "it is from another hypervisor: give it to volatility3, together with its .vmem file"
_OF_VMWARE = "crash, vmware_vmss.h; volatility3, layers/vmware.py"
_VMWARE_STATES = (
    b"\xd0\xbe\xd0\xbe",
    b"\xd0\xbe\xd2\xbe",
    b"\xd2\xbe\xd2\xbe",
    b"\xd3\xbe\xd3\xbe",
    b"\xd1\xba\xd1\xba",
    b"\xd2\xba\xd2\xba",
)
_XML = (b"<domain", b"<domstatus", b"<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE")
_OF_DOMAIN = "open the save file or the capture that belongs to it"
_WINDOWS = "it holds a Windows guest's memory already: give it to WinDbg or volatility3"
_XEN = "it is from another hypervisor: QEMU's own part of a Xen save is what xen-save-devices-state writes"
_PLAIN_DISK = "it is a disk and holds no migration stream: VM state is in qcow2 images with internal snapshots"
_UNPACK = "unpack it first"

MAGICS = (
    # dumps of memory
    Magic(b"\x7fELF", "is an ELF file, such as a core of memory", _COMPARE, "System V ABI, ELF header"),
    Magic(b"EMiL", "is a LiME image of memory", _COMPARE, "LiME's README: magic 0x4c694d45, little-endian"),
    Magic(
        b"AVML",
        "is an AVML image of memory",
        "convert it to LiME with avml-convert; then: xbrle diff S FILE",
        "AVML, src/image.rs: 0x4c4d5641, little-endian",
    ),
    Magic(b"KDUMP   ", "is a compressed kdump of memory", _COMPARE, "makedumpfile, diskdump_mod.h"),
    Magic(b"DISKDUMP", "is a diskdump of memory", _DISKDUMP, "makedumpfile, diskdump_mod.h"),
    Magic(
        b"makedumpfile\0",
        "is a kdump of memory in flattened form",
        f"{_COMPARE}; to open it in crash: makedumpfile -R OUT < FILE",
        "QEMU, include/sysemu/dump.h: MAKEDUMPFILE_SIGNATURE",
    ),
    Magic(b"PAGEDU64", "is a Windows crash dump of 64 bits", _WINDOWS, "QEMU, include/qemu/win_dump_defs.h"),
    Magic(b"PAGEDUMP", "is a Windows crash dump of 32 bits", _WINDOWS, "QEMU, include/qemu/win_dump_defs.h"),
    Magic(b"MDMP\x93\xa7", "is a Windows minidump of one process", _WINDOWS, "Microsoft, MINIDUMP_HEADER"),
    *(
        Magic(m, "is a Windows hibernation file", _WINDOWS, "libhibr, its format document: file header")
        for m in (b"hibr", b"HIBR", b"wake", b"WAKE", b"RSTR", b"HORM")
    ),
    # other hypervisors
    *(Magic(m, "is a VMware saved state (vmss, vmsn)", _VMWARE, _OF_VMWARE) for m in _VMWARE_STATES),
    Magic(b"KDMV", "is a VMware disk (VMDK)", _PLAIN_DISK, "VMware, Virtual Disk Format 5.0: SparseExtentHeader"),
    Magic(b"COWD", "is a VMware disk (VMDK, copy on write)", _PLAIN_DISK, "VMware, Virtual Disk Format 5.0"),
    Magic(b"# Disk DescriptorFile", "describes a VMware disk (VMDK)", _PLAIN_DISK, "VMware, Virtual Disk Format 5.0"),
    Magic(
        b"\x7fVirtualBox SavedState ",
        "is a VirtualBox saved state",
        "it is from another hypervisor: let VirtualBox write a core (VBoxManage debugvm NAME dumpvmcore)",
        "VirtualBox, SSM.cpp: SSMFILEHDR_MAGIC_BASE",
    ),
    Magic(b"\x7f\x10\xda\xbe", "is a VirtualBox disk (VDI)", _PLAIN_DISK, "VirtualBox, VDICore.h", 0x40),
    Magic(b"Xen saved domain", "is a domain that Xen's xl saved", _XEN, "Xen, tools/xl: SAVEFILE_MAGIC"),
    Magic(b"libvirt-xml\n \0 \r", "is a domain that libvirt saved with Xen", _XEN, "libvirt, libxl_conf.h"),
    Magic(b"LibxlFmt", "is a domain that Xen's libxl saved", _XEN, "Xen, docs/specs/libxl-migration-stream.pandoc"),
    Magic(b"\xff" * 8 + b"XENF", "is a domain that Xen saved", _XEN, "Xen, docs/specs/libxc-migration-stream.pandoc"),
    Magic(b"LinuxGuestRecord", "is a domain that Xen's xend saved", _XEN, "Xen, tools/python/xen/xend"),
    Magic(b"vhdxfile", "is a Hyper-V disk (VHDX)", _PLAIN_DISK, "Microsoft, MS-VHDX 2.2.1"),
    # other parts of a migration
    Magic(
        b"QCPR",
        "is the channel of a cpr-transfer migration that hands over file descriptors (QCPR): it holds no memory",
        "open the main channel",
        "QEMU, include/migration/cpr.h: QEMU_CPR_FILE_MAGIC",
    ),
    # text
    *(Magic(m, "is libvirt's XML of a domain", _OF_DOMAIN, "libvirt, docs/formatdomain.rst") for m in _XML),
    Magic(b"<?xml", "is XML, such as libvirt's of a domain", _OF_DOMAIN, "W3C, XML 1.0, 2.8 Prolog"),
    # archives
    Magic(b"PK\x03\x04", "is a zip archive", _UNPACK, "PKWARE, APPNOTE.TXT 4.3.7"),
    Magic(b"7z\xbc\xaf\x27\x1c", "is a 7z archive", _UNPACK, "7-Zip, 7zFormat.txt"),
    Magic(b"\x04\x22\x4d\x18", "is packed with lz4", _UNPACK, "LZ4 Frame Format Description"),
    Magic(b"\xff\x06\0\0sNaPpY", "is packed with snappy", _UNPACK, "snappy, framing_format.txt"),
    Magic(b"ustar", "is a tar archive", _UNPACK, "POSIX, ustar Interchange Format", 257),
)

#: TLS: the first byte of a record is its type, 20 to 23, the second is 3, the third 0 to 4 [RFC 8446, 5.1].
TLS_TYPES = range(20, 24)
TLS_VERSION = (3, range(5))
TLS_LENGTH_MAX = (1 << 14) + 2048  # bytes of a record

#: The table of interrupt vectors that a PC's firmware leaves at the beginning of memory: f000:ff53 again and again.
FIRMWARE_VECTOR = b"\x53\xff\x00\xf0"

#: Bytes in which all of this shows.
HEAD = max(m.offset + len(m.magic) for m in MAGICS)
