"""The one boundary for errors: whatever goes wrong inside is one line and a documented status, never a traceback."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

import xbrletools.cli.options
from tests.conftest import SAMPLES
from xbrletools.cli import main

SAMPLE = SAMPLES / "posted-8m.bin"


@pytest.mark.parametrize(
    "error", [ValueError("x" * 9), OverflowError(), RecursionError("deep"), AttributeError("none")]
)
def test_any_error_inside_is_one_line_and_exit_2(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_options: object) -> None:
        raise error

    monkeypatch.setattr(xbrletools.cli.options, "opening", fail)
    assert main(["info", str(SAMPLE)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"xbrle: internal error, {type(error).__name__}")
    assert err.count("\n") == 1
    assert "--debug" in err


def test_with_debug_the_error_inside_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_options: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(xbrletools.cli.options, "opening", fail)
    with pytest.raises(RecursionError):
        main(["--debug", "info", str(SAMPLE)])


@pytest.mark.parametrize(
    "words", [["\x1b[31mno"], ["info", "--\x1b[31mno"], ["info", "\x1b[31mno"], ["page", "S", "\x1b]0;"]]
)
def test_what_the_user_gave_is_printed_without_escape_sequences(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert err


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, "gz"), (lzma.compress, "xz")])
def test_one_damaged_byte_in_a_packed_capture_is_a_truncated_capture(
    pack: Callable[[bytes], bytes], suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = bytearray(pack(SAMPLE.read_bytes()))
    for at in (len(packed) // 2, len(packed) * 9 // 10):
        packed[at] ^= 0x5A
        path = tmp_path / f"s.bin.{suffix}"
        path.write_bytes(packed)
        assert main(["info", "--json", str(path)]) == 1
        out, err = capsys.readouterr()
        assert '"truncated": true' in out
        assert "Traceback" not in err
