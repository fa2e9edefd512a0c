import gzip
import io
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.source.loopback import Store, serving
from xbrletools.errors import TransportError, XbrleError
from xbrletools.urls import all_without_secrets, is_url, without_secrets

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra remote)")
pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra remote)")

SAMPLE = (SAMPLES / "posted-8m.bin").read_bytes()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A server with one capture, and a cache of its own."""
    monkeypatch.setenv("XBRLE_REMOTE_CACHE", str(tmp_path / "cache"))
    with serving() as found:
        found.objects["/s.bin"] = SAMPLE
        yield found


def files_in(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


class TestWhatIsFetched:
    def test_is_read_as_a_file_is(self, store: Store) -> None:
        with xbrletools.open(f"{store.url}/s.bin") as there, xbrletools.open(SAMPLES / "posted-8m.bin") as here:
            assert there.records.last_number == here.records.last_number
            assert (there.data == here.data).all()
            assert there.name == f"{store.url}/s.bin"
            assert there.source.origin is not None

    def test_comes_once_and_the_next_opening_only_asks(self, store: Store) -> None:
        with xbrletools.open(f"{store.url}/s.bin"):
            pass
        store.asked.clear()
        with xbrletools.open(f"{store.url}/s.bin") as opened:
            assert opened.records.last_number
        assert store.asked == ["HEAD /s.bin"]

    def test_comes_again_when_it_changed(self, store: Store) -> None:
        with xbrletools.open(f"{store.url}/s.bin"):
            pass
        store.objects["/s.bin"] = (SAMPLES / "posted-little-default.bin").read_bytes()
        with xbrletools.open(f"{store.url}/s.bin") as opened:
            assert bytes(opened.source.view) == store.objects["/s.bin"]

    def test_comes_each_time_from_a_server_that_does_not_say_whether_it_changed(self, store: Store) -> None:
        store.etags = False
        for data in (SAMPLE, SAMPLE[:-1] + b"x"):
            store.objects["/s.bin"] = data
            with xbrletools.open(f"{store.url}/s.bin") as opened:
                assert bytes(opened.source.view) == data

    def test_is_not_kept_with_no_cache(self, store: Store, tmp_path: Path) -> None:
        with xbrletools.open(f"{store.url}/s.bin", cache=False) as opened:
            assert opened.records.last_number
        assert not (tmp_path / "cache").exists()

    def test_may_be_packed_and_is_stored_as_it_lies_there(self, store: Store, tmp_path: Path) -> None:
        store.objects["/s.bin.gz"] = gzip.compress(SAMPLE)  # sent with Content-Encoding: gzip, as some servers do
        with xbrletools.open(f"{store.url}/s.bin.gz") as opened:
            assert opened.source.wrapper == "gzip"
            assert opened.data.tobytes() == SAMPLE
        assert [p.read_bytes() for p in files_in(tmp_path / "cache")] == [store.objects["/s.bin.gz"]]

    def test_may_be_in_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XBRLE_REMOTE_CACHE", str(tmp_path / "cache"))
        fsspec.filesystem("memory").pipe_file("/one/s.bin", SAMPLE)
        with xbrletools.open("memory://one/s.bin") as opened:
            assert opened.data.tobytes() == SAMPLE

    def test_is_read_by_the_commands(self, store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        url = f"{store.url}/s.bin"
        here = run(capsys, "verify", SAMPLES / "posted-8m.bin", "--json")
        assert run(capsys, "verify", url, "--json") == here
        assert run(capsys, "diff", url, SAMPLES / "posted-8m.bin")[0] == 0
        assert run(capsys, url)[1].startswith(f"capture      {url}, ")
        status, _, _ = run(capsys, "extract", url, "--block", "pc.ram", "-o", tmp_path / "ram")
        assert status == 0

    @pytest.mark.parametrize(
        "line",
        [
            *(
                "info S",
                "dump S --limit 3",
                "verify S",
                "stats S",
                "top S --limit 3",
                "page S 0x1000",
                "blame S 0x0+8K",
            ),
            *("grep S mig -i --all --limit 2", "diff S T --limit 3", "salvage S", "describe X", "check X --on X"),
            *("extract S -o OUT", "why 'Illegal RAM offset 203000' X", "log S --end sender", "sender S"),
            *("transcode S --to xbzrle -o OUT", "whatif S --cache 64K", "converge S --link 1M", "report S -o OUT"),
            *("simulate --capture S", "yara R S", "query S 'SELECT count(*) FROM findings'", "tables S -o OUT"),
        ],
    )
    def test_is_read_by_every_command_as_a_file_is(
        self, line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed = {"yara": "yara_x", "query": "duckdb", "tables": "pyarrow"}.get(line.partition(" ")[0])
        if needed is not None:
            pytest.importorskip(needed, reason=f"{needed} is not installed")
        monkeypatch.setenv("XBRLE_REMOTE_CACHE", str(tmp_path / "cache"))
        names = {"S": "posted-8m.bin", "T": "stale-base.bin", "X": "xbzrle-16m.bin", "R": "rules.yar"}
        for name in names.values():
            fsspec.filesystem("memory").pipe_file(f"/lab/{name}", (SAMPLES / name).read_bytes())
        found = []
        for number, where in enumerate((f"{SAMPLES}/", "memory://lab/")):
            words = {"OUT": tmp_path / "out" / str(number), **{n: where + name for n, name in names.items()}}
            (tmp_path / "out").mkdir(exist_ok=True)
            status, *said = run(capsys, *(words.get(w, w) for w in shlex.split(line)))
            texts = [text.replace(where, "").replace(str(words["OUT"]), "OUT") for text in said]
            found.append((status, *texts))
        assert found[0] == found[1]
        assert found[0][0] in (0, 1)

    def test_dumps_bring_their_sidecar(self, store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        sample = SAMPLES / "posted-8m.bin"
        run(capsys, "extract", sample, "--format", "lime", "-o", tmp_path / "ram.lime")
        for ending in ("", ".json"):
            store.objects[f"/ram.lime{ending}"] = (tmp_path / f"ram.lime{ending}").read_bytes()
        here = run(capsys, "diff", sample, tmp_path / "ram.lime", "--json")
        assert run(capsys, "diff", sample, f"{store.url}/ram.lime", "--json") == here


class TestWhatFailsOnTheWay:
    @pytest.mark.parametrize("fault", ["reset", "short", "error", "changes"])
    def test_is_an_error_and_the_second_try_succeeds(
        self, store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path, fault: str
    ) -> None:
        store.faults = [fault]
        status, out, err = run(capsys, "verify", f"{store.url}/s.bin", "--json")
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert "ry again" in err
        assert not files_in(tmp_path / "cache")  # nothing that is not whole
        assert run(capsys, "verify", f"{store.url}/s.bin", "--json")[0] == 0

    def test_is_an_error_of_its_own_kind(self, store: Store) -> None:
        store.faults = ["reset"]
        with pytest.raises(TransportError, match="try again"):
            xbrletools.open(f"{store.url}/s.bin")

    def test_a_server_that_does_not_say_the_length_is_not_believed(self, store: Store) -> None:
        store.faults = ["no length"] * 2
        store.etags = False
        store.objects["/s.bin"] = SAMPLE
        with xbrletools.open(f"{store.url}/s.bin") as opened:  # the HEAD said it
            assert opened.data.tobytes() == SAMPLE

    def test_an_object_that_is_not_there(self, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "info", f"{store.url}/other.bin")
        assert (status, err) == (2, f"xbrle: {store.url}/other.bin: there is no such object. Look at its name\n")

    def test_access_that_is_refused(self, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "info", f"{store.url}/forbidden")
        assert status == 2
        assert "access is refused (HTTP 403). Give credentials" in err

    def test_nobody_listens(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XBRLE_REMOTE_CACHE", str(tmp_path))
        with serving() as gone:
            url = f"{gone.url}/s.bin"
        with pytest.raises(TransportError, match="try again"):
            xbrletools.open(url)

    def test_a_disk_without_room(self, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        full = os.statvfs_result((4096, 4096, 1000, 60, 60, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _: full)
        with pytest.raises(XbrleError, match="XBRLE_REMOTE_CACHE"):
            xbrletools.open(f"{store.url}/s.bin")
        assert "GET /s.bin" not in store.asked

    def test_the_oldest_go_where_the_cache_is_full(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XBRLE_REMOTE_CACHE_SIZE", str(2 * len(SAMPLE)))
        for i in range(4):
            store.objects[f"/{i}.bin"] = SAMPLE
            with xbrletools.open(f"{store.url}/{i}.bin"):
                pass
            for entry in (tmp_path / "cache").iterdir():
                os.utime(entry, (entry.stat().st_atime, entry.stat().st_mtime - 10))
        assert sorted(p.name for p in files_in(tmp_path / "cache")) == ["2.bin", "3.bin"]

    def test_other_schemes_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "info", "ftp://example.org/s.bin")
        assert (status, err.count("\n")) == (2, 1)
        assert "ftp:// is not read" in err

    def test_a_missing_package_is_named_before_any_work(
        self, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from xbrletools.source import remote

        monkeypatch.setattr(remote, "find_spec", lambda name: None)
        status, _, err = run(capsys, "diff", "/nothing/here", f"{store.url}/s.bin")
        assert status == 2
        assert "needs fsspec and aiohttp" in err
        assert "pip install 'xbrletools[remote]'" in err
        assert store.asked == []


class TestSecrets:
    def test_are_not_shown(self) -> None:
        assert without_secrets("https://user:pass@host/a/s.bin?X-Amz-Signature=1#x") == "https://host/a/s.bin?..."
        assert without_secrets("s3://KEY:SECRET@bucket/s.bin") == "s3://bucket/s.bin"
        assert all_without_secrets("at http://u:p@h/x?token=1 it ends") == "at http://h/x?... it ends"
        assert [is_url(n) for n in ("s3://b/k", "a/b", "C:/x", b"s3://b", "simplecache::s3://b")] == [
            *(True, False, False, False, False)
        ]

    @pytest.mark.parametrize("fault", ["", "reset", "short", "error", "changes"])
    def test_stay_out_of_what_is_printed_and_kept(
        self, store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path, fault: str
    ) -> None:
        store.faults = [fault]
        url = f"{store.url.replace('http://', 'http://us3rname:s3cret@')}/s.bin?X-Amz-Signature=s1gned"
        said = [run(capsys, *words) for words in (("info", url, "--json"), ("info", url + "x"), ("verify", url))]
        said.append(run(capsys, "info", url.replace("s.bin", "other")))
        assert "with a password" in store.asked
        for text in (str(said), *map(str, files_in(tmp_path / "cache"))):
            assert "s3cret" not in text
            assert "s1gned" not in text
            assert "us3rname" not in text


class TestOutputs:
    @pytest.mark.parametrize("words", [("extract", "-o"), ("extract", "--block", "pc.ram", "-o"), ("report", "-o")])
    def test_are_refused_plainly(self, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
        status, _, err = run(capsys, words[0], SAMPLES / "posted-8m.bin", *words[1:], "s3://KEY:SECRET@bucket/out")
        assert (status, err.count("\n")) == (2, 1)
        assert "s3://bucket/out: only files are written" in err
        assert not Path("s3:").exists()


class _Object(io.RawIOBase):
    """A file object that has no descriptor, and fails or ends after some bytes."""

    def __init__(self, data: bytes, upto: int, error: Exception | None = None) -> None:
        self._data = io.BytesIO(data[:upto])
        self._error = error
        self.size = len(data)

    def read(self, count: int = -1) -> bytes:
        piece = self._data.read(count)
        if not piece and self._error is not None:
            raise self._error
        return piece

    def tell(self) -> int:
        return self._data.tell()


class _StrangeError(Exception):
    """An error as libraries of stores have them."""


class TestFileObjects:
    def test_need_only_read(self) -> None:
        class Plain:
            def __init__(self) -> None:
                self.read = io.BytesIO(SAMPLE).read

        with xbrletools.open(Plain(), name="from a socket") as opened:  # type: ignore[arg-type]
            assert opened.name == "from a socket"
            assert opened.data.tobytes() == SAMPLE

    @pytest.mark.parametrize(
        "error", [OSError("connection reset by peer"), ConnectionResetError(), _StrangeError("slow")]
    )
    def test_that_fail_are_not_damaged_captures(self, error: Exception) -> None:
        with (
            xbrletools.open(_Object(SAMPLE, 400_000, error), name="s3 object") as opened,
            pytest.raises(TransportError, match=r"object: reading failed after 400,000 bytes.*try again"),
        ):
            _ = opened.records

    def test_that_end_before_their_size_are_not_truncated_captures(self) -> None:
        with (
            xbrletools.open(_Object(SAMPLE, 400_000)) as opened,
            pytest.raises(TransportError, match="only 400,000 of its 1,151,673 bytes came"),
        ):
            _ = opened.records

    def test_that_unpack_still_tell_of_damage(self) -> None:
        packed = bytearray(gzip.compress(SAMPLE))
        packed[len(packed) // 2] ^= 0xFF
        with xbrletools.open(gzip.open(io.BytesIO(packed))) as opened:  # type: ignore[arg-type]
            assert opened.damage is not None

    def test_without_read_are_refused(self) -> None:
        with pytest.raises(XbrleError, match=r"read\(\)"):
            xbrletools.open(fsspec.open("memory://one/s.bin", "rb"))
