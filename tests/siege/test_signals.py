"""Some of the moments of `python -m tests.siege.signals`."""

import subprocess
import sys

from tests.conftest import ROOT


def test_a_signal_at_any_moment_leaves_whole_files_and_nothing_else() -> None:
    words = [sys.executable, "-m", "tests.siege.signals", "--moments", "21", "--seed", "3"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.endswith("21 moments, nothing left that must not be\n")
