"""What a filter that is being typed can go on with."""

import pytest

from xbrletools.filters import FIELDS, FilterError, completions, parse
from xbrletools.formats.ram import Kind

BLOCKS = (b"pc.ram", b"0000:00:02.0/vga.rom", b"a b", b"\xff\x1b")
RULES = ("stale-base", "checksum-mismatch")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("k", "kind:"),
        ("kind:xbr", "kind:xbrle"),
        ("not ki", "not kind:"),
        ("!(ki", "!(kind:"),
        ("len>5 block:pc", "len>5 block:pc.ram"),
        ("kind:page,du", "kind:page,dup"),
        ("finding:st", "finding:stale-base"),
        ("page:pc", "page:pc.ram:"),
        ("stage!=e", "stage!=end"),
        ('block:"', None),
        ("len>", None),
        ("kind:xbrle", None),
        ("kind:nothing", None),
        ("", None),
        ("kind:page ", None),
    ],
)
def test_the_last_word_is_completed(text: str, first: str | None) -> None:
    assert next(iter(completions(text, BLOCKS, RULES)), None) == first


def test_every_field_and_every_kind_is_offered() -> None:
    offered = {c for field in FIELDS for c in completions(field[:1], BLOCKS, RULES)}
    assert offered == {f"{field}:" for field in FIELDS}
    assert {k.name.lower() for k in Kind} | {"delta"} == {c.partition(":")[2] for c in completions("kind:")}


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_whatever_value_is_offered_is_a_filter(field: str) -> None:
    for text in completions(f"{field}:", BLOCKS, RULES):
        parse(text + "0" if field == "page" else text, RULES)
    with pytest.raises(FilterError):
        parse(f"{field}:", RULES)
