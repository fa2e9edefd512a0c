"""Where matches of an expression can be, as read off the expression: none is ever missed."""

import random
from dataclasses import replace

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

import xbrletools
from tests.posted import PAGE, delta, dup, page, stream
from xbrletools.analysis.lives import search_all
from xbrletools.analysis.needed import needed
from xbrletools.analysis.pattern import Pattern
from xbrletools.analysis.search import Hit, search
from xbrletools.analysis.sieve import Matcher
from xbrletools.memory import versions as versions_module

SECONDS = 0.2
ATOMS = [
    "a", "b", "c", "ab", "abc", "A", "Z", "0", "1", "-", ".", ",", "\\.", "\\-", "\\n", "\\x00", "\\xff", "\\d",
    "\\D", "\\w", "\\W", "\\s", "\\S", "[ab]", "[^ab]", "[a-c]", "[^a-c]", "[0-9]", "[^\\n]", "[\\w.-]",
    "[^\\s]", "\\b", "\\B", "^", "$", "\\A", "\\Z", "\\1", "\\2", "()", "ö", "[ö]", "[A-Z\\d_]", "(?=a)",
    "(?!a)", "(?<=b)", "(?<!b)", "(?=.*c)", "(?<=a|bc)", "(?<=a+)",
]  # fmt: skip
REPEATS = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{0}", "{1,3}", "{2,}", "{0,2}", "{3}?", "{12}"]
HOSTILE = ["(a+)+$", "(a|a)*b", "(?:a{e<=1})b", "(?:abc){e}", "[[:alpha:]]+x", "[a&&b]", "(?|(a)|(b))c", "(?(1)a|b)"]
INLINE = ["", "", "", "(?i)", "(?s)", "(?is)", "(?m)", "(?x)", "(?V1)", "(?r)", "(?-m)", "(?a)"]


Sample = tuple[str, str]  # an expression, and a text that it matches, where no place or look forbids it


def joined(samples: list[Sample]) -> Sample:
    return "".join(source for source, _ in samples), "".join(text for _, text in samples)


def one_of(samples: list[Sample]) -> Sample:
    return "|".join(source for source, _ in samples), samples[-1][1]


def opened(opening: str, sample: Sample) -> Sample:
    return f"{opening}{sample[0]})", "" if opening in LOOKS else sample[1]


def repeated(sample: Sample, opening: str, repeat: str, count: int) -> Sample:
    least = {"+": 1, "{2}": 2, "{2,}": 2, "{3}?": 3, "{12}": 12, "{1,3}": 1}.get(repeat.rstrip("?+") or repeat, 0)
    source = f"{opening}{sample[0]})" if opening else sample[0]
    return source + repeat, sample[1] * max(least, count)


LOOKS = ["(?=", "(?!", "(?<=", "(?<!", "(?#"]
OPENINGS = ["(", "(", "(?:", "(?>", "(?P<n>", "(?i:", "(?<m>"]


def grown(inner: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    """Expressions made of smaller ones."""
    return st.one_of(
        st.builds(joined, st.lists(inner, min_size=2, max_size=4)),
        st.builds(one_of, st.lists(inner, min_size=2, max_size=3)),
        st.builds(opened, st.sampled_from([*OPENINGS, *LOOKS]), inner),
        st.builds(repeated, inner, st.sampled_from(["(", "(?:"]), st.sampled_from(REPEATS), st.integers(0, 3)),
        st.builds(repeated, st.sampled_from(SAMPLES), st.just(""), st.sampled_from(REPEATS), st.integers(0, 3)),
    )


def sampled(atom: str) -> Sample:
    """An atom, with a byte that it matches."""
    texts = [t for t in ("a", "b", "1", "-", "\n", "\xff", "ab", "abc", "\xc3\xb6", ".") if regex.fullmatch(atom, t)]
    return atom, texts[0] if texts else ""


SAMPLES = [sampled(atom) for atom in ATOMS if atom not in ("\\1", "\\2")] + [("\\1", "a"), ("\\2", "b"), ("c", "c")]
PIECES = st.recursive(st.sampled_from([*SAMPLES, *((h, "aab") for h in HOSTILE)]), grown, max_leaves=8)
EXPRESSIONS = st.builds(lambda flags, sample: (flags + sample[0], sample[1]), st.sampled_from(INLINE), PIECES)
TEXTS = st.one_of(
    st.text("aAbBcC", max_size=60), st.text("aAbBcCZ01-. ,\n\x00\xff\xc3\xb6", max_size=60), st.text("ab\n", max_size=9)
).map(lambda text: text.encode("latin-1"))


def compiled(source: str, ignore_case: bool = False) -> Pattern | None:
    try:
        return Pattern.of_regex(source, ignore_case)
    except xbrletools.XbrleError:
        return None


def matched(matcher: Matcher, window: bytes, begin: int, end: int, places: list[int] | None) -> object:
    """Matches in a part of a window, or that it takes too long."""
    try:
        return matcher.matches(window, begin, end, places)
    except TimeoutError:
        return TimeoutError


@settings(max_examples=1500, deadline=None)
@given(EXPRESSIONS, st.booleans(), st.lists(TEXTS, max_size=3), st.randoms(use_true_random=False))
@example(("(a)|b\\1", "bab"), False, [], random.Random(1))
@example(("(?i)(a)\\1", "aA"), False, [], random.Random(1))
@example(("a{2}+b", "aaaab"), False, [], random.Random(1))
@example(("(?P<n>a)(?P<n>b)(c)\\2", "abcc"), False, [], random.Random(1))
@example(("(?=c(ab))c\\1d", "cabd"), False, [], random.Random(1))
@example(("x(ab*)c", "xabc"), False, [], random.Random(1))
@example(("xa{1,3}b", "xaab"), False, [], random.Random(1))
def test_each_match_has_what_it_is_said_to_need(
    sample: Sample, ignore_case: bool, texts: list[bytes], chance: random.Random
) -> None:
    source = sample[0]
    pattern = compiled(source, ignore_case)
    if pattern is None or pattern.needed is None:
        return
    parts, width = pattern.needed, 70
    texts = [*texts, chance.choice([b"", b"b", b"\n"]) + sample[1].encode("latin-1")[:60]]
    begins = range(*sorted(chance.choices([0, 10, 30, 60, width], k=2)))
    plain = Matcher(pattern.expression, None, begins, SECONDS)
    fast = Matcher(pattern.expression, parts, begins, SECONDS)
    windows = b"".join(text.ljust(width, chance.choice([b"\0", b"a", b"\n"])) for text in texts)
    for i, of_window in enumerate(fast.places(windows, width)):
        window = windows[i * width : (i + 1) * width]
        begin, end = sorted(chance.choices(range(width + 1), k=2))
        for first, stop in ((0, width), (begin, end)):
            expected = matched(plain, window, first, stop, None)
            found = matched(fast, window, first, stop, of_window)
            if expected is TimeoutError or found is TimeoutError:
                continue
            assert isinstance(expected, list)
            assert isinstance(found, list)
            assert [match for match in found if match[0] in begins] == [m for m in expected if m[0] in begins]
            for at, content in expected:
                assert len(content) >= parts.least
                assert parts.members[np.frombuffer(content, np.uint8)].all()
                assert of_window is None or any(at <= place < at + len(content) for place in of_window)
                assert len(parts.places(np.frombuffer(content, np.uint8)))


READ = {  # what is read off expressions: least bytes, how many bytes they may consist of
    r"root:[^:\n]*:[0-9]+": (7, 255),
    r"SECRET[-_][0-9a-z]+": (8, 43),
    r"(?i)password\s*=\s*\S+": (10, 256),
    r"[0-9]{16}": (16, 10),
    r"\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b": (7, 11),
    r"(?<=\x00)[ -~]{20,}(?=\x00)": (20, 95),
    r"(\w+) \1": (2, 64),
    r"(?:GET|POST|PUT) /": (5, 9),
    r"(?=.*x)ab+c": (3, 3),
}
NOT_READ = [
    "", "a*", ".+", "[^\\n]+", "(?:foo){e<=1}", "(?i:foo)", "(?x)foo bar", "[[:digit:]]{5}", "\\p{L}{5}",
    "(?|foo|bar)", "(?R)?foo", "(?(1)foo|bar)x", "foo|", "(foo)?", "\\Kfoo", "(?r)foo", "(?P<a>foo)(?P=a)",
    "foo{,3}", "foo{2}{3}", "foo#(?#x)", "\\Gfoo", "(?V1)foo", "\\mfoo", "foo\\X", "foo\\N", "(?b)foo",
    "(*SKIP)foo", "foo\\v", "foo\\0",
]  # fmt: skip


@pytest.mark.parametrize("source", READ)
def test_what_people_look_for_is_read(source: str) -> None:
    parts = Pattern.of_regex(source).needed
    assert parts is not None
    assert (parts.least, int(parts.members.sum())) == READ[source]


@pytest.mark.parametrize("source", NOT_READ)
def test_what_is_not_surely_understood_is_not_read(source: str) -> None:
    assert needed(source.encode(), regex.MULTILINE) is None


def test_what_looks_without_end_is_searched_in_whole_windows() -> None:
    for source in ("(?=.*x)abc", "(?<=a+)bcd", "\\Aabc", "abc\\Z", "(?=(a)\\1)abc"):
        parts = Pattern.of_regex(source).needed
        assert parts is not None
        assert parts.sight is None
    some = Pattern.of_regex("^(?<=ab)cde(?!f{3})$").needed
    assert some is not None
    assert some.sight == 1 + 3 + 4 + 1


WHOLE = [
    r"[ab]{3}", r"ab+a", r"(ab|ba)c", r"(a+)b\1", r"(?<=c)[ab]{4,}", r"[a-c]{4}(?!a)", r"^b[^\n]*c$", r"(?i)AB\s*C",
    r"\bab{2,}", r"[ab]+\n[ab]+", r"b.{9}c", r"a[^c]{40,}c", r"(?s)ab.*ba", r"c{3}", r"(?=a)b|c\na",
]  # fmt: skip


def text_page(chance: random.Random) -> bytes:
    """A page that one byte fills almost, or with text at its ends or all over."""
    kind = chance.randrange(4)
    if kind == 0:
        return bytes(chance.choice(b"abc\n\0") for _ in range(PAGE))
    fill = chance.choice([b"a", b"b", b"\0", b"\n"]) * PAGE
    text = bytes(chance.choice(b"aabbc\n\0 ") for _ in range(chance.randrange(1, 60)))
    at = chance.choice([0, PAGE - len(text), chance.randrange(PAGE - len(text))])
    return fill[:at] + text + fill[at + len(text) :]


def agrees(capture: xbrletools.Capture, source: str) -> list[Hit]:
    """What a search finds, which is what it finds if it tries the expression everywhere."""
    fast = Pattern.of_regex(source)
    plain = replace(fast, needed=None)
    assert fast.needed is not None
    expected = list(search_all(capture.stream, plain))
    assert list(search_all(capture.stream, fast)) == expected
    for at in (len(capture.records.by_number) // 3, None):
        assert list(search(capture.stream, fast, at)) == list(search(capture.stream, plain, at))
    return expected


@pytest.mark.parametrize("batch", [5 * PAGE, versions_module.BATCH])
@pytest.mark.parametrize("source", WHOLE)
def test_a_search_finds_what_one_of_every_window_finds(
    source: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_module, "BATCH", batch)
    chance = random.Random(source)
    pages = 7
    content: dict[int, bytes] = {}
    records = []
    for _ in range(60):
        place = chance.randrange(pages) * PAGE
        kind = chance.randrange(4)
        if kind == 0:
            byte = chance.choice(b"ab\0")
            records.append(dup(place, byte))
            content.pop(place, None)  # the sender forgets it
        elif kind == 1 and place in content:
            at, new = chance.choice([0, PAGE - 3, chance.randrange(PAGE - 3)]), chance.choice([b"abc", b"a\nb", b"bb"])
            changed = content[place][:at] + new + content[place][at + len(new) :]
            if changed != content[place]:
                records.append(delta(place, content[place], changed))
                content[place] = changed
        else:
            content[place] = text_page(chance)
            records.append(page(place, content[place]))
    capture = xbrletools.open(stream(records, [(b"pc.ram", (pages + 1) * PAGE)]))
    agrees(capture, source)


@pytest.mark.parametrize("size", [PAGE, 1024])
def test_what_a_match_needs_can_be_in_the_page_after_the_one_that_it_begins_in(size: int) -> None:
    text, rest = b"." * size, b"." * (size - 20)
    ends = [text[:-3] + b"aaa", text[:-3] + b"aac", text[:-3] + b"aab", b"a" * size]
    goes_on = [b"bcb".rjust(20, b"a") + rest, b"b" * 20 + rest, b"a" * size]
    goes_on += [b"bc" + b"." * (size - 2), b"c" + b"." * (size - 1)]
    places = [(end, more, after) for end in ends for more in goes_on for after in goes_on]
    records = []
    for i, three in enumerate(places):
        records += [page((4 * i + k) * size, content) for k, content in enumerate(three)]
    capture = xbrletools.open(stream(records, [(b"pc.ram", (4 * len(places) + 1) * size)]), page_size=size)
    for source in ("a+bcb", "a+bc", "a+cbc", "a+[bc]{2}", "a{5}b{4,}", "[a-c]{3}\\."):
        hits = agrees(capture, source)
        if source == "a+bc":
            assert max(len(h.content) for h in hits) == (size + 17 + 2 if size == PAGE else 2 * size + 17 + 2)
