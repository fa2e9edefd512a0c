"""What a receiver makes of one delta or compressed page. Every ``apply`` returns one of these codes for each record.

Which payloads a receiver takes: formats/README.md, "XBRLE" and "XBZRLE".
"""

from enum import IntEnum


class Verdict(IntEnum):
    """The outcome of one delta or compressed page, as a uint8. Only OK ones have touched their page."""

    OK = 0
    SHORT = 1  # decodes to less than a page
    LONG = 2  # runs past the page's end
    BAD_NUMBER = 3  # XBZRLE: a ULEB128 number of more than two bytes, or cut off by the payload's end
    CUT = 4  # the payload ends before the literals, or the count, that its last run announces
    ZERO_RUN = 5  # XBZRLE: a run of length 0 that receivers refuse; XBRLE: only if strict, since receivers take it
    ODD = 6  # strict: a byte is left over after the last pair
    NON_CANONICAL = 7  # strict: neighbouring runs that an encoder would have merged
    DAMAGED = 8  # COMPRESS_PAGE: not a zlib stream, or its check value is wrong
