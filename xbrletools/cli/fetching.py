"""What the commands show of captures behind URLs while they come."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..urls import is_url


@contextmanager
def fetching(*names: str) -> Iterator[None]:
    """Read URLs among ``names`` in the block. What is fetched has a progress bar."""
    if not any(map(is_url, names)):
        yield
        return
    from ..source import remote
    from .output import progress

    with remote.watching(progress):
        yield
