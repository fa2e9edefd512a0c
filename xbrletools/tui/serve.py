"""Serves the TUI to web browsers through textual-serve. Each connection gets its own process."""

import shlex
from collections.abc import Sequence

from ..errors import XbrleError


def serve(command: Sequence[str], host: str, port: int) -> None:
    """Serve the terminal program ``command`` until interrupted.

    Raises:
        XbrleError: textual-serve is not installed, or it cannot listen on the port.
    """
    try:
        from textual_serve.server import Server
    except ImportError:
        raise XbrleError("serving needs the extra `web`: pip install 'xbrletools[web]'") from None
    try:
        Server(shlex.join(command), host=host, port=port, title="xbrle").serve()
    except OSError as error:
        raise XbrleError(f"{host}:{port}: {error.strerror}") from error
