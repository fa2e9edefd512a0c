"""Which dialect a capture's deltas are written in, and in which byte order: found by trial, with the evidence kept.

Facts: formats/README.md, "Dialects". A wrong layout fails at the first delta: its payload does not come to one page, or
no record stands where it ends.
"""

import struct
from dataclasses import dataclass

import numpy as np

from ..codec import checksum, deltas
from ..codec.layout import dtype_of
from ..formats import block as block_format
from ..formats import qevm, ram, xbrle
from ..formats.dialects import DIALECTS, Checksum, Dialect, Encoding
from ..model import Evidence, Reading

TRIAL_DELTAS = 16  # as many as any two dialects need to differ, with room for damaged ones
ORDERS = ("little", "big")


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of reading some deltas as one dialect in one byte order.

    ``offsets`` are those of the delta records that were met, ``decoded`` how many of them came to exactly one page with
    their header in order; ``failure`` says why the walk stopped early, if it did; ``ends``: nothing is there after the
    last delta.
    """

    dialect: Dialect
    endian: str
    offsets: tuple[int, ...]
    decoded: int
    flags: frozenset[int]
    checksums: tuple[int, ...]
    failure: str | None
    ends: bool = False


def candidates(reading: Reading) -> tuple[Dialect, ...]:
    """The dialects that a RAM section of this version can be in, given whether its PAGEs carry a sum."""
    version, page_sum = reading.version, reading.page_sum
    return tuple(
        d for d in DIALECTS.values() if d.ram_version == version and (page_sum is None or d.page_sum == page_sum)
    )


def likely(reading: Reading) -> tuple[str, ...]:
    """The names of the dialects that deltas which nobody has seen would be in: those of the sender's time.

    Deltas that are there are tried in all, since a stream may have been written anew in another.
    """
    return tuple(d.name for d in candidates(reading) if d.configured or not reading.configured)


def pages_carry_sums(view: memoryview, at: int, page_size: int) -> bool:
    """Whether the v3 PAGE whose word stands at ``at`` has its byte sum before its data, as in nov09 and m115dbg."""
    start = at + ram.Word.sizeof()
    stop = start + 4 + page_size
    if stop > len(view):
        return False
    (claimed,) = struct.unpack_from(">I", view, start)
    data = np.frombuffer(view[start + 4 : stop], np.uint8).reshape(1, page_size)
    if checksum.byte_sum(data)[0] != claimed:
        return False
    # The sum of a blanked page is right at either place: then a record after a page without a sum decides.
    (following,) = struct.unpack_from(">Q", view, start + page_size) if not claimed and stop + 4 <= len(view) else (0,)
    return ram.kind_of(following & (page_size - 1), ram.VERSION_FLAT) is ram.Kind.NOOP


def _try(view: memoryview, at: int, base: int, reading: Reading, dialect: Dialect, endian: str) -> Trial:
    """Walk records from ``at`` reading deltas as ``dialect``, until `TRIAL_DELTAS` were met or a record is impossible.

    This is the slow walk: it runs over a few records, once a capture.
    """
    header = dtype_of(dialect.header(endian))
    version, page_size = reading.version, reading.page_size
    page_head = 4 if dialect.page_sum else 0
    offsets: list[int] = []
    payloads: list[tuple[int, int]] = []
    flags: set[int] = set()
    sums: list[int] = []
    failure: str | None = None
    in_order: list[bool] = []
    known = int(ram.known_flags(version))
    while len(offsets) < TRIAL_DELTAS:
        if at + 8 > len(view):
            break
        (word,) = struct.unpack_from(">Q", view, at)
        flag = word & (page_size - 1)
        kind = ram.kind_of(flag, version)
        if flag & ~known or word >> 52 or kind is ram.Kind.NOOP or flag & ram.Flag.MEM_SIZE:
            # Literal runs may stop anywhere, so a delta of them that no record follows has shown nothing.
            if payloads and at == sum(payloads[-1]) and dialect.encoding is Encoding.ZRUN:
                del payloads[-1], in_order[-1]
            failure = f"no record can stand at offset {base + at:#x}"
            break
        start = at + 8
        if ram.is_named(flag, version, kind):
            if start >= len(view):
                break
            start += 1 + view[start]
        if kind is ram.Kind.DUP:
            at = start + 1
        elif kind is ram.Kind.PAGE:
            at = start + page_head + page_size
        elif kind is ram.Kind.EOS:
            following = _past_eos(view, start)
            if following is None:
                break
            at = following
        elif kind is ram.Kind.XBRLE:
            if start + header.itemsize > len(view):
                break
            fields = np.frombuffer(view[start : start + header.itemsize], header)[0]
            length = int(fields["length"]) - dialect.length_counts
            if not 0 <= length <= dialect.page_limit * page_size:
                failure = f"the delta at offset {base + at:#x} claims {length} bytes"
                offsets.append(base + at)
                break
            payload = start + header.itemsize
            if payload + length > len(view):
                break
            offsets.append(base + at)
            payloads.append((payload, length))
            flags.add(int(fields["flags"]))
            in_order.append(bool(fields["flags"] & xbrle.HeaderFlag.XBRLE))
            if "checksum" in (header.names or ()):
                sums.append(int(fields["checksum"]))
            at = payload + length
        else:
            break
    return Trial(
        dialect, endian, tuple(offsets), _decoded(view, payloads, in_order, dialect, page_size),
        frozenset(flags), tuple(sums), failure, bool(payloads) and at == sum(payloads[-1]),
    )  # fmt: skip


def _decoded(
    view: memoryview,
    payloads: list[tuple[int, int]],
    in_order: list[bool],
    dialect: Dialect,
    page_size: int,
) -> int:
    if not payloads:
        return 0
    places = np.array(payloads, np.int64)
    blank = np.zeros((len(payloads), page_size), np.uint8)
    verdicts = deltas.apply(
        dialect.encoding, np.frombuffer(view, np.uint8), places[:, 0].copy(), places[:, 1].copy(), blank
    )
    return int(np.count_nonzero((verdicts == 0) & np.array(in_order)))


def _past_eos(view: memoryview, at: int) -> int | None:
    """Where the records of the next RAM section begin, past a footer and an idle block section; None if elsewhere."""
    part = 1 + qevm.SectionPart.sizeof()
    idle = struct.pack(">Q", block_format.Flag.EOS)
    while at + part <= len(view):
        if view[at] == qevm.SectionType.FOOTER:
            at += qevm.Footer.sizeof()
        elif view[at] in (qevm.SectionType.PART, qevm.SectionType.END):
            at += part
            if bytes(view[at : at + len(idle)]) != idle:
                return at
            at += len(idle)
        else:
            return None
    return None


def _page_sum_range(trial: Trial, page_size: int, complement: bool) -> bool:
    """Whether every checksum lies where a byte sum, or the complement of one, of a page can lie."""
    most = 0xFF * page_size
    return all((~c & 0xFFFFFFFF if complement else c) <= most for c in trial.checksums)


def _fits(trial: Trial, page_size: int) -> bool:
    """Whether the flags and checksums of a trial that decoded are such as this dialect writes."""
    kind = trial.dialect.checksum
    debug = xbrle.HeaderFlag.XBRLE | xbrle.HeaderFlag.CHECKSUM
    if kind is Checksum.FLAGGED:
        return debug in trial.flags or not any(trial.checksums)
    if trial.dialect.always_sums:
        return debug not in trial.flags and any(trial.checksums) and _page_sum_range(trial, page_size, False)
    if kind is Checksum.SUM:
        return _page_sum_range(trial, page_size, False)
    if kind is Checksum.COMPLEMENT:
        return _page_sum_range(trial, page_size, True)
    return True


def detect(
    view: memoryview,
    at: int,
    base: int,
    reading: Reading,
    dialect: Dialect | None,
    endian: str | None,
) -> Evidence:
    """The dialect and byte order of a capture, from the deltas that begin at ``view[at]``.

    ``base`` is the capture's offset of ``view[0]``. A forced ``dialect`` or ``endian`` leaves less to be found out.
    """
    tried: list[Trial] = []
    for d in (dialect,) if dialect else candidates(reading):
        orders = ORDERS if d.host_endian else ("big",)
        if endian is not None and d.host_endian:
            orders = (endian,)
        tried += [_try(view, at, base, reading, d, order) for order in orders]
    cut = any(not t.offsets and t.failure is None for t in tried)
    if cut and dialect is None:  # one delta of literal runs at the very end is less than a longer one that is cut
        tried = [t for t in tried if not (t.dialect.encoding is Encoding.ZRUN and t.ends and len(t.offsets) == 1)]
    best = max(t.decoded for t in tried)
    if not best and dialect is None:
        reasons = tuple(
            f"as {t.dialect.name} ({t.endian}-endian): {t.failure or 'no delta comes to one page'}" for t in tried
        )
        return Evidence(None, None, likely(reading), base + at, cut=cut, reasons=reasons)
    good = [t for t in tried if t.decoded == best]
    fitting = [t for t in good if _fits(t, reading.page_size)] or good
    chosen = max(fitting, key=lambda t: (_least_failed(t), not t.dialect.last_choice))
    others = tuple(dict.fromkeys(t.dialect.name for t in fitting if _least_failed(t) == _least_failed(chosen)))
    return Evidence(
        chosen.dialect.name,
        chosen.endian,
        others,
        base + at,
        dialect is not None,
        reasons=tuple(_reasons(chosen, tried, reading)),
        decoded=best,
    )


def _least_failed(trial: Trial) -> bool:
    return trial.failure is None


def _reasons(chosen: Trial, tried: list[Trial], reading: Reading) -> list[str]:
    d = chosen.dialect
    reasons = [
        f"{chosen.decoded} of the first {len(chosen.offsets)} deltas, from offset {chosen.offsets[0]:#x}, come to "
        f"exactly one page"
        if chosen.offsets
        else "no delta could be read"
    ]
    if d.host_endian:
        reasons.append(f"length and checksum are {chosen.endian}-endian")
    if chosen.checksums:
        if d.checksum is Checksum.FLAGGED and not any(chosen.checksums):
            reasons.append("header flags 1 and checksums of 0: a build without checksums")
        elif d.checksum is Checksum.FLAGGED:
            reasons.append("header flags 3: a debug build, with checksums")
        else:
            reasons.append(f"checksums lie where the {d.checksum.value} can lie")
    if reading.page_sum:
        reasons.append("every PAGE carries its byte sum, which holds for the first")
    if d.encoding is Encoding.ZRUN:
        reasons.append("payloads are ULEB128 runs with literal bytes")
    failed = sorted({t.dialect.name for t in tried} - {d.name} - {t.dialect.name for t in tried if t.decoded})
    if failed:
        reasons.append("no delta reads as " + ", ".join(failed))
    return reasons
