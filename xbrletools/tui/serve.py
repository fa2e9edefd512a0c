"""The browser in a web browser, through textual-serve: each connection gets a process of its own."""

import shlex
from collections.abc import Sequence

from ..errors import XbrleError


def serve(command: Sequence[str], host: str, port: int) -> None:
    """Serve the terminal program ``command`` until interrupted.

    Raises:
        XbrleError: textual-serve is not installed, or the port cannot be had.
    """
    try:
        from textual_serve.server import Server
    except ImportError:
        raise XbrleError("serving needs the extra `web`: pip install 'xbrletools[web]'") from None
    try:
        Server(shlex.join(command), host=host, port=port, title="xbrle").serve()
    except OSError as error:
        raise XbrleError(f"{host}:{port}: {error.strerror}") from error
