"""mig.log, the page log that both ends of a debug build write: a line a page, as a pattern and a format string.

Facts: README.md, "mig.log". The sender's address is the global ram_addr, the receiver's the offset in its block.
"""

import re

#: Groups: seq (decimal, from 1), addr and cksum (upper-case hex), kind, length (XBRLE lines only).
LINE = re.compile(
    rb"\[seq (?P<seq>\d+) addr 0x(?P<addr>[0-9A-F]+) cksum 0x(?P<cksum>[0-9A-F]+)\] "
    rb"(?:(?P<kind>NORMAL|DUP|XBRLE) page)(?: \(enc len (?P<length>\d+)\))?"
)

#: Takes seq, addr, cksum and kind (one of the values of KINDS, ready for the line's end).
FORMAT = "[seq {seq:d} addr 0x{addr:X} cksum 0x{cksum:X}] {kind}"

PAGE = "NORMAL page"
DUP = "DUP page"
XBRLE = "XBRLE page (enc len {length:d})"
