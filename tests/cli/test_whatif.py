"""What `whatif` prints of large captures."""

import pytest

from xbrletools.analysis.whatif import Cost, WhatIf
from xbrletools.cli import whatif


def test_large_numbers_stand_whole_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    cost = Cost("posted", 512 << 20, 3831826948, 933445, 867924, 325660044, 108085, 474911)
    whatif._table(WhatIf(cost, [cost], 0, "the order of the block list", cost), False)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert sum("512M 3831826948 " in line for line in lines) == 2
    for number in ("933445", "867924", "325660044", "108085", "474911"):
        assert sum(number in line for line in lines) == 2
