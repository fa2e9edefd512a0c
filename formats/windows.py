"""What a Windows kernel keeps where it can be found: KUSER_SHARED_DATA, the head of KDBG, and the head of its image.

Facts: README.md, "Memory images"; Microsoft's headers ntddk.h (KUSER_SHARED_DATA) and wdbgexts.h (KDDEBUGGER_DATA64),
and "PE Format". No capture of a Windows guest was at hand, so that the layouts are those documents' own.
"""

from construct import Bytes, Const, Int16ul, Int32ul, Int64ul, Padding, Struct

from . import Grammar

SHARED_DATA = 0xFFFF_F780_0000_0000  # the virtual address of KUSER_SHARED_DATA in every 64-bit kernel
ROOT_BYTES = 520

#: KUSER_SHARED_DATA as far as NtMinorVersion. ``build`` is there from Windows 10 on, before it is 0.
SharedData: Grammar = Struct(
    Padding(0x2C),
    "image_low" / Int16ul,
    "image_high" / Int16ul,
    "root" / Bytes(ROOT_BYTES),
    Padding(0x260 - 0x30 - ROOT_BYTES),
    "build" / Int32ul,
    "product" / Int32ul,
    Padding(4),
    "major" / Int32ul,
    "minor" / Int32ul,
)
MACHINES = {0x8664: "x64", 0xAA64: "arm64"}  # of a PE image
BUILD_NUMBER = 0x0FFF_FFFF  # the bits above say how the kernel was built
PRODUCTS = {1: "workstation", 2: "domain controller", 3: "server"}

KDBG = b"KDBG"
#: From the owner's tag on: the size of the whole, and the kernel's base. The kernel scrambles it unless it is debugged.
DebuggerData: Grammar = Struct("tag" / Const(KDBG), "size" / Int32ul, "base" / Int64ul)

IMAGE = b"MZ\x90\0"
DosHeader: Grammar = Struct("magic" / Bytes(len(IMAGE)), Padding(0x3C - len(IMAGE)), "pe" / Int32ul)
#: From the PE signature to the first data directory of a 64-bit image, which is that of exports.
PeHeader: Grammar = Struct(
    "signature" / Const(b"PE\0\0"),
    "machine" / Int16ul,
    Padding(18 + 112),
    "exports" / Int32ul,
    "exports_size" / Int32ul,
)
ExportDirectory: Grammar = Struct(Padding(12), "name" / Int32ul)
KERNEL = b"ntoskrnl.exe\0"
