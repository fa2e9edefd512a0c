"""What the commands share for arrival times: the times beside a capture, and how they are written."""

from typing import TYPE_CHECKING

from ..capture import Capture
from ..errors import XbrleError
from . import EXIT_FINDINGS, warn

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals


def times_of(opened: Capture) -> "tuple[Arrivals | None, int]":
    """When the bytes of a capture came, None where nothing says it, and the exit status.

    Times that are damaged or another capture's are refused: a warning says so, and the status is 1.
    """
    from ..analysis.arrivals import beside, path_beside
    from ..source.sources import MappedSource

    if path_beside(opened.name, opened.source.wrapper is not None) is None:
        return None, 0
    source = opened.source if isinstance(opened.source, MappedSource) else opened.stream.source
    try:
        return beside(source), 0
    except XbrleError as error:
        warn(f"{error}; going on without times")
        return None, EXIT_FINDINGS
