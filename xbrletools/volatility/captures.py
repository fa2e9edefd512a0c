"""The layers that volatility3 stacks on a capture: the bytes of its RAM blocks, and guest-physical memory over them.

volatility3 imports every file of a plugin folder and finds the stacker among the subclasses of its interface. It asks
the stacker before its own QEMU layer, which does not decode deltas. Without volatility3 this module defines nothing.
"""

import io
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname
from weakref import WeakValueDictionary

import numpy as np

import xbrletools
from xbrletools.physical import draft, infer, layout
from xbrletools.text import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xbrletools.memory.image import Image

log = logging.getLogger(__name__)

try:
    from volatility3.framework import exceptions, interfaces
    from volatility3.framework.configuration import requirements
    from volatility3.framework.layers import segmented
except ImportError:  # there is nothing to plug into
    pass
else:

    class CaptureBlock(interfaces.layers.DataLayerInterface):
        """All RAM blocks of a capture, one after the other, as they are at the stream's end."""

        _version = (1, 0, 0)

        def __init__(self, context: Any, config_path: str, name: str, metadata: dict[str, Any] | None = None) -> None:
            super().__init__(context=context, config_path=config_path, name=name, metadata=metadata)
            self._base = str(self.config["base_layer"])
            self.guest = guest_of(context.layers[self._base])
            self._bytes = self.guest.image.pages.reshape(-1)

        @property
        def minimum_address(self) -> int:
            """The first byte's offset: 0."""
            return 0

        @property
        def maximum_address(self) -> int:
            """The last byte's offset."""
            return len(self._bytes) - 1

        @property
        def dependencies(self) -> list[str]:
            """The layer of the file."""
            return [self._base]

        def is_valid(self, offset: int, length: int = 1) -> bool:
            """Whether the bytes are there and their pages are known."""
            if not 0 <= offset <= offset + length <= len(self._bytes):
                return False
            size = self.guest.image.space.page_size
            return bool(self.guest.known[offset // size : -(-(offset + length) // size)].all())

        def read(self, offset: int, length: int, pad: bool = False) -> bytes:
            """Bytes of the blocks. Unknown bytes are zeros with ``pad``. Without it they cannot be read."""
            if not pad and not self.is_valid(offset, length):
                raise exceptions.InvalidAddressException(self.name, offset, f"{offset:#x} is not known")
            data = self._bytes[max(0, offset) : max(0, offset + length)].tobytes()
            return data.rjust(length, b"\0") if offset < 0 else data.ljust(length, b"\0")

        def write(self, offset: int, data: bytes) -> None:
            """Always refused: a capture is evidence."""
            raise NotImplementedError("a capture cannot be changed")

        @classmethod
        def get_requirements(cls) -> list[Any]:
            """The layer of the file."""
            return [requirements.TranslationLayerRequirement(name="base_layer", optional=False)]

    class CaptureLayer(segmented.SegmentedLayer):
        """Guest-physical memory: the known pages of the guest's RAM, where the guest had them."""

        _version = (1, 0, 0)

        def _load_segments(self) -> None:
            guest: Guest = self.context.layers[self._base_layer].guest
            self._segments = guest.segments()

    class CaptureStacker(interfaces.automagic.StackerLayerInterface):
        """Recognises a capture and stacks its memory on the layer of its file."""

        stack_order = 5  # before volatility's own QEMU layer

        @classmethod
        def stack(cls, context: Any, layer_name: str, progress_callback: Any = None) -> Any:
            """The layer of guest-physical memory, or None where the file is not a capture."""
            block, memory = (context.layers.free_layer_name(n) for n in ("CaptureBlock", "CaptureLayer"))
            join = interfaces.configuration.path_join
            context.config[join(block, "base_layer")] = layer_name
            try:
                inner = CaptureBlock(context, block, block)
            except xbrletools.XbrleError as error:
                log.info("not a capture of a migration: %s", error)
                return None
            context.layers.add_layer(inner)
            context.config[join(memory, "base_layer")] = block
            return CaptureLayer(context, memory, memory)


@dataclass(eq=False)
class Guest:
    """A capture with its memory at the end. volatility makes its layers more than once. All share one of these."""

    capture: xbrletools.Capture
    image: "Image"

    @cached_property
    def known(self) -> "NDArray[np.bool_]":
        """Whether each page is known, (pages,) bool."""
        return self.image.known

    def segments(self) -> list[tuple[int, int, int, int]]:
        """The known parts of RAM as volatility lists them: (address, place in `CaptureBlock`, length, length)."""
        space, size = self.image.space, self.image.space.page_size
        known = self.known
        if not known.any():
            log.warning("no page is known; zeros stand in their place")
            known = ~known
        out = []
        for r in self._ranges():
            first = int(space.first[space.index(r.block)])
            pages = known[first + r.offset // size : first + -(-(r.offset + r.length) // size)]
            edges = np.flatnonzero(np.diff(pages, prepend=False, append=False)).reshape(-1, 2) * size
            for start, stop in edges.tolist():
                start, stop = max(0, start - r.offset % size), min(stop - r.offset % size, r.length)
                out.append((r.start + start, first * size + r.offset + start, stop - start, stop - start))
        return sorted(out)

    def _ranges(self) -> list[layout.Range]:
        """Where the guest has its RAM. What has no place is said. Without any, the main block stands alone at 0."""
        stream, space = self.capture.stream, self.image.space
        devices = {b.name for b in stream.blocks if draft.other(stream, b) is not None}
        where = infer.map_of(stream)
        for part in where.unplaced:
            log.warning("%s", part)
        if ranges := [r for r in where.ranges if r.block not in devices]:
            return ranges
        log.warning("block %s is shown from address 0 on", shown(space.blocks[space.main].name))
        main = space.blocks[space.main]
        return [layout.Range(0, main.length, main.name, 0)]


#: The guests of captures that are open, by what identifies the capture. They go when their last layer goes.
_GUESTS: "WeakValueDictionary[tuple[object, ...], Guest]" = WeakValueDictionary()


def guest_of(layer: Any) -> Guest:
    """The guest in the capture that a layer holds.

    Raises:
        XbrleError: the layer does not hold a capture.
    """
    key = _identity(layer)
    guest = _GUESTS.get(key) if key is not None else None
    if guest is None:
        capture = opened(layer)
        _ = capture.records
        for problem in capture.problems:
            log.warning("%s at offset %#x: %s", problem.rule, problem.offset, problem.message)
        guest = Guest(capture, capture.memory())
        if key is not None:
            _GUESTS[key] = guest
    return guest


def _identity(layer: Any) -> tuple[object, ...] | None:
    """What tells a file from others: its place and its state. None where the layer is not a file."""
    where = urlparse(getattr(layer, "location", ""))
    if where.scheme != "file":
        return None
    path = Path(url2pathname(where.path))
    state = path.stat()
    return (path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


class _Bytes(io.RawIOBase):
    """A layer's bytes as a file."""

    def __init__(self, layer: Any) -> None:
        self._layer, self._at = layer, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), int(self._layer.maximum_address) + 1 - self._at)
        if count <= 0:
            return 0
        buffer[:count] = self._layer.read(self._at, count)
        self._at += count
        return count


def opened(layer: Any) -> xbrletools.Capture:
    """Open the capture that a layer holds. Where that is a file, its channels beside it are opened too.

    Raises:
        XbrleError: the layer does not hold a capture.
    """
    where = urlparse(getattr(layer, "location", ""))
    if where.scheme != "file":
        return xbrletools.open(io.BufferedReader(_Bytes(layer)))
    path = Path(url2pathname(where.path))
    return xbrletools.open(path, beside=lambda names: None)
