"""Where tests find real input: the samples of this repository, and the corpus of captures where there is one.

``XBRLE_CORPUS`` names the corpus. By default it is ``../shared/captures`` beside the repository. Its files are .xz.
"""

import atexit
import lzma
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.arriving import even, written
from xbrletools.codec import native

# No test asserts a time, so hypothesis must not either; its examples are whole streams and batches of pages. They are
# the same at every run: what fails was changed. `--hypothesis-profile=search` looks for new ones.
settings.register_profile("pages", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=50)
settings.register_profile("few", deadline=None, max_examples=5, derandomize=True)  # .ci/s390x, where all is slow
settings.load_profile("pages")

# Where .ci/install-tools keeps newer QEMUs; tests/qemu looks there.
_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("XBRLE_QEMU_ROOTS", str(_cache / "xbrletools" / "qemu"))
os.environ.setdefault("XBRLE_KERNELS", str(_cache / "xbrletools" / "kernels"))
os.environ.setdefault("XBRLE_AXE", str(_cache / "xbrletools" / "axe-core" / "axe.min.js"))
os.environ.setdefault("XBRLE_KAITAI", str(_cache / "xbrletools" / "kaitai"))

# Nothing that a test opens may leave an index in the cache of whoever runs it.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="xbrletools-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# What runs in the background of a shell, or by nohup, has these ignored, and what tests start would inherit that.
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
STORIES = {"stale-base", "truncated", "xbzrle-wrong-base", "multifd"}  # samples with something wrong or missing
SOUND = sorted(p for p in SAMPLES.glob("*.bin") if p.stem not in STORIES)
CORPUS = Path(os.environ.get("XBRLE_CORPUS") or ROOT.parent / "shared" / "captures")


def corpus_names(folder: str, suffix: str = ".bin.xz") -> list[str]:
    """The captures of one folder of the corpus, by name. Without a corpus: one name that says it is absent."""
    names = sorted(p.name.removesuffix(suffix) for p in (CORPUS / folder).glob(f"*{suffix}"))
    return names or ["(no corpus)"]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of samples."""
    return SAMPLES


@pytest.fixture
def timed(tmp_path: Path) -> Path:
    """The sample posted-8m.bin, with times beside it: it came evenly in ten seconds."""
    path, data = tmp_path / "S", (SAMPLES / "posted-8m.bin").read_bytes()
    path.write_bytes(data)
    written(path, data, even(data))
    return path


@pytest.fixture
def corpus() -> Callable[[str], bytes]:
    """Reads a file of the corpus, by its path without .xz. Skips the test where the corpus is absent."""

    def read(path: str) -> bytes:
        if not CORPUS.is_dir():
            pytest.skip(f"the corpus of real captures is not at {CORPUS}; XBRLE_CORPUS names another place")
        packed = CORPUS / f"{path}.xz"
        if packed.exists():
            return lzma.decompress(packed.read_bytes())
        return (CORPUS / path).read_bytes()

    return read


@pytest.fixture(scope="module", params=["NumPy", "C"] if native.loops else ["NumPy"])
def loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module's tests in NumPy alone, and again with the loops in C, where these are built."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "NumPy":
            patch.setattr(native, "loops", None)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-goldens`` writes the goldens anew, for the eye to review."""
    parser.addoption("--update-goldens", action="store_true", help="write tests/golden anew")
