"""How a packet dump is known."""

from ...formats import packets


def is_dump(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a packet dump."""
    return head[:4] in packets.PCAP_MAGICS or head.startswith(packets.PCAPNG_MAGIC)
