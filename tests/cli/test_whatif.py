import json
import sys

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.sender.snaps import history
from tests.sender.test_encode import stream_of
from xbrletools.analysis.whatif import Cost, what_if
from xbrletools.cli import main
from xbrletools.sender.cache import DEFAULT_BYTES
from xbrletools.sender.policy import Dups, Policy

SAMPLE = str(SAMPLES / "posted-8m.bin")


def one(costs: list[Cost], policy: str) -> Cost:
    (cost,) = [c for c in costs if c.policy == policy]
    return cost


def counts(cost: Cost) -> tuple[int, ...]:
    return cost.bytes, cost.pages, cost.deltas, cost.delta_bytes, cost.dups


def test_a_posted_capture_costs_what_it_is():
    found = what_if(xbrletools.open(SAMPLE).stream, [DEFAULT_BYTES])
    assert counts(one(found.costs, "posted")) == counts(found.actual)
    assert (found.actual.pages, found.actual.deltas, found.actual.dups) == (237, 228, 2092)


def test_a_capture_with_its_own_settings_agrees_with_the_sender_s_own_counts(corpus):
    name = "qemu-2011-posted/dbg-mixed-16m"
    told = json.loads(corpus(f"{name}.json"))["statistics"]
    found = what_if(xbrletools.open(corpus(f"{name}.bin")).stream, [DEFAULT_BYTES])
    posted = one(found.costs, "posted")
    assert counts(posted) == counts(found.actual)
    assert f"Normal bytes: {posted.pages * 4096} " in told
    assert f"XBRLE bytes: {posted.delta_bytes + 8 * posted.deltas} " in told
    assert f"Dup pages: {posted.dups} " in told


def test_a_capture_of_qemu_7_2_costs_what_it_is():
    found = what_if(xbrletools.open(SAMPLES / "xbzrle-16m.bin").stream, [64 << 20])
    assert counts(one(found.costs, "xbzrle")) == counts(found.actual)


@pytest.mark.parametrize(
    ("name", "policy", "dups"), [("v2", Policy.V2, Dups.POSTED), ("fixed", Policy.POSTED, Dups.FIXED)]
)
def test_others_cost_what_a_stream_written_so_takes(name, policy, dups):
    snapshots = history(3, [[5, 5, 5, 1, 5, 5], [2, 3, 1, 4, 1, 1], [1, 1, 2, 5, 3, 2], [1, 2, 1, 1, 1, 1]])
    history_of = xbrletools.open(stream_of(snapshots, policy=Policy.NONE))
    other = what_if(xbrletools.open(stream_of(snapshots, policy=policy, dups=dups)).stream, [1 << 20])
    assert counts(one(what_if(history_of.stream, [1 << 20]).costs, name)) == counts(other.actual)


def test_smaller_caches_never_cost_less():
    found = what_if(xbrletools.open(SAMPLE).stream, [1 << k for k in range(14, 28)])
    for policy in ("posted", "v2"):
        costs = [c.deltas for c in found.costs if c.policy == policy]
        assert costs == sorted(costs)


def test_json_has_every_sender_over_every_cache(capsys):
    assert main(["whatif", SAMPLE, "--json", "--cache", "1M", "--cache", "128M"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(c["policy"], c["cache_bytes"]) for c in found["costs"]] == [
        (policy, cache) for policy in ("posted", "v2", "fixed", "xbzrle") for cache in (1 << 20, 128 << 20)
    ] + [("zlib", None), ("zstd", None)]
    assert found["costs"][1]["bytes"] == found["actual"]["bytes"]


def test_the_table_has_a_line_for_each(capsys):
    assert main(["whatif", SAMPLE, "--cache", "128M"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "sender", "actual", "posted", "v2", "fixed", "xbzrle", "zlib", "zstd", "ram_addr:",
    ]  # fmt: skip


def test_the_plot_in_the_terminal_tells_senders_apart_without_colours(capsys):
    assert main(["whatif", SAMPLE, "--plot"]) == 0
    out = capsys.readouterr().out
    assert "pp posted" in out
    assert "\x1b[" not in out


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_plot_as_an_image(tmp_path, suffix, magic):
    path = tmp_path / f"plot{suffix}"
    assert main(["whatif", SAMPLE, "--cache", "1M", "--cache", "16M", "--image", str(path)]) == 0
    assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize(("module", "knobs"), [("plotext", ["--plot"]), ("matplotlib.figure", ["--image", "x.png"])])
def test_without_the_extra_the_line_says_what_to_install(monkeypatch, capsys, module, knobs):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["whatif", SAMPLE, "--cache", "1M", *knobs]) == 2
    assert "xbrletools[plot]" in capsys.readouterr().err


def test_an_image_of_another_kind_is_refused(capsys):
    assert main(["whatif", SAMPLE, "--image", "plot.txt"]) == 2
    assert ".png or .svg" in capsys.readouterr().err
