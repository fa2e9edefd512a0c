"""The browser of captures in a web browser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import XbrleError


@dataclass(frozen=True, slots=True)
class Served:
    """What is served: the command of a session, what its page is called, and how many sessions there may be.

    ``check`` raises where no session could open the capture.
    """

    words: Sequence[str]
    name: str
    check: Callable[[], None]
    sessions: int


def serve(served: Served, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. ``announce`` gets the address to open as soon as it answers.

    Raises:
        XbrleError: textual-serve is not installed, or it cannot listen there.
    """
    try:
        from .web_server import run
    except ImportError:
        raise XbrleError("serving needs the extra `web`: pip install 'xbrletools[web]'") from None
    run(served, host, port, announce)
