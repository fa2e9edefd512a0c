"""State machines: the sender's cache and copies against slots that hold whole pages, and a sender with its receiver."""

from typing import ClassVar

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import xbrletools
from xbrletools.codec import uniform
from xbrletools.formats import ram
from xbrletools.formats.dialects import DIALECTS, Encoding
from xbrletools.formats.qevm import SectionType
from xbrletools.memory.image import PageSpace, State
from xbrletools.memory.replay import View
from xbrletools.model import Block
from xbrletools.sender.cache import AgedCache, PageCache
from xbrletools.sender.copies import Copies
from xbrletools.sender.policy import Dups, Policy, Sender, rules_of, ways_of
from xbrletools.sender.saver import Frames, PageRecords, RecordForm, Writer, end_of_section, memory_size
from xbrletools.table.sections import Stage

PAGE = ram.MIN_PAGE_SIZE
RAM, VGA = Block(b"pc.ram", 6 * PAGE), Block(b"vga", 3 * PAGE)
PAGES = 9
OFFSETS = np.array([0, RAM.length], np.int64)


class SlotsOfPages:
    """The posted cache as the facts tell it: slots with an age, each with a page's number and its copy."""

    def __init__(self, buckets: int, ways: int) -> None:
        self.mask, self.ways, self.age = buckets - 1, ways, 0
        self.slots: dict[int, list[tuple[int, int, bytes]]] = {}

    def insert(self, page: int, content: bytes) -> bytes | None:
        """The newest copy of the page, if there is one. Then the page goes where the older slot was."""
        slots = self.slots.setdefault(page & self.mask, [(0, -1, b"")] * self.ways)
        held = max((s for s in slots if s[1] == page), default=None)
        self.age += 1
        slots[slots.index(min(slots))] = (self.age, page, content)
        return None if held is None else held[2]

    @property
    def items(self) -> int:
        return sum(age > 0 for slots in self.slots.values() for age, _, _ in slots)


class CacheMachine(RuleBasedStateMachine):
    """Batches of pages into `PageCache` and `Copies`. Every hit, and the base of each, is that of the slots."""

    @initialize(buckets=st.integers(1, 12), ways=st.sampled_from([1, 2]))
    def begin(self, buckets, ways):
        self.cache, self.slots = PageCache(buckets, PAGES, ways), SlotsOfPages(buckets, ways)
        self.copies = Copies(PageSpace([RAM, VGA], PAGE))

    @rule(
        batch=st.lists(st.tuples(st.integers(0, PAGES - 1), st.integers(0, 5), st.booleans()), min_size=1, max_size=12)
    )
    def insert(self, batch):
        pages = np.array([page for page, _, _ in batch], np.int64)
        contents = np.zeros((len(batch), PAGE), np.uint8)
        contents[:, 0] = contents[:, 7] = [fill for _, fill, _ in batch]
        contents[[fill == 5 for _, fill, _ in batch]] = 5
        is_dup = uniform.fills(contents) != uniform.NOT_UNIFORM
        enters = np.array([enters for _, _, enters in batch])
        found = np.zeros(len(batch), bool)
        found[enters] = self.cache.insert(pages[enters])
        wanted = np.flatnonzero(found)
        bases = dict(zip(wanted.tolist(), self.copies.bases(pages, contents, is_dup, enters, wanted), strict=True))
        for i, page in enumerate(pages.tolist()):
            if enters[i]:
                held = self.slots.insert(page, contents[i].tobytes())
                assert (held is not None) == found[i]
                assert held is None or bases[i].tobytes() == held

    @invariant()
    def as_many_slots_are_occupied(self):
        if hasattr(self, "cache"):
            assert self.cache.items == self.slots.items


CHANGES = ("byte", "first byte", "run", "dense", "blank", "fill", "new")


class MigrationMachine(RuleBasedStateMachine):
    """A guest writes, a sender sends in any order and again, and a receiver holds what the format promises.

    Where the next delta after a dup page is against what the receiver has lost, its page is the sender's XOR what was
    lost. The sender's view is the guest as it was sent, always.
    """

    policies: ClassVar = {
        Encoding.ZRUN: (Policy.XBZRLE, Policy.POSTED, Policy.NONE),
        Encoding.RLE: (Policy.POSTED, Policy.INTENDED, Policy.V2, Policy.NONE),
        Encoding.DOUBLED: (Policy.POSTED, Policy.V2),
        Encoding.DOUBLED_NEXT: (Policy.POSTED,),
    }

    @initialize(
        dialect=st.sampled_from(list(DIALECTS)),
        endian=st.sampled_from(["little", "big"]),
        checksums=st.booleans(),
        buckets=st.integers(1, 10),
        dups=st.sampled_from([None, *Dups]),
        data=st.data(),
    )
    def begin(self, dialect, endian, checksums, buckets, dups, data):
        self.form = form = RecordForm(DIALECTS[dialect], endian, checksums, PAGE)
        policy = data.draw(st.sampled_from(self.policies[form.dialect.encoding]))
        rules = rules_of(form.dialect, policy, dups, PAGE)
        named = form.version == ram.VERSION_NAMED
        self.flat = Block(ram.IDSTR, PAGES * PAGE)
        blocks = [RAM, VGA] if named else [self.flat]
        self.space = PageSpace(blocks, PAGE)
        self.rules, self.policy = rules, policy
        ages = policy is Policy.XBZRLE
        cache = AgedCache(buckets, PAGES) if ages else PageCache(buckets, PAGES, ways_of(policy))
        self.sender, self.swept = Sender(rules, cache, Copies(self.space)), False
        self.writer = Writer(form, [b.name for b in blocks])
        self.frames = Frames(form.version, named)
        self.stage = Stage.START
        self.stream = bytearray(self.frames.file_header() + self.frames.section(SectionType.START))
        self.stream += memory_size(form.version, blocks, OFFSETS[: len(blocks)], PAGE)
        self.guest = np.zeros((PAGES, PAGE), np.uint8)
        self.sent: dict[int, bytes] = {}
        self.entered: dict[int, np.ndarray] = {}
        self.receiver: dict[int, np.ndarray] = {}
        self.chance = np.random.default_rng(1)
        self.sections = 1

    @rule(page=st.integers(0, PAGES - 1), how=st.sampled_from(CHANGES), at=st.integers(0, PAGE - 1))
    def write(self, page, how, at):
        content = self.guest[page]
        if how == "byte":
            content[max(at, 1)] ^= 0x11
        elif how == "first byte":
            content[0] ^= 1
        elif how == "run":
            content[at : at + 300] += 1
        elif how == "dense":
            content[1::2] ^= self.chance.integers(0, 256, PAGE // 2, np.uint8)
        elif how == "new":
            content[:] = self.chance.integers(0, 256, PAGE, np.uint8)
        else:
            content[:] = 0 if how == "blank" else at & 0xFF

    @rule(batch=st.lists(st.integers(0, PAGES - 1), min_size=1, max_size=14), swept=st.booleans())
    def send(self, batch, swept):
        rows = np.array(batch, np.int64)
        contents = self.guest[rows]
        is_dup = uniform.fills(contents) != uniform.NOT_UNIFORM
        self.swept = self.swept or swept
        stage, sweep = np.full(len(rows), self.stage, np.uint8), np.full(len(rows), int(self.swept))
        choices = self.sender.choose(rows, rows, stage, contents, is_dup, sweep)
        flat = self.form.version == ram.VERSION_FLAT
        block = rows * 0 if flat else (rows >= self.space.first[1]).astype(np.int64)
        address = (rows - self.space.first[block]) * PAGE
        records = PageRecords(block, address, contents, is_dup, np.zeros(len(rows), bool))
        out, _ = self.writer.write(records, choices)
        self.stream += out.tobytes()
        enters = self.rules.enters(is_dup, stage, sweep) | choices.held
        for i, row in enumerate(batch):
            self._receive(row, contents[i].copy(), bool(choices.is_delta[i]), bool(choices.same[i]))
            if enters[i] and self.policy is not Policy.NONE:
                self.entered[row] = contents[i].copy()

    def _receive(self, row, content, is_delta, same):
        self.sent[row] = content.tobytes()
        if not is_delta and not same:
            self.receiver[row] = content
            return
        base = self.entered[row]
        assert not same or (base == content).all()
        if self.form.dialect.encoding is Encoding.ZRUN:
            self.receiver[row] = np.where(base != content, content, self.receiver[row])
        else:
            self.receiver[row] = self.receiver[row] ^ base ^ content

    @precondition(lambda self: self.stage is not Stage.END and self.sections < 6)
    @rule(end=st.booleans())
    def next_section(self, end):
        kind = SectionType.END if end else SectionType.PART
        self.stream += end_of_section() + self.frames.section(kind)
        self.stage = Stage.END if end else Stage.PART
        self.sections += 1

    @rule()
    def load(self):
        whole = bytes(self.stream) + end_of_section() + self.frames.end(b"")
        capture = xbrletools.open(whole, page_size=PAGE, dialect=self.form.dialect.name, endian=self.form.endian)
        # Without a record and without RAM's END it is not one of a migration.
        nothing = self.stage is not Stage.END and not self.sent
        assert [p.rule for p in capture.problems] == ["truncated"] * nothing
        for view, expected in ((View.RECEIVER, self.receiver), (View.SENDER, self.sent)):
            if view is View.SENDER and not self._sender_is_told():
                continue
            image = capture.memory(view=view)
            for row in range(PAGES):
                assert (image.state[row] == State.RECOVERED) == (row in expected), (view, row)
                if row in expected:
                    assert image.pages[row].tobytes() == bytes(expected[row]), (view, row)

    def _sender_is_told(self):
        """Whether the stream's dialect says of the sender's copies what this sender does with dup pages.

        An XBZRLE delta carries new bytes only: where the base was lost, the others are not told.
        """
        caches = self.rules.dups is not Dups.POSTED
        return caches == self.form.dialect.caches_dup or self.policy is Policy.NONE

    def teardown(self):
        if hasattr(self, "stream"):
            self.load()


TestTheSendersCache = CacheMachine.TestCase
TestTheSendersCache.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestAMigration = MigrationMachine.TestCase
TestAMigration.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
