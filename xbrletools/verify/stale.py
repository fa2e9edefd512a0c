"""Stale bases: deltas that the sender made against a page which the receiver had lost to a dup page.

Where a delta follows a dup page that its sender did not cache, the sender's own view of the page is replayed, too. A
sum that holds there, and not at the receiver, shows a stale base. A sum that holds in both views is a collision: a
byte sum does not see in which order the bytes stand.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..model import Stream
from ..table.claims import stated
from . import rules
from .ledger import Ledger, Marks, pieces
from .marks import Ints, Mark
from .observed import Replay, Says, Seen, next_full
from .rules import Proof

SURE = (
    "the sender's base is the page of record {base_record}; the receiver lost it to the dup page of record "
    "{dup_record}; {healed}"
)
UNSURE = (
    "as the posted sender has it, the base is the page of record {base_record}, which the receiver lost to the dup "
    "page of record {dup_record}; {healed}. No checksum shows this, and a sender that caches dup pages would be right"
)
COLLIDES = "the sum holds at the receiver, and for the page that the sender held, and the two pages differ"


class Stale:
    """Which suspects of a receiver's replay were sent against a base that the receiver had lost.

    ``bases`` has them in order: their ``place`` among the suspects, their ``rows``, whether their sum holds in both
    views (``collides``), whether they state one (``checked``), whether a uniform page shows it (``proves``).
    """

    def __init__(self, receiver: Replay) -> None:
        self.stream: Stream = receiver.stream
        self.suspects = receiver.seen["suspects"]
        receiver.view_sender()
        caches = denied = proven = False
        for part in pieces(len(self.suspects["rows"])):
            checked, receiver_holds, sender_holds, proves, denies = self._shown(receiver, part)
            # A sum that holds at the receiver alone shows a sender that did put the dup page into its cache.
            caches |= bool((checked & receiver_holds & ~sender_holds).any())
            denied |= bool(denies.any())
            proven |= bool(proves.any())
        caches |= denied and not proven
        ledger = Ledger()
        for part in pieces(len(self.suspects["rows"])):
            checked, receiver_holds, sender_holds, proves, _ = self._shown(receiver, part)
            by_sum = sender_holds & ~(receiver_holds & caches)
            stale = np.flatnonzero(np.where(checked, by_sum, proves | (not caches)))
            columns = {"collides": receiver_holds & sender_holds & checked, "checked": checked, "proves": proves}
            places = {"place": stale + part.start, "rows": self.suspects["rows"][part][stale]}
            ledger.add(places | {name: column[stale] for name, column in columns.items()})
        self.bases = ledger.columns()

    def _shown(self, receiver: Replay, part: slice) -> tuple[NDArray[np.bool_], ...]:
        """Of some suspects, (n,) bool each: whether they state a sum, whether it holds at the receiver, whether it
        holds in the sender's view, whether the page of one without a sum proves a stale base, whether it denies it.

        A page of one repeated byte goes as a dup page. If such a page comes of a delta at the receiver, the sender's
        base was another. If it comes of one in the sender's view, the sender did not forget the dup page.
        """
        rows = self.suspects["rows"][part]
        checked, _ = stated(self.stream.records.columns, self.stream.dialect, rows)
        proves, denies = (~checked & receiver.says(what, rows) for what in (Says.UNIFORM, Says.SENDER_UNIFORM))
        holds, sender_holds = (receiver.says(what, rows) for what in (Says.HOLDS, Says.SENDER_HOLDS))
        return checked, holds, sender_holds, proves, denies

    def marks(self) -> Iterator[Mark]:
        """The findings: each stale base, and the sums that hide one."""
        marks, bases, numbers = Marks(), self.bases, self.stream.records.numbers
        next_full_rows = next_full(self.stream, self.suspects["rows"], self.suspects["pages"])
        shown = bool(bases["checked"].any() or bases["proves"].any())
        for part in pieces(len(bases["place"])):
            places, collides = bases["place"][part], bases["collides"][part]
            rows, healing = self.suspects["rows"][places], next_full_rows[places]
            certainty = np.select(
                [collides, bases["checked"][part], bases["proves"][part], np.full(len(places), shown)],
                [Proof.COLLISION, Proof.CHECKSUM, Proof.UNIFORM, Proof.BUILD],
                Proof.STRUCTURAL,
            ).astype("U10")
            evidence = {
                "dup_record": numbers.of(self.suspects["dups"][places]),
                "base_record": numbers.of(self.suspects["bases"][places]),
                "healed_by_record": numbers.of(healing),
                "certainty": certainty,
            }
            unsure = certainty == Proof.STRUCTURAL
            for chosen, message in ((~unsure, SURE), (unsure, UNSURE)):
                columns = {name: column[chosen] for name, column in evidence.items()}
                marks.add(Mark(rules.STALE_BASE, rows[chosen], message, columns, healing[chosen] < 0))
            marks.add(self._collision(rows, collides, evidence, healing))
        yield from marks.whole()

    def _collision(self, rows: Ints, collides: NDArray[np.bool_], evidence: Seen, healing: Ints) -> Mark:
        """The sums among these that hold although the receiver's page is wrong."""
        columns = {"stated": self.stream.records.columns.checksum[rows[collides]]}
        columns |= {name: evidence[name][collides] for name in ("base_record", "dup_record", "healed_by_record")}
        return Mark(rules.CHECKSUM_COLLISION, rows[collides], COLLIDES, columns, healing[collides] < 0)
