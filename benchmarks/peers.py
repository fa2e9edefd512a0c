"""Compares xbrletools, QEMU's analyze-migration.py and volatility3 on the same captures, as a table in Markdown.

    python benchmarks/peers.py CORPUS/qemu-7.2 [--analyze PATH/analyze-migration.py] [-o docs/peers.md]

Each tool writes the guest's main RAM block, in a process of its own, one after the other. A page is right if the file
has the source's bytes at the page's place. Peak memory is the process's largest resident set, which includes what it
mapped of its input. A capture's truth is the file beside it. Both may be packed with xz.
"""

import argparse
import json
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

FORMS = ("bin", "chan0.bin", "chan0.fwd.bin", "save", "qcow2")
LARGE = 1 << 30  # bytes of a truth: volatility's layerwriter fills the disk with such a guest's address space
PIECE = 16 << 20
SPLIT, HIGH = 0xC0000000, 1 << 32  # i440fx since 2.0: block space to guest-physical, for volatility's image
DEADLINE = 900


@dataclass(frozen=True)
class Outcome:
    """What one tool achieved on one capture: pages that are right, exit status, seconds, MiB."""

    right: int
    status: int
    seconds: float
    peak: float

    def cells(self, pages: int) -> list[str]:
        right = "**all**" if self.right == pages else f"{self.right:,}"
        return [right, str(self.status), f"{self.seconds:.1f}", f"{self.peak:.0f}"]


#: Runs a command and says its exit status, seconds and peak. A small process must start it: what a process had at the
#: time counts as its child's peak.
LAUNCHER = """
import os, sys, time
began = time.monotonic()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, fd, "said", os.O_WRONLY | os.O_CREAT, 0o600) for fd in (1, 2)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), time.monotonic() - began, usage.ru_maxrss / 1024)
"""


def measured(arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, float, float]:
    """Run one process. Returns its exit status, seconds and peak MiB."""
    launch = [sys.executable, "-S", "-c", LAUNCHER, *arguments]
    quiet = {"capture_output": True, "text": True, "check": True}
    status, seconds, peak = subprocess.run(
        launch, cwd=folder, env=environment, timeout=DEADLINE, **quiet
    ).stdout.split()
    return int(status), float(seconds), float(peak)


def right_pages(found: Path, truth: Path, page: int, physical: bool) -> int:
    """How many pages of ``truth`` stand at their places in the file."""
    if not found.exists():
        return 0
    right, at, size = 0, 0, truth.stat().st_size
    with found.open("rb") as mine, truth.open("rb") as theirs:
        while at < size:
            end = min(at + PIECE, size, SPLIT if at < SPLIT else size)
            mine.seek(at + (HIGH - SPLIT if physical and at >= SPLIT else 0))
            want = np.frombuffer(theirs.read(end - at), np.uint8).reshape(-1, page)
            have = mine.read(end - at).ljust(end - at, b"\xa5")  # what is not there is wrong
            right += int((want == np.frombuffer(have, np.uint8).reshape(-1, page)).all(axis=1).sum())
            at = end
    return right


def unpacked(path: Path, folder: Path) -> Path:
    """The file itself, unpacked if it is packed with xz."""
    if path.suffix != ".xz":
        return path
    out = folder / path.name.removesuffix(".xz")
    with lzma.open(path) as packed, out.open("wb") as file:
        shutil.copyfileobj(packed, file, PIECE)
    return out


def captures(corpus: Path, names: list[str]) -> list[tuple[Path, list[Path], Path, dict]]:
    """Each capture with its channels, its truth, and what is known of it."""
    out = []
    for about in sorted(corpus.glob("*.json")):
        name = about.name.removesuffix(".json")
        if names and name not in names:
            continue
        known = json.loads(about.read_text())
        truth = next(iter(corpus.glob(f"{name}.truth*")), None)
        channels = [p for p in sorted(corpus.glob(f"{name}.chan*")) if ".chan0" not in p.name]
        paths = [corpus / f"{name}.{form}{packing}" for form in FORMS for packing in ("", ".xz")]
        out += [(path, channels, truth, known) for path in paths if truth is not None and path.exists()]
    return out


def compare(path: Path, channels: list[Path], truth: Path, block: str, page: int, analyze: Path | None, large: bool):
    """Every tool's outcome on one capture, by the tool's name. None for one that was left out."""
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary)

        def run(arguments: list[str], result: str, physical: bool = False) -> Outcome:
            status, seconds, peak = measured(arguments, folder, environment)
            found = folder / result
            outcome = Outcome(right_pages(found, truth, page, physical), status, seconds, peak)
            found.unlink(missing_ok=True)
            return outcome

        mine = [sys.executable, "-m", "xbrletools", "extract", str(path), "--block", block, "-o", "mine"]
        mine += [o for c in channels for o in ("--channel", str(c))]
        (folder / "cache").mkdir()
        theirs = "import sys; sys.argv[0] = 'vol'; from volatility3.cli import main; main()"
        options = ["-q", "-o", str(folder), "--cache-path", str(folder / "cache"), "-f", str(path), "layerwriter"]
        return {
            "mine": run(mine, "mine"),
            "analyze": run([sys.executable, str(analyze), "-x", "-f", str(path)], block) if analyze else None,
            "volatility": None if large else run([sys.executable, "-c", theirs, *options], "primary.raw", True),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="the folder with the captures, their truths and their JSON")
    parser.add_argument("names", nargs="*", help="captures, by name; by default all")
    parser.add_argument("--analyze", type=Path, help="QEMU's scripts/analyze-migration.py")
    parser.add_argument("-o", "--output", type=Path, help="a file for the table; by default standard output")
    chosen = parser.parse_args()
    rows = []
    for packed, packed_channels, packed_truth, known in captures(chosen.corpus, chosen.names):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            path, truth = unpacked(packed, folder), unpacked(packed_truth, folder)
            channels = [unpacked(c, folder) for c in packed_channels]
            page = 1024 if "1kpage" in path.name else 4096
            pages = truth.stat().st_size // page
            large = truth.stat().st_size >= LARGE
            found = compare(
                path, channels, truth, known["ram_block"], page, chosen.analyze and chosen.analyze.resolve(), large
            )
            cells = [c for o in found.values() for c in (o.cells(pages) if o else ["", "", "", ""])]
            rows.append(f"| {path.name} | {pages:,} | " + " | ".join(cells) + " |")
            print(rows[-1], file=sys.stderr)
    text = table(rows)
    if chosen.output:
        chosen.output.write_text(text)
    else:
        print(text, end="")


HEAD = """\
# Other tools on the same captures

Each capture made with QEMU 7.2 was given to three tools: xbrletools (`xbrle extract --block`), QEMU's own
`analyze-migration.py -x`, and volatility3's `layerwriter`. *Pages* is the size of the main RAM block, and *right* is
how many of them a tool wrote as the source held them. If a tool failed, its right pages are mostly zeros in the same
places. *Exit* is the tool's own status. *MiB* is its peak of resident memory, including mapped input.

volatility3 was run without this project's plugin; with it, it writes the same as xbrle. It was not run on guests over
1 GiB, because it would write their memory holes as well. `pc16-ignoreshared-kvm` does not contain pages of the main
block: xbrle writes zeros, and says that they are unknown.

"""


def table(rows: list[str]) -> str:
    """The page: the table, and the conditions under which it was made."""
    heads = "".join(f" {t}: right | exit | s | MiB |" for t in ("xbrle", "analyze-migration", "volatility3"))
    rule = "| --- | ---: |" + " ---: | ---: | ---: | ---: |" * 3
    made = f"Python {platform.python_version()}, volatility3 {metadata.version('volatility3')}, {os.cpu_count()} cores"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [f"| capture | pages |{heads}", rule, *rows, "", f"{made}, {day}. Made by `benchmarks/peers.py`."]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
