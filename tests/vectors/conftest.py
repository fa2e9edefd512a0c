"""One set of vectors for all tests of a worker."""

from pathlib import Path

import pytest

from xbrletools.cli import main


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    assert main(["vectors", "write", str(folder)]) == 0
    return folder
