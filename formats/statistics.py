"""The statistics table that a debug build prints when a migration ends, as a pattern and format strings.

Facts: README.md, "The statistics table". Percentages have two decimals, and are 0.00 where the total is 0.
"""

import re
from enum import Enum
from typing import NamedTuple

RULE = "====================================================="

#: A line with a count, and one with its share of a total as well.
COUNT = "{label}: {value:d}"
SHARE = "{label}: {value:d} ({share:.2f}%)"

#: One line. Groups: label, value, share (where there is one). The trees of 3 November 2010 print "vl: " first.
LINE = re.compile(r"(?:vl: )?(?P<label>[A-Z][A-Za-z ]+): (?P<value>\d+)(?: \((?P<share>\d+\.\d\d)%\))?")

ITERATIONS = "Iterations"
NORMAL_PAGES = "Normal pages"
NORMAL_BYTES = "Normal bytes"
DUP_PAGES = "Dup pages"
DUP_BYTES = "Dup bytes"
XBRLE_PAGES = "XBRLE pages"
XBRLE_BYTES = "XBRLE bytes"
ABORTED = "Aborted XBRLE pages from XBRLE"
TOTAL_PAGES = "Total pages"
TOTAL_BYTES = "Total bytes"
CACHE_AGE = "Cache age max value"
CACHE_INSERTS = "Cache number of inserts"
CACHE_MAX = "Cache max items"
CACHE_ITEMS = "Cache number of items"


class CacheLines(Enum):
    """What a build prints about its page cache."""

    NONE = "nothing"
    AGE = "the age of the newest item"
    ITEMS = "inserts, and how full it is"


class Form(NamedTuple):
    """How the builds of one time print the table.

    ``prefix`` stands before every line but the first rule. ``header_counts`` says whether XBRLE bytes include each
    delta's header.
    """

    title: str
    cache: CacheLines
    header_counts: bool
    prefix: str = ""


_TITLE = "Save VM Memory Statistics (SUCCESS or FAILURE):"

POSTED = Form(_TITLE, CacheLines.ITEMS, header_counts=True)
LM2 = Form(_TITLE, CacheLines.AGE, header_counts=True)
M115 = Form(_TITLE, CacheLines.NONE, header_counts=False)
NOV03 = Form("RAM Transfer statistics (SUCCESS or FAILURE):", CacheLines.AGE, header_counts=False, prefix="vl: ")
