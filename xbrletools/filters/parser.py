"""From a filter's text to its conditions."""

import re
from collections.abc import Collection

from .conditions import All, AnyOf, Filter, Not
from .terms import make_term
from .words import FIELDS, FilterError, Word

_TERM = re.compile(r"([a-z]+)(:|>=|<=|!=|=|>|<)")
_QUOTED = re.compile(r"\"((?:[^\"]|\"\")*)\"|'((?:[^']|'')*)'")
_BARE = re.compile(r"[^\s(),\"']+")
_KEYWORD = re.compile(r"(?:or|not|and)(?=[\s()!]|$)")


def parse(text: str, rules: Collection[str] | None = None) -> Filter:
    """The filter that ``text`` describes. An empty one lets everything through.

    ``rules`` are the rules that a finding can have. Without them any word is taken for a rule.

    Raises:
        FilterError: it cannot be read. The message says where, and what was expected.
    """
    return _Parser(text, rules).whole()


def term(field: str, value: str, rules: Collection[str] | None = None) -> Filter:
    """The filter ``field:value`` for a value as it is, without quotes: a name may hold any character, commas too.

    Raises:
        FilterError: there is no such field, or the field cannot have this value.
    """
    text = f"{field}:{value}"
    return make_term(Word(field, text, 0), ":", [Word(value, text, len(field) + 1)], rules)


class _Parser:
    """A recursive descent over the text. ``at`` is the next character."""

    def __init__(self, text: str, rules: Collection[str] | None) -> None:
        self.text = text
        self.rules = rules
        self.at = 0

    def whole(self) -> Filter:
        self._blank()
        if self.at == len(self.text):
            return All(())
        out = self._any()
        if self.at < len(self.text):
            raise self._error("this parenthesis was never opened")
        return out

    def _any(self) -> Filter:
        parts = [self._all()]
        while self._keyword("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Filter:
        parts = [self._one()]
        while True:
            joined = self._keyword("and")
            if not joined and (self.at == len(self.text) or self.text[self.at] == ")" or self._is_next("or")):
                return parts[0] if len(parts) == 1 else All(tuple(parts))
            parts.append(self._one())

    def _one(self) -> Filter:
        if self._keyword("not") or self._mark("!"):
            return Not(self._one())
        start = self.at
        if self._mark("("):
            inner = self._any()
            if not self._mark(")"):
                raise FilterError(self.text, start, "this parenthesis is never closed")
            return inner
        match = _TERM.match(self.text, self.at)
        if not match:
            raise self._error("expected a term such as kind:xbrle or len>1000; fields are " + ", ".join(FIELDS))
        self.at = match.end()
        values = [self._value()]
        while match[2] in (":", "=") and self.text.startswith(",", self.at):
            self.at += 1
            values.append(self._value())
        self._blank()
        return make_term(Word(match[1], self.text, start), match[2], values, self.rules)

    def _value(self) -> Word:
        """A value: pieces in and out of quotes, side by side."""
        start, out = self.at, ""
        while True:
            if quoted := _QUOTED.match(self.text, self.at):
                out += quoted[1].replace('""', '"') if quoted[1] is not None else quoted[2].replace("''", "'")
                self.at = quoted.end()
            elif bare := _BARE.match(self.text, self.at):
                out += bare[0]
                self.at = bare.end()
            else:
                break
        if self.text[self.at : self.at + 1] in ('"', "'"):
            raise self._error("this quote is never closed")
        if self.at == start:
            raise self._error("expected a value")
        return Word(out, self.text, start)

    def _keyword(self, word: str) -> bool:
        if not self._is_next(word):
            return False
        self.at += len(word)
        self._blank()
        return True

    def _is_next(self, word: str) -> bool:
        match = _KEYWORD.match(self.text, self.at)
        return match is not None and match[0] == word

    def _mark(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        self._blank()
        return True

    def _blank(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _error(self, message: str) -> FilterError:
        return FilterError(self.text, self.at, message)
