"""cpr: the channel of its own over which cpr-transfer hands over file descriptors, before the migration stream.

Facts: README.md, "cpr". It begins with `Header`. Then comes a list, each entry after a byte 1 and the end after a byte
0, and subsections of the VM state that it is. A descriptor itself goes beside the bytes, as a message of the socket.
"""

from construct import Byte, Bytes, Const, Int32sb, Int32ub, Struct, this

from . import Grammar
from .qevm import IdStr, SectionType

MAGIC = b"QCPR"
VERSION = 1

Header: Grammar = Struct("magic" / Const(MAGIC), "version" / Int32ub)

#: Before each entry of a list 1, at its end 0.
More: Grammar = Byte

#: A file descriptor: what it is for, with a NUL at its end, and a number that tells apart those of one name. The last
#: byte goes with the descriptor and says nothing.
Descriptor: Grammar = Struct(
    "name_length" / Int32ub, "name" / Bytes(this.name_length), "id" / Int32sb, "companion" / Byte
)

#: The byte before a subsection.
SubsectionMark: Grammar = Const(int(SectionType.SUBSECTION), Byte)

#: A subsection's name and version. Its data follow.
Subsection: Grammar = Struct("idstr" / IdStr, "version_id" / Int32ub)
