"""YARA rules over memory: the places are those of a plain search, and conditions speak of whole memory."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.posted import PAGE
from tests.streams import StreamBuilder, noise
from xbrletools import XbrleError
from xbrletools.analysis import search as search_module
from xbrletools.analysis import yara as yara_module
from xbrletools.analysis.lives import search_all
from xbrletools.analysis.pattern import Pattern
from xbrletools.analysis.search import search_image
from xbrletools.analysis.yara import Engine, Rules, columns, pattern_of, read_rules
from xbrletools.analysis.yara_source import locating, longest
from xbrletools.capture import Capture
from xbrletools.export.judged import GAP, Judged, Verdicts, judge, spaces_of
from xbrletools.physical.infer import map_of

pytest.importorskip("yara_x", reason="yara-x is not installed (extra yara)")

REAL = ("qemu-2011-posted/dbg-mixed-16m", "qemu-2011-posted/dbg-stale-reject", "qemu-2010/m115-x")
LITERALS = (b"\x55\xaa", b"QEMU", b"\x00\x10\x00\x00\x00\x00\x00\x00")


def rules_of(text: str) -> Rules:
    return yara_module.compiled((("t.yar", text),))


def literal_rules(literals: Iterable[bytes]) -> Rules:
    """A rule with these bytes, which never holds: places do not depend on it."""
    strings = " ".join(f"$s{i} = {{ {literal.hex(' ')} }}" for i, literal in enumerate(literals))
    return rules_of(f"rule never {{ strings: {strings} condition: all of them and filesize == 1 }}")


def stream_of(pages: dict[int, bytes], size: int) -> Capture:
    """A capture that carries these pages, by number, of ``size`` pages of pc.ram."""
    builder = StreamBuilder({b"pc.ram": size * PAGE})
    for number, data in pages.items():
        builder.page(number * PAGE, np.frombuffer(data.ljust(PAGE, b"\xee"), np.uint8))
    return xbrletools.open(builder.end().bytes())


def judged(capture: Capture, text: str, at: int | None = None, **options: int) -> list[Verdicts]:
    image = capture.memory(at)
    return list(judge(image, spaces_of(image, None), rules_of(text), **options))


def holding(found: Iterable[Verdicts]) -> dict[str, Judged]:
    return {j.rule: j for v in found for j in v.holding}


@pytest.mark.parametrize("name", ["samples/posted-8m", *REAL])
class TestPlaces:
    @pytest.fixture
    def capture(self, name: str, corpus: Callable[[str], bytes]) -> Capture:
        if name.startswith("samples/"):
            return xbrletools.open(SAMPLES / f"{name.removeprefix('samples/')}.bin")
        return xbrletools.open(corpus(f"{name}.bin"))

    def test_are_those_that_a_search_finds(self, capture: Capture) -> None:
        image, pattern = capture.memory(), pattern_of(Engine(literal_rules(LITERALS)))
        found = {(h.pattern, h.block, h.offset) for h in search_image(capture.stream, image, pattern)}
        expected = {
            (i, h.block, h.offset)
            for i, literal in enumerate(LITERALS)
            for h in search_image(capture.stream, image, Pattern.of_bytes(literal))
        }
        assert found == expected

    def test_lives_are_those_that_a_search_finds(self, capture: Capture) -> None:
        found = list(search_all(capture.stream, pattern_of(Engine(literal_rules(LITERALS)))))
        expected = [
            (i, h.block, h.offset, h.appeared, h.vanished)
            for i, literal in enumerate(LITERALS)
            for h in search_all(capture.stream, Pattern.of_bytes(literal))
        ]
        assert sorted((h.pattern, h.block, h.offset, h.appeared, h.vanished or 0) for h in found) == sorted(
            (i, b, o, a, v or 0) for i, b, o, a, v in expected
        )
        assert len(expected) > 2

    def test_lives_that_are_open_at_the_end_are_the_matches_at_the_end(self, capture: Capture) -> None:
        strings = '$a = { 55 AA } $b = /[A-Z][a-z]{6,9}/ $c = "mem" nocase fullword'
        text = f"rule r {{ strings: {strings} condition: any of them }}"
        rules = rules_of(text)
        image = capture.memory()
        at_end = {
            (str(p.pattern), p.block, p.offset, p.length)
            for v in judge(image, spaces_of(image, None), rules)
            for j in v.holding
            for p in j.places
        }
        lives = search_all(capture.stream, pattern_of(Engine(rules)))
        open_ones = {
            (str(rules.patterns[h.pattern or 0]), h.block, h.offset, len(h.content))
            for h in lives
            if h.vanished is None
        }
        assert open_ones == at_end

    def test_physical_and_block_space_have_the_same_places(self, capture: Capture) -> None:
        rules = rules_of("rule r { strings: $a = { 55 AA } condition: $a }")
        image = capture.memory()
        try:
            where = map_of(capture.stream)
        except XbrleError:
            pytest.skip("it does not have a map")
        by_space = []
        for found in (where, None):
            verdicts = list(judge(image, spaces_of(image, found), rules))
            by_space.append({(p.block, p.offset) for v in verdicts for j in v.holding for p in j.places})
            assert sum(v.searched + v.unknown for v in verdicts) >= sum(b.length for b in capture.blocks)
        assert by_space[0] == by_space[1]


class TestConditions:
    def test_speak_of_whole_memory_and_not_of_pages(self) -> None:
        capture = stream_of({0: b"first", 5: b"second", 9: b"third"}, 10)
        text = """
            rule all_three { strings: $a = "first" $b = "second" $c = "third" condition: all of them }
            rule apart { strings: $a = "first" $c = "third" condition: @c - @a == 9 * 4096 }
            rule counted { strings: $e = { EE EE EE EE } condition: #e > 10000 and filesize == 40KB }
            rule absent { strings: $a = "fourth" condition: not $a }
            rule no { strings: $a = "first" condition: #a > 1 }
        """
        assert set(holding(judged(capture, text))) == {"all_three", "apart", "counted", "absent"}

    def test_see_a_match_that_crosses_a_page_border(self) -> None:
        capture = stream_of({3: b"x" * (PAGE - 4) + b"mali", 4: b"cious"}, 8)
        text = 'rule r { strings: $a = "malicious" condition: $a }'
        (place,) = holding(judged(capture, text))["r"].places
        assert (place.offset, place.length, place.content) == (4 * PAGE - 4, 9, b"malicious")
        (life,) = search_all(capture.stream, pattern_of(Engine(rules_of(text))))
        assert (life.offset, life.content, life.appeared, life.vanished) == (4 * PAGE - 4, b"malicious", 2, None)

    def test_are_judged_at_a_moment(self) -> None:
        builder = StreamBuilder({b"pc.ram": PAGE})
        for text in (b"one", b"two"):
            builder.page(0, np.frombuffer(text.ljust(PAGE, b"."), np.uint8))
        capture = xbrletools.open(builder.end().bytes())
        text = 'rule one { strings: $a = "one" condition: $a } rule two { strings: $a = "two" condition: $a }'
        assert [set(holding(judged(capture, text, at))) for at in (1, 2, None)] == [{"one"}, {"two"}, {"two"}]
        lives = [
            (str(rules_of(text).patterns[h.pattern or 0]), h.appeared, h.vanished)
            for h in search_all(capture.stream, pattern_of(Engine(rules_of(text))))
        ]
        assert lives == [("one:$a", 1, 2), ("two:$a", 2, None)]

    def test_private_global_and_referring_rules_keep_their_meaning(self) -> None:
        capture = stream_of({0: b"first"}, 1)
        text = """
            private rule helper { strings: $a = "first" condition: $a }
            rule uses { condition: helper and filesize > 1KB }
            global rule gate { condition: filesize > 0 }
            rule hidden { strings: $a = "first" private condition: $a }
        """
        found = holding(judged(capture, text))
        assert set(found) == {"uses", "gate", "hidden"}
        assert all(not j.places for j in found.values())


class TestUnknown:
    def test_pages_are_not_searched_as_zeros(self) -> None:
        capture = stream_of({0: b"a" * PAGE, 3: b"b" * PAGE}, 4)
        text = """
            rule zeros { strings: $z = { 00 00 00 00 00 00 00 00 } condition: $z }
            rule letters { strings: $a = "aaaabbbb" condition: $a }
        """
        (verdicts,) = judged(capture, text)
        assert (verdicts.searched, verdicts.unknown) == (2 * PAGE, 2 * PAGE)
        zeros = holding([verdicts])["zeros"]
        assert (zeros.places, zeros.sure) == ((), False)
        assert zeros.left_out == 2 * PAGE - 7
        lives = {h.pattern for h in search_all(capture.stream, pattern_of(Engine(rules_of(text))))}
        assert lives == set()

    def test_bytes_in_a_match_leave_it_out_and_its_rule_in_doubt(self) -> None:
        capture = stream_of({0: b"a" * PAGE}, 2)
        text = "rule r { strings: $a = /a{8}\\x00{1,4}/ $b = /^a{4}/ condition: any of them }"
        found = holding(judged(capture, text))
        assert "r" not in found or all(p.offset + p.length <= PAGE for p in found["r"].places)

    def test_blocks_without_a_known_page_are_counted_and_not_read(self) -> None:
        builder = StreamBuilder({b"pc.ram": PAGE, b"huge": 1 << 40})
        capture = xbrletools.open(builder.page(0, noise(1)).end().bytes())
        found = judged(capture, "rule r { condition: filesize > 0 }")
        assert [(v.space.name, v.searched, v.unknown) for v in found] == [("pc.ram", PAGE, 0), ("huge", 0, 1 << 40)]


class TestLimits:
    TEXT = """
        rule r { strings: $e = { EE EE } condition: #e > 100 }
        rule s { strings: $e = { EE EE } condition: #e > 4000 }
    """

    def test_of_matches_are_told_of_rules_that_hold_and_of_those_that_do_not(self) -> None:
        capture = stream_of({0: b""}, 1)
        (verdicts,) = judged(capture, self.TEXT, matches=200)
        assert [str(p) for p in verdicts.full] == ["r:$e", "s:$e"]
        assert set(holding([verdicts])) == {"r"}  # s holds, which the limit hides: so it is said
        assert not holding([verdicts])["r"].sure
        assert len(holding([verdicts])["r"].places) == 200
        (verdicts,) = judged(capture, self.TEXT)
        assert (verdicts.full, set(holding([verdicts]))) == ((), {"r", "s"})

    def test_of_as_many_matches_as_there_are_is_not_one(self) -> None:
        capture = stream_of({0: b""}, 1)
        (verdicts,) = judged(capture, self.TEXT, matches=PAGE - 1)
        assert verdicts.full == ()

    def test_of_matches_end_a_search_of_all_versions(self) -> None:
        capture = stream_of({0: b""}, 1)
        with pytest.raises(XbrleError, match=r"r:\$e of t.yar has more than 200 matches.*--max-matches"):
            list(search_all(capture.stream, pattern_of(Engine(rules_of(self.TEXT), matches=200))))

    def test_of_time_is_an_error_with_what_to_do(self) -> None:
        capture = stream_of(dict.fromkeys(range(64), b""), 64)
        loop = "rule r { condition: for all i in (0..100000000000) : (uint8(i % 4096) >= 0) }"
        with pytest.raises(XbrleError, match=r"more than 1 s.*--timeout"):
            judged(capture, loop, seconds=1)

    def test_of_a_match_in_all_versions_is_noted(self) -> None:
        capture = stream_of(dict.fromkeys(range(4), b"a" * PAGE), 4)
        engine = Engine(rules_of("rule r { strings: $a = /ba*/ condition: $a }"))
        list(search_all(capture.stream, pattern_of(engine)))
        assert engine.cut == 0
        capture = stream_of({0: b"b" + b"a" * (PAGE - 1), **dict.fromkeys(range(1, 4), b"a" * PAGE)}, 4)
        lives = list(search_all(capture.stream, pattern_of(engine)))
        assert engine.cut > 0
        assert {h.offset for h in lives} == {0}


class TestRules:
    def test_that_do_not_compile_name_the_place_in_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yar").write_text('rule r {\n  strings:\n    $a = "x\n  condition: $a\n}\n')
        with pytest.raises(XbrleError) as raised:
            read_rules([str(tmp_path / "bad.yar")])
        assert str(raised.value).startswith(f"{tmp_path}/bad.yar:3:10: syntax error: ")
        assert "\n" not in str(raised.value)

    def test_include_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("root:x:0")
        (tmp_path / "r.yar").write_text(f'include "{tmp_path}/secret"')
        with pytest.raises(XbrleError, match=r"r.yar:1:1: include is not read"):
            read_rules([str(tmp_path / "r.yar")])

    def test_of_several_files_may_have_the_same_names(self, tmp_path: Path) -> None:
        for name, text in (("a.yar", "one"), ("b.yara", "two"), ("c.txt", "three")):
            (tmp_path / name).write_text(f'rule r {{ strings: $a = "{text}" condition: $a }}')
        rules = read_rules([str(tmp_path), str(tmp_path / "c.txt")])
        assert [(Path(f).name, r) for f, r in rules.names] == [("a.yar", "r"), ("b.yara", "r"), ("c.txt", "r")]

    def test_that_are_not_text_or_not_there_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "r.yar").write_bytes(b"\xff\xfe\x00")
        for path, why in ((tmp_path / "r.yar", "not text in UTF-8"), (tmp_path / "none", "No such file")):
            with pytest.raises(XbrleError, match=why):
                read_rules([str(path)])

    def test_are_compiled_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = 'rule once { strings: $a = "once upon" condition: $a }'
        first = rules_of(text)
        monkeypatch.setattr(yara_module, "_compiled", None)
        assert rules_of(text) is first


TRICKY = r"""
import "math"
// rule fake { condition: true }
global rule g { condition: filesize > 0 }
private rule p { strings: $a = "} condition: {" nocase condition: $a }
rule q : tag1 tag2 {
  meta: author = "rule x { condition: }" n = 3
  strings:
    $x = /ab[}]{2,3}\/cd\}/s $y = "zz\"" xor $h = { 00 [2-4] (41|42) ?? // }
    } /* rule */ $ = "anon"
  condition:
    p and filesize \ 2 > 3 and for any i in (1..#x) : ( @x[i] \ 2 > 1 and "a/b" matches /a\/b}/i ) and $y and $h and
    any of ($*)
}
rule n { condition: uint16(0) == 0x5A4D or math.entropy(0, filesize) >= 1.5 }
rule m { strings: $strings = "condition:" condition: not $strings and #strings \ 2 == 0 /* } */ // }
}
"""


class TestSource:
    def test_only_conditions_and_global_change(self) -> None:
        import yara_x

        changed = locating(TRICKY)
        before, after = (
            [(r.identifier, [p.identifier for p in r.patterns]) for r in yara_x.compile(text)]
            for text in (TRICKY, changed)
        )
        assert before == after
        assert changed.count("any of them") == 3
        assert changed.count("\n") == TRICKY.count("\n")

    @pytest.mark.parametrize(
        ("pattern", "most"),
        [("{ 00 [2-] 11 }", None), ("{ 00 [-] 11 }", None), ("/x/", None), ("{ 00 [4-9] 11 ~22 }", 60)],
    )
    def test_how_long_a_match_can_be(self, pattern: str, most: int | None) -> None:
        found = longest(f"rule r {{ strings: $a = {pattern} condition: $a }}")
        assert found is None if most is None else found is not None and 9 + 3 <= found <= most

    def test_texts_may_be_wide_and_encoded(self) -> None:
        for modifiers in ("wide", "base64", "base64wide", "xor wide"):
            text = f'rule r {{ strings: $a = "twelve bytes" {modifiers} condition: $a }}'
            bound = longest(text)
            assert bound is not None and bound >= 2 * 16


def test_columns_are_what_the_lives_say() -> None:
    with xbrletools.open(SAMPLES / "posted-8m.bin") as capture:
        rules = read_rules([str(SAMPLES / "rules.yar")])
        lives = list(search_all(capture.stream, pattern_of(Engine(rules))))
        found = columns(capture.stream, lives, rules.patterns)
        assert {len(values) for values in found.values()} == {len(lives)}
        table = capture.records
        for i, life in enumerate(lives):
            assert found["appeared"][i] == life.appeared
            assert found["pass"][i] == table.pass_[table.row(life.appeared or 0)]
            assert found["vanished"][i] == (life.vanished or 0)
            assert found["content"][i] == life.content
            assert found["elapsed"][i] == -1


def test_what_is_judged_is_bounded_by_what_is_known() -> None:
    builder = StreamBuilder({b"pc.ram": 1 << 40})
    for i in range(100):
        builder.page(i << 24, noise(i))
    image = xbrletools.open(builder.end().bytes()).memory()
    (space,) = spaces_of(image, None)
    assert space.end <= 200 * PAGE
    text = f"rule r {{ strings: $a = {{ {noise(7)[:9].tobytes().hex()} }} condition: $a }}"
    (verdicts,) = judge(image, [space], rules_of(text))
    assert [(p.offset, p.address) for p in holding([verdicts])["r"].places] == [(7 << 24, 7 << 24)]
    assert verdicts.searched == 100 * PAGE
    assert verdicts.searched + verdicts.unknown == 1 << 40


def test_far_ranges_are_judged_together_and_keep_their_addresses() -> None:
    from xbrletools.physical.layout import PhysicalMap, Range

    builder = StreamBuilder({b"low": PAGE, b"high": PAGE})
    for name, text in ((b"low", b"first"), (b"high", b"second")):
        builder.page(0, np.frombuffer(text.ljust(PAGE, b"."), np.uint8), name)
    capture = xbrletools.open(builder.end().bytes())
    where = PhysicalMap((Range(0, PAGE, b"low", 0), Range(1 << 40, PAGE, b"high", 0)), "a test")
    image = capture.memory()
    (space,) = spaces_of(image, where)
    assert space.end <= GAP + 2 * PAGE
    text = 'rule both { strings: $a = "first" $b = "second" condition: all of them }'
    (verdicts,) = judge(image, [space], rules_of(text))
    assert [p.address for p in holding([verdicts])["both"].places] == [0, 1 << 40]


def test_windows_that_a_match_leaves_are_looked_at_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A match that runs over the end of a window into the next one, which is another page's, is not lost."""
    pages = dict.fromkeys(range(0, 16, 2), b"k" * PAGE)
    capture = stream_of(pages, 16)
    rules = rules_of("rule r { strings: $k = /kk*/ condition: $k }")
    lives = list(search_all(capture.stream, pattern_of(Engine(rules))))
    by_page = {page: len(list(g)) for page, g in itertools.groupby(lives, key=lambda h: h.offset // PAGE)}
    assert by_page == dict.fromkeys(range(0, 16, 2), PAGE)


ZONED = """rule zoned { strings:
    $word = "ab" fullword $wide = "ab" wide fullword $bytes = { 61 [0-3] 62 62 } $pair = { 61 62 }
    condition: any of them }"""


def random_stream(seed: int) -> Capture:
    """Pages of three letters and zeros, of two blocks, that come again and again: borders have matches everywhere."""
    chance = np.random.default_rng(seed)
    builder = StreamBuilder({b"one": 5 * PAGE, b"two": 3 * PAGE + PAGE // 2})
    for _ in range(60):
        block, pages = ((b"one", 5), (b"two", 4))[int(chance.integers(2))]
        data = np.full(PAGE, ord("a"), np.uint8)
        for edge in (slice(0, 40), slice(PAGE // 2 - 40, PAGE // 2 + 40), slice(PAGE - 40, PAGE)):
            data[edge] = chance.choice(np.frombuffer(b"aabb \x00", np.uint8), len(data[edge]))
        builder.page(int(chance.integers(pages)) * PAGE, data, block=block)
    return xbrletools.open(builder.end().bytes())


@pytest.mark.parametrize("seed", range(4))
def test_borders_that_are_searched_apart_have_the_matches_of_whole_windows(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = random_stream(seed)
    apart, together = Engine(rules_of(ZONED)), Engine(rules_of(ZONED))
    lives = list(search_all(capture.stream, pattern_of(apart)))
    ends = list(search_image(capture.stream, capture.memory(), pattern_of(apart)))
    monkeypatch.setattr(search_module, "_SHORT", PAGE)  # no match is as short as that
    assert Counter(search_all(capture.stream, pattern_of(together))) == Counter(lives)
    assert Counter(search_image(capture.stream, capture.memory(), pattern_of(together))) == Counter(ends)
    assert any(h.offset % PAGE + len(h.content) > PAGE for h in lives)
    assert any(h.offset % PAGE == 0 for h in lives)
    assert apart.cut == together.cut == 0
