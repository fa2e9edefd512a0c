"""The C baseline. It is compiled when it is first used, and called through ctypes."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

FLAGS = ("-O3", "-march=native", "-Wall", "-Wextra", "-shared", "-fPIC")
SOURCE = Path(__file__).with_suffix(".c")
_PAGE = 4096
_DECODERS = {"xbrle": "decode_all", "xbzrle": "xbzrle_decode_all"}
_ENCODERS = {"xbrle": "encode_all", "xbzrle": "xbzrle_encode_all"}


class _Task(ctypes.Structure):
    """`struct task` of baseline.c."""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("memory_size", ctypes.c_uint64),
        ("offset", ctypes.c_void_p),
        ("address", ctypes.c_void_p),
        ("length", ctypes.c_void_p),
        ("kind", ctypes.c_void_p),
        ("room", ctypes.c_int64),
        ("sums", ctypes.c_int64),
        ("only", ctypes.c_int64),
        ("versions", ctypes.c_void_p),
        ("records", ctypes.c_int64),
        ("wrong_sums", ctypes.c_int64),
        ("versions_found", ctypes.c_int64),
    )


def compiler() -> str | None:
    """The C compiler: what CC names, or cc. None where neither is found."""
    return shutil.which(os.environ.get("CC", "cc"))


class Baseline:
    """The algorithms of baseline.c over arrays. The library is built in ``folder``."""

    def __init__(self, cc: str, folder: Path) -> None:
        library = folder / "baseline.so"
        subprocess.run([cc, *FLAGS, str(SOURCE), "-o", str(library)], check=True)
        self._c = ctypes.CDLL(str(library))
        for name in (*_DECODERS.values(), *_ENCODERS.values(), "receive"):
            getattr(self._c, name).restype = ctypes.c_int64

    def decode(self, coding: str, data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes) -> int:
        """Apply delta k to ``pages[k]``, (n, 4096) uint8, in place. Returns how many did not decode."""
        run = getattr(self._c, _DECODERS[coding])
        return int(run(_at(data), _at(offsets), _at(lengths), ctypes.c_int64(len(offsets)), _at(pages)))

    def encode(self, coding: str, old: Bytes, new: Bytes, out: Bytes) -> tuple[Bytes, Ints]:
        """Payloads, one after the other, and their lengths, (n,) int64. ``out`` has room for a page each."""
        lengths = np.empty(len(old), np.int64)
        run = getattr(self._c, _ENCODERS[coding])
        size = run(_at(old), _at(new), ctypes.c_int64(len(old)), _at(out), _at(lengths))
        return out.reshape(-1)[:size], lengths

    def sums(self, pages: Bytes) -> NDArray[np.uint32]:
        """The byte sum of each page, (n,) uint32."""
        sums = np.empty(len(pages), np.uint32)
        self._c.sum_all(_at(pages), ctypes.c_int64(len(pages)), _at(sums))
        return sums

    def fills(self, pages: Bytes) -> NDArray[np.int16]:
        """The byte of each page that is one repeated byte, and -1 for other pages, (n,) int16."""
        fills = np.empty(len(pages), np.int16)
        self._c.fill_all(_at(pages), ctypes.c_int64(len(pages)), _at(fills))
        return fills

    def walk(self, stream: Bytes, room: int) -> dict[str, NDArray[np.generic]]:
        """Offset, address, length and kind of every record that carries a page. ``room`` is at least their number."""
        columns: dict[str, NDArray[np.generic]] = {n: np.empty(room, np.int64) for n in ("offset", "address", "length")}
        columns["kind"] = np.empty(room, np.uint8)
        task = self._receive(stream, room=room, only=-1, **{name: _at(c) for name, c in columns.items()})
        return {name: c[: task.records] for name, c in columns.items()}

    def receive(self, stream: Bytes, memory: Bytes, sums: bool = False) -> int:
        """Load a stream into ``memory``, (n, 4096) uint8. With ``sums`` returns how many deltas' sums are wrong."""
        task = self._receive(stream, memory=_at(memory), memory_size=memory.size, sums=int(sums), only=-1)
        return int(task.wrong_sums)

    def versions(self, stream: Bytes, place: int, count: int) -> Bytes:
        """All ``count`` versions of the page that lies ``place`` bytes into memory, (count, 4096) uint8."""
        page, out = np.zeros(_PAGE, np.uint8), np.empty((count, _PAGE), np.uint8)
        task = self._receive(stream, memory=_at(page), memory_size=1 << 62, only=place, versions=_at(out))
        return out[: task.versions_found]

    def _receive(self, stream: Bytes, **what: object) -> _Task:
        task = _Task(**what)
        if self._c.receive(_at(stream), ctypes.c_uint64(len(stream)), ctypes.byref(task)):
            raise RuntimeError("the baseline does not load this stream")
        return task


def _at(array: NDArray[np.generic]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
