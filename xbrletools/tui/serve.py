"""The browser of captures in a web browser."""

from collections.abc import Callable

from ..errors import XbrleError
from .served import Served


def check_installed() -> None:
    """Look whether what serving takes is installed, before any work.

    Raises:
        XbrleError: it is not.
    """
    try:
        from . import web_server  # noqa: F401
    except ImportError:
        raise XbrleError("serving needs the extra `web`: pip install 'xbrletools[web]'") from None


def serve(served: Served, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. ``announce`` gets the address to open as soon as it answers.

    Raises:
        XbrleError: textual-serve is not installed, or it cannot listen there.
    """
    check_installed()
    from .web_server import run

    run(served, host, port, announce)
