"""What a connection is, by its first bytes."""

from enum import Enum

from ..formats import multifd, qevm, ram
from ..formats.ram import Flag

_MAIN = qevm.MAGIC.to_bytes(4, "big")
_MULTIFD = multifd.MAGIC.to_bytes(4, "big")
_WORD = 8
_ADDRESS_BITS = 48
_FLAGS = ram.MIN_PAGE_SIZE - 1
_FIRST = (Flag.PAGE, Flag.COMPRESS, Flag.PAGE | Flag.CONTINUE, Flag.COMPRESS | Flag.CONTINUE, Flag.EOS)


class Kind(Enum):
    """What a connection is."""

    MAIN = "main channel"
    MULTIFD = "multifd channel"
    PREEMPT = "preempt channel"
    FOREIGN = "not of this migration"


def kind_of(head: bytes, over: bool = False) -> Kind | None:
    """What a connection is by its first bytes, None while it takes more of them to tell. ``over``: no more will come.

    The preempt channel does not have a header. It begins with a RAM record, a be64 word that is an address and flags.
    QEMU 7.2 sends an EOS alone where no page was asked for.
    """
    if head.startswith(_MAIN):
        return Kind.MAIN
    if head.startswith(_MULTIFD):
        return Kind.MULTIFD
    if len(head) < _WORD and not over and (head[:1] == b"\0" or any(m.startswith(head) for m in (_MAIN, _MULTIFD))):
        return None
    word = int.from_bytes(head[:_WORD], "big")
    is_record = len(head) >= _WORD and word >> _ADDRESS_BITS == 0 and word & _FLAGS in _FIRST
    return Kind.PREEMPT if is_record else Kind.FOREIGN
