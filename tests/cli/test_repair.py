"""`xbrle salvage --repair`: what is undone is said, called inferred, and gives the bytes back."""

import json
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.causes.damage import Whole, damage
from tests.cli.run import run
from tests.conftest import SAMPLES


@pytest.fixture(scope="module")
def whole() -> Whole:
    return Whole((SAMPLES / "posted-8m.bin").read_bytes())


@pytest.mark.parametrize("kind", ["run", "flags", "length", "framing", "repeated", "reordered"])
def test_a_repaired_capture_has_the_memory_of_the_undamaged_one(
    whole: Whole, kind: str, tmp_path: Path, capsys
) -> None:
    data, _ = damage(whole, kind, (3,))
    damaged = tmp_path / "S"
    damaged.write_bytes(data.tobytes())
    code, out, _ = run(capsys, "salvage", str(damaged), "--repair", "--json", "-o", str(tmp_path / "T"))
    assert code == 1
    (repair,) = json.loads(out)["repairs"]
    assert repair["inferred"]
    memory = xbrletools.open(tmp_path / "T").memory()
    assert np.array_equal(memory.pages, whole.capture.memory().pages)


def test_what_has_no_unique_repair_is_left_and_said(whole: Whole, tmp_path: Path, capsys) -> None:
    data, _ = damage(whole, "cut", (1,))
    (tmp_path / "S").write_bytes(data.tobytes())
    code, out, _ = run(capsys, "salvage", str(tmp_path / "S"), "--repair", "--json")
    said = json.loads(out)
    assert code == 1
    assert said["repairs"] == []
    assert [cause["cause"] for cause in said["not_repaired"]] == ["bytes-missing"]


def test_an_undamaged_capture_needs_no_repair(capsys) -> None:
    code, out, _ = run(capsys, "salvage", str(SAMPLES / "posted-8m.bin"), "--repair")
    assert code == 0
    assert "inferred" not in out


def test_the_text_calls_a_repair_inferred(whole: Whole, tmp_path: Path, capsys) -> None:
    data, truth = damage(whole, "run", (1,))
    (tmp_path / "S").write_bytes(data.tobytes())
    _, out, _ = run(capsys, "salvage", str(tmp_path / "S"), "--repair")
    assert f"inferred    a byte at {truth.offset:#x}" in out
    assert "Repairs are inferred" in " ".join(out.split())
