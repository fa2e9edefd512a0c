"""The run-length codings of September 2010, before (run, byte) pairs: a doubled byte announces its repeats.

Facts: README.md, "Doubled bytes". A byte that differs from its predecessor stands for itself. In `sep10` a byte equal to
its predecessor is followed by a u8 of further repeats, then the predecessor is forgotten. `sep20` is unsettled: its
eight known deltas come to one page only when a doubled byte is followed by the next byte and its count.
"""

from construct import Byte, Construct, Struct

EXTRA_MAX = 255  # a u8 of further repeats

#: sep10, after a byte that equals its predecessor: how many more of it follow.
Repeats: Construct = Struct("extra" / Byte)

#: sep20, in the same place: another byte, and its count.
NextRun: Construct = Struct("byte" / Byte, "count" / Byte)
