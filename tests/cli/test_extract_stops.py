"""Where a receiver would have stopped, memory is not what any receiver had: extract says so and exits 1."""

from tests.cli.run import run
from tests.conftest import SOUND
from tests.streams import PAGE, StreamBuilder, noise


def healed() -> StreamBuilder:
    """A delta that does not come to a page, and a full page that hides it."""
    first, second = noise(1), noise(2)
    third = second.copy()
    third[100:110] ^= 0xFF
    b = StreamBuilder(flags=3).page(0, first).page(PAGE, second).part().delta(PAGE, second, third)
    return b.raw_delta(0, b"\x05", first).page(0, noise(3)).page(PAGE, noise(4))


def test_a_delta_that_stops_a_receiver_counts_even_if_its_page_comes_again(capsys, tmp_path):
    path = tmp_path / "S"
    path.write_bytes(healed().bytes())
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    assert status == 1
    assert "a receiver stops at record 4 (" in err
    assert (tmp_path / "out" / "pc.ram").read_bytes()[:PAGE] == noise(3).tobytes()


def test_what_comes_after_the_moment_does_not_count(capsys, tmp_path):
    path = tmp_path / "S"
    path.write_bytes(healed().bytes())
    assert run(capsys, "extract", path, "--at", 2, "-o", tmp_path / "out")[0] == 0


def test_samples_that_load_exit_0(capsys, tmp_path):
    for path in SOUND:
        status, _, err = run(capsys, "extract", path, "-o", tmp_path / path.name)
        assert status == 0, (path.name, err)
