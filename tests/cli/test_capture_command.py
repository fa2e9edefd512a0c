"""`xbrle capture` as a program of its own, on loopback: what may come to a port, to its files and to itself."""

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.building import EOS, page, patterned, record, stream
from tests.conftest import ROOT
from tests.scan.test_channels import Packets, main_channel
from xbrletools.analysis.arrivals import Arrivals, read
from xbrletools.formats.ram import Flag
from xbrletools.formats.times import SUFFIX
from xbrletools.net.address import Address, Listener
from xbrletools.net.tap import Tap

STREAM = stream(*(page(i << 12, patterned(i), b"pc.ram" if not i else None) for i in range(16)))
GARBAGE = b"GET / HTTP/1.0\r\n\r\n"
PREEMPT = record(Flag.PAGE, 0x3000, patterned(3), b"pc.ram")
CODE = "import sys; from xbrletools.cli import main; sys.exit(main())"
WAIT = 60
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER


class Capture:
    """The program at work, from when it says that it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "listening at" in first, first + process.stderr.read()
        self.where = first.split(" at ")[1].strip()

    def connect(self) -> socket.socket:
        kind, _, rest = self.where.partition(":")
        if kind == "unix":
            one = socket.socket(socket.AF_UNIX)
            one.connect(rest)
        else:
            host, _, port = rest.rpartition(":")
            one = socket.create_connection((host, int(port)))
        one.settimeout(WAIT)
        return one

    def migrate(self, data: bytes = STREAM) -> None:
        """Send all of a migration, and wait until it has been taken."""
        with self.connect() as source:
            source.sendall(data)
            source.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                source.recv(1)

    def ended(self) -> tuple[int, str]:
        """The exit status and what it said, when it has ended by itself."""
        _, said = self.process.communicate(timeout=WAIT)
        return self.process.returncode, said


@contextlib.contextmanager
def capturing(
    output: Path | str, *options: str, where: str = "tcp::0", before: Callable[[], object] | None = None, **more: object
) -> Iterator[Capture]:
    words = [sys.executable, "-c", CODE, "capture", where, "-o", str(output), *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=before, **more) as process:
        try:
            yield Capture(process)
        finally:
            process.kill()


def until(true: Callable[[], bool]) -> None:
    for _ in range(WAIT * 100):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def names(folder: Path) -> list[str]:
    """The files in a folder, without the times beside each recording."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != SUFFIX)


@contextlib.contextmanager
def destination(answer: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A listener that keeps what each connection sent, and answers at its end."""
    taken: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(one: socket.socket) -> None:
        with one:
            got = bytearray()
            while piece := one.recv(1 << 16):
                got += piece
            taken.append(bytes(got))
            one.sendall(answer)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],)).start()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}", taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(WAIT)


class TestWhatComesToAPort:
    def test_a_port_scan_does_not_end_it(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            for linger in (b"", RESET) * 5:
                with capture.connect() as scan:
                    if linger:
                        scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            threading.Event().wait(0.5)  # a scanner and a migration are not in one moment
            capture.migrate()
            status, said = capture.ended()
        assert (status, (tmp_path / "S").read_bytes()) == (0, STREAM), said
        assert names(tmp_path) == ["S"]

    def test_garbage_is_said_and_is_not_s(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            with capture.connect() as garbage:
                garbage.sendall(GARBAGE)
                with contextlib.suppress(ConnectionError):
                    assert garbage.recv(1) == b""
            capture.migrate()
            status, said = capture.ended()
        assert (status, (tmp_path / "S").read_bytes()) == (0, STREAM), said
        assert "not a migration (starts with 47 45 54" in said
        assert names(tmp_path) == ["S"]

    @pytest.mark.parametrize("said_by_it", [b"", b"QE", b"\0\0"])
    def test_a_connection_that_says_nothing_or_too_little_does_not_keep_it_from_ending(self, said_by_it, tmp_path):
        with capturing(tmp_path / "S") as capture, capture.connect() as silent:
            silent.sendall(said_by_it)
            capture.migrate()
            status, said = capture.ended()
        assert (status, (tmp_path / "S").read_bytes()) == (0, STREAM), said

    def test_a_silent_connection_after_the_main_one_does_not_either(self, tmp_path):
        with capturing(tmp_path / "S") as capture, capture.connect() as main:
            main.sendall(STREAM[:100])
            until(lambda: (tmp_path / "S").stat().st_size > 0)
            with capture.connect():
                main.sendall(STREAM[100:])
                main.shutdown(socket.SHUT_WR)
                status, said = capture.ended()
        assert (status, (tmp_path / "S").read_bytes()) == (0, STREAM), said

    def test_more_connections_than_file_descriptors_do_not_end_it(self, tmp_path):
        limit = (40, 40)
        with (
            capturing(tmp_path / "S", before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)) as capture,
            contextlib.ExitStack() as silent,
        ):
            for _ in range(50):
                silent.enter_context(capture.connect())
            capture.migrate()
            status, said = capture.ended()
        assert (status, (tmp_path / "S").read_bytes()) == (0, STREAM), said
        assert "Too many open files" in said

    def test_any_error_of_accept_is_survived(self, tmp_path, monkeypatch):
        failures = [OSError(n, os.strerror(n)) for n in (103, 71, 23, 105, 12, 1)]  # aborted, protocol, full tables ...
        accept = Listener.accept

        def failing(self: Listener) -> tuple[socket.socket, str]:
            if failures:
                raise failures.pop()
            return accept(self)

        monkeypatch.setattr(Listener, "accept", failing)
        tap = Tap(Address(), tmp_path / "S")
        thread = threading.Thread(target=tap.run)
        thread.start()
        with socket.create_connection((tap.address.host, tap.address.port)) as source:
            source.sendall(STREAM)
        thread.join(WAIT)
        assert (tmp_path / "S").read_bytes() == STREAM

    def test_what_is_closed_costs_no_descriptor(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            held = Path(f"/proc/{capture.process.pid}/fd")
            before = len(list(held.iterdir()))
            for _ in range(60):
                capture.connect().close()
            until(lambda: len(list(held.iterdir())) <= before)
            capture.migrate()
            assert capture.ended()[0] == 0

    def test_channels_are_numbered_from_one_whoever_came_first(self, tmp_path):
        channels = [Packets(i).packet(i, sync=True).packet(2 + i, [(i << 12, patterned(i))], sync=True) for i in (0, 1)]
        with capturing(tmp_path / "S") as capture:
            with capture.connect() as scan, capture.connect() as one, capture.connect() as main:
                scan.close()
                one.sendall(channels[0].bytes())
                until(lambda: (tmp_path / "S.1").exists())
                main.sendall(main_channel())
                with capture.connect() as two:
                    two.sendall(channels[1].bytes())
            status, said = capture.ended()
        assert (status, names(tmp_path)) == (0, ["S", "S.1", "S.2"]), said
        files = [(tmp_path / name).read_bytes() for name in names(tmp_path)]
        assert files == [main_channel(), channels[0].bytes(), channels[1].bytes()]

    @pytest.mark.parametrize("sent", [PREEMPT, EOS], ids=["a page", "nothing but its end"])
    def test_the_preempt_channel_is_known_by_being_neither(self, sent, tmp_path):
        with capturing(tmp_path / "S") as capture:
            with capture.connect() as main:
                main.sendall(STREAM[:100])
                until(lambda: (tmp_path / "S").stat().st_size > 0)
                with capture.connect() as preempt:
                    preempt.sendall(sent)
                main.sendall(STREAM[100:])
            status, said = capture.ended()
        assert (status, names(tmp_path)) == (0, ["S", "S.1"]), said
        assert (tmp_path / "S.1").read_bytes() == sent
        assert "preempt channel" in said

    def test_another_migration_at_the_same_time_is_neither_s_nor_a_channel_of_it(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            with capture.connect() as main:
                main.sendall(STREAM[:100])
                until(lambda: (tmp_path / "S").stat().st_size > 0)
                capture.migrate(STREAM[:50])
                main.sendall(STREAM[100:])
            status, said = capture.ended()
        assert (status, names(tmp_path)) == (0, ["S", "S.foreign.1"]), said
        assert (tmp_path / "S").read_bytes() == STREAM

    def test_what_is_not_a_migration_does_not_reach_the_destination(self, tmp_path):
        with destination(b"pong") as (there, taken), capturing(tmp_path / "S", "--forward", there) as capture:
            capture.connect().close()
            with capture.connect() as garbage, capture.connect():
                garbage.sendall(GARBAGE)
                with contextlib.suppress(ConnectionError):
                    assert garbage.recv(1) == b""
                capture.migrate()
                status, said = capture.ended()
            assert (status, taken) == (0, [STREAM]), said
        assert (tmp_path / "S.reverse").read_bytes() == b"pong"

    def test_a_quiet_channel_is_connected_to_the_destination_once_the_migration_has_come(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as there:
            there.settimeout(WAIT)
            port = there.getsockname()[1]
            with capturing(tmp_path / "S", "--forward", f"tcp:127.0.0.1:{port}") as capture, capture.connect() as main:
                main.sendall(STREAM)
                forwarded, _ = there.accept()
                with forwarded, capture.connect(), there.accept()[0]:
                    assert forwarded.recv(len(STREAM), socket.MSG_WAITALL) == STREAM
                    main.shutdown(socket.SHUT_WR)
                    assert forwarded.recv(1) == b""
                status, said = capture.ended()
        assert (status, names(tmp_path)) == (0, ["S"]), said

    @pytest.mark.parametrize("times", range(3))
    def test_the_destination_gets_the_main_channel_first_though_others_speak_before_it(self, times, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as there:
            there.settimeout(WAIT)
            port = there.getsockname()[1]
            with (
                capturing(tmp_path / "S", "--forward", f"tcp:127.0.0.1:{port}") as capture,
                capture.connect() as main,
                capture.connect() as quiet,
                capture.connect() as channel,
            ):
                channel.sendall(Packets(1).bytes())
                until(lambda: (tmp_path / "S.1").exists())
                main.sendall(STREAM)
                quiet.sendall(Packets(0).bytes())
                with there.accept()[0] as first, there.accept()[0] as second, there.accept()[0] as third:
                    assert first.recv(len(STREAM), socket.MSG_WAITALL) == STREAM
                    assert second.recv(64, socket.MSG_WAITALL) == Packets(0).bytes()
                    assert third.recv(64, socket.MSG_WAITALL) == Packets(1).bytes()
                    for one in (main, quiet, channel):
                        one.shutdown(socket.SHUT_WR)
                    assert [one.recv(1) for one in (first, second, third)] == [b"", b"", b""]
                status, said = capture.ended()
        assert (status, names(tmp_path)) == (0, ["S", "S.1", "S.2"]), said


class TestFiles:
    @pytest.mark.parametrize("output", ["missing/S", "file/S", ".", "x" * 300])
    def test_an_output_that_cannot_be_had_is_an_error_before_anyone_can_connect(self, output, tmp_path):
        (tmp_path / "file").write_text("")
        where = tmp_path / "socket"
        words = [sys.executable, "-c", CODE, "capture", f"unix:{where}", "-o", str(tmp_path / output)]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
        assert (ended.returncode, "listening" in ended.stderr, where.exists()) == (2, False, False), ended.stderr
        assert len(ended.stderr.splitlines()) == 1

    @pytest.mark.parametrize("taken", ["S", "S.1", "S.17.reverse", "S.reverse", "S.foreign.1"])
    def test_no_file_of_an_earlier_recording_is_written_over_or_mixed_up_with_this_one(self, taken, tmp_path):
        (tmp_path / taken).write_bytes(b"evidence")
        words = [sys.executable, "-c", CODE, "capture", "tcp::0", "-o", str(tmp_path / "S")]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
        assert ended.returncode == 2
        assert f"{taken}: exists already" in ended.stderr
        assert "--force" in ended.stderr
        assert names(tmp_path) == [taken]
        assert (tmp_path / taken).read_bytes() == b"evidence"

    def test_force_replaces_them_when_something_comes_and_not_what_a_link_leads_to(self, tmp_path):
        (tmp_path / "kept").write_bytes(b"elsewhere")
        (tmp_path / "S").symlink_to(tmp_path / "kept")
        (tmp_path / "S.1").write_bytes(b"a channel of before")
        (tmp_path / "S.txt").write_bytes(b"notes")
        with capturing(tmp_path / "S", "--force") as capture:
            assert (tmp_path / "S").read_bytes() == b"elsewhere"
            capture.migrate()
            assert capture.ended()[0] == 0
        assert names(tmp_path) == ["S", "S.txt", "kept"]
        assert (tmp_path / "kept").read_bytes() == b"elsewhere"
        assert (tmp_path / "S").read_bytes() == STREAM

    def test_force_leaves_them_where_nothing_comes(self, tmp_path):
        (tmp_path / "S").write_bytes(b"evidence")
        with capturing(tmp_path / "S", "--force") as capture:
            capture.process.send_signal(signal.SIGTERM)
            assert capture.ended()[0] == 130
        assert names(tmp_path) == ["S"]
        assert (tmp_path / "S").read_bytes() == b"evidence"

    def test_recorded_memory_is_for_its_owner_alone(self, tmp_path):
        with destination(b"pong") as (there, _), capturing(tmp_path / "S", "--forward", there, umask=0) as capture:
            capture.migrate()
            assert capture.ended()[0] == 0
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        assert modes == {"S": 0o600, "S.reverse": 0o600, "S.times": 0o600}

    def test_a_full_disk_keeps_what_it_has_and_says_how_much(self, tmp_path):
        limit = (8192, resource.RLIM_INFINITY)
        with capturing(tmp_path / "S", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)) as capture:
            with contextlib.suppress(ConnectionError):
                capture.migrate()
            status, said = capture.ended()
        assert (status, (tmp_path / "S").read_bytes()) == (1, STREAM[:8192])
        assert "8192 bytes" in said
        assert "File too large: recording ended, and the file is cut" in said

    def test_a_full_disk_does_not_end_the_forwarding(self, tmp_path):
        with destination(b"pong") as (there, taken), capturing("/dev/full", "--forward", there) as capture:
            with capture.connect() as source:
                source.sendall(STREAM)
                source.shutdown(socket.SHUT_WR)
                assert source.recv(4, socket.MSG_WAITALL) == b"pong"
            status, said = capture.ended()
            assert taken == [STREAM]
        assert (status, "No space left on device" in said) == (2, True), said

    def test_no_file_name_reaches_the_terminal_raw(self, tmp_path):
        output = tmp_path / "a\x1b[2J\u202eb"
        with capturing(output) as capture:
            capture.migrate()
            _, said = capture.ended()
            assert "a\\x1b[2J\\u202eb" in said
        words = [sys.executable, "-c", CODE, "capture", "unix:\x1b[2J/x", "-o", str(output)]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
        assert ended.returncode == 2
        assert "\x1b" not in said + ended.stderr
        assert "\u202e" not in said + ended.stderr

    def test_standard_output_gets_the_main_channel(self, tmp_path):
        with capturing("-", stdout=subprocess.PIPE) as capture:
            capture.migrate(b"QEVM and so on")
            out, said = capture.process.communicate(timeout=WAIT)
        assert (capture.process.returncode, out) == (0, "QEVM and so on"), said


def times_of(path: Path) -> Arrivals | None:
    """The times beside a recording, which must be its own."""
    return read(f"{path}{SUFFIX}", np.frombuffer(path.read_bytes(), np.uint8))


class TestTimes:
    def test_pieces_have_the_times_at_which_they_came(self, tmp_path):
        with capturing(tmp_path / "S") as capture, capture.connect() as source:
            began = time.time()
            for start in range(0, len(STREAM), 20_000):
                source.sendall(STREAM[start : start + 20_000])
                time.sleep(0.1)
            source.shutdown(socket.SHUT_WR)
            assert capture.ended()[0] == 0
        found = times_of(tmp_path / "S")
        assert found is not None
        assert found.started / 1e9 == pytest.approx(began, abs=5)
        assert found.offset[-1] == len(STREAM)
        late = [found.of(np.array([at]))[0] / 1e9 for at in range(0, len(STREAM), 20_000)]
        assert np.diff(late) == pytest.approx(0.1, abs=0.09)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_leaves_them_whole(self, number, tmp_path):
        with capturing(tmp_path / "S") as capture, capture.connect() as source:
            source.sendall(STREAM[:40000])
            until(lambda: (tmp_path / "S").exists() and (tmp_path / "S").stat().st_size == 40000)
            capture.process.send_signal(number)
            assert capture.ended()[0] == 130
        found = times_of(tmp_path / "S")
        assert found is not None
        assert found.offset[-1] == 40000

    def test_force_replaces_those_of_the_recording_before(self, tmp_path):
        for data in (STREAM[:-1] + b"\1", STREAM):
            with capturing(tmp_path / "S", "--force") as capture:
                capture.migrate(data)
                capture.ended()
        found = times_of(tmp_path / "S")
        assert found is not None
        assert found.offset[-1] == len(STREAM)

    def test_they_are_taken_for_part_of_a_recording(self, tmp_path):
        (tmp_path / "S.times").write_bytes(b"evidence")
        words = [sys.executable, "-c", CODE, "capture", "tcp::0", "-o", str(tmp_path / "S")]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
        assert ended.returncode == 2
        assert "S.times: exists already" in ended.stderr
        assert (tmp_path / "S.times").read_bytes() == b"evidence"

    def test_a_full_disk_costs_the_end_of_them(self, tmp_path):
        limit = (30_000, resource.RLIM_INFINITY)
        with capturing(tmp_path / "S", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)) as capture:
            with contextlib.suppress(ConnectionError), capture.connect() as source:
                for start in range(0, len(STREAM), 10_000):
                    source.sendall(STREAM[start : start + 10_000])
                    time.sleep(0.05)
            assert capture.ended()[0] == 1
        found = times_of(tmp_path / "S")
        assert found is not None
        assert 0 < found.offset[-1] <= 30_000

    def test_each_channel_has_its_own_and_what_comes_back_has_none(self, tmp_path):
        with destination(b"pong") as (there, _), capturing(tmp_path / "S", "--forward", there) as capture:
            with capture.connect() as main, capture.connect() as channel:
                main.sendall(main_channel())
                until(lambda: (tmp_path / "S").exists() and (tmp_path / "S").stat().st_size > 0)
                channel.sendall(Packets(0).packet(0, sync=True).bytes())
                for one in (main, channel):
                    one.shutdown(socket.SHUT_WR)
                    while one.recv(64):
                        pass
            capture.ended()
        there = {p.name for p in tmp_path.iterdir()}
        assert there == {"S", "S.1", "S.1.reverse", "S.1.times", "S.reverse", "S.times"}
        assert all(times_of(tmp_path / name) is not None for name in ("S", "S.1"))


class TestTheSocket:
    def test_the_path_of_a_socket_that_another_made_since_is_left(self, tmp_path):
        where = tmp_path / "socket"
        with capturing(tmp_path / "S", where=f"unix:{where}") as capture, socket.socket(socket.AF_UNIX) as other:
            with capture.connect() as source:
                source.sendall(STREAM)
                until(lambda: (tmp_path / "S").exists() and (tmp_path / "S").stat().st_size > 0)
                where.unlink()
                other.bind(str(where))
            capture.ended()
        assert where.is_socket()

    @pytest.mark.parametrize("what", ["socket", "file"])
    def test_what_stands_where_it_should_listen_is_an_error_and_left(self, what, tmp_path):
        where = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as other:
            if what == "socket":
                other.bind(str(where))
            else:
                where.write_bytes(b"precious")
            words = [sys.executable, "-c", CODE, "capture", f"unix:{where}", "-o", str(tmp_path / "S")]
            ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
        assert (ended.returncode, names(tmp_path)) == (2, ["socket"]), ended.stderr

    def test_its_own_is_taken_away(self, tmp_path):
        with capturing(tmp_path / "S", where=f"unix:{tmp_path / 'socket'}") as capture:
            capture.migrate()
            assert capture.ended()[0] == 0
        assert names(tmp_path) == ["S"]


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_keeps_what_came_and_says_that_it_is_incomplete(self, number, tmp_path):
        with capturing(tmp_path / "S", where=f"unix:{tmp_path / 'socket'}") as capture, capture.connect() as source:
            source.sendall(STREAM[:40000])
            until(lambda: (tmp_path / "S").exists() and (tmp_path / "S").stat().st_size == 40000)
            capture.process.send_signal(number)
            status, said = capture.ended()
        assert (status, names(tmp_path)) == (130, ["S"]), said
        assert "40000 bytes" in said
        assert "interrupted: the recording is incomplete" in said

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_before_anything_came_leaves_nothing_and_says_so(self, number, tmp_path):
        with (
            destination() as (there, _),
            capturing(tmp_path / "S", "--forward", there) as capture,
            capture.connect(),
        ):
            capture.process.send_signal(number)
            status, said = capture.ended()
        assert (status, "nothing was recorded" in said, names(tmp_path)) == (130, True, []), said

    def test_a_recording_does_not_end_because_nobody_reads_what_it_says(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            capture.process.stderr.close()
            with capture.connect() as garbage:
                garbage.sendall(GARBAGE)
                with contextlib.suppress(ConnectionError):
                    assert garbage.recv(1) == b""
            threading.Event().wait(0.5)
            capture.migrate()
            assert capture.process.wait(WAIT) == 0
        assert (tmp_path / "S").read_bytes() == STREAM

    def test_a_hang_up_that_nohup_has_ignored_stays_ignored(self, tmp_path):
        def ignoring() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        with capturing(tmp_path / "S", before=ignoring) as capture:
            capture.process.send_signal(signal.SIGHUP)
            capture.migrate()
            assert capture.ended()[0] == 0

    def test_a_destination_that_cannot_be_reached_is_said_and_nothing_is_left(self, tmp_path):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with capturing(tmp_path / "S", "--forward", f"tcp:127.0.0.1:{port}") as capture:
                with contextlib.suppress(ConnectionError):
                    capture.migrate()
                status, said = capture.ended()
        assert (status, names(tmp_path)) == (2, []), said
        assert "cannot be reached" in said
        assert "nothing was recorded" in said

    def test_channels_without_their_main_one_are_said_to_be_that(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            capture.migrate(Packets(0).packet(0, sync=True).bytes())
            status, said = capture.ended()
        assert (status, names(tmp_path)) == (1, ["S.1"]), said
        assert "main channel never came" in said

    def test_a_source_that_breaks_off_is_status_1(self, tmp_path):
        with capturing(tmp_path / "S") as capture:
            with capture.connect() as source:
                source.sendall(STREAM[:9000])
                until(lambda: (tmp_path / "S").exists() and (tmp_path / "S").stat().st_size == 9000)
                source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            status, said = capture.ended()
        assert (status, "broke off" in said) == (1, True), said
