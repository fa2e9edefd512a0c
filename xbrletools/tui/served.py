"""What the web server serves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Served:
    """What is served: the command of a session, what its page is called, and how many sessions there may be.

    ``check`` raises where no session could open the capture.
    """

    words: Sequence[str]
    name: str
    check: Callable[[], None]
    sessions: int
