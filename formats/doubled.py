"""The run-length codings of September 2010, before (run, byte) pairs: a doubled byte announces its repeats.

Facts: README.md, "Doubled bytes". A byte that differs from the one before it stands for itself. What follows a byte
that equals the one before it depends on the coding:

- `sep10`: a u8 says how many more of the byte follow the two. The next byte is then not compared with anything.
- `sep20`: first comes the byte after the run, then a u8, which says how often the doubled byte follows the first of the
  two. What comes next is compared with the byte after the run, so a run of more than 256 bytes continues as a new one.
  Eight deltas are known. Read this way, each makes one page, 302 of the 304 bytes that they change turn into the next
  number, and encoding them again gives the same bytes [C].
"""

from construct import Byte, Struct

from . import Grammar

EXTRA_MAX = 255  # a u8 of further repeats

#: sep10, after a byte that equals its predecessor: how many more of it follow.
Repeats: Grammar = Struct("extra" / Byte)

#: sep20, in the same place: the byte after the run, and how many of the run's bytes follow its first.
NextRun: Grammar = Struct("byte" / Byte, "count" / Byte)
