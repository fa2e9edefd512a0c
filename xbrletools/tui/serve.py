"""The browser of captures in a web browser."""

from collections.abc import Callable

from ..errors import XbrleError
from .served import Served


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
