"""Windows and macOS, as far as they can be stood in for: what they lack is taken away, and captures are read."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, SAMPLES

#: Takes away what Windows, or macOS, does not have, before anything of ours is imported.
WINDOWS = """
import sys, os, signal, mmap
import numpy, click, rich, construct, textual, asyncio, subprocess, multiprocessing  # they have their own ways

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp"):
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
for name in ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp"):
    sys.modules.pop(name, None)
for module, names in (
    (signal, ("SIGHUP", "SIGBUS", "SIGTSTP", "SIGCONT", "SIGPIPE", "SIGKILL")),
    (os, ("O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "O_CLOEXEC", "SEEK_DATA", "SEEK_HOLE", "fchmod", "statvfs",
          "geteuid", "sched_getaffinity", "posix_fallocate", "killpg", "setsid")),
    (mmap, ("MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_NORESERVE", "MADV_DONTNEED", "MADV_HUGEPAGE")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
MACOS = """
import ctypes, os, mmap
real = ctypes.CDLL
class Library:
    def __init__(self, name): self.own = real(name)
    def __getattr__(self, name):
        if name == "prctl": raise AttributeError(name)
        return getattr(self.own, name)
ctypes.CDLL = Library
for name in ("sched_getaffinity", "posix_fallocate"):
    if hasattr(os, name): delattr(os, name)
"""
IMPORT_ALL = """
import importlib, pkgutil, xbrletools
left = []
for module in pkgutil.walk_packages(xbrletools.__path__, "xbrletools."):
    if module.name.startswith(("xbrletools.volatility", "xbrletools.samples")) or module.name == "xbrletools.__main__":
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in (
            "textual_serve", "drgn", "plotext", "matplotlib", "duckdb", "pyarrow", "distributed", "fsspec", "yara_x"
        ):
            raise
        left.append(module.name)
print(len(left))
"""
RUN = "from xbrletools.cli import main; sys.exit(main(sys.argv[1:]))"


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_every_module_is_imported_without_what_the_system_lacks(system):
    done = python(system + IMPORT_ALL)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
@pytest.mark.parametrize("words", ["info", "verify", "grep -i mig"])
def test_a_capture_is_read_without_what_the_system_lacks(system, words):
    command, *more = words.split()
    arguments = (command, SAMPLES / "posted-8m.bin", *more)
    here, there = python("import sys; " + RUN, *arguments), python(system + "import sys; " + RUN, *arguments)
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout), there.stderr


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_one_file_is_written_without_what_the_system_lacks(system, tmp_path):
    out = tmp_path / "ram"
    done = python(system + "import sys; " + RUN, "extract", SAMPLES / "posted-8m.bin", "--block", "pc.ram", "-o", out)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size == 8 << 20
