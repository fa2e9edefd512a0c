"""The callbacks in C that release what a reader had."""

from collections.abc import Callable

addresses: tuple[int, int, int]

def on_release(callable: Callable[[int], object], /) -> None: ...
