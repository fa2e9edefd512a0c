"""The schema of the tables: their names, columns and units. docs/tables.md is made of it.

The version's first number changes where a column goes away or means something else, the second where one is added.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..arrow.tables import ArrowTable
from ..arrow.values import (
    BOOL,
    BYTES,
    F64,
    HASH,
    I64,
    TEXT,
    TIME,
    U32,
    U64,
    WORDS16,
    Batch,
    Field,
    Schema,
    batch,
)
from ..table import arrow as records
from ..version import __version__

VERSION = "1.0"
AT_ONCE = 1 << 12  # rows that are made at once


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what a row of it is, and its columns."""

    name: str
    about: str
    fields: tuple[Field, ...]


_OF_FINDING = "null where it does not apply"

SOURCES = Table(
    "sources",
    "A file that was given: the capture itself, or another channel of it.",
    (
        Field("source", TEXT, "the file or URL as it was given"),
        Field("channel", U32, "its place among the other channels, from 1; null for the main file"),
        Field("size", U64, "the size of the file", "bytes"),
        Field("mtime", TIME, "when the file was last changed, in UTC"),
        Field("etag", TEXT, "what the store says of its content, as JSON; null for a file"),
        Field("sha256", TEXT, "the digest of the file, as it lies there, in hexadecimal"),
        Field("seen", TIME, "when it was read, in UTC"),
    ),
)
CAPTURES = Table(
    "captures",
    "A capture that was read. It is written last: while it is missing, the other tables of the capture do not count.",
    (
        Field("name", TEXT, "what was opened"),
        Field("size", U64, "the size of the file", "bytes"),
        Field("stream_size", U64, "the size of what was read: unpacked, and with the pages of other channels", "bytes"),
        Field("stream_offset", U64, "where the stream begins in it", "bytes"),
        Field("wrapper", TEXT, "the compression that was undone; null for none"),
        Field("wrapping", TEXT, "libvirt or qcow2 where the stream is in such a file; null for none"),
        Field("machine", TEXT, "the machine that CONFIGURATION names; null where it does not"),
        Field("file_version", U32, "the version of the container"),
        Field("ram_version", U32, "the version of the RAM section; null where there is none"),
        Field("dialect", TEXT, "the dialect of the deltas; null where no delta shows it"),
        Field("candidates", TEXT, "the dialects that fit, with commas"),
        Field("endian", TEXT, "the byte order of the sending host where a delta shows it"),
        Field("page_size", U32, "the guest's page size", "bytes"),
        Field("blocks", U32, "how many RAM blocks there are"),
        Field("memory", U64, "the size of the RAM blocks that the stream lists", "bytes"),
        Field("channels", U32, "how many other channels were read"),
        Field("records", U64, "how many records carry a page"),
        Field("passes", U32, "how many passes there are over the block that has most of them"),
        Field("page_records", U64, "how many pages came in full"),
        Field("dup_records", U64, "how many pages came as one repeated byte"),
        Field("delta_records", U64, "how many pages came as a delta"),
        Field("compressed_records", U64, "how many pages came compressed"),
        Field("sections", U64, "how many sections there are"),
        Field("complete", BOOL, "whether the end of the stream was reached, and no channel is missing"),
        Field("problems", U64, "how many things the scan met that should not be there"),
        Field("damage", TEXT, "why the scan could not go on; null where it came to the end"),
        Field("status", TEXT, "the verdict in a word, as xbrle verify --json gives it"),
        Field("summary", TEXT, "the verdict in a sentence"),
        Field("pages_wrong", U64, "how many pages are wrong at the end; null where it cannot be told"),
        Field("first_bad_record", U64, "the first record after which the receiver differs; null for none"),
        Field("first_lasting_record", U64, "the first that no later record healed; null for none"),
        Field("causes", TEXT, "the causes, as a JSON list of cause, certainty, records and lasting"),
        Field("receivers", TEXT, "which receivers load it, as a JSON object: true, false, or null where it is unsure"),
        Field("findings", U64, "how many findings there are"),
        Field("errors", U64, "how many of them are errors"),
        Field("warnings", U64, "how many of them are warnings"),
        Field("missing", TEXT, "what of the tables could not be made, and why; null for nothing"),
        Field("options", TEXT, "how it was read where that was not left to detection, as a JSON object"),
        Field("versions", BOOL, "whether page_versions was made"),
        Field("rules", TEXT, "a digest of the YARA rules that matches was made with; null where it was not made"),
        Field("holding", TEXT, "those that hold in memory at the end: a JSON list of rule, file, space, sure, matches"),
        Field("seconds", F64, "how long reading and writing took", "seconds"),
        Field(
            "memory_used",
            U64,
            "the most memory that the process had by then, with files in memory; 0 if unknown",
            "bytes",
        ),
        Field("tool_version", TEXT, "the version of xbrletools that read it"),
    ),
)
BLOCKS = Table(
    "blocks",
    "A RAM block, in the order of the block list.",
    (
        Field("block", TEXT, "its name"),
        Field("index", U32, "its place in the list, from 0"),
        Field("length", U64, "its size; 0 where only records name it", "bytes"),
        Field("declared", BOOL, "whether the block list has it"),
        Field("region_offset", U64, "its offset in the region that holds it, where the list says so", "bytes"),
        Field("page_size", U32, "the size of its pages", "bytes"),
        Field("records", U64, "how many records carry a page of it"),
        Field("passes", U32, "how many passes there are over it"),
    ),
)
SECTIONS = Table(
    "sections",
    "A section of the container, in the order of the file.",
    (
        Field("section", U32, "its index, from 0"),
        Field("type", TEXT, "its type, as xbrle dump names it"),
        Field("section_id", U32, "its id; null where its type has none"),
        Field("idstr", TEXT, "the name of its owner"),
        Field("instance", U32, "the owner's instance"),
        Field("version", U32, "the owner's version"),
        Field("offset", U64, "where it begins", "bytes"),
        Field("data", U64, "where its data begins", "bytes"),
        Field("end", U64, "where its data ends; null where that was not found", "bytes"),
        Field("found_by", TEXT, "how its end was found; null where it was not"),
    ),
)
RECORDS = Table(
    "records", "A record: a word of a RAM section with its payload, in the order of the stream.", records.FIELDS
)
FINDINGS = Table(
    "findings",
    "A finding, as xbrle verify --json gives it, in the order of offsets.",
    (
        Field("rule", TEXT, "the rule that was broken: docs/rules.md"),
        Field("severity", TEXT, "error, warning or note"),
        Field("message", TEXT, "what was found"),
        Field("offset", U64, f"where it shows; {_OF_FINDING}", "bytes"),
        Field("record", U64, f"the record's number; {_OF_FINDING}"),
        Field("section", U64, f"the section's index; {_OF_FINDING}"),
        Field("block", TEXT, f"the RAM block's name; {_OF_FINDING}"),
        Field("page", U64, f"the page's address in its block; {_OF_FINDING}", "bytes"),
        Field("cause", TEXT, "the cause that explains it; null where it needs none"),
        Field("certainty", TEXT, "how sure that cause is"),
        Field("evidence", TEXT, "the numbers and texts that show it, as a JSON object"),
    ),
)
DEVICES = Table(
    "devices",
    "A field of a device's section, as the VM description or a grammar takes it apart.",
    (
        Field("section", U32, "the index of the section"),
        Field("device", TEXT, "the name of the device"),
        Field("instance", U32, "its instance"),
        Field("version", U32, "its version"),
        Field("field", TEXT, "the path of the field, with dots; data for a section that nothing describes"),
        Field("offset", U64, "where it stands", "bytes"),
        Field("size", U64, "its size", "bytes"),
        Field("value", TEXT, "its value: a number, numbers with blanks, or text; null for bytes"),
        Field("number", I64, "its value where it is one number that fits"),
        Field("raw", BYTES, "its first 256 bytes"),
    ),
)
PAGE_VERSIONS = Table(
    "page_versions",
    "A page just after one of its records, at the receiver. Made on request.",
    (
        Field("record", U64, "the record's number"),
        Field("block", WORDS16, "the RAM block's name"),
        Field("page", U64, "the address of the page in its block", "bytes"),
        Field("recovered", BOOL, "whether all its bytes are there"),
        Field("sum", U32, "its byte sum; null where it is not recovered"),
        Field("changed", U32, "how many bytes differ from the version before; those that were unknown count", "bytes"),
        Field("first", BOOL, "whether nothing of the page was there before"),
        Field("hash", HASH, "BLAKE2b of its bytes, 16 bytes long; null where it is not recovered"),
    ),
)
MATCHES = Table(
    "matches",
    "A time that a pattern of YARA rules was at a place, at the receiver. Made on request.",
    (
        Field("file", TEXT, "the file that has the rule"),
        Field("rule", TEXT, "the rule's name"),
        Field("pattern", TEXT, "what the pattern is called in the rule"),
        Field("block", TEXT, "the RAM block's name"),
        Field("offset", U64, "where it is in the block", "bytes"),
        Field("length", U64, "its size", "bytes"),
        Field("content", BYTES, "its first 256 bytes"),
        Field("appeared", U64, "the record after which it was there"),
        Field("pass", U32, "the pass of that record"),
        Field("time", F64, "when that record came, after the first byte; null where no times are known", "seconds"),
        Field("vanished", U64, "the record after which it was gone; null where it was there at the end"),
        Field("vanished_pass", U32, "the pass of that record; null where there is none"),
        Field("vanished_time", F64, "when that record came; null where no times are known", "seconds"),
    ),
)
ERRORS = Table(
    "errors",
    "A source that could not be read.",
    (
        Field("source", TEXT, "the file or URL as it was given"),
        Field("size", U64, "the size of the file; null where it is not there", "bytes"),
        Field("sha256", TEXT, "the digest of the file; null where it was not read to its end"),
        Field("error", TEXT, "unreadable, timeout, memory, killed, network or internal"),
        Field("message", TEXT, "what happened"),
        Field("retry", BOOL, "whether another try may succeed"),
        Field("seconds", F64, "how long it was tried", "seconds"),
        Field("seen", TIME, "when, in UTC"),
        Field("run", TEXT, "the run of xbrle tables that tried"),
        Field("tool_version", TEXT, "the version of xbrletools that tried"),
    ),
)

#: All tables by name.
TABLES: Mapping[str, Table] = {
    t.name: t for t in (SOURCES, CAPTURES, BLOCKS, SECTIONS, RECORDS, FINDINGS, DEVICES, PAGE_VERSIONS, MATCHES, ERRORS)
}
#: Those of one capture's own content.
CONTENT = ("blocks", "sections", "records", "findings", "devices")

#: Column that every table has in a folder of many captures: which capture a row is of.
CAPTURE = Field("capture", TEXT, "the capture's id: 32 hexadecimal digits of the digest of all that was read")

#: As `CAPTURE`, of tables sources and errors.
SOURCE_ID = Field("source_id", TEXT, "the source's id: of its path or URL, and how it is read")


def metadata(table: Table) -> dict[str, str]:
    """What is said of a table in its schema: the version, and the unit of each column that has one."""
    return {
        "xbrletools.schema": VERSION,
        "xbrletools.table": table.name,
        "xbrletools.version": __version__,
        "xbrletools.units": json.dumps({f.name: f.unit for f in table.fields if f.unit}),
    }


def schema_of(table: Table) -> Schema:
    """The schema of a table."""
    return Schema(table.fields, metadata(table))


def named(table: Table, made: ArrowTable) -> ArrowTable:
    """A table that was made elsewhere, with what is said of it."""
    return replace(made, schema=schema_of(table))


def of_rows(table: Table, rows: Callable[[], Iterable[tuple[Any, ...]]]) -> ArrowTable:
    """A table of rows that stand in tuples, made a piece at a time."""

    def batches() -> Iterator[Batch]:
        pending = iter(rows())
        while piece := list(islice(pending, AT_ONCE)):
            yield batch(table.fields, piece)

    return ArrowTable(schema_of(table), batches)
