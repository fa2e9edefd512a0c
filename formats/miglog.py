"""mig.log, the log of pages that both ends of a debug build write, one line a page: a pattern and format strings.

Facts: README.md, "mig.log". The sender's address is the global ram_addr, the receiver's is the offset in its block.
"""

import re

#: One line with its newline. Groups: seq (decimal, from 1), addr and cksum (upper-case hex), kind, length (XBRLE only).
LINE = re.compile(
    rb"(?m:^)\[seq (?P<seq>[0-9]{1,10}) addr 0x(?P<addr>[0-9A-F]{1,16}) cksum 0x(?P<cksum>[0-9A-F]{1,8})\] "
    rb"(?P<kind>NORMAL|DUP|XBRLE) page(?:(?<=XBRLE page) \(enc len (?P<length>[0-9]{1,5})\)|(?<!XBRLE page))\n"
)

#: Takes seq, addr, cksum and kind: one of the three below, without the newline.
FORMAT = "[seq {seq:d} addr 0x{addr:X} cksum 0x{cksum:X}] {kind}"

PAGE = "NORMAL page"
DUP = "DUP page"
XBRLE = "XBRLE page (enc len {length:d})"

#: The C library writes a log in pieces of this many bytes. Where a migration is cancelled, the last piece is lost.
STDIO_BUFFER = 4096
