"""`xbrle grammars`: the layouts for other tools, listed and written out."""

import pytest

from tests.cli.run import run
from tests.conftest import ROOT
from xbrletools.cli.grammars import NAMES
from xbrletools.grammars.files import TARGETS

EXPORTS = ROOT / "formats" / "exports"


def test_the_command_knows_every_target():
    assert tuple(TARGETS) == NAMES


def test_the_files_of_each_tool_are_listed(capsys):
    status, out, _ = run(capsys, "grammars")
    assert status == 0
    for path in (p for target in NAMES for p in EXPORTS.glob(f"*.{target}")):
        assert f"  {path.name} " in out


@pytest.mark.parametrize("target", NAMES)
def test_what_is_written_is_what_is_committed(target, tmp_path, capsys):
    status, out, _ = run(capsys, "grammars", target, "-o", tmp_path / "out")
    written = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert status == 0
    assert written == {p.name: p.read_bytes() for p in EXPORTS.glob(f"*.{target}")}
    assert f"{len(written)} files" in out


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    status, _, err = run(capsys, "grammars", "lua", "-o", tmp_path)
    assert status == 2
    assert "--force" in err


@pytest.mark.parametrize("arguments", [["-o", "{}"], ["ksy", "-o", "-"], ["bt"]])
def test_wrong_usage_is_refused(arguments, tmp_path, capsys):
    status, _, err = run(capsys, "grammars", *(a.format(tmp_path / "new") for a in arguments))
    assert status == 2
    assert err
    assert not (tmp_path / "new").exists()
