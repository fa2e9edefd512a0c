"""A loss that nothing bounds puts every page in doubt, and the report says so."""

import xbrletools
from tests.scan.test_salvage import broken_at, salvage, stream_of_pages
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli.salvage import report


def two_sweeps() -> StreamBuilder:
    builder = stream_of_pages().part()
    for page in range(0, 40, 2):
        builder.page(page * PAGE, noise(100 + page))
    return builder


def test_a_gap_of_one_record_is_not_a_loss_of_everything():
    (doubt,) = report(salvage(broken_at(two_sweeps(), 43)))["doubts"]
    assert doubt["everything"] is False


def test_a_gap_of_several_records_after_the_first_sweep_is_a_loss_of_everything():
    data = two_sweeps().end().bytes()
    records = xbrletools.open(data).records
    start, end = (int(records.columns.offset[records.row(number)]) for number in (45, 50))
    salvaged = salvage(data[: start + 100] + data[end + 3000 :])
    (doubt,) = report(salvaged)["doubts"]
    assert doubt["everything"] is True
    assert doubt["pages"] == [{"block": "pc.ram", "address": 0, "pages": 40}]
