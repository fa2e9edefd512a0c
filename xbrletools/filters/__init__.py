"""Filters: a small expression language that chooses records, for the library, the commands and the browser.

An example is ``kind:xbrle page:0x300000-0x33f000 len>1000``. Terms side by side must all hold. ``or``, ``not`` (or
``!``) and parentheses combine them. A term is FIELD:VALUE,VALUE,... or FIELD with one of > >= < <= = != and a value. A
number can also be a range: A-B with both ends included, A+L for L numbers from A, A-
or -B. Values with blanks, commas or parentheses stand in
quotes, inside which a doubled quote is one quote.
"""

from .completion import completions
from .conditions import All, AnyOf, Filter, strangers
from .offindings import about
from .parser import parse, term
from .words import FIELDS, FilterError

__all__ = ["FIELDS", "All", "AnyOf", "Filter", "FilterError", "about", "completions", "parse", "strangers", "term"]
