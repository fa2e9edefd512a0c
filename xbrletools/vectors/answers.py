"""What this implementation answers to each case, operation by operation. README.md lists the operations."""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import miglog
from ..capture import Capture, open_capture
from ..codec import checksum, deltas, uniform
from ..codec.layout import dtype_of
from ..codec.verdict import Verdict
from ..errors import XbrleError
from ..formats.dialects import DIALECTS, Dialect, Encoding
from ..formats.ram import Kind
from ..memory.image import PageSpace
from ..memory.ramaddr import layout
from ..memory.replay import View
from ..model import Block
from ..sender.addresses import addresses_in_blocks
from ..sender.cache import PageCache, buckets_of
from ..sender.copies import Copies
from ..sender.policy import Dups, Policy, Sender, rules_of
from ..sender.saver import PageRecords, RecordForm, Writer
from ..sender.transcode import cache_for
from ..verify.receivers import named, outcome
from .cases import Value

Ask = Mapping[str, Any]
Answer = dict[str, Value]

BLOCK = b"pc.ram"  # what the one block of `send` is called
OK, REFUSED, UNSENT = "ok", "refused", "unsent"

#: The codings by the words that cases use.
CODINGS = {e.name.lower().replace("_", "-"): e for e in Encoding}


def answer(op: str, ask: Ask) -> Answer:
    """What this implementation answers.

    Raises:
        XbrleError: there is no such operation, or the question is not as README.md says.
    """
    if op not in _ANSWERS:
        raise XbrleError(f"there is no operation {op[:40]!r}; there are {', '.join(OPERATIONS)}")
    try:
        return _ANSWERS[op](ask)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise XbrleError(f"{op} cannot be asked like that: {type(error).__name__}: {error}") from error


def _page(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)[None]


def _encode(ask: Ask) -> Answer:
    data, lengths = deltas.encode(CODINGS[ask["coding"]], _page(ask["old"]), _page(ask["new"]), ask["limit"])
    if lengths[0] < 0:
        return {"verdict": REFUSED, "reason": "overflow"}
    return {"verdict": OK, "payload": data.tobytes()} if lengths[0] else {"verdict": UNSENT}


def _decode(ask: Ask) -> Answer:
    payload, page = np.frombuffer(ask["payload"], np.uint8), _page(ask["old"]).copy()
    verdict = deltas.apply(
        CODINGS[ask["coding"]], payload, np.zeros(1, np.int64), np.array([len(payload)], np.int64), page
    )[0]
    if verdict != Verdict.OK:
        return {"verdict": REFUSED, "reason": Verdict(verdict).name.lower().replace("_", "-")}
    return {"verdict": OK, "page": page.tobytes()}


def _sum(ask: Ask) -> Answer:
    return {"sum": int(checksum.byte_sum(_page(ask["page"]))[0])}


def _header_read(ask: Ask) -> Answer:
    dialect = DIALECTS[ask["dialect"]]
    grammar = dialect.header(ask["endian"])
    if len(ask["bytes"]) != grammar.sizeof():
        raise ValueError("a header of another size")
    fields = grammar.parse(ask["bytes"])
    out: Answer = {name: int(fields[name]) for name in _fields(dialect)}
    out["follows"] = max(0, int(fields["length"]) - dialect.length_counts)
    return out


def _header_write(ask: Ask) -> Answer:
    dialect = DIALECTS[ask["dialect"]]
    return {"bytes": bytes(dialect.header(ask["endian"]).build({name: ask[name] for name in _fields(dialect)}))}


def _fields(dialect: Dialect) -> tuple[str, ...]:
    return dtype_of(dialect.header("little")).names or ()


def _cache(ask: Ask) -> Answer:
    pages = np.array(ask["pages"], np.int64)
    try:
        buckets = buckets_of(ask["cache"], ask["page_size"], ask["ways"])
    except XbrleError:
        return {"verdict": REFUSED}
    cache = PageCache(buckets, int(pages.max()) + 1, ask["ways"])
    held = cache.insert(pages)
    return {"verdict": OK, "buckets": buckets, "held": "".join("01"[int(h)] for h in held), "items": cache.items}


def _send(ask: Ask) -> Answer:
    """The records that a sender writes for a history of one block's pages."""
    dialect, policy = DIALECTS[ask["dialect"]], Policy(ask["policy"])
    size, numbers = ask["page_size"], np.array(ask["pages"], np.int64)
    contents = np.frombuffer(ask["contents"], np.uint8).reshape(len(numbers), size)
    form = RecordForm(dialect, ask["endian"], bool(ask["checksums"]), size)
    blocks = [Block(BLOCK, (int(numbers.max()) + 1) * size)]
    cache = cache_for(policy, ask["cache"], addresses_in_blocks(blocks, form.version, size))
    space = PageSpace(blocks, size)
    sender = Sender(rules_of(dialect, policy, Dups(ask["dups"]), size), cache, Copies(space))
    is_dup = uniform.fills(contents) != uniform.NOT_UNIFORM
    stages = np.array(ask["stages"], np.uint8)
    sweep = np.cumsum(np.diff(numbers, prepend=0) < 0, dtype=np.int64)
    choices = sender.choose(numbers, numbers, stages, contents, is_dup, sweep)
    nothing = np.zeros(len(numbers), bool)
    records = PageRecords(np.zeros(len(numbers), np.int64), numbers * size, contents, is_dup, nothing)
    data, _ = Writer(form, [BLOCK]).write(records, choices)
    return {"bytes": data.tobytes()}


# -- streams ---------------------------------------------------------------------------------------------------------


def _opened(ask: Ask) -> Capture:
    return open_capture(ask["stream"], ask.get("dialect"), ask.get("endian"))


def _detect(ask: Ask) -> Answer:
    with _opened(ask) as capture:
        evidence = capture.evidence
        return {"dialect": evidence.name or "none", "endian": evidence.endian or "none"}


def _records(ask: Ask) -> Answer:
    with _opened(ask) as capture:
        table, names = capture.records, [b.name.hex() for b in capture.blocks]
        columns = table.columns.take(table.is_page)
        rows = zip(*(getattr(columns, n).tolist() for n in ("kind", "block", "address", "length")), strict=True)
        listed = [
            f"{Kind(kind).name.lower()}:{names[block] if block < len(names) else '-'}:{address}:{length}"
            for kind, block, address, length in rows
        ]
        return {"verdict": OK if capture.damage is None else REFUSED, "records": listed}


def _memory(ask: Ask) -> Answer:
    with _opened(ask) as capture:
        image = capture.memory(view=View(ask["view"]))
        sums, digests = [], []
        for block in capture.blocks:
            data = image[block.name].tobytes()[: block.length]
            sums.append(f"{block.name.hex()}:{block.length}:{zlib.crc32(data):08x}")
            digests.append(f"{block.name.hex()}:{hashlib.sha256(data).hexdigest()}")
        return {"crc32": sums, "sha256": digests}


def _findings(ask: Ask) -> Answer:
    with _opened(ask) as capture:
        findings = [f"{f.rule}:{'-' if f.record is None else f.record}" for f in capture.verify()]
        return {"findings": sorted(set(findings))}


def _receive(ask: Ask) -> Answer:
    with _opened(ask) as capture:
        verdict = outcome(capture.stream, capture.verify(), named(ask["receiver"]))
        return {"verdict": OK if verdict.loads else REFUSED}


def _log(ask: Ask) -> Answer:
    with _opened(ask) as capture:
        end = miglog.End(ask["end"])
        ram_addrs = layout(capture.blocks, capture.page_size)[0] if end is miglog.End.SENDER else None
        lines = b"".join(miglog.text(miglog.written(capture.stream, end, ram_addrs).log)).decode("ascii").splitlines()
        return {"log": lines}


_ANSWERS: dict[str, Callable[[Ask], Answer]] = {
    "encode": _encode,
    "decode": _decode,
    "sum": _sum,
    "header-read": _header_read,
    "header-write": _header_write,
    "cache": _cache,
    "send": _send,
    "detect": _detect,
    "records": _records,
    "memory": _memory,
    "findings": _findings,
    "receive": _receive,
    "log": _log,
}

OPERATIONS = tuple(_ANSWERS)
