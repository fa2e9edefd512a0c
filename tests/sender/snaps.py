"""Memory snapshots for tests: few pages, and every kind of change that a sender can meet."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

PAGE = 4096


def change(page: np.ndarray, how: int, rng: np.random.Generator) -> np.ndarray:
    """A page's next content: the same, sparse or dense changes, byte 0 changed, uniform, or all new."""
    page = page.copy()
    if how == 1:
        page[rng.integers(1, len(page), 5)] = rng.integers(0, 256, 5)
    elif how == 2:
        page[rng.integers(0, len(page), len(page) // 3)] ^= 0x5A
    elif how == 3:
        page[0] ^= 1
    elif how == 4:
        page[:] = rng.integers(0, 3)
    elif how == 5:
        page[:] = rng.integers(0, 256, len(page))
    return page


def history(seed: int, hows: list[list[int]], page_size: int = PAGE) -> list[np.ndarray]:
    """Snapshots, (pages, page_size) uint8 each: the first from the first list of changes to blank memory."""
    rng = np.random.default_rng(seed)
    now = np.zeros((len(hows[0]), page_size), np.uint8)
    out = []
    for step in hows:
        now = np.array([change(page, how, rng) for page, how in zip(now, step, strict=True)])
        out.append(now)
    return out


def histories(pages: int = 6, snapshots: int = 5) -> st.SearchStrategy[list[np.ndarray]]:
    """Any history of so many pages and at most so many snapshots."""
    step = st.lists(st.integers(0, 5), min_size=pages, max_size=pages)
    return st.builds(history, st.integers(0, 1 << 30), st.lists(step, min_size=1, max_size=snapshots))


def write(folder: Path, snapshots: list[np.ndarray]) -> list[str]:
    """The snapshots as files."""
    paths = []
    for i, snapshot in enumerate(snapshots):
        path = folder / f"snap{i}"
        path.write_bytes(snapshot.tobytes())
        paths.append(str(path))
    return paths
