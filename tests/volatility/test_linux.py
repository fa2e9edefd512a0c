"""volatility3 lists the processes of a real Linux guest: through the plugin folder, and from the core that we write."""

import lzma
import re
import subprocess
import sys

import pytest

from tests.conftest import CORPUS, ROOT
from xbrletools.cli import main

FOLDER = CORPUS / "linux-guest"
PLUGINS = ROOT / "xbrletools" / "volatility"
GUEST = 192 << 20

# The symbols are not held against volatility's schema, which takes a minute and shows nothing about us.
PROGRAM = """
import resource, sys
from volatility3 import schemas
schemas.validate = lambda *args, **kwargs: True
from volatility3.cli import main
sys.argv[0] = "vol"
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the capture, a core of it, and the symbols of its kernel."""
    pytest.importorskip("volatility3")
    if not FOLDER.is_dir():
        pytest.skip("the corpus of real captures is not there")
    folder = tmp_path_factory.mktemp("linux")
    (folder / "s.bin").write_bytes(lzma.decompress((FOLDER / "keep-xbzrle-192m.bin.xz").read_bytes()))
    assert main(["extract", str(folder / "s.bin"), "--format", "elf", "-o", str(folder / "core"), "--no-cache"]) == 0
    (symbols,) = FOLDER.glob("*.isf.json.xz")
    (folder / "symbols" / "linux").mkdir(parents=True)
    (folder / "symbols" / "linux" / symbols.name).symlink_to(symbols)
    (folder / "cache").mkdir()
    return folder


def pslist(folder, name: str, *options: str) -> tuple[list[str], int]:
    """The lines that linux.pslist prints of a file, and the most memory that it took, in bytes."""
    where = ["-q", "--offline", "--cache-path", str(folder / "cache"), "-s", str(folder / "symbols")]
    order = [sys.executable, "-c", PROGRAM, *where, *options, "-f", str(folder / name), "linux.pslist.PsList"]
    done = subprocess.run(order, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    (peak,) = re.findall(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    return done.stdout.splitlines(), int(peak) << 10


def test_the_processes_are_the_same_by_the_plugin_and_in_the_core(folder):
    by_plugin, peak = pslist(folder, "s.bin", "-p", str(PLUGINS))
    in_core, usual = pslist(folder, "core")
    assert by_plugin == in_core
    names = [line.split("\t")[4] for line in by_plugin if line.startswith("0x")]
    assert names[:2] == ["init", "kthreadd"]
    assert names.count("stress-ng-vm") == 2
    assert len(names) == 62
    # The guest's memory is held once. The rest is the capture, which is mapped.
    assert peak < usual + (folder / "s.bin").stat().st_size + 1.5 * GUEST
