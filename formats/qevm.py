"""The QEVM container: file header, section framing, footers, CONFIGURATION, COMMAND, VMDESCRIPTION.

Facts: README.md, "The container": QEMU's migration stream as written from 2009 to today. All integers are big-endian.
Names are bytes. Who shows a name decides how it reads as text.
"""

from enum import IntEnum
from functools import cache, reduce
from operator import or_

from construct import (
    Byte,
    Bytes,
    Const,
    Error,
    GreedyBytes,
    GreedyRange,
    If,
    Int16ub,
    Int32ub,
    Int64ub,
    Prefixed,
    PrefixedArray,
    Rebuild,
    Struct,
    Switch,
    len_,
    obj_,
    this,
)

from . import Grammar
from .declared import WhileNext

MAGIC = 0x5145564D  # "QEVM"
VERSION = 3
VERSION_OBSOLETE = 2  # every receiver that this project knows refuses it


class SectionType(IntEnum):
    """The byte that opens each part of the container."""

    EOF = 0x00
    START = 0x01
    PART = 0x02
    END = 0x03
    FULL = 0x04
    SUBSECTION = 0x05
    VMDESCRIPTION = 0x06
    CONFIGURATION = 0x07
    COMMAND = 0x08
    FOOTER = 0x7E


class Command(IntEnum):
    """Numbers of the COMMAND section. 8 to 10 were renumbered once. The length tells which one is meant."""

    OPEN_RETURN_PATH = 1
    PING = 2
    POSTCOPY_ADVISE = 3
    POSTCOPY_LISTEN = 4
    POSTCOPY_RUN = 5
    POSTCOPY_RAM_DISCARD = 6
    PACKAGED = 7
    ENABLE_COLO = 8
    POSTCOPY_RESUME = 9
    RECV_BITMAP = 10
    SWITCHOVER_START = 11


#: u8 length and that many bytes: section idstrs and RAM block names (1 to 255 bytes, not terminated).
IdStr: Grammar = Prefixed(Byte, GreedyBytes)
ID_STR_MAX = 1 + 0xFF  # bytes of it, its length included

FileHeader: Grammar = Struct("magic" / Const(MAGIC, Int32ub), "version" / Int32ub)

#: After SectionType.START and .FULL.
SectionStart: Grammar = Struct(
    "section_id" / Int32ub,
    "idstr" / IdStr,
    "instance_id" / Int32ub,
    "version_id" / Int32ub,
)


@cache
def section_starts() -> Grammar:
    """`SectionStart` as a parser that is six times as fast, for a million sections. Making it takes 10 ms."""
    return SectionStart.compile()


SECTION_START_MAX = 3 * Int32ub.sizeof() + ID_STR_MAX  # bytes of it

#: After SectionType.PART and .END.
SectionPart: Grammar = Struct("section_id" / Int32ub)

#: After every section's data from QEMU 2.4 on, but not for old machine types.
Footer: Grammar = Struct(
    "type" / Const(int(SectionType.FOOTER), Byte),
    "section_id" / Int32ub,
)

#: Inside a device's data and inside CONFIGURATION.
SubsectionHeader: Grammar = Struct(
    "type" / Const(int(SectionType.SUBSECTION), Byte),
    "idstr" / IdStr,
    "version_id" / Int32ub,
)

SUBSECTION_HEADER_MAX = Byte.sizeof() + ID_STR_MAX + Int32ub.sizeof()  # bytes of it

TargetPageBits: Grammar = Struct("bits" / Int32ub)
Capabilities: Grammar = Struct("names" / PrefixedArray(Int32ub, IdStr))
Uuid: Grammar = Struct("uuid" / Bytes(16))

#: Data of the CONFIGURATION subsections whose size is known, by name.
CONFIGURATION_SUBSECTIONS: dict[bytes, Grammar] = {
    b"configuration/target-page-bits": TargetPageBits,
    b"configuration/capabilities": Capabilities,
    b"configuration/uuid": Uuid,
}


#: What tells whether a subsection of CONFIGURATION stands there.
SubsectionName: Grammar = Struct("type" / Byte, "idstr" / IdStr)

ConfigurationSubsection: Grammar = Struct(
    "type" / Const(int(SectionType.SUBSECTION), Byte),
    "idstr" / IdStr,
    "version_id" / Int32ub,
    "data" / Switch(this.idstr, CONFIGURATION_SUBSECTIONS, Error),
)

_KNOWN_NAME = reduce(or_, (obj_.idstr == name for name in CONFIGURATION_SUBSECTIONS))
_IS_KNOWN = (obj_.type == int(SectionType.SUBSECTION)) & _KNOWN_NAME

#: After SectionType.CONFIGURATION: the machine's name, then subsections while the next byte is 0x05. A subsection of
#: unknown name does not state its length, so this grammar ends there; what follows it can only be searched for.
Configuration: Grammar = Struct(
    "length" / Rebuild(Int32ub, len_(this.machine)),
    "machine" / Bytes(this.length),
    "subsections" / WhileNext(SubsectionName, _IS_KNOWN, ConfigurationSubsection),
)

#: What stands before the data of a COMMAND and of a return path's message.
DataHead: Grammar = Struct("number" / Int16ub, "length" / Int16ub)

#: After SectionType.COMMAND. PACKAGED carries be32 n in its data, then n bytes outside ``length``.
CommandHeader: Grammar = Struct(
    "command" / Int16ub,
    "length" / Rebuild(Int16ub, len_(this.data)),
    "data" / Bytes(this.length),
)

#: After SectionType.VMDESCRIPTION, which follows EOF (QEMU 2.3 and later, not in postcopy).
VmDescription: Grammar = Struct(
    "length" / Rebuild(Int32ub, len_(this.json)),
    "json" / Bytes(this.length),
)

#: One section header as it stands in a stream: the type byte and what that type opens with.
SectionHeader: Grammar = Struct(
    "type" / Byte,
    "start" / If((this.type == int(SectionType.START)) | (this.type == int(SectionType.FULL)), SectionStart),
    "part" / If((this.type == int(SectionType.PART)) | (this.type == int(SectionType.END)), SectionPart),
)

#: Data of POSTCOPY_ADVISE. The data is empty where only dirty bitmaps are sent after the switch.
PostcopyAdvise: Grammar = Struct("host_page_size" / Int64ub, "target_page_size" / Int64ub)

#: Data of PING, and of the return path's PONG and SHUT.
Value: Grammar = Struct("value" / Int32ub)

#: Data of PACKAGED: how many bytes of nested sections follow outside the command's length.
Packaged: Grammar = Struct("size" / Int32ub)

#: Data of POSTCOPY_RAM_DISCARD: ranges of one block that the destination is to forget.
RamDiscard: Grammar = Struct(
    "version" / Byte,
    "idstr" / IdStr,
    "terminator" / Const(0, Byte),
    "ranges" / GreedyRange(Struct("start" / Int64ub, "length" / Int64ub)),
)

#: Data of RECV_BITMAP: the block whose received pages a paused postcopy's source asks for.
BitmapRequest: Grammar = Struct("idstr" / IdStr)

#: Data of a COMMAND whose form is known, by its number.
COMMAND_DATA: dict[int, Grammar] = {
    Command.PING: Value,
    Command.POSTCOPY_ADVISE: PostcopyAdvise,
    Command.POSTCOPY_RAM_DISCARD: RamDiscard,
    Command.PACKAGED: Packaged,
    Command.RECV_BITMAP: BitmapRequest,
}


#: The length in bytes that a receiver asks of a COMMAND's data, by its number; None where it can vary [Q].
COMMAND_LENGTHS: dict[int, int | None] = {
    Command.OPEN_RETURN_PATH: 0,
    Command.PING: Value.sizeof(),
    Command.POSTCOPY_ADVISE: None,
    Command.POSTCOPY_LISTEN: 0,
    Command.POSTCOPY_RUN: 0,
    Command.POSTCOPY_RAM_DISCARD: None,
    Command.PACKAGED: Packaged.sizeof(),
    Command.ENABLE_COLO: 0,
    Command.POSTCOPY_RESUME: 0,
    Command.RECV_BITMAP: None,
    Command.SWITCHOVER_START: 0,
}


class ReturnType(IntEnum):
    """The messages that a destination sends back on the return path [Q]. 1 and 2 were seen in captures [C]."""

    SHUT = 1
    PONG = 2
    REQ_PAGES_ID = 3
    REQ_PAGES = 4
    RECV_BITMAP = 5
    RESUME_ACK = 6
    SWITCHOVER_ACK = 7


#: One message of the return path: the direction from the destination to the source, with no file header.
ReturnMessage: Grammar = Struct(
    "type" / Int16ub,
    "length" / Rebuild(Int16ub, len_(this.data)),
    "data" / Bytes(this.length),
)

#: Data of the return path's messages whose form is known.
RETURN_DATA: dict[int, Grammar] = {
    ReturnType.SHUT: Value,
    ReturnType.PONG: Value,
    ReturnType.REQ_PAGES_ID: Struct("start" / Int64ub, "length" / Int32ub, "idstr" / IdStr),
    ReturnType.REQ_PAGES: Struct("start" / Int64ub, "length" / Int32ub),
    ReturnType.RECV_BITMAP: Struct("idstr" / IdStr),
    ReturnType.RESUME_ACK: Value,
}

Word: Grammar = Int64ub
