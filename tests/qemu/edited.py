"""Every kind of edit by its name, and the edit of a kind with random numbers of a seed."""

import random

from tests.qemu.edits import PARTS, Edit, Places
from tests.qemu.whole_edits import WHOLE

EDITS: dict[str, Edit] = {edit.__name__: edit for edit in (*PARTS, *WHOLE)}


#: Kinds after which only a device's own code tells whether it takes its values: no receiver promises that.
NOT_JUDGED = ("content",)


def made(kind: str, seed: int, at: Places) -> bytes:
    """The edit of a kind with the random numbers of a seed."""
    return EDITS[kind](at, random.Random(f"{kind} {seed}"))
