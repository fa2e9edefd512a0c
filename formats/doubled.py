"""The run-length codings of September 2010, before (run, byte) pairs: a doubled byte announces its repeats.

Facts: README.md, "Doubled bytes". A byte that differs from its predecessor stands for itself. What follows
a byte that equals its predecessor differs:

- `sep10`: a u8, how many more of the byte follow the two; then the predecessor is forgotten.
- `sep20`: the byte that comes after the run, then a u8, how often the doubled byte follows the first of the
  two. The byte after the run is the predecessor of what comes next, so a run of more than 256 bytes goes on
  as a new one. Eight deltas are known: read so, each makes one page, 302 of the 304 bytes that they change
  turn into the next number, and encoding them again gives the same bytes [C].
"""

from construct import Byte, Struct

from . import Grammar

EXTRA_MAX = 255  # a u8 of further repeats

#: sep10, after a byte that equals its predecessor: how many more of it follow.
Repeats: Grammar = Struct("extra" / Byte)

#: sep20, in the same place: the byte after the run, and how many of the run's bytes follow its first.
NextRun: Grammar = Struct("byte" / Byte, "count" / Byte)
