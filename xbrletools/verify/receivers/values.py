"""What a receiver is, what it is told of the destination, and its verdict on a stream."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...model import Stream
from ..rules import Finding


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One kind of section that a destination loads: ``name`` and ``instance`` find it.

    ``version`` is the newest that it takes, ``minimum`` the oldest, None where that is not known. ``entry`` is its
    description, as the VM description of a stream has it. It is None where the destination only has the name. ``own``:
    this comes from the stream itself, of whose devices two can share name and instance. ``subsections`` are all that it
    knows, None where that cannot be told.
    """

    name: bytes
    instance: int
    version: int
    minimum: int | None = None
    entry: Mapping[str, Any] | None = None
    own: bool = False
    subsections: frozenset[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """What is known of a destination beside its program. None: it is as the stream asks for.

    ``blocks`` has the length in bytes of each RAM block by its name, ``capabilities`` what is switched on. ``devices``
    are the sections that it loads. ``uuid`` are the 16 bytes of the guest's own UUID.
    """

    machine: bytes | None = None
    blocks: Mapping[bytes, int] | None = None
    capabilities: frozenset[str] = frozenset()
    devices: Sequence[DeviceState] | None = None
    uuid: bytes | None = None


#: The values in devices' data. A device's own code can refuse some that have the right form.
DEVICE_VALUES = "device-values"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A receiver's verdict. ``loads`` is None where it cannot be told.

    ``offset`` and ``record`` say where it stops, ``reason`` why, ``said`` the lines that the program prints, without
    its own name before them. All are None or empty if it loads. ``goes_on``: it only complains, and loads the rest all
    the same. ``loads`` is false then. ``wrong_pages`` counts the pages that are wrong in the end, None where that
    cannot be told. ``needs`` are capabilities that the stream asks for and that are not switched on. ``not_judged``
    names what the verdict leaves open where it does not refuse: `DEVICE_VALUES`.
    """

    loads: bool | None
    offset: int | None = None
    record: int | None = None
    reason: str | None = None
    said: tuple[str, ...] = ()
    goes_on: bool = False
    wrong_pages: int | None = None
    needs: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()

    @property
    def stops_at(self) -> int | None:
        """The number of the record at which it stops."""
        return self.record

    def as_object(self) -> dict[str, Any]:
        """The verdict as a JSON object: ``stops_at`` is a record's number, ``offset`` a place in the file."""
        return {
            "loads": self.loads,
            "stops_at": self.record,
            "offset": self.offset,
            "wrong_pages": self.wrong_pages,
            "said": list(self.said),
            "goes_on": self.goes_on,
            "reason": self.reason,
            "needs": list(self.needs),
            "not_judged": list(self.not_judged),
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What one pass over the findings of a stream leaves, for all receivers.

    ``first`` has the first finding of each rule, ``first_sum`` that of a delta whose flagged sum does not hold.
    """

    first: Mapping[str, Finding] = field(default_factory=dict)
    first_sum: Finding | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """A program that loads streams: ``name`` as scripts write it, ``title`` for a person.

    ``judge`` says where it stops, or None if it loads all. ``version`` is empty for programs without one.
    """

    name: str
    title: str
    judge: Callable[[Stream, Seen, Destination], Outcome | None]
    version: tuple[int, ...] = ()
