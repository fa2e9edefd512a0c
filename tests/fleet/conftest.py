"""Five captures and ten bad files, and their tables."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import SAMPLES
from xbrletools.fleet.jobs import Job, What
from xbrletools.fleet.work import process

GOOD = ("posted-8m.bin", "stale-base.bin", "xbzrle-16m.bin", "truncated.bin", "xbzrle-wrong-base.bin")


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five captures and ten bad files."""
    folder = tmp_path_factory.mktemp("sources")
    found = []
    for name in GOOD:
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
        found.append(folder / name)
    for i in range(10):
        bad = folder / f"bad{i}.bin"
        bad.write_bytes(bytes([i]) * (100 + i))
        found.append(bad)
    return found


@pytest.fixture(scope="session")
def serial(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of all sources, made one after the other."""
    out = tmp_path_factory.mktemp("serial")
    outcomes = [process(Job(str(path), str(out), run="first")) for path in sources]
    assert Counter(o.what for o in outcomes) == {What.MADE: 5, What.FAILED: 10}
    return out
