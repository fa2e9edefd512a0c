"""The layers that volatility3 stacks on a capture: the main RAM block's bytes, and guest-physical memory over them.

volatility3 imports every file of a plugin folder and finds the stacker among the subclasses of its interface. It asks
the stacker before its own QEMU layer, which does not decode deltas. Without volatility3 this module defines nothing.
"""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np

import xbrletools
from xbrletools.formats import multifd
from xbrletools.physical import layout
from xbrletools.text import shown

if TYPE_CHECKING:
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
        """The main RAM block of a capture, as it is at the stream's end. Addresses are offsets in the block."""

        _version = (1, 0, 0)

        def __init__(self, context: Any, config_path: str, name: str, metadata: dict[str, Any] | None = None) -> None:
            super().__init__(context=context, config_path=config_path, name=name, metadata=metadata)
            self._base = str(self.config["base_layer"])
            self.capture = opened(context.layers[self._base])
            _ = self.capture.records
            for problem in self.capture.problems:
                log.warning("%s at offset %#x: %s", problem.rule, problem.offset, problem.message)
            self.image: Image = self.capture.memory()
            space = self.image.space
            main_pages = space.slice(space.main)
            self._bytes = self.image.pages[main_pages].reshape(-1)[: self.image.block_bytes(space.main)]
            self._known = np.append(0, np.cumsum(self.image.known[main_pages]))

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
            size = self.capture.page_size
            first, stop = offset // size, -(-(offset + length) // size)
            return int(self._known[stop] - self._known[first]) == stop - first

        def read(self, offset: int, length: int, pad: bool = False) -> bytes:
            """Bytes of the block. Unknown bytes are zeros with ``pad``. Without it they cannot be read."""
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
        """Guest-physical memory: the known pages of the main RAM block, where the guest had them."""

        _version = (1, 0, 0)

        def _load_segments(self) -> None:
            block = self.context.layers[self._base_layer]
            capture, space = block.capture, block.image.space
            name, size = space.blocks[space.main].name, capture.page_size
            try:
                ranges = without_repeats([r for r in layout.map_of(capture.stream).ranges if r.block == name])
            except xbrletools.XbrleError as error:
                log.warning("%s; the block is shown from address 0 on", error)
                ranges = [layout.Range(0, space.blocks[space.main].length, name, 0)]
            known = block.image.known[space.slice(space.main)]
            if not known.any():
                log.warning("no page of %s is known; zeros stand in their place", shown(name))
                known = ~known
            edges = np.flatnonzero(np.diff(known, prepend=False, append=False)).reshape(-1, 2) * size
            for r in ranges:
                for start, stop in edges.tolist():
                    start, stop = max(start, r.offset), min(stop, r.offset + r.length)
                    if start < stop:
                        at = r.start + start - r.offset
                        self._segments.append((at, start, stop - start, stop - start))
            self._segments.sort()

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


def without_repeats(ranges: list[layout.Range]) -> list[layout.Range]:
    """The ranges, rising, without those whose bytes an earlier range has too, as a BIOS just below 4 GiB."""
    out: list[layout.Range] = []
    for r in ranges:
        if not any(s.offset < r.offset + r.length and r.offset < s.offset + s.length for s in out):
            out.append(r)
    return out


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
    """Open the capture that a layer holds. Where that is a file, the multifd channels beside it are opened too.

    Raises:
        XbrleError: the layer does not hold a capture.
    """
    where = urlparse(getattr(layer, "location", ""))
    if where.scheme != "file":
        return xbrletools.open(io.BufferedReader(_Bytes(layer)))
    path = Path(url2pathname(where.path))
    return xbrletools.open(path, channels=beside(path))


def beside(path: Path) -> list[Path]:
    """The files S.1, S.2 ... beside S that are multifd channels. Earlier recordings begin with S.0."""
    magic = multifd.MAGIC.to_bytes(4, "big")
    numbered = [p for p in path.parent.iterdir() if p.stem == path.name and p.suffix[1:].isdecimal() and p.is_file()]
    return sorted(p for p in numbered if p.open("rb").read(len(magic)) == magic)
