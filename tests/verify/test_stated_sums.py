"""Which receivers look at the sum that a delta states: the debug build, where the header's flag says that it counts."""

import pytest

import xbrletools
from tests.streams import StreamBuilder, noise
from xbrletools.cli import main

OLD, NEW = noise(1), noise(1)
NEW[9] ^= 0x55
FLAGGED, UNFLAGGED = 3, 1  # a delta header's flags


@pytest.mark.parametrize(
    ("dialect", "flags", "loads"),
    [("posted", FLAGGED, False), ("posted", UNFLAGGED, True), ("lm2dbg", UNFLAGGED, True)],
)
def test_the_debug_build_stops_at_a_wrong_sum_only_where_the_flag_is_set(dialect, flags, loads, tmp_path, capsys):
    builder = StreamBuilder(dialect=dialect, flags=flags).page(0, OLD).part().delta(0, OLD, NEW, checksum=5)
    (tmp_path / "S").write_bytes(builder.end().bytes())
    rules = [f.rule for f in xbrletools.open(tmp_path / "S").verify()]
    assert ("checksum-mismatch" in rules) == (flags == FLAGGED or dialect == "lm2dbg")
    assert main(["verify", str(tmp_path / "S"), "--receiver", "debug"]) == (0 if loads else 1)
    assert main(["verify", str(tmp_path / "S"), "--receiver", "default"]) == 0
