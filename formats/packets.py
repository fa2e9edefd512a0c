"""Packet dumps, pcap and pcapng, and the headers around a TCP segment, as far as a migration takes them.

Facts: README.md, "Packet dumps". A dump's own numbers are in the byte order of the host that wrote it, those of the
packets are big-endian.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from construct import (
    Bytes,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32ub,
    Int32ul,
    Struct,
)

from . import Grammar

# -- pcap -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pcap:
    """What a pcap's magic says: the byte order, the fractions in a second, and whether records are longer."""

    endian: str
    fractions: int
    modified: bool = False


MICRO, NANO = 1_000_000, 1_000_000_000  # in a second
PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": Pcap("big", MICRO),
    b"\xd4\xc3\xb2\xa1": Pcap("little", MICRO),
    b"\xa1\xb2\x3c\x4d": Pcap("big", NANO),
    b"\x4d\x3c\xb2\xa1": Pcap("little", NANO),
    b"\xa1\xb2\xcd\x34": Pcap("big", MICRO, modified=True),
    b"\x34\xcd\xb2\xa1": Pcap("little", MICRO, modified=True),
}
LINK_MASK = 0xFFFF  # of the last word of a pcap's header: above it stands how long a frame's own checksum is
CAPTURED_MAX = 1 << 26  # bytes of a packet: libpcap reads no more, and no link has packets of more


def pcap_header(endian: str) -> Grammar:
    """The 24 bytes at a pcap's beginning."""
    short, word = _numbers(endian)
    return Struct(
        "magic" / Bytes(4),
        "major" / short,
        "minor" / short,
        "reserved" / Bytes(8),
        "snaplen" / word,
        "link" / word,
    )


def pcap_record(endian: str, modified: bool = False) -> Grammar:
    """What stands before each packet: its time, how many of its bytes follow, and how many it had on the wire.

    ``modified``: the form of Kuznetzov's tcpdump, which has an interface and a protocol behind it.
    """
    word = _numbers(endian)[1]
    return Struct(
        "seconds" / word,
        "fraction" / word,
        "captured" / word,
        "length" / word,
        *(("more" / Bytes(8),) if modified else ()),
    )


# -- pcapng -----------------------------------------------------------------------------------------------------------

PCAPNG_MAGIC = b"\n\r\r\n"
BYTE_ORDER = b"\x1a\x2b\x3c\x4d"  # the same in big-endian sections, turned round in others


class Block(IntEnum):
    """The blocks of a pcapng that matter here. All others are passed over."""

    SECTION = 0x0A0D0D0A
    INTERFACE = 1
    PACKET = 2  # obsolete, but still met
    SIMPLE = 3
    STATISTICS = 5
    ENHANCED = 6


class Option(IntEnum):
    """The options of a pcapng that matter here."""

    END = 0
    RESOLUTION = 9  # of an interface
    TIME_OFFSET = 14  # of an interface
    DROPPED_BY_INTERFACE = 5  # of statistics
    DROPPED_BY_SYSTEM = 7  # of statistics


BLOCK_LENGTH_LEAST = 12  # bytes: a type, and the length before and after the body
BLOCK_ALIGN = 4  # bytes: bodies and options are padded to it
RESOLUTION_DEFAULT = 6  # microseconds
RESOLUTION_BINARY = 0x80  # the rest is a power of 2, not of 10
LENGTH_UNKNOWN = b"\xff" * 8  # of a section


def block_head(endian: str) -> Grammar:
    """A block's type and the length of all of it. The length stands again at its end."""
    word = _numbers(endian)[1]
    return Struct("type" / word, "length" / word)


def section_body(endian: str) -> Grammar:
    """The body of `Block.SECTION`, as far as it has a fixed length."""
    short, _ = _numbers(endian)
    return Struct("byte_order" / Bytes(4), "major" / short, "minor" / short, "section_length" / Bytes(8))


def interface_body(endian: str) -> Grammar:
    """The body of `Block.INTERFACE`, which options follow."""
    short, word = _numbers(endian)
    return Struct("link" / short, "reserved" / short, "snaplen" / word)


def enhanced_body(endian: str) -> Grammar:
    """The body of `Block.ENHANCED`, which the packet follows. The time counts in the interface's unit."""
    word = _numbers(endian)[1]
    return Struct("interface" / word, "high" / word, "low" / word, "captured" / word, "length" / word)


def packet_body(endian: str) -> Grammar:
    """The body of `Block.PACKET`, which the packet follows."""
    short, word = _numbers(endian)
    return Struct("interface" / short, "drops" / short, "high" / word, "low" / word, "captured" / word, "length" / word)


def simple_body(endian: str) -> Grammar:
    """The body of `Block.SIMPLE`, which the packet follows. It is of the first interface, and does not have a time."""
    return Struct("length" / _numbers(endian)[1])


def option_head(endian: str) -> Grammar:
    """What stands before an option's value: its code, and the value's length without padding."""
    short, _ = _numbers(endian)
    return Struct("code" / short, "length" / short)


def _numbers(endian: str) -> tuple[Grammar, Grammar]:
    """A number of 16 bits and one of 32."""
    return (Int16ul, Int32ul) if endian == "little" else (Int16ub, Int32ub)


# -- packets ----------------------------------------------------------------------------------------------------------


class Link(IntEnum):
    """What a packet begins with, by libpcap's number for it."""

    BSD_LOOPBACK = 0  # a word with the family of addresses, in the writing host's byte order
    ETHERNET = 1
    RAW_BSD = 12
    RAW_OPENBSD = 14
    RAW = 101  # IP without anything before it
    LOOP = 108  # as BSD_LOOPBACK, big-endian
    LINUX_SLL = 113  # tcpdump -i any
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276  # tcpdump -i any, since libpcap 1.10


#: Links whose packets are IP, behind so many bytes. The version is in the IP header.
IP_BEHIND = {
    Link.BSD_LOOPBACK: 4,
    Link.LOOP: 4,
    Link.RAW: 0,
    Link.RAW_BSD: 0,
    Link.RAW_OPENBSD: 0,
    Link.IPV4: 0,
    Link.IPV6: 0,
}


class Ethertype(IntEnum):
    """What an Ethernet frame holds."""

    IPV4 = 0x0800
    VLAN = 0x8100
    IPV6 = 0x86DD
    QINQ = 0x88A8
    QINQ_OLD = 0x9100


TAGS = (Ethertype.VLAN, Ethertype.QINQ, Ethertype.QINQ_OLD)

Ethernet: Grammar = Struct("destination" / Bytes(6), "source" / Bytes(6), "protocol" / Int16ub)
Tag: Grammar = Struct("control" / Int16ub, "protocol" / Int16ub)
Sll: Grammar = Struct(
    "direction" / Int16ub, "hardware" / Int16ub, "address_length" / Int16ub, "address" / Bytes(8), "protocol" / Int16ub
)
Sll2: Grammar = Struct(
    "protocol" / Int16ub,
    "reserved" / Int16ub,
    "interface" / Int32ub,
    "hardware" / Int16ub,
    "direction" / Int8ub,
    "address_length" / Int8ub,
    "address" / Bytes(8),
)

#: Links that say which protocol follows, each with its header.
WITH_PROTOCOL = {Link.ETHERNET: Ethernet, Link.LINUX_SLL: Sll, Link.LINUX_SLL2: Sll2}

#: ``total`` is 0 where a network card cuts the packet up later. It then reaches to the packet's end.
Ipv4: Grammar = Struct(
    "version_and_words" / Int8ub,
    "service" / Int8ub,
    "total" / Int16ub,
    "identification" / Int16ub,
    "fragment" / Int16ub,
    "ttl" / Int8ub,
    "protocol" / Int8ub,
    "checksum" / Int16ub,
    "source" / Bytes(4),
    "destination" / Bytes(4),
)
FRAGMENT_MORE = 0x2000  # of IPv4's ``fragment``
FRAGMENT_PLACE = 0x1FFF  # of IPv4's ``fragment``: where it belongs, in units of 8 bytes

#: ``payload`` is 0 in a jumbogram. It then reaches to the packet's end.
Ipv6: Grammar = Struct(
    "version_and_flow" / Int32ub,
    "payload" / Int16ub,
    "next" / Int8ub,
    "hops" / Int8ub,
    "source" / Bytes(16),
    "destination" / Bytes(16),
)


class Protocol(IntEnum):
    """What an IP header says comes next."""

    HOP_BY_HOP = 0
    TCP = 6
    ROUTING = 43
    FRAGMENT = 44
    AUTHENTICATION = 51
    DESTINATION = 60
    MOBILITY = 135


#: IPv6's extension headers that only stand before the next one. ``words`` counts units of 8 bytes after the first.
EXTENSIONS = (Protocol.HOP_BY_HOP, Protocol.ROUTING, Protocol.DESTINATION, Protocol.MOBILITY)
Extension: Grammar = Struct("next" / Int8ub, "words" / Int8ub)  # in AUTHENTICATION: units of 4 bytes, less 2
#: ``place``: where it belongs, in bytes, with `FRAGMENT6_MORE`.
Fragment6: Grammar = Struct("next" / Int8ub, "reserved" / Int8ub, "place" / Int16ub, "identification" / Int32ub)
FRAGMENT6_MORE = 1
FRAGMENT6_PLACE = 0xFFF8

Tcp: Grammar = Struct(
    "source" / Int16ub,
    "destination" / Int16ub,
    "sequence" / Int32ub,
    "acknowledged" / Int32ub,
    "words" / Int8ub,
    "flags" / Int8ub,
    "window" / Int16ub,
    "checksum" / Int16ub,
    "urgent" / Int16ub,
)


class TcpFlag(IntFlag):
    """Flags of a TCP header."""

    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16


WINDOW_MAX = 1 << 30  # bytes that a sender may be ahead of what was acknowledged: RFC 7323, 2.3

#: The first byte of a TLS record is its type; 22 is a handshake. The second is 3.
TLS_BEGINS = b"\x16\x03"
