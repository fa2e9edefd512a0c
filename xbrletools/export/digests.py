"""Digests of files that can be nearly all holes.

A SHA-256 takes about a second for a GB, of zeros as well, and a stream of a few KB can claim terabytes of them. Where
too many zeros would have to be hashed, there is a digest of the data instead: SHA-256 over the pieces of 1024 bytes, in
rising order, that are not all zero, each after its offset in the file as 8 bytes, big-endian. The last piece can be
shorter. With the file's length it says as much as a digest of all bytes.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

ZEROS_MAX = 1 << 32  # bytes of holes, or that were not sent, that are hashed all the same
STEP = 1024  # bytes of a piece: the smallest page that a target has
_BATCH = 1 << 14  # pieces that are hashed at once


class DataDigest:
    """The digest of a file's data. What is not added is zero."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, offset: int, data: NDArray[np.uint8]) -> None:
        """Add bytes, (n,) uint8, in rising order. ``offset`` is a multiple of `STEP`, and but for the end so is n."""
        whole = len(data) // STEP
        pieces = data[: whole * STEP].reshape(-1, STEP)
        for start in range(0, whole, _BATCH):
            batch = pieces[start : start + _BATCH]
            chosen = np.flatnonzero(batch.any(axis=1))
            out = np.empty((len(chosen), 8 + STEP), np.uint8)
            places = (offset + (start + chosen) * STEP).astype(">u8")
            out[:, :8] = places.view(np.uint8).reshape(-1, 8)
            out[:, 8:] = batch[chosen]
            self._sha256.update(out.data)
        rest = data[whole * STEP :]
        if rest.any():
            self._sha256.update((offset + whole * STEP).to_bytes(8, "big") + rest.tobytes())

    def __str__(self) -> str:
        return self._sha256.hexdigest()
