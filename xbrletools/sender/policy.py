"""The sender's choice for each page: a delta or the page itself.

Facts: formats/README.md, "The sender's rules". Dup pages are found before any of this. Any other page goes out as a
delta where the cache holds it, the policy tries a delta, and the delta is not longer than allowed.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas, uniform
from ..formats.dialects import Dialect, Encoding
from ..table.sections import Stage
from .cache import WAYS, Cache
from .copies import DeltaBases

SAMPLE_SHARE = 0.02  # of a page's bytes, looked at before a delta is tried [P]
CHANGED_SHARE = 0.30  # of the sample: from here on a delta is not tried [P]
V2_SHARE = 3  # a delta of the v2 patch takes at most a page's third


class Policy(Enum):
    """When a page goes out as a delta."""

    NONE = "none"  # never
    POSTED = "posted"  # where byte 0 did not change, which is all that the posted patch's sample looks at
    INTENDED = "intended"  # where less than 30 % of a sample of 2 % of the bytes changed: what the patch meant
    V2 = "v2"  # where the delta takes at most a third of a page; no sample
    XBZRLE = "xbzrle"  # as QEMU since 2.1: no sample, a cache that keeps young pages, deltas after the first sweep


class Dups(Enum):
    """What becomes of a dup page in the cache."""

    POSTED = "posted"  # left out: the base of the next delta is content that the receiver has lost
    FIXED = "fixed"  # entered, as any page
    SAFE = "safe"  # entered, but never a base: a full page goes out before the next delta


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a choice depends on, except the pages and the cache."""

    policy: Policy
    dups: Dups
    encoding: Encoding = Encoding.RLE
    limit: int | None = None  # bytes of a delta; None: the encoding's own limit
    samples: bool = True  # whether the policy's sample is taken at all; sep10 has none
    seed: int = 0  # of the intended sample

    def enters(
        self, is_dup: NDArray[np.bool_], stage: NDArray[np.uint8], sweep: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which records enter the cache, (n,) bool: all but dup pages that are left out, and in QEMU since 2012 only
        those after the first sweep over memory and before the last stage [C].
        """
        enters = ~is_dup if self.dups is Dups.POSTED else np.ones(len(is_dup), bool)
        if self.policy is Policy.XBZRLE:
            enters &= (sweep > 0) & (stage != Stage.END)
        return enters

    def looks(self, stage: NDArray[np.uint8], sweep: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For which records the cache may be asked, (n,) bool: at stage 2, and in QEMU since 2012 after the first
        sweep, the last stage included [C].
        """
        return sweep > 0 if self.policy is Policy.XBZRLE else stage == Stage.PART


@dataclass(frozen=True, slots=True)
class Choices:
    """What became of a batch of n records.

    ``is_delta`` (n,) bool. ``data`` (total,) uint8 are the deltas' payloads one after the other, ``lengths`` (n,) int64
    the bytes of each, 0 for other records. ``held`` (n,) bool: looked up and in the cache. ``refused`` (n,) bool: held,
    but the sample changed too much, which the patch counts as aborted. ``same`` (n,) bool: an XBZRLE page that did not
    change, which is not sent.
    """

    is_delta: NDArray[np.bool_]
    data: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    held: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    same: NDArray[np.bool_]


def rules_of(dialect: Dialect, policy: Policy, dups: Dups | None, page_size: int, seed: int = 0) -> Rules:
    """The rules of a dialect's own sender under a policy. With ``dups`` None, dup pages are as that sender had them."""
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
    """The choosing half of a sender: its cache, its bases, and the state of its sample.

    ``cache`` is None for a sender that never writes deltas.
    """

    def __init__(self, rules: Rules, cache: Cache | None, bases: DeltaBases) -> None:
        self.rules = rules
        self.cache = cache if rules.policy is not Policy.NONE else None
        self._bases = bases
        self._random = np.random.default_rng(rules.seed)

    def choose(
        self,
        ram_pages: NDArray[np.int64],
        pages: NDArray[np.int64],
        stage: NDArray[np.uint8],
        contents: NDArray[np.uint8],
        is_dup: NDArray[np.bool_],
        sweep: NDArray[np.int64],
    ) -> Choices:
        """Choose for a batch of records, (n,) each, and enter them into the cache.

        ``ram_pages`` are page numbers in ram_addr space, which the cache goes by. ``pages`` are those that the copies
        go by. ``contents`` is (n, page_size). ``sweep`` (n,) int64 counts the sweeps over memory that were done before.
        """
        count = len(ram_pages)
        is_delta = np.zeros(count, bool)
        lengths = np.zeros(count, np.int64)
        held, refused, same = (np.zeros(count, bool) for _ in range(3))
        if self.cache is None:
            return Choices(is_delta, np.empty(0, np.uint8), lengths, held, refused, same)
        enters, looks = self.rules.enters(is_dup, stage, sweep), self.rules.looks(stage, sweep)
        asked = enters | looks
        held[asked] = self.cache.look(ram_pages[asked], sweep[asked], enters[asked])
        copied = enters | held  # a page that the cache holds is kept up, in the last stage too
        held &= looks & ~is_dup
        wanted = np.flatnonzero(held)
        old = self._bases.bases(pages, contents, is_dup, copied, wanted)
        if self.rules.dups is Dups.SAFE:
            usable = uniform.fills(old) == uniform.NOT_UNIFORM
            held[wanted[~usable]] = False
            wanted, old = wanted[usable], old[usable]
        new = contents[wanted]
        good = self._good(old, new)
        refused[wanted[~good]] = True
        wanted = wanted[good]
        data, sizes = deltas.encode(self.rules.encoding, old[good], new[good], self.rules.limit)
        is_delta[wanted] = sizes > 0
        same[wanted] = sizes == 0
        lengths[wanted] = np.maximum(sizes, 0)
        return Choices(is_delta, data, lengths, held, refused, same)

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
