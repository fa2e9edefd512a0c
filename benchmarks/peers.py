"""Compares xbrletools, QEMU's analyze-migration.py and volatility3 on the same captures, as tables in Markdown.

    python benchmarks/peers.py CORPUS/qemu-10 CORPUS/qemu-11 [--analyze PATH/analyze-migration.py] [-o docs/peers.md]

Each tool writes the guest's main RAM block, in a process of its own, one after the other. A page is right if it has the
CRC-32 of the source's page at the same place. Peak memory is the process's largest resident set, which includes what it
mapped of its input. Only xbrle reads the other channels of a migration, and it finds them beside the main one.

A corpus is a folder. NAME.json tells the main block's name. NAME.bin, NAME.chan0.bin, NAME.chan0.fwd.bin, NAME.save or
NAME.qcow2 is the capture, and NAME.chan* are its channels. NAME.truth is the block as the source held it.
NAME.truth.crc32 stands for it where there is no such file: the block's SHA-256, then a CRC-32 of every page in
little-endian order. Each of them may be packed with xz.
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
import zlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

FORMS = ("bin", "chan0.bin", "chan0.fwd.bin", "save", "qcow2")
LARGE = 1 << 30  # bytes of a truth: volatility's layerwriter fills the disk with such a guest's address space
PIECE = 16 << 20
SHA256 = 32  # bytes of a digest
SPLIT, HIGH = 0xC0000000, 1 << 32  # i440fx since 2.0: block space to guest-physical, for volatility's image
DEADLINE = 900  # seconds that a tool has for a capture


@dataclass(frozen=True)
class Outcome:
    """What one tool achieved on one capture: pages that are right, exit status (none if it was late), seconds, MiB."""

    right: int
    status: int | None
    seconds: float
    peak: float

    def cells(self, pages: int) -> list[str]:
        right = "**all**" if self.right == pages else f"{self.right:,}"
        return [right, "late" if self.status is None else str(self.status), f"{self.seconds:.1f}", f"{self.peak:.0f}"]


#: Runs a command, at most for some seconds, and says its exit status, seconds and peak. A small process must start it:
#: what a process had at the time counts as its child's peak.
LAUNCHER = """
import os, signal, sys, time
began = time.monotonic()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, fd, "said", os.O_WRONLY | os.O_CREAT, 0o600) for fd in (1, 2)])
late = []
def stop(*_):
    late.append(True)
    os.kill(pid, signal.SIGKILL)
signal.signal(signal.SIGALRM, stop)
signal.alarm(int(sys.argv[1]))
_, status, usage = os.wait4(pid, 0)
signal.alarm(0)
print("late" if late else os.waitstatus_to_exitcode(status), time.monotonic() - began, usage.ru_maxrss / 1024)
"""


def measured(
    arguments: list[str], folder: Path, environment: dict[str, str], deadline: int
) -> tuple[int | None, float, float]:
    """Run one process. Returns its exit status (none if it was stopped at the deadline), seconds and peak MiB."""
    launch = [sys.executable, "-S", "-c", LAUNCHER, str(deadline), *arguments]
    quiet = {"capture_output": True, "text": True, "check": True}
    status, seconds, peak = subprocess.run(launch, cwd=folder, env=environment, **quiet).stdout.split()
    return None if status == "late" else int(status), float(seconds), float(peak)


def checksums(data: bytes, page: int) -> np.ndarray:
    """The CRC-32 of each page."""
    return np.array([zlib.crc32(data[at : at + page]) for at in range(0, len(data), page)], np.uint32)


def true_checksums(path: Path, page: int) -> np.ndarray:
    """The CRC-32 of each page that the source held, from either form of a truth."""
    if path.name.endswith(".crc32"):
        return np.frombuffer(path.read_bytes()[SHA256:], "<u4")
    with path.open("rb") as file:
        return np.concatenate([checksums(piece, page) for piece in iter(lambda: file.read(PIECE), b"")])


def right_pages(found: Path, truth: np.ndarray, page: int, physical: bool) -> int:
    """How many pages stand at their places in the file, by their CRC-32."""
    if not found.exists():
        return 0
    right, at, size = 0, 0, len(truth) * page
    with found.open("rb") as mine:
        while at < size:
            end = min(at + PIECE, size, SPLIT if at < SPLIT else size)
            mine.seek(at + (HIGH - SPLIT if physical and at >= SPLIT else 0))
            have = checksums(mine.read(end - at), page)  # what is not there is wrong
            right += int((have == truth[at // page : at // page + len(have)]).sum())
            at = end
    return right


def unpacked(path: Path, folder: Path) -> Path:
    """The file in the folder, unpacked if it is packed with xz."""
    out = folder / path.name.removesuffix(".xz")
    if path.suffix != ".xz":
        out.symlink_to(path.resolve())
        return out
    with lzma.open(path) as packed, out.open("wb") as file:
        shutil.copyfileobj(packed, file, PIECE)
    return out


def captures(corpus: Path, names: list[str]) -> list[tuple[Path, list[Path], Path, dict]]:
    """Each capture with the other files of its channels, its truth, and what is known of it."""
    out = []
    for about in sorted(corpus.glob("*.json")):
        name = about.name.removesuffix(".json")
        if names and name not in names:
            continue
        known = json.loads(about.read_text())
        truth = next(iter(corpus.glob(f"{name}.truth*")), None)
        channels = sorted(corpus.glob(f"{name}.chan*"))
        paths = [corpus / f"{name}.{form}{packing}" for form in FORMS for packing in ("", ".xz")]
        found = [path for path in paths if truth is not None and path.exists()]
        out += [(path, [c for c in channels if c != path], truth, known) for path in found]
    return out


def heading(corpus: Path) -> str:
    """What its table is called: the version of QEMU that made the captures, or else the folder's name."""
    for about in sorted(corpus.glob("*.json")):
        match json.loads(about.read_text()).get("qemu"):
            case {"qemu": {"major": major, "minor": minor, "micro": micro}}:
                return f"QEMU {major}.{minor}.{micro}"
    return corpus.resolve().name


def compare(path: Path, truth: np.ndarray, block: str, page: int, analyze: Path | None, deadline: int):
    """Every tool's outcome on one capture, by the tool's name. None for one that was left out."""
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    large = len(truth) * page >= LARGE
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary)

        def run(arguments: list[str], result: str, physical: bool = False) -> Outcome:
            status, seconds, peak = measured(arguments, folder, environment, deadline)
            found = folder / result
            outcome = Outcome(right_pages(found, truth, page, physical), status, seconds, peak)
            found.unlink(missing_ok=True)
            return outcome

        mine = [sys.executable, "-m", "xbrletools", "extract", str(path), "--block", block, "-o", "mine"]
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
    parser.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS", help="a folder of captures")
    parser.add_argument("--only", action="append", metavar="NAME", help="this capture (may be given again)")
    parser.add_argument("--analyze", type=Path, help="QEMU's scripts/analyze-migration.py")
    parser.add_argument("--deadline", type=int, default=DEADLINE, help="seconds that a tool has for a capture")
    parser.add_argument("--note", default="", help="what else a reader should know of these tables")
    parser.add_argument("-o", "--output", type=Path, help="write the page there, and keep its tables of other corpora")
    chosen = parser.parse_args()
    analyze = chosen.analyze and chosen.analyze.resolve()
    sections = {
        heading(corpus): section(measure(corpus, chosen.only or [], analyze, chosen.deadline), chosen)
        for corpus in chosen.corpora
    }
    if not chosen.output:
        print(page_of(sections), end="")
        return
    before = sections_of(chosen.output.read_text()) if chosen.output.exists() else {}
    chosen.output.write_text(page_of(before | sections))


def measure(corpus: Path, names: list[str], analyze: Path | None, deadline: int) -> list[str]:
    """The rows of a corpus's table."""
    rows = []
    for packed, channels, packed_truth, known in captures(corpus, names):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            path = unpacked(packed, folder)
            for channel in channels:
                unpacked(channel, folder)
            page = 1024 if "1kpage" in path.name else 4096
            truth = true_checksums(unpacked(packed_truth, folder), page)
            block = known.get("main_block") or known["ram_block"]
            found = compare(path, truth, block, page, analyze, deadline)
            cells = [c for o in found.values() for c in (o.cells(len(truth)) if o else ["", "", "", ""])]
            rows.append(f"| {path.name} | {len(truth):,} | " + " | ".join(cells) + " |")
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


HEAD = """\
# Other tools on the same captures

Captures made with QEMU 7.2, 10.0 and 11.1 were given to three tools: xbrletools (`xbrle extract --block`), QEMU's own
`analyze-migration.py -x`, and volatility3's `layerwriter`. Each tool wrote the main RAM block.

- *Pages* is the size of that block.
- *Right* is how many pages a tool wrote as the source held them. A page that a tool left out counts as wrong. If a tool
  failed, its right pages are mostly zeros in the same places.
- *Exit* is the tool's own status. If it was stopped at the time limit below the table, `late` stands there. What it had
  written until then is counted.
- *MiB* is the peak of resident memory, including mapped input.

A migration over several connections is named by its main channel. The files of the other channels lie beside it, and
xbrle finds them by itself. The other two tools cannot be told of them. `s390x-ccw64-xbzrle` was made with XBZRLE, but
no delta was sent.

volatility3 was run without this project's plugin. With it, it writes the same as xbrle on the captures of QEMU 7.2. It
was not run on guests over 1 GiB, because it would write their memory holes as well. Its pages were looked for at the
addresses of a PC, so its right pages on other machines mean nothing.

In four captures memory or the end is missing. There, *right* does not mean that a tool read the page: zeros that stand
for an unknown page agree with a page of zeros. The right exit status for them is 1. A tool that exits 0 hides it.

- `pc16-cprtransfer-sink`: the source hands its memory over in place, so no page is in the stream. xbrle writes zeros
  and lists all of the block as unknown.
- `pc16-ignoreshared-kvm`: the main block was shared, so none of its pages is in the stream. xbrle does the same.
- `pc16-killed-mapped`: the source was killed before it wrote its bitmaps, so nothing says which pages of the file were
  written. xbrle does the same.
- `pc16-killed-multifd`: the source was killed, and the truth is its memory at that moment. xbrle writes all that came
  and says where the stream ends. All pages had come by then.
"""


def section(rows: list[str], chosen: argparse.Namespace) -> str:
    """A corpus's table, and the conditions under which it was made."""
    heads = "".join(f" {t}: right | exit | s | MiB |" for t in ("xbrle", "analyze-migration", "volatility3"))
    rule = "| --- | ---: |" + " ---: | ---: | ---: | ---: |" * 3
    versions = f"Python {platform.python_version()} and volatility3 {metadata.version('volatility3')}"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    made = f"Measured with {versions} on {os.cpu_count()} cores, on {day}. Each tool had {chosen.deadline} s a capture."
    return "\n".join([f"| capture | pages |{heads}", rule, *rows, "", made, *filter(None, [chosen.note])])


def sections_of(text: str) -> dict[str, str]:
    """The tables that a page has, by their headings."""
    parts = (part.partition("\n") for part in text.split("\n## ")[1:])
    return {heading: body.strip() for heading, _, body in parts}


def page_of(sections: dict[str, str]) -> str:
    """The page: what holds for all tables, and each under its heading."""
    return HEAD + "".join(f"\n## {heading}\n\n{body}\n" for heading, body in sections.items())


if __name__ == "__main__":
    main()
