"""How a packet dump is known."""

from ...formats import qevm

_STREAM = qevm.MAGIC.to_bytes(4, "big")


def is_dump(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a packet dump."""
    if head.startswith(_STREAM):  # nothing of dumps is imported for a plain stream
        return False
    from ...formats import packets

    return head[:4] in packets.PCAP_MAGICS or head.startswith(packets.PCAPNG_MAGIC)
