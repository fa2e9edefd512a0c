"""`xbrle samples`: what comes with the package, listed and copied out."""

from samples import cases
from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from xbrletools.cli.samples import STORIES

COPIED = {p.name for p in SAMPLES.iterdir() if p.is_file() and p.suffix != ".py"}


def test_the_list_names_every_story_and_what_does_not_fit_into_80_columns_is_not_in_it(capsys):
    status, out, _ = run(capsys, "samples")
    assert status == 0
    assert {next(iter(make().files)) for make in cases.CASES.values()} <= set(STORIES) <= COPIED
    assert [line.split()[0] for line in out.splitlines()[: len(STORIES)]] == list(STORIES)
    assert max(map(len, out.splitlines())) <= 80


def test_all_samples_are_copied_as_they_are_and_what_builds_them_is_not(capsys, tmp_path):
    status, out, _ = run(capsys, "samples", "-o", tmp_path / "there")
    assert (status, {p.name for p in (tmp_path / "there").iterdir()}) == (0, COPIED)
    assert "stale-base.bin" in out
    for name in COPIED:
        assert (tmp_path / "there" / name).read_bytes() == (SAMPLES / name).read_bytes()


def test_a_folder_with_files_in_it_is_left_alone_without_force(capsys, tmp_path):
    (tmp_path / "stale-base.bin").write_bytes(b"mine")
    status, _, err = run(capsys, "samples", "-o", tmp_path)
    assert (status, (tmp_path / "stale-base.bin").read_bytes()) == (2, b"mine")
    assert "--force" in err
    assert run(capsys, "samples", "-o", tmp_path, "--force")[0] == 0


def test_standard_output_cannot_hold_several_files(capsys):
    status, _, err = run(capsys, "samples", "-o", "-")
    assert (status, "give a folder" in err) == (2, True)


def test_the_package_has_the_samples_folder():
    assert (ROOT / "xbrletools" / "samples").resolve() == SAMPLES
