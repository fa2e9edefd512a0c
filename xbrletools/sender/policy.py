"""The sender's choice for each page: a delta or the page itself.

Facts: formats/README.md, "The sender's rules". Dup pages are found before any of this; what is left goes out as a delta
where the cache holds the page, the policy thinks the delta good, and it is no longer than allowed.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas, uniform
from ..formats.dialects import Dialect, Encoding
from ..table.sections import Stage
from .cache import WAYS, PageCache
from .held import Held

SAMPLE_SHARE = 0.02  # of a page's bytes, looked at before a delta is tried [P]
CHANGED_SHARE = 0.30  # of the sample: from here on a delta is not tried [P]
V2_SHARE = 3  # a delta of the v2 patch takes at most a page's third


class Policy(Enum):
    """When a page goes out as a delta."""

    NONE = "none"  # never
    POSTED = "posted"  # byte 0 did not change: what the sample of the posted patch comes to
    INTENDED = "intended"  # of a sample of 2 % of the bytes less than 30 % changed: what was meant
    V2 = "v2"  # the delta takes at most a third of a page; no sample
    XBZRLE = "xbzrle"  # QEMU since 2012: no sample, one slot a bucket; deltas once memory was swept


class Dups(Enum):
    """What becomes of a dup page in the cache."""

    POSTED = "posted"  # left out: the next delta is against content that the receiver has lost
    FIXED = "fixed"  # entered, as any page
    SAFE = "safe"  # entered, but no base: the next delta comes after a full page


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a choice depends on beside the pages and the cache."""

    policy: Policy
    dups: Dups
    encoding: Encoding = Encoding.RLE
    limit: int | None = None  # bytes of a delta; None: the encoding's own
    samples: bool = True  # whether the policy's sample is taken at all; sep10 has none
    seed: int = 0  # of the intended sample

    def enters(
        self, is_dup: NDArray[np.bool_], stage: NDArray[np.uint8], swept: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which records enter the cache, (n,) bool: all but dup pages that are left out, and in QEMU since 2012 only
        those after the first sweep over memory and before the last stage [C].
        """
        enters = ~is_dup if self.dups is Dups.POSTED else np.ones(len(is_dup), bool)
        if self.policy is Policy.XBZRLE:
            enters &= swept & (stage != Stage.END)
        return enters


@dataclass(frozen=True, slots=True)
class Choices:
    """What became of a batch of n records.

    ``is_delta`` (n,) bool; ``data`` (total,) uint8, the payloads of the deltas one after the other, and ``lengths``
    (n,) int64 of each, 0 for other records. ``found`` (n,) bool: looked up and held. ``refused`` (n,) bool: held, but
    the sample changed too much, which the patch counts as aborted. ``same`` (n,) bool: an XBZRLE page that did not
    change, which is not sent.
    """

    is_delta: NDArray[np.bool_]
    data: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    found: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    same: NDArray[np.bool_]


def rules_of(dialect: Dialect, policy: Policy, dups: Dups | None, page_size: int, seed: int = 0) -> Rules:
    """The rules of a dialect's own sender under a policy; ``dups`` None: as that sender had it."""
    limit = None
    if policy is Policy.V2:
        limit = page_size // V2_SHARE
    elif dialect.page_limit > 1:  # encoders without a bound [C]
        limit = dialect.page_limit * page_size
    if dups is None:
        dups = Dups.FIXED if dialect.caches_dup else Dups.POSTED
    return Rules(policy, dups, dialect.encoding, limit, dialect.samples, seed)


def ways_of(policy: Policy) -> int:
    """How many slots a bucket of this policy's cache has."""
    return 1 if policy is Policy.XBZRLE else WAYS


class Sender:
    """The choosing half of a sender: its cache, its copies, and the state of its sample.

    ``cache`` is None for a sender that never writes deltas.
    """

    def __init__(self, rules: Rules, cache: PageCache | None, held: Held) -> None:
        self.rules = rules
        self.cache = cache if rules.policy is not Policy.NONE else None
        self._held = held
        self._random = np.random.default_rng(rules.seed)

    def choose(
        self,
        pages: NDArray[np.int64],
        rows: NDArray[np.int64],
        stage: NDArray[np.uint8],
        contents: NDArray[np.uint8],
        is_dup: NDArray[np.bool_],
        swept: NDArray[np.bool_],
    ) -> Choices:
        """Choose for a batch of records, (n,) each, and take them into the cache.

        ``pages`` are page numbers in ram_addr space, ``rows`` what the copies go by; ``contents`` (n, page_size).
        ``swept`` says which come after the sender went over all memory once.
        """
        count = len(pages)
        is_delta = np.zeros(count, bool)
        lengths = np.zeros(count, np.int64)
        found, refused, same = (np.zeros(count, bool) for _ in range(3))
        if self.cache is None:
            return Choices(is_delta, np.empty(0, np.uint8), lengths, found, refused, same)
        enters = self.rules.enters(is_dup, stage, swept)
        found[enters] = self.cache.insert(pages[enters])
        found &= ~is_dup
        if self.rules.policy is not Policy.XBZRLE:
            found &= stage == Stage.PART
        wanted = np.flatnonzero(found)
        old = self._held.bases(rows, contents, is_dup, enters, wanted)
        if self.rules.dups is Dups.SAFE:
            usable = uniform.fills(old) == uniform.NOT_UNIFORM
            found[wanted[~usable]] = False
            wanted, old = wanted[usable], old[usable]
        new = contents[wanted]
        good = self._good(old, new)
        refused[wanted[~good]] = True
        wanted = wanted[good]
        data, sizes = deltas.encode(self.rules.encoding, old[good], new[good], self.rules.limit)
        is_delta[wanted] = sizes > 0
        same[wanted] = sizes == 0
        lengths[wanted] = np.maximum(sizes, 0)
        return Choices(is_delta, data, lengths, found, refused, same)

    def _good(self, old: NDArray[np.uint8], new: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Whether the policy tries a delta, (k,) bool."""
        count, page_size = old.shape
        policy = self.rules.policy
        if policy is Policy.POSTED and self.rules.samples:
            unchanged: NDArray[np.bool_] = old[:, 0] == new[:, 0]
            return unchanged
        if policy is Policy.INTENDED:
            size = page_size * SAMPLE_SHARE
            at = (self._random.random((count, int(np.ceil(size)))) * page_size).astype(np.int64)
            record = np.arange(count)[:, None]
            good: NDArray[np.bool_] = (
                np.count_nonzero(old[record, at] != new[record, at], axis=1) < size * CHANGED_SHARE
            )
            return good
        return np.ones(count, bool)
