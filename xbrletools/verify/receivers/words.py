"""How QEMU words an error while it loads: what it prints at once, and what its last line says.

Until 10.0 each level of the loader prints a line of its own. In 11.1 most levels add to one message instead, which
the last line carries. All were printed by QEMU 7.2.22, 8.2.2, 10.0.13 and 11.1.3 that were given such streams [C].
"""

import errno
import os
from dataclasses import dataclass, replace

from ...text import label

Version = tuple[int, ...]
CHAINED: Version = (11, 1)  # from here on, of the versions that are known, errors are one message


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a receiver stops. ``number`` is the errno, ``lines`` are printed at once in every version.

    ``message`` is a line of its own in versions before `CHAINED`, and a part of the last line from there on. ``at`` is
    the offset where it stops, ``complains`` says that it goes on all the same. ``unworded``: it stops, but its words
    depend on what only the destination's program knows. ``where_unknown``: so does whether it stops at all.
    """

    number: int
    lines: tuple[str, ...] = ()
    message: str = ""
    at: int = 0
    complains: bool = False
    unworded: bool = False
    where_unknown: bool = False

    def inside(self, version: Version, level: str, inner: str = "") -> "Fault":
        """The fault as the level above it passes it on. ``level`` is that level's own words.

        ``inner`` is what the level in between says from `CHAINED` on, where the fault itself has no message.
        """
        if version < CHAINED:
            lines = (*self.lines, *([self.message] if self.message else []), level)
            return replace(self, lines=lines, message="")
        message = self.message or inner
        return replace(self, message=f"{level}: {message}" if message and level else message or level)

    def said(self, version: Version) -> tuple[str, ...]:
        """All lines that the program prints, without its name before them. A name can hold line feeds.

        What is not printable in a name is escaped, where the program prints it as it is.
        """
        return tuple(label(line) for text in self._texts(version) for line in text.split("\n"))

    def _texts(self, version: Version) -> tuple[str, ...]:
        if self.complains:
            return (*self.lines, *([self.message] if self.message else []))
        if self.unworded or self.where_unknown:
            return ()
        last = f"load of migration failed: {os.strerror(self.number)}"
        if version < CHAINED:
            return (*self.lines, *([self.message] if self.message else []), last)
        return (*self.lines, f"{last}: {self.message}" if self.message else last)


def refused(message: str, *, number: int = errno.EINVAL) -> Fault:
    """A fault whose words go up in the message."""
    return Fault(number, message=message)


def printed(*lines: str, number: int = errno.EINVAL) -> Fault:
    """A fault whose words every version prints at once."""
    return Fault(number, lines=lines)


def legacy(version: int, number: int) -> str:
    """What 11.1 says of a section that is not described by fields, such as RAM."""
    return f"Failed to load vmstate version_id: {version}, ret: -{number}"


def cut(version: Version, what: str = "Failed to load section ID: stream error: -5: Channel error") -> Fault:
    """The stream ends where something must stand that has no words of its own."""
    return Fault(errno.EIO, message="" if version < CHAINED else what + _error(what))


def _error(what: str) -> str:
    return f": {os.strerror(errno.EIO)}" if what.endswith("Channel error") else ""
