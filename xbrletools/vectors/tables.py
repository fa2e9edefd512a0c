"""Cases of headers, of the page cache, and of whole senders over a short history of pages.

Facts: formats/README.md, "Dialects" and "The sender's rules".
"""

import random
from collections.abc import Iterator

from ..codec.layout import dtype_of
from ..formats.dialects import DIALECTS, Encoding
from ..formats.ram import PAGE_SIZE
from ..sender.cache import WAYS
from .pages import Question

ORDERS = ("little", "big")

#: Cache sizes in bytes: none, one bucket, powers of two and their neighbours, and an odd one that a capture has.
CACHES = (0, 8191, 8192, 16383, 16384, 24576, 65536, 90000, 1500000)
INSERTS = 120


def headers(seed: int) -> Iterator[Question]:
    """The header of every dialect in both byte orders, read and written."""
    random_ = random.Random(f"headers {seed}")
    for name, dialect in DIALECTS.items():
        for endian in ORDERS:
            grammar = dialect.header(endian)
            fields = dtype_of(grammar).names or ()
            ends: dict[str, tuple[int, ...]] = dict.fromkeys(fields, (0, 1))
            ends["length"] = (dialect.length_counts, 34, 255, 256, 4094, 4095, 4096, 4097, 0xFFFF)
            ends |= {"flags": (0, 1, 2, 3, 0xFF), "padding": (0, 0xA0)}
            ends |= dict.fromkeys(("checksum", "sequence"), (0, 1, 8323320, 4294967295))
            for field in fields:
                for value in ends[field]:
                    values = {f: random_.choice(ends[f]) for f in fields} | {field: value}
                    case = f"{name}-{endian}-{field}-{value}"
                    note = f"the header of {name} from a {endian}-endian host, {field} {value}"
                    where = {"dialect": name, "endian": endian}
                    yield Question(f"read-{case}", "header-read", note, {**where, "bytes": grammar.build(values)})
                    yield Question(f"write-{case}", "header-write", note, {**where, **values})


def caches(seed: int) -> Iterator[Question]:
    """Traces of inserts: pages that share a bucket, that come back, and random ones."""
    random_ = random.Random(f"caches {seed}")
    for ways in (1, WAYS):
        for size in CACHES:
            buckets = max(1, size // (PAGE_SIZE * ways))
            apart = 1 << buckets.bit_length()  # pages so far apart share a bucket
            traces = {
                "again": [5, 5, 5, 5, 5],
                "two": [1, 1 + apart, 1, 1 + apart, 1],
                "third": [1, 1 + apart, 1 + 2 * apart, 1, 1 + apart, 1 + 2 * apart],
                "doubled": [1, 1 + apart, 1, 1, 1 + apart, 1],  # an insert replaces the older slot, its own page or not
                "sweep": [*range(40), *range(40)],
                "random": [random_.randrange(4 * buckets + 3) for _ in range(INSERTS)],
                "hot": [random_.choice((3, 7, random_.randrange(8 * buckets + 9))) for _ in range(INSERTS)],
            }
            for name, pages in traces.items():
                note = f"a cache of {size} bytes with {ways} slots a bucket, {len(pages)} inserts"
                ask: dict[str, object] = {"cache": size, "page_size": PAGE_SIZE, "ways": ways, "pages": pages}
                yield Question(f"cache-{ways}-{size}-{name}", "cache", note, ask)


def senders(seed: int) -> Iterator[Question]:
    """Each dialect's sender over one history of eight pages.

    It has first pages, deltas, dup pages, a page that was a dup page before, one whose byte 0 changes, one that stays
    the same, one that changes all over, and pages in END.
    """
    random_ = random.Random(f"senders {seed}")
    pages, stages, contents = history(random_)
    for name, dialect in DIALECTS.items():
        policies = (
            ["xbzrle"] if dialect.encoding is Encoding.ZRUN else ["posted", "v2"] if name == "posted" else ["posted"]
        )
        for policy in policies:
            for dups in ("posted", "fixed") if name == "posted" else ("fixed" if dialect.caches_dup else "posted",):
                for endian in ORDERS if dialect.host_endian else ("big",):
                    for checksums in (0, 1) if name == "posted" and policy == "posted" else (0,):
                        ask: dict[str, object] = {
                            "dialect": name,
                            "policy": policy,
                            "dups": dups,
                            "endian": endian,
                            "checksums": checksums,
                            "cache": 32768,
                            "page_size": PAGE_SIZE,
                            "pages": pages,
                            "stages": stages,
                            "contents": contents,
                        }
                        case = f"send-{name}-{policy}-{dups}-{endian}-{checksums}"
                        yield Question(case, "send", f"the records of a sender of {name}, policy {policy}", ask)


def history(random_: random.Random) -> tuple[list[int], list[int], bytes]:
    """Records of eight pages: their numbers, stages, and contents one after the other."""
    count = 8
    now = [bytes([k] * 16 + [0x20 + k] * (PAGE_SIZE - 16)) for k in range(count)]
    now[6] = bytes(PAGE_SIZE)
    pages, stages, out = list(range(count)), [1] * 3 + [2] * (count - 3), list(now)
    for sweep in range(4):
        for page in range(count):
            data = bytearray(now[page])
            if page == 0:
                data[0] ^= sweep % 2  # byte 0 changes now and then
            elif page == 1:
                data = bytearray([0x77]) * PAGE_SIZE if sweep % 2 == 0 else bytearray(b"\1" * 8 + b"\x77" * 4088)
            elif page == 2 and sweep == 1:
                data[1:] = (bytes([3, 5, 7, 11]) * (PAGE_SIZE // 4))[1:]  # all of it, but for byte 0
            elif page not in (2, 3):
                at, count_ = random_.randrange(1, PAGE_SIZE - 300), random_.choice((1, 4, 300))
                data[at : at + count_] = bytes([sweep + 1]) * count_
            now[page] = bytes(data)
            pages.append(page)
            stages.append(3 if sweep == 3 else 2)
            out.append(now[page])
    return pages, stages, b"".join(out)
