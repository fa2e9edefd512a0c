"""The simulation, held to what can be worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import xbrletools
from xbrletools.analysis.link import Group, Link, Workload, read_workload, replay, simulate
from xbrletools.errors import XbrleError

ROOT = Path(__file__).parent.parent.parent
SAP = ROOT / "samples" / "sap-central-instance.json"

PAGE = 4096
FULL = 8 + PAGE

#: 1000 pages that the guest writes all of the time; 1000 full pages take a second.
BUSY = Workload(
    name="busy",
    memory=2000 * PAGE,
    dup_share=0.0,
    groups=(Group("hot", 1000, 1e6, 1.0, 92.0),),
    link=Link(1000.0 * FULL),
    downtime_limit=0.1,
    give_up=10.0,
    cache=1 << 24,
    encodes=1e9,
    resume=0.25,
    ping=1.0,
    published={},
)


def test_a_guest_that_writes_nothing_takes_the_first_pass_alone():
    idle = replace(BUSY, groups=(), link=Link(1000.0 * FULL, 0.5))
    found = simulate(idle, deltas=False)
    assert found.bytes == 2000 * FULL
    assert found.converged
    assert found.passes == 2
    assert found.suspension == 0.5
    assert found.total == pytest.approx(2 + 2 * 0.5 + 0.25)


def test_dup_pages_take_nine_bytes():
    found = simulate(replace(BUSY, groups=(), dup_share=1.0), deltas=False)
    assert (found.bytes, found.dups, found.pages) == (2000 * 9, 2000, 0)


def test_a_guest_that_writes_faster_than_the_link_sends_never_converges():
    found = simulate(BUSY, deltas=False)
    assert not found.converged
    assert found.passes == 2 + 8  # two seconds for all, a second for the 1000 pages each time, then what is left
    assert found.suspension == pytest.approx(1.0)
    assert found.deltas == 0


def test_deltas_make_passes_shorter_by_their_size():
    found = simulate(replace(BUSY, give_up=2.5), deltas=True)
    # 108 bytes of a delta for 4104 of a page: the second pass takes 1/38 of a second
    assert found.deltas == 1000 * (found.passes - 2)
    assert 2.5 + 1 <= found.total <= 2.6 + 1 + 0.25
    assert found.bytes == 2000 * FULL + found.deltas * 108 + 1000 * FULL


def test_the_last_stage_sends_full_pages_with_deltas_too():
    assert simulate(BUSY, deltas=True).suspension == pytest.approx(simulate(BUSY, deltas=False).suspension)


def test_a_guest_that_deltas_let_converge_stops_earlier_and_shorter():
    slow = replace(BUSY, groups=(Group("warm", 1000, 900.0, 1.0, 92.0),), give_up=60.0, downtime_limit=0.02)
    without, with_ = simulate(slow, deltas=False), simulate(slow, deltas=True)
    assert with_.converged
    assert with_.total < without.total
    assert with_.suspension <= 0.021
    assert with_.bytes < without.bytes


def test_a_cache_of_one_bucket_finds_almost_nothing():
    small = simulate(replace(BUSY, cache=8192), deltas=True)
    assert small.deltas == 0


def test_an_encoder_slower_than_the_link_sets_the_pace():
    found = simulate(replace(BUSY, encodes=500.0), deltas=True)
    assert found.passes == 2 + 4  # two seconds for each 1000 deltas


def test_pings_are_lost_in_whole_intervals():
    found = [simulate(BUSY, deltas=False, seed=seed).ping_downtime for seed in range(20)]
    assert set(found) == {1.0, 2.0}  # an outage of 1.25 s


def test_the_same_seed_gives_the_same_outcome():
    guest = replace(BUSY, groups=(Group("warm", 1000, 700.0, 0.5, 92.0),))
    assert simulate(guest, deltas=True, seed=3) == simulate(guest, deltas=True, seed=3)
    assert simulate(guest, deltas=True, seed=3) != simulate(guest, deltas=True, seed=4)


def test_thousands_of_passes_are_simulated():
    guest = replace(BUSY, groups=(Group("hot", 1000, 1e6, 1.0, 92.0),), give_up=120.0)
    assert simulate(guest, deltas=True).passes > 4000


def test_a_recorded_history_without_deltas_costs_its_full_pages(samples):
    with xbrletools.open(samples / "posted-8m.bin") as capture:
        link = Link(1e6)
        without, with_ = (replay(capture.stream, link, deltas, 1 << 27) for deltas in (False, True))
        carried = int(capture.records.is_page.sum())
    assert without.pages + without.dups == carried
    assert without.deltas == 0
    assert without.bytes == without.pages * FULL + without.dups * 9
    assert without.total == pytest.approx(without.bytes / 1e6)
    assert with_.pages + with_.deltas == without.pages
    assert with_.bytes < without.bytes
    assert with_.suspension == without.suspension  # END carries no deltas


def test_the_shipped_workload_states_where_every_value_came_from():
    loaded = json.loads(SAP.read_text())
    told = " ".join(loaded["assumptions"])
    values = set(loaded) - {"name", "page_size", "assumptions", "published"}
    assert all(value in told for value in values)
    workload = read_workload(str(SAP))
    assert workload.published["with"] == {"total": 139, "suspension": 0.2, "ping_downtime": 1}
    assert workload.published["without"] == {"total": 235, "suspension": 3, "ping_downtime": 5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": -1}, "memory must be"),
        ({"bandwidth": "fast"}, "bandwidth must be"),
        ({"groups": 3}, "groups must be"),
        ({"groups": [{}]}, "name is missing"),
        ({"dup_share": 1.5}, "dup_share must be"),
        ({"memory": 4096}, "more pages than the memory"),
        ({"latency": float("nan")}, "latency must be"),
        ({"published": {"with": {"total": "long"}}}, "total must be"),
    ],
)
def test_a_workload_that_cannot_be_is_refused(tmp_path, change, said):
    path = tmp_path / "workload.json"
    path.write_text(json.dumps(json.loads(SAP.read_text()) | change))
    with pytest.raises(XbrleError, match=said):
        read_workload(str(path))


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", "[" * 100000])
def test_a_file_that_is_no_workload_is_refused(tmp_path, text):
    path = tmp_path / "workload.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(XbrleError):
        read_workload(str(path))
