"""Recording over loopback sockets."""

import contextlib
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import xbrletools
from tests.building import page, patterned, stream
from tests.conftest import ROOT
from tests.scan.test_channels import Packets, main_channel
from xbrletools.net import recording
from xbrletools.net.address import Address, address
from xbrletools.net.tap import Tap

STREAM = stream(*(page(i << 12, patterned(i), b"pc.ram" if not i else None) for i in range(16)))


class Run:
    """A tap at work in a thread."""

    def __init__(self, one: Tap) -> None:
        self.tap = one
        self.thread = threading.Thread(target=one.run)
        self.thread.start()

    def connect(self) -> socket.socket:
        where = self.tap.address
        if where.path is not None:
            one = socket.socket(socket.AF_UNIX)
            one.connect(where.path)
            return one
        return socket.create_connection((where.host, where.port))

    def done(self) -> None:
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def destination(answer: bytes = b"", stop_after: int | None = None) -> Iterator[tuple[Address, list[bytes]]]:
    """A listener that keeps what each connection sent, and answers. It may die after so many bytes."""
    taken: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            with one:
                if answer:
                    one.sendall(answer)
                got = b""
                while stop_after is None or len(got) < stop_after:
                    piece = one.recv(1 << 16)
                    if not piece:
                        break
                    got += piece
                taken.append(got)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Address(port=listener.getsockname()[1]), taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


def where(kind: str, tmp_path: Path) -> Address:
    return Address(path=str(tmp_path / "sock")) if kind == "unix" else Address()


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("tcp:127.0.0.1:4444", Address("127.0.0.1", 4444)),
            ("tcp::4444", Address("127.0.0.1", 4444)),
            ("tcp:4444", Address("127.0.0.1", 4444)),
            ("tcp:0.0.0.0:1", Address("0.0.0.0", 1)),
            ("tcp:[::1]:4444", Address("::1", 4444)),
            ("unix:/run/x.sock", Address(path="/run/x.sock")),
        ],
    )
    def test_addresses_are_qemus_and_without_a_host_the_loopback(self, text, expected):
        assert address(text) == expected

    @pytest.mark.parametrize(
        "text", ["", "tcp", "tcp:", "tcp:host:", "tcp:host:99999", "udp:h:1", "unix:", "tcp:h:-1", "tcp:h:" + "9" * 30]
    )
    def test_others_are_refused(self, text):
        with pytest.raises(xbrletools.XbrleError, match="invalid address"):
            address(text)


class TestSink:
    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    def test_what_comes_is_the_capture(self, kind, tmp_path):
        run = Run(Tap(where(kind, tmp_path), tmp_path / "S"))
        with run.connect() as source:
            source.sendall(STREAM)
        run.done()
        assert (tmp_path / "S").read_bytes() == STREAM
        assert not (tmp_path / "sock").exists()
        (recording,) = run.tap.recordings
        assert (recording.main, recording.size, recording.error) == (True, len(STREAM), None)

    def test_each_connection_of_multifd_has_its_file_whichever_came_first(self, tmp_path):
        channels = [Packets(i).packet(i, sync=True).packet(2 + i, [(i << 12, patterned(i))], sync=True) for i in (0, 1)]
        run = Run(Tap(Address(), tmp_path / "S"))
        with run.connect() as one, run.connect() as main, run.connect() as two:
            one.sendall(channels[0].bytes())
            main.sendall(main_channel())
            two.sendall(channels[1].bytes())
        run.done()
        files = sorted(p.name for p in tmp_path.iterdir())
        assert files == ["S", "S.1", "S.1.times", "S.2", "S.2.times", "S.times"]
        capture = xbrletools.open(tmp_path / "S", channels=[tmp_path / "S.1", tmp_path / "S.2"])
        assert [capture.memory()["pc.ram"][i].tobytes() for i in (0, 1)] == [patterned(0), patterned(1)]

    def test_a_magic_that_comes_in_pieces_is_known_all_the_same(self, tmp_path):
        run = Run(Tap(Address(), tmp_path / "S"))
        with run.connect() as source:
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(8):
                source.sendall(STREAM[i : i + 1])
            source.sendall(STREAM[8:])
        run.done()
        assert (tmp_path / "S").read_bytes() == STREAM

    def test_a_source_that_dies_leaves_a_readable_capture(self, tmp_path):
        run = Run(Tap(Address(), tmp_path / "S"))
        source = run.connect()
        source.sendall(STREAM[:-5000])
        while not run.tap.recordings or run.tap.recordings[0].size < len(STREAM) - 5000:
            threading.Event().wait(0.01)
        source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an orderly end
        source.close()
        run.done()
        assert run.tap.recordings[0].error is not None
        capture = xbrletools.open(tmp_path / "S")
        assert capture.damage.rule == "truncated"
        assert capture.memory().known[:14].all()

    def test_nothing_is_written_over(self, tmp_path):
        (tmp_path / "S").write_bytes(b"evidence")
        with pytest.raises(xbrletools.XbrleError, match="exists already"):
            Tap(Address(), tmp_path / "S")
        (tmp_path / "T.reverse").write_bytes(b"evidence")
        with pytest.raises(xbrletools.XbrleError, match="exists already"):
            Tap(Address(), tmp_path / "T")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["S", "T.reverse"]

    def test_a_place_that_is_taken_is_one_error(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(xbrletools.XbrleError, match="listen"):
            Tap(Address(port=other.getsockname()[1]), tmp_path / "S")

    def test_closing_ends_a_run_that_waits(self, tmp_path):
        one = Tap(Address(), tmp_path / "S")
        one.close()
        with socket.socket() as probe, pytest.raises(OSError):
            probe.connect((one.address.host, one.address.port))


class TestForward:
    def test_both_directions_pass_unaltered_and_each_has_its_file(self, tmp_path):
        with destination(b"pong") as (there, taken):
            run = Run(Tap(Address(), tmp_path / "S", there))
            with run.connect() as source:
                source.sendall(STREAM)
                assert source.recv(4, socket.MSG_WAITALL) == b"pong"
                source.shutdown(socket.SHUT_WR)
                assert source.recv(1) == b""
            run.done()
            assert taken == [STREAM]
        assert (tmp_path / "S").read_bytes() == STREAM
        assert (tmp_path / "S.reverse").read_bytes() == b"pong"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["S", "S.reverse", "S.times"]

    def test_a_destination_that_dies_ends_the_source_and_leaves_what_came(self, tmp_path):
        big = STREAM[:-1] * 200
        with destination(stop_after=1000) as (there, _):
            run = Run(Tap(Address(), tmp_path / "S", there))
            with run.connect() as source, contextlib.suppress(OSError):
                source.sendall(big)
                source.recv(1)
            run.done()
        written = (tmp_path / "S").read_bytes()
        assert len(written) >= 1000
        assert big.startswith(written)

    def test_a_destination_that_is_not_there_is_said(self, tmp_path):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nowhere = Address(port=unused.getsockname()[1])
            run = Run(Tap(Address(), tmp_path / "S", nowhere))
            with run.connect() as source, contextlib.suppress(ConnectionError):
                source.sendall(STREAM)
                source.recv(1)
            run.done()
        assert "cannot be reached" in run.tap.recordings[0].error


class TestDisk:
    """Forwarding does not wait for the disk."""

    def test_a_slow_disk_holds_nothing_up_and_the_recording_says_that_it_ended(self, tmp_path, monkeypatch):
        drained = threading.Event()
        write = recording.written

        def slowly(file, piece: memoryview) -> int:
            drained.wait(60)
            return write(file, piece)

        monkeypatch.setattr(recording, "written", slowly)
        monkeypatch.setattr(recording, "HOLD_MAX", len(STREAM))
        big = STREAM[:-1] * 40
        with destination() as (there, taken):
            run = Run(Tap(Address(), tmp_path / "S", there))
            with run.connect() as source:
                source.sendall(big)
                source.shutdown(socket.SHUT_WR)
                assert source.recv(1) == b""  # the destination has read it all, and the disk has written nothing
            assert taken == [big]
            drained.set()
            run.done()
        assert "behind" in run.tap.recordings[0].error
        written = (tmp_path / "S").read_bytes()
        assert len(STREAM) < len(written) < len(big)
        assert big.startswith(written)

    def test_a_full_disk_ends_the_recording_and_not_the_migration(self, tmp_path):
        with destination(b"pong") as (there, taken), command(tmp_path, "--forward", str(there), limit=8192) as process:
            with connected(tmp_path) as source:
                source.sendall(STREAM)
                source.shutdown(socket.SHUT_WR)
                assert source.recv(9, socket.MSG_WAITALL) == b"pong"
            assert process.wait(60) == 1
            assert taken == [STREAM]
            assert "File too large" in process.stderr.read()
        assert (tmp_path / "S").read_bytes() == STREAM[:8192]
        assert (tmp_path / "S.reverse").read_bytes() == b"pong"

    @pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
    def test_ending_the_command_leaves_what_came_in_the_file(self, signal_, tmp_path):
        with command(tmp_path) as process, connected(tmp_path) as source:
            source.sendall(STREAM[:40000])
            while not (tmp_path / "S").exists() or (tmp_path / "S").stat().st_size < 40000:
                threading.Event().wait(0.01)
            process.send_signal(signal_)
            assert process.wait(60) == 130
            assert "40000 bytes" in process.stderr.read()
        assert xbrletools.open(tmp_path / "S").memory().known[:8].all()


@contextlib.contextmanager
def command(folder: Path, *options: str, limit: int = resource.RLIM_INFINITY) -> Iterator[subprocess.Popen[str]]:
    """`xbrle capture` in a process of its own, that can write no file larger than ``limit``."""
    code = "import sys; from xbrletools.cli import main; sys.exit(main())"
    arguments = ["capture", f"unix:{folder / 'sock'}", "-o", str(folder / "S"), *options]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    ) as process:
        yield process
        process.kill()


def connected(folder: Path) -> socket.socket:
    for _ in range(1000):
        one = socket.socket(socket.AF_UNIX)
        try:
            one.connect(str(folder / "sock"))
        except OSError:
            one.close()
            threading.Event().wait(0.02)
            continue
        one.settimeout(60)
        return one
    raise AssertionError("nobody listens")


def test_the_command_records_and_says_what_it_recorded(tmp_path, capsys, monkeypatch):
    from xbrletools.cli import main

    seen = {}
    where_ = str(tmp_path / "sock")

    def send() -> None:
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as source:
                try:
                    source.connect(where_)
                except OSError:
                    threading.Event().wait(0.02)
                    continue
                source.sendall(STREAM)
                seen["sent"] = True
                return

    thread = threading.Thread(target=send)
    thread.start()
    assert main(["capture", f"unix:{where_}", "-o", str(tmp_path / "S")]) == 0
    thread.join()
    assert f"{len(STREAM)} bytes" in capsys.readouterr().err
    assert (tmp_path / "S").read_bytes() == STREAM
    assert main(["capture", "unix:/nowhere/at/all", "-o", str(tmp_path / "T")]) == 2
    assert main(["capture", "nonsense", "-o", str(tmp_path / "T")]) == 2


STOPPED = """
import signal, sys, threading
from pathlib import Path
from xbrletools.net import connection, tap
from xbrletools.net.address import Address
tap.TICK = connection.TICK = 0.01
class Full:
    address = Address("127.0.0.1", 1)
    def __init__(self, *_): pass
    def accept(self): raise OSError(24, "Too many open files")
    def close(self): pass
tap.Listener = Full
def trace(frame, event, value):
    global steps
    if frame.f_code.co_filename != threading.__file__:
        return trace
    steps -= 1
    if steps == 0:
        signal.raise_signal(signal.SIGTERM)
    return trace
for step in range(1, 100):
    steps = step
    one = tap.Tap(Full.address, Path(sys.argv[1]), force=True)
    signal.signal(signal.SIGTERM, lambda *_: one.stop())
    sys.settrace(trace)
    one.run()
    sys.settrace(None)
"""


def test_a_signal_at_any_step_of_a_wait_ends_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", STOPPED, str(tmp_path / "s.bin")], timeout=60, check=True)
