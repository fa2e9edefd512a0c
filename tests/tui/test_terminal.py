"""The real program on a pseudo-terminal: it leaves the terminal as it was, whatever ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SAMPLES
from tests.tui.terminal import ENTER, LEAVE, WAITED, terminal
from xbrletools.tui.palette import DARK, LIGHT, Palette

SAMPLE = SAMPLES / "posted-8m.bin"
READY = b"Overview"
CTRL_Z = b"\x1a"


def browse(path: Path, tmp_path: Path):
    return terminal("tui", str(path), XDG_STATE_HOME=str(tmp_path / "state"))


def test_leaving_restores_it(tmp_path: Path) -> None:
    with browse(SAMPLE, tmp_path) as t:
        t.wait_for(READY)
        t.press(b"q")
        assert t.end() == 0
        assert t.is_restored()
        assert t.last_line == ""


@pytest.mark.parametrize(
    ("background", "palette"),
    [(b"rgb:ffff/fafa/f0f0", LIGHT), (b"rgb:1e1e/1e1e/2e2e", DARK), (b"rgba:ff/ff/ff/ff", LIGHT), (b"", DARK)],
)
def test_the_terminal_is_asked_for_its_background_and_its_answer_is_no_key(
    tmp_path: Path, background: bytes, palette: Palette
) -> None:
    state = str(tmp_path / "state")
    with terminal("tui", str(SAMPLE), XDG_STATE_HOME=state, COLORFGBG="", COLORTERM="truecolor") as t:
        t.wait_for(b"\x1b]11;?")
        t.press((b"\x1b]11;" + background + b"\x07" if background else b"") + b"\x1b[?62;22c")
        t.wait_for(READY)
        ground = bytes.fromhex(palette.ground.removeprefix("#"))
        assert "48;2;{};{};{}".format(*ground).encode() in t.drawn
        t.press(b"q")
        assert t.end() == 0
        assert t.is_restored()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_it(tmp_path: Path, number: signal.Signals) -> None:
    with browse(SAMPLE, tmp_path) as t:
        t.wait_for(READY)
        os.kill(t.process.pid, number)
        assert t.end() == 130
        assert t.is_restored()
        assert t.last_line == "xbrle: interrupted"


def test_signals_that_come_together_restore_it(tmp_path: Path) -> None:
    with browse(SAMPLE, tmp_path) as t:
        t.wait_for(READY)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            os.kill(t.process.pid, number)
        assert t.end() == 130
        assert t.is_restored()


SECOND = """
import signal, sys
from xbrletools.tui import terminal
terminal.ENDING = 1000.0
def trace(frame, event, value):
    global steps
    steps -= 1
    if steps == 0:
        signal.raise_signal(signal.SIGTERM)
    return trace
for step in range(1, 300):
    steps, ends = step, []
    terminal.on_signals(lambda: ends.append(1))
    sys.settrace(trace)
    signal.raise_signal(signal.SIGHUP)
    sys.settrace(None)
    assert ends == [1, 1][: 2 if steps <= 0 else 1], (step, ends)
print(steps)
"""


def test_a_second_signal_at_any_step_of_the_first_ones_handler_holds_nothing_up() -> None:
    got = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True, timeout=WAITED, check=True)
    assert int(got.stdout) > 0  # the last steps are behind the handler: all of them were tried


@pytest.mark.parametrize("words", [["multifd.bin"], ["xbzrle-16m.bin", "multifd.bin"]])
def test_channels_that_lie_beside_are_read_too(words: list[str], tmp_path: Path) -> None:
    with terminal("tui", *(str(SAMPLES / w) for w in words), XDG_STATE_HOME=str(tmp_path / "state")) as t:
        t.wait_for(b"NO FAULT")
        t.press(b"8")
        t.wait_for(b"in all")  # all is read, and compared
        t.press(b"q")
        assert t.end() == 0


def test_it_ends_when_the_terminal_goes(tmp_path: Path) -> None:
    with browse(SAMPLE, tmp_path) as t:
        t.wait_for(READY)
        t.hang_up()
        assert t.process.wait(30) == 130


FAULT = """
import sys
from xbrletools.cli import main
from xbrletools.tui.screens import records
def fail(self):
    raise LookupError("a fault\\x1b[31m of ours")
records.RecordsScreen.follow = fail
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_of_ours_restores_it_and_is_one_line(tmp_path: Path, debug: bool) -> None:
    words = ["-c", FAULT, *(["--debug"] if debug else []), "tui", str(SAMPLE)]
    with terminal(*words, XDG_STATE_HOME=str(tmp_path / "state")) as t:
        t.wait_for(READY)
        t.press(b"2")
        assert t.end() == (1 if debug else 2)
        assert t.is_restored()
        assert ("Traceback" in t.last_line) is debug
        if not debug:
            assert t.last_line == (
                "xbrle: internal error, LookupError: a fault\\x1b[31m of ours. "
                "To see where, use: xbrle --debug COMMAND ..."
            )


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    with terminal("tui", str(SAMPLE), XDG_STATE_HOME=str(tmp_path / "state"), TERM=kind) as t:
        assert t.end() == 2
        assert b"\x1b" not in t.drawn
        assert t.attributes == t.before
        assert f"TERM is {kind}: such a terminal cannot move its cursor" in " ".join(t.text.split())


@pytest.mark.parametrize("kind", ["no-such-terminal", "vt100", "linux", ""])
def test_a_terminal_that_is_not_known_is_drawn_on_and_restored(tmp_path: Path, kind: str) -> None:
    with terminal("tui", str(SAMPLE), XDG_STATE_HOME=str(tmp_path / "state"), TERM=kind) as t:
        t.wait_for(READY)
        t.press(b"q")
        assert t.end() == 0
        assert t.is_restored()


def test_ctrl_z_suspends_and_the_shell_s_fg_comes_back(tmp_path: Path) -> None:
    with browse(SAMPLE, tmp_path) as t:
        t.wait_for(READY)
        t.press(b"2")
        t.wait_for(b"[2 Rec")
        for way in ("key", "signal"):
            since = t.press(CTRL_Z) if way == "key" else len(t.drawn)
            if way == "signal":
                os.kill(t.process.pid, signal.SIGTSTP)
            pid, status = os.waitpid(t.process.pid, os.WUNTRACED)
            assert (pid, os.WIFSTOPPED(status)) == (t.process.pid, True)
            t.read()
            assert LEAVE in t.drawn[since:]
            assert t.is_restored()
            os.kill(t.process.pid, signal.SIGCONT)
            t.wait_for(ENTER, since)
            t.wait_for(b"[2 Rec", since)
            assert t.attributes != t.before
        t.press(b"q")
        assert t.end() == 0
        assert t.is_restored()


FAR = """
import mmap, os, sys, threading, time
from xbrletools.cli import main
def touch():
    while not os.path.exists(sys.argv[-1] + ".go"):
        time.sleep(0.05)
    with open(sys.argv[-1], "r+b") as file:
        gone = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        file.truncate(0)
        gone[0]
threading.Thread(target=touch, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""


def test_mapped_bytes_that_are_gone_restore_it(tmp_path: Path) -> None:
    path = tmp_path / "S"
    path.write_bytes(SAMPLE.read_bytes())
    with terminal("-c", FAR, "tui", str(path), XDG_STATE_HOME=str(tmp_path / "state")) as t:
        t.wait_for(READY)
        (tmp_path / "S.go").touch()
        assert t.end() == 2
        assert t.is_restored()
        assert "has shrunk" in t.last_line


#: Keys of each screen: to move, to choose, to search and to switch what it shows.
KEYS = {
    b"2": b"jjjkG\rg",
    b"3": b"jjvvvoooLid.,npP",
    b"4": b"jjlhG\r",
    b"5": b"jjkF \r",
    b"6": b"jj\rlsj\rsj",
    b"1": b"jjkG",
}


@pytest.mark.parametrize("left", [0, 700_000])
@pytest.mark.parametrize("seen", [False, True])
def test_every_screen_survives_a_file_that_shrinks(tmp_path: Path, left: int, seen: bool) -> None:
    path = tmp_path / "S"
    path.write_bytes(SAMPLE.read_bytes())
    with browse(path, tmp_path) as t:
        t.wait_for(b"device-tail-unchecked")
        if seen:
            for screen in KEYS:
                t.press(screen + b"jj")
                t.read(0.3)
        t.read(0.3)
        os.truncate(path, left)
        for screen, keys in KEYS.items():
            since = t.press(screen)
            t.wait_for(b"[" + screen, since)
            for key in keys:
                t.press(bytes([key]))
                t.read(0.05)
                assert t.process.poll() is None, (screen, key, t.last_line)
        for key in (b"e", b"\x1b", b"y", b":"):
            t.press(key)
            t.read(0.1)
        assert "the file has shrunk" in t.text
        t.press(b"\x1b")
        t.read(0.3)
        t.press(b"q")
        assert t.end() == 1 and "written to while it was read" in t.last_line
        assert t.is_restored()
