"""What the set holds, against the facts and against codings written out byte by byte."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec import wire
from xbrletools.codec.verdict import Verdict
from xbrletools.errors import XbrleError
from xbrletools.formats.dialects import DIALECTS
from xbrletools.vectors import pages, tables
from xbrletools.vectors.cases import INDEX, Case, differences, expanded, pieces, read, request
from xbrletools.vectors.write import write

GOLDEN = Path(__file__).parent.parent / "golden" / "vectors.json"
UNSETTLED = ("streams",)  # a new rule of verify may add findings to these


@given(st.lists(st.tuples(st.binary(max_size=5), st.integers(0, 40))))
def test_bytes_written_in_pieces_come_back(parts):
    data = b"".join(unit * count for unit, count in parts)
    assert expanded(pieces(data)) == data


def test_a_page_of_one_byte_is_one_piece():
    assert pieces(bytes(4096)) == "00*4096"
    assert expanded("0f02a9*3,ff") == bytes.fromhex("0f02a90f02a90f02a9ff")


@pytest.mark.parametrize("text", ["0", "zz", "00*", "00*0", "00**2", "00,,01", "00*99999999", "00*9999999,00*9999999"])
def test_text_that_is_no_bytes_is_refused(text):
    with pytest.raises(XbrleError):
        expanded(text)


def test_the_same_seed_gives_the_golden_files(written, request):
    listed = json.loads((written / INDEX).read_text())["files"]
    now = {f["subject"]: f["sha256"] for f in listed if f["subject"] not in UNSETTLED}
    if request.config.getoption("--update-goldens"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(GOLDEN.read_text())


def test_another_seed_gives_other_pages_and_the_same_run_lengths(written):
    one, two = (list(pages.questions(next(iter(DIALECTS.values())).encoding, seed)) for seed in (0, 1))
    assert [q.id for q in one] == [q.id for q in two]
    assert one != two


def test_every_file_fits_the_schema_that_goes_with_it(written):
    schema = json.loads((written / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in written.glob("*.json"):
        if path.name != "schema.json":
            loaded = json.loads(path.read_text())
            loaded["cases"] = loaded["cases"][::10] if "cases" in loaded else None
            validator.validate({k: v for k, v in loaded.items() if v is not None})


def test_ids_are_distinct(written):
    ids = [case.id for case in read(written)]
    assert len(set(ids)) == len(ids) > 4000


def test_the_set_stays_a_few_megabytes(written):
    assert sum(p.stat().st_size for p in written.iterdir()) < 5 << 20


def test_runs_at_the_cap_and_around_it_are_all_there():
    for multiple in range(255, 4096, 255):
        assert {multiple - 1, multiple, multiple + 1} <= set(pages.RUNS)
    assert {1, 2, 254, 255, 256, 510, 511, 4094, 4095, 4096} <= set(pages.RUNS)


def test_coverage_names_encodings_at_the_page_size_and_just_below(written):
    lengths = json.loads((written / "codec-rle.json").read_text())["coverage"]["encoded_lengths"]
    assert {34, 1362, 1364, 4094, 4096, 8190, 8192} <= set(lengths)
    cases = {c.id: c for c in read(written)}
    assert cases["rle-length-4096-limit-4096"].expect["verdict"] == "ok"
    assert cases["rle-length-4098-limit-4096"].expect == {"verdict": "refused", "reason": "overflow"}
    assert cases["rle-length-1366-limit-1365"].expect == {"verdict": "refused", "reason": "overflow"}


def test_every_dialect_and_order_has_headers_senders_and_streams(written):
    for subject in ("headers", "senders", "streams"):
        loaded = json.loads((written / f"{subject}.json").read_text())
        asked = {(c["ask"].get("dialect"), c["ask"].get("endian")) for c in loaded["cases"]}
        for name, dialect in DIALECTS.items():
            orders = tables.ORDERS if dialect.host_endian else ("big",)
            assert {(name, order) for order in orders} <= asked, subject
    assert {3, 4} == set(loaded["coverage"]["ram_versions"])


def _naive(case: Case) -> dict[str, object]:
    """The answer to `encode` and `decode` of the codings that are written out in tests/codec/wire.py."""
    old, coding = case.ask["old"], case.ask["coding"]
    if case.op == "encode":
        new, limit = case.ask["new"], case.ask["limit"]
        if coding == "rle":
            out = wire.xbrle_encode(bytes(a ^ b for a, b in zip(old, new, strict=True)))
            out = out if len(out) <= limit else None
        else:
            out = wire.xbzrle_encode(old, new, limit)
        if out is None:
            return {"verdict": "refused"}
        return {"verdict": "ok", "payload": out} if out else {"verdict": "unsent"}
    payload = case.ask["payload"]
    if coding == "zrun":
        verdict, page, _ = wire.xbzrle_decode(payload, old)
    else:
        decode = {"rle": wire.xbrle_decode, "doubled": wire.sep10_decode, "doubled-next": wire.sep20_decode}[coding]
        verdict, delta = decode(payload, len(old))
        page = bytes(a ^ b for a, b in zip(old, delta, strict=False))
    return {"verdict": "ok", "page": page} if verdict is Verdict.OK else {"verdict": "refused"}


def test_codings_written_out_byte_by_byte_give_the_same_answers(written):
    checked = 0
    for case in read(written):
        if case.op == "decode" or (case.op == "encode" and case.ask["coding"] in ("rle", "zrun")):
            expected = {k: v for k, v in case.expect.items() if k != "reason"}
            assert _naive(case) == expected, case.id
            checked += 1
    assert checked > 2000


def test_a_stale_base_leaves_the_receiver_other_memory_than_the_sender_held(written):
    cases = {c.id: c for c in read(written)}
    for name in ("sep10", "posted-little", "posted-big-sums"):
        good = [cases[f"memory-{name}-{view}"].expect for view in ("receiver", "sender")]
        stale = [cases[f"findings-{name}{end}"].expect["findings"] for end in ("", "-stale")]
        assert good[0] == good[1]
        assert not stale[0]
        assert any(f.startswith("stale-base:") for f in stale[1])


def test_an_answer_may_leave_out_its_reason_but_not_state_a_wrong_one():
    case = Case("x", "decode", "", {}, {"verdict": "refused", "reason": "short"})
    assert differences(case, {"verdict": "refused"}) == []
    assert differences(case, {"verdict": "refused", "reason": "long"}) == ["reason: expected short, got long"]
    assert differences(case, {"reason": "short"}) == ["verdict: expected refused, got no answer"]


def test_a_request_is_plain_words():
    case = Case("x", "decode", "", {"coding": "rle", "old": bytes(3), "pages": [1, 2]}, {})
    assert request(case) == "decode coding=rle old=000000 pages=1,2"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (INDEX, "{", "not JSON"),
        (INDEX, "[]", "not a file of"),
        (INDEX, '{"format": "xbrletools-vectors", "version": 2}', "version"),
        (INDEX, '{"format": "xbrletools-vectors", "version": 1}', "does not list files"),
        ("sums.json", '{"format": "xbrletools-vectors", "version": 1, "cases": []}', "SHA-256"),
    ],
)
def test_a_set_that_is_not_one_is_refused(written, tmp_path, name, text, said):
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(XbrleError, match=said):
        list(read(tmp_path))


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XbrleError):
        write(tmp_path / "file" / "set", 0)


def test_the_history_of_a_sender_turns_a_page_to_a_dup_page_and_back():
    case = next(q for q in tables.senders(0) if q.ask["dialect"] == "posted")
    contents = np.frombuffer(case.ask["contents"], np.uint8).reshape(-1, 4096)
    ones = [bool((c == c[0]).all()) for c, n in zip(contents, case.ask["pages"], strict=True) if n == 1]
    assert ones == [False, True, False, True, False]
