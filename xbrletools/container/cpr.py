"""The channel of cpr-transfer: which file descriptors the source handed over, for a RAM block or a device each.

Facts: formats/README.md, "cpr".
"""

from dataclasses import dataclass
from io import BytesIO

from construct import ConstructError

from ..formats import cpr


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A file descriptor that was handed over. ``name`` is a RAM block's, or says what else it is for."""

    offset: int
    name: bytes
    id: int


@dataclass(frozen=True, slots=True)
class Subsection:
    """A subsection of the channel's state: its data in ``[data, end)``, which is not taken apart."""

    offset: int
    name: bytes
    version: int
    data: int
    end: int


@dataclass(frozen=True, slots=True)
class CprState:
    """What the channel says. ``damage`` is where reading stopped before its end, None where it did not."""

    version: int
    descriptors: tuple[Descriptor, ...]
    subsections: tuple[Subsection, ...]
    damage: int | None = None


def read(data: bytes) -> CprState | None:
    """The state that ``data`` is, or None where it is not such a channel."""
    stream = BytesIO(data)
    try:
        header = cpr.Header.parse_stream(stream)
    except ConstructError:
        return None
    descriptors: list[Descriptor] = []
    found: list[Subsection] = []
    at = stream.tell()
    try:
        while cpr.More.parse_stream(stream):
            entry = cpr.Descriptor.parse_stream(stream)
            descriptors.append(Descriptor(at + cpr.More.sizeof(), entry.name.rstrip(b"\0"), entry.id))
            at = stream.tell()
        at = stream.tell()
        while at < len(data):
            found.append(_subsection(stream, data))
            at = stream.tell()
    except ConstructError:
        return CprState(header.version, tuple(descriptors), tuple(found), at)
    return CprState(header.version, tuple(descriptors), tuple(found))


def _subsection(stream: BytesIO, data: bytes) -> Subsection:
    """The subsection at the stream's place. Only an empty list shows where it ends. Else it goes on to the end."""
    at = stream.tell()
    cpr.SubsectionMark.parse_stream(stream)
    head = cpr.Subsection.parse_stream(stream)
    begin = stream.tell()
    ends_at_once = not cpr.More.parse_stream(stream)
    end = stream.tell() if ends_at_once else len(data)
    stream.seek(end)
    return Subsection(at, head.idstr, head.version_id, begin, end)
