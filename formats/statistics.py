"""The statistics table that a debug build prints when a migration ends, as a pattern and format strings.

Facts: README.md, "The statistics table". Percentages have two decimals; 0.00 where the total is 0.
"""

import re

RULE = "====================================================="
TITLE = "Save VM Memory Statistics (SUCCESS or FAILURE):"

#: A line with a count, and one with its share of a total as well.
COUNT = "{label}: {value:d}"
SHARE = "{label}: {value:d} ({share:.2f}%)"

#: Groups: label, value, share (where there is one). The trees of November 2010 print "vl: " before the label.
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
CACHE_INSERTS = "Cache number of inserts"
CACHE_MAX = "Cache max items"
CACHE_ITEMS = "Cache number of items"
