"""Arrival times: the file NAME.times beside a recorded NAME, which says when its bytes came.

Facts: README.md, "Arrival times". The form is this project's own. Numbers are big-endian, as in the streams themselves.
"""

from construct import Const, Int32ub, Int64ub, Struct

from . import Grammar

MAGIC = b"XBRTIMES"
VERSION = 1
SUFFIX = ".times"
CHECKED = 4096  # bytes before an entry's offset, or all where there are fewer, that its checksum is of
NANOSECONDS = 1_000_000_000  # of a second

#: ``started`` is the wall clock's time when recording began, in nanoseconds since 1970-01-01 UTC.
Header: Grammar = Struct("magic" / Const(MAGIC), "version" / Int32ub, "reserved" / Int32ub, "started" / Int64ub)

#: All bytes before ``offset`` of the recorded file had come ``elapsed`` nanoseconds after ``started``, by a clock that
#: is never set. ``crc`` is the CRC-32 (zlib's) of the `CHECKED` bytes before ``offset``. Both numbers never fall.
Entry: Grammar = Struct("offset" / Int64ub, "elapsed" / Int64ub, "crc" / Int32ub)
