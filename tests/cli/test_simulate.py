"""`xbrle simulate`."""

import json
from pathlib import Path

import pytest

from tests.cli.run import run

SAP = Path(__file__).parent.parent.parent / "samples" / "sap-central-instance.json"


@pytest.fixture
def workload(tmp_path) -> Path:
    """The shipped workload, a hundred times smaller, on a link a hundred times slower, and patient for 90 seconds."""
    loaded = json.loads(SAP.read_text())
    loaded["memory"] //= 100
    loaded["bandwidth"] //= 100
    loaded["give_up"] = 90
    for group in loaded["groups"]:
        group["pages"] //= 100
        group["writes"] //= 100
    path = tmp_path / "small.json"
    path.write_text(json.dumps(loaded))
    return path


def test_json_has_both_outcomes_and_what_was_published(capsys, workload):
    status, out, _ = run(capsys, "simulate", workload, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["published"]["with"]["total"] == 139
    assert found["without"]["deltas"] == 0 < found["with"]["deltas"]
    assert found["with"]["passes"] > found["without"]["passes"] > 1
    assert found["with"]["suspension"] < found["without"]["suspension"]


def test_the_table_puts_published_numbers_beside_simulated_ones(capsys, workload):
    status, out, err = run(capsys, "simulate", workload)
    total = next(line for line in out.splitlines() if "total time" in line)
    assert status == 0
    assert "235.000 s" in total
    assert "139.000 s" in total
    assert "does not converge" in err


def test_the_same_seed_prints_the_same(capsys, workload):
    first, second, other = (run(capsys, "simulate", workload, "--json", "--seed", s)[1] for s in (1, 1, 2))
    assert first == second != other


def test_options_override_the_workload(capsys, workload):
    slow = json.loads(run(capsys, "simulate", workload, "--json", "--bandwidth", 200000)[1])
    fast = json.loads(run(capsys, "simulate", workload, "--json", "--bandwidth", 10000000, "--downtime", 5)[1])
    assert fast["without"]["total"] < slow["without"]["total"]
    assert fast["without"]["converged"]


def test_a_capture_is_sent_over_the_link(capsys, samples):
    status, out, _ = run(capsys, "simulate", "--capture", samples / "posted-8m.bin", "--bandwidth", 1000000, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["with"]["bytes"] < found["without"]["bytes"]
    assert found["with"]["total"] == pytest.approx(found["with"]["bytes"] / 1e6)


@pytest.mark.parametrize("arguments", [(), (SAP, "--capture", SAP), ("/nonexistent",), (SAP, "--cache", 4096)])
def test_wrong_usage_and_what_cannot_be_read_exit_2(capsys, arguments):
    status, out, _ = run(capsys, "simulate", *arguments)
    assert (status, out) == (2, "")


@pytest.mark.parametrize("option", ["--bandwidth", "--latency", "--downtime"])
@pytest.mark.parametrize("number", ["nan", "inf", "1e999"])
def test_a_number_without_an_end_is_refused(capsys, workload, option, number):
    status, out, err = run(capsys, "simulate", workload, option, number, "--json")
    assert (status, out) == (2, "")
    assert "is not a finite number" in err


@pytest.mark.parametrize(
    ("text", "speed"), [("1000000", 1e6), ("1e6", 1e6), ("8M", 1e6), ("1MB", 1e6), ("8Mbit/s", 1e6), ("1e6B", None)]
)
def test_speeds_are_bytes_as_bare_numbers_and_as_links_are_named_with_a_unit(capsys, samples, text, speed):
    words = ("simulate", "--capture", samples / "posted-8m.bin", "--json", "--channels", 2, "--per-channel", text)
    status, out, _ = run(capsys, *words)
    assert status == (2 if speed is None else 0)
    if speed is not None:
        found = json.loads(out)["without"]
        assert found["total"] == pytest.approx(found["bytes"] / (2 * speed))
