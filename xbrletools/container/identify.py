"""Names what is not a migration stream but belongs to one: a multifd channel, a return path."""

from construct import ConstructError, Int32ub

from ..formats import multifd
from . import returnpath


def foreign(head: bytes) -> str | None:
    """What begins with these bytes, in words; None where that is not known."""
    if head.startswith(Int32ub.build(multifd.MAGIC)):
        try:
            channel = multifd.Init.parse(head).id[0]
        except ConstructError:
            channel = 0
        return f"is multifd channel {channel} of a migration; open the main channel and give this one with --channel"
    messages = returnpath.read(head)
    if messages is not None:
        shown = ", ".join(str(m) for m in messages[:8]) + (", ..." if len(messages) > 8 else "")
        return f"is the return path of a migration, destination to source: {len(messages)} messages, {shown}"
    return None
