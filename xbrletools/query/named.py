"""Queries that people ask for by name. Each holds for one capture and for a folder of many."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Named:
    """A query: the question that it answers, and its SQL.

    ``versions``: it reads table page_versions. ``rules``: it reads table matches.
    """

    question: str
    sql: str
    versions: bool = False
    rules: bool = False


NAMED: Mapping[str, Named] = {
    "kinds": Named(
        "How many records and bytes are there of each kind?",
        """SELECT kind, count(*) AS records, sum(head + "length") AS bytes,
  round(100.0 * sum(head + "length") / sum(sum(head + "length")) OVER (), 1) AS percent
FROM records GROUP BY kind ORDER BY bytes DESC""",
    ),
    "passes": Named(
        "What did each pass over each block send? (A pass is counted for each block alone.)",
        """SELECT capture, block, "pass", count(*) AS records, count(DISTINCT page) AS pages,
  count(*) FILTER (kind IN ('xbrle', 'xbzrle')) AS deltas, sum(head + "length") AS bytes
FROM records WHERE record IS NOT NULL
GROUP BY capture, block, "pass" ORDER BY capture, block, "pass\"""",
    ),
    "hottest": Named(
        "Which pages were sent most often?",
        """SELECT capture, block, printf('0x%x', page) AS page, count(*) - 1 AS resends,
  sum(head + "length") AS bytes, count(DISTINCT "pass") AS passes
FROM records WHERE record IS NOT NULL
GROUP BY capture, block, records.page ORDER BY resends DESC, bytes DESC, capture, block, records.page LIMIT 20""",
    ),
    "every-pass": Named(
        "Which pages came in every pass over their block, and how large were their deltas?",
        """WITH last AS (
  SELECT capture, block, max("pass") AS passes FROM records WHERE record IS NOT NULL GROUP BY capture, block)
SELECT capture, block, printf('0x%x', page) AS page, passes,
  round(avg("length") FILTER (kind IN ('xbrle', 'xbzrle'))) AS mean_delta,
  max("length") FILTER (kind IN ('xbrle', 'xbzrle')) AS largest_delta
FROM records JOIN last USING (capture, block)
WHERE record IS NOT NULL AND passes > 1
GROUP BY capture, block, records.page, passes HAVING count(DISTINCT "pass") = passes
ORDER BY mean_delta DESC NULLS LAST, capture, block, records.page LIMIT 20""",
    ),
    "full-again": Named(
        "Which pages came in full more than once, where a delta would have done?",
        """SELECT capture, block, printf('0x%x', page) AS page, count(*) AS in_full, sum(head + "length") AS bytes
FROM records WHERE kind = 'page'
GROUP BY capture, block, records.page HAVING count(*) > 1
ORDER BY in_full DESC, capture, block, records.page LIMIT 20""",
    ),
    "large-deltas": Named(
        "Which deltas saved least?",
        """SELECT capture, record, block, printf('0x%x', page) AS page, "pass", "length" AS bytes
FROM records WHERE kind IN ('xbrle', 'xbzrle')
ORDER BY "length" DESC, capture, record LIMIT 20""",
    ),
    "savings": Named(
        "How many bytes did deltas and dup pages save, by capture?",
        """SELECT r.capture, c.name, sum("length") AS sent,
  sum(c.page_size - "length") FILTER (kind IN ('xbrle', 'xbzrle')) AS saved_by_deltas,
  sum(c.page_size - "length") FILTER (kind = 'dup') AS saved_by_dups
FROM records r JOIN captures c USING (capture) WHERE record IS NOT NULL
GROUP BY r.capture, c.name ORDER BY sent DESC""",
    ),
    "findings": Named(
        "Which rules are broken, how often, and in how many captures?",
        """SELECT rule, severity, count(*) AS findings, count(DISTINCT capture) AS captures, min(record) AS first_record
FROM findings GROUP BY rule, severity
ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, findings DESC, rule""",
    ),
    "verdicts": Named(
        "What is the verdict on each capture?",
        """SELECT status, name, pages_wrong, first_bad_record, complete, dialect, machine, summary FROM captures
ORDER BY CASE status WHEN 'corrupt' THEN 0 WHEN 'damaged' THEN 1 WHEN 'incomplete' THEN 2 WHEN 'healed' THEN 3
  ELSE 4 END, name""",
    ),
    "devices": Named(
        "Which devices are there, in how many captures, and how large is their state?",
        """SELECT device, min(version) AS oldest, max(version) AS newest, count(DISTINCT capture) AS captures,
  sum(size) // count(DISTINCT capture) AS bytes
FROM devices GROUP BY device ORDER BY captures DESC, bytes DESC, device""",
    ),
    "unchanged": Named(
        "How many pages were sent again although nothing in them had changed, and what did that cost?",
        """SELECT r.capture, r.kind, count(*) AS resends, count(*) FILTER (v.changed = 0) AS unchanged,
  sum(r.head + r."length") FILTER (v.changed = 0) AS bytes_for_nothing
FROM page_versions v JOIN records r USING (capture, record) WHERE NOT v.first
GROUP BY r.capture, r.kind ORDER BY bytes_for_nothing DESC NULLS LAST, r.capture, r.kind""",
        versions=True,
    ),
    "shared": Named(
        "How many pages do two captures share?",
        """WITH pages AS (SELECT DISTINCT capture, hash FROM page_versions WHERE recovered)
SELECT a.capture AS one, b.capture AS other, count(*) AS pages
FROM pages a JOIN pages b USING (hash) WHERE a.capture < b.capture
GROUP BY ALL ORDER BY pages DESC, one, other LIMIT 20""",
        versions=True,
    ),
    "matches": Named(
        "Which patterns of YARA rules were in memory, in how many captures, and how often are they there at the end?",
        """SELECT rule, pattern, count(*) AS matches, count(DISTINCT capture) AS captures,
  count(*) FILTER (vanished IS NULL) AS at_end, min(appeared) AS first_record
FROM matches GROUP BY rule, pattern ORDER BY captures DESC, matches DESC, rule, pattern""",
        rules=True,
    ),
}
