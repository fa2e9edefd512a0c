"""Signals at random moments of the commands that write: `python -m tests.siege.signals [--moments N] [--seed N]`.

Each moment is a process of its own, which gets SIGINT, SIGTERM, SIGHUP or SIGKILL. After it, each file under a final
name must be whole: the old one or the new one. After the first three signals nothing else may be there. What SIGKILL
leaves must go with the next run. A recording is kept as far as it came, so there whole means: the first bytes of what
was sent. The commands are forked off one process that has imported everything, so that most moments lie in their work.
"""

import argparse
import contextlib
import gc
import hashlib
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xbrletools.cli import main as xbrle

SAMPLE = Path(__file__).parents[2] / "samples" / "posted-8m.bin"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
OLD = b"what was there before"
SAID = Path(tempfile.gettempdir()) / f"xbrle-signals-{os.getpid()}"  # what the last command said on standard error
PIECE = 1 << 14  # bytes of a migration that are sent at once

COMMANDS: dict[str, list[str]] = {
    "extract": ["extract", "S", "-o", "OUT"],
    "extract one": ["extract", "S", "--block", "pc.ram", "--unknown", "mask-file", "-o", "OUT"],
    "extract elf": ["extract", "S", "--format", "elf", "-o", "OUT"],
    "transcode": ["transcode", "S", "--policy", "none", "-o", "OUT"],
    "salvage": ["salvage", "S", "-o", "OUT"],
    "report": ["report", "S", "-o", "OUT"],
}


@dataclass(frozen=True)
class Whole:
    """What a command leaves when nothing disturbs it: the digest of each file by name, and how long it takes."""

    files: dict[str, str]
    seconds: float


def digests(folder: Path) -> dict[str, str]:
    """Each file below a folder by its path there, with the digest of what is in it: of its data where it is sparse."""
    return {str(p.relative_to(folder)): _digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _digest(path: Path) -> str:
    found = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as file:
        at = 0
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return found.hexdigest()
            file.seek(at)
            piece = file.read(1 << 16)
            if piece.strip(b"\0"):
                found.update(b"%d:" % at + piece)
            at += len(piece)


def begun(words: list[str]) -> int:
    """Start a command in a process of its own. Gives its number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.setsid()
        for number in SIGNALS[:3]:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        status = xbrle(words)
    except KeyboardInterrupt:
        status = 130
    finally:
        os._exit(status)


def ended(child: int) -> int:
    """Wait for a process. Gives its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def named(words: list[str], source: Path, folder: Path) -> list[str]:
    return [{"S": str(source), "OUT": str(folder / "out")}.get(word, word) for word in words]


def whole_of(words: list[str], source: Path, folder: Path) -> Whole:
    """Run a command undisturbed, the first time to warm up."""
    seconds = 0.0
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        begin = time.monotonic()
        assert ended(begun(named(words, source, folder))) in (0, 1)
        seconds = time.monotonic() - begin
    return Whole(digests(folder), seconds)


def one_moment(words: list[str], source: Path, folder: Path, whole: Whole, choose: random.Random) -> tuple[str, int]:
    """Disturb a command once. Gives the signal's name and the exit status.

    Raises:
        AssertionError: something is left that must not be.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    words = named(words, source, folder)
    old: dict[str, str] = {}
    if choose.random() < 0.5 and "out" in whole.files:
        (folder / "out").write_bytes(OLD)
        old, words = digests(folder), [*words, "--force"]
    number = choose.choice(SIGNALS)
    child = begun(words)
    time.sleep(choose.uniform(0, whole.seconds * 1.1))
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
    status = ended(child)
    found = digests(folder)
    left = {name: digest for name, digest in found.items() if digest not in (whole.files.get(name), old.get(name))}
    if number is signal.SIGKILL:
        assert all(".xbrle-" in name for name in left), (words, status, left)
        assert ended(begun([*words, "--force"])) in (0, 1)
        assert digests(folder) == whole.files, (words, digests(folder).keys())
    else:
        assert status in (0, 1, 130, -number), (words, number, status, SAID.read_text())  # negative: no handler yet
        assert not left, (words, number, status, left)
        entries = {p.name for p in folder.iterdir()}
        assert entries <= {name.split("/")[0] for name in whole.files | old}, (words, number, status, entries)
        folders = {name.split("/")[0] for name in whole.files if "/" in name} & entries
        assert not folders or found == whole.files, (words, number, status, found.keys())
    return number.name, status


def connected(place: Path) -> socket.socket:
    """A connection to a socket that is soon there and listens."""
    limit = time.monotonic() + 60
    while True:
        source = socket.socket(socket.AF_UNIX)
        try:
            source.connect(str(place))
        except OSError:
            source.close()
            assert time.monotonic() < limit, SAID.read_text()
            time.sleep(0.005)
        else:
            return source


def one_recording(data: bytes, folder: Path, choose: random.Random) -> tuple[str, int]:
    """Disturb a recording once, as `one_moment` does a command."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    place, out = folder / "socket", folder / "S"
    number = choose.choice(SIGNALS)
    child = begun(["capture", f"unix:{place}", "-o", str(out)])
    at = choose.randrange(0, len(data) + PIECE)
    with connected(place) as source:
        with contextlib.suppress(OSError):
            for start in range(0, min(at, len(data)), PIECE):
                source.sendall(data[start : start + PIECE])
        time.sleep(choose.uniform(0, 0.05))
        os.kill(child, number)
        status = ended(child)
    written = out.read_bytes() if out.exists() else None
    entries = {p.name for p in folder.iterdir()}
    assert written is None or data.startswith(written), (number, status)
    if number is signal.SIGKILL:
        assert entries <= {"S", "S.times", "socket"}, (status, entries)
    else:
        assert entries in ({"S", "S.times"}, set()), (number, status, entries)
        assert written != b"", (number, status)
        assert status in (0, 130, 2), (number, status)
    return number.name, status


def run(moments: int, seed: int) -> Counter[tuple[str, str, int]]:
    """Disturb all commands in turn, ``moments`` times in all. Gives how often each ended in which way.

    Raises:
        AssertionError: something is left that must not be.
    """
    choose, counts = random.Random(seed), Counter[tuple[str, str, int]]()
    os.environ["XDG_CACHE_HOME"] = "/nonexistent"
    with tempfile.TemporaryDirectory() as made:
        source, folder = Path(made) / "S", Path(made) / "work"
        source.write_bytes(SAMPLE.read_bytes())
        data = source.read_bytes()
        whole = {}
        for name, words in COMMANDS.items():
            folder.mkdir(exist_ok=True)
            quietly(named(words, source, folder))  # imports all that it needs into this process
            whole[name] = whole_of(words, source, folder)
        gc.freeze()
        for i in range(moments):
            name = [*COMMANDS, "capture"][i % (len(COMMANDS) + 1)]
            if name == "capture":
                how, status = one_recording(data, folder, choose)
            else:
                how, status = one_moment(COMMANDS[name], source, folder, whole[name], choose)
            counts[name, how, status] += 1
        assert source.read_bytes() == data
    SAID.unlink()
    return counts


def quietly(words: list[str]) -> None:
    """Run a command in this process, and drop what it prints."""
    with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        xbrle(words)


def main(say: Callable[[str], object] = sys.stdout.write) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    counts = run(given.moments, given.seed)
    for (name, how, status), count in sorted(counts.items()):
        say(f"{name:12} {how:8} ended with {status:4}: {count}\n")
    say(f"{sum(counts.values())} moments, nothing left that must not be\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
