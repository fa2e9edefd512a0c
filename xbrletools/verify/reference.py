"""What is to be said of a rule beside a finding: what shows it, and what to do. docs/rules.md is made of this."""

from collections.abc import Iterator
from dataclasses import dataclass

from . import rules
from .rules import ANY, RULES, STATES_SUMS, Rule

_SALVAGE = "Read on after the damage: xbrle salvage S."
_AGAIN = "Copy the capture anew from where it was made, and compare the copies byte for byte."
_HEX = "Look at the bytes: xbrle dump S --hex."


@dataclass(frozen=True, slots=True)
class Advice:
    """``evidence`` says what shows a finding, with the names that it has in JSON. ``to_do`` says what to do next."""

    evidence: str
    to_do: str


def _the_place(to_do: str) -> Advice:
    return Advice("The bytes at the finding's offset.", to_do)


#: What to say of each rule.
ADVICE: dict[Rule, Advice] = {
    rules.TRUNCATED: _the_place(f"Ask whether the migration was cancelled or the recording stopped. {_SALVAGE}"),
    rules.FILE_VERSION: _the_place(
        "Look whether the first eight bytes are damaged. An old QEMU wrote version 2, which this tool does not read."
    ),
    rules.RAM_VERSION: _the_place(f"Look whether the RAM section's first bytes are damaged. {_AGAIN}"),
    rules.BAD_SECTION_TYPE: _the_place(f"The bytes before it are damaged, or some are missing. {_SALVAGE}"),
    rules.UNKNOWN_SECTION: _the_place(f"The id is damaged, or the section that announced it is missing. {_SALVAGE}"),
    rules.UNKNOWN_OWNER: Advice(
        "`idstr`, `instance` and `version` of the section.",
        "The section's type byte or name may be damaged. Else its sender had a device that receivers of 2011 lack.",
    ),
    rules.BAD_BLOCK_RECORD: _the_place(_SALVAGE),
    rules.BAD_FOOTER: _the_place("See which section it is, and where it ends: xbrle dump S --devices."),
    rules.BAD_PACKAGE: _the_place("See the commands about it: xbrle info S --commands."),
    rules.MULTIFD_CHANNEL: Advice(
        "The message names the channel's file and the offset in it.",
        "Give each channel of this migration, whole, with --channel FILE.",
    ),
    rules.CHANNEL_MISSING: Advice(
        "MULTIFD_FLUSH records, pages that no record gives, or pages that postcopy discarded and never sent again.",
        "Give each channel of this migration with --channel FILE.",
    ),
    rules.FOREIGN_CHANNEL: Advice(
        "The guest's UUID, packet numbers, or block names that do not go with the other channels.",
        "Give the channels of this migration, and no other, with --channel FILE.",
    ),
    rules.SYNC_WITH_PAGES: Advice(
        "`channel`, and how many `packets` carry how many `pages`.",
        "Do not migrate to QEMU 9.2 from this QEMU with multifd.",
    ),
    rules.RAM_ELSEWHERE: Advice(
        "The capability x-ignore-shared in CONFIGURATION, or blocks without a record.",
        "Take these blocks' memory from the files that back them.",
    ),
    rules.UNKNOWN_COMMAND: Advice(
        "`number`, `length`, and the `count` of such commands.", "See the commands about it: xbrle info S --commands."
    ),
    rules.COMMAND_LENGTH: Advice(
        "`number`, `length`, and the `count` of such commands.", "See the commands about it: xbrle info S --commands."
    ),
    rules.COMMAND_ORDER: Advice(
        "`number`, `length`, and the `count` of such commands.",
        "A command before it is missing, damaged or out of place: xbrle info S --commands.",
    ),
    rules.BAD_DESCRIPTION: _the_place("What can be read of it is used. Device fields may lack names."),
    rules.DEVICE_MISSING: Advice(
        "The devices, by the names that the description has.",
        "Capture the migration again: a guest goes on with these devices as they are after a reset.",
    ),
    rules.DEVICE_NAME: Advice(
        "Both names.",
        "Look at the section's header: xbrle dump S --devices --fields. A bit of the name may have flipped.",
    ),
    rules.DESCRIPTION_MISMATCH: Advice(
        "`described` and `size`, in bytes, where the sizes differ. `described` and `read`, in bytes, for the "
        "size of pages. `described_version` and `version` where those differ.",
        "Compare the section with its fields: xbrle dump S --devices --fields. Some senders describe a device wrongly.",
    ),
    rules.DEVICE_VALUE: Advice(
        "`field`, its `type` by the VM description, and the `bytes` from the first wrong one on.",
        "Look at the device: xbrle dump S --devices --fields. A byte of it was changed on the way.",
    ),
    rules.SUBSECTION_PLACE: Advice(
        "`name` of the subsection.", "Ask whether the destination's QEMU knows this subsection."
    ),
    rules.MISSING_PACKETS: Advice(
        "The stream offset where they are missing, and how many. TCP delivered them, but tcpdump did not record them.",
        "Read what follows with --salvage. Record again with a larger buffer (tcpdump -B) and whole packets (-s 0).",
    ),
    rules.PACKETS_DIFFER: Advice(
        "The stream offset of bytes that were sent twice, and were not the same. What came first is taken.",
        "Ask where the dump comes from: a sender repeats the same bytes.",
    ),
    rules.DUMP_CUT: Advice(
        "Where in the dump it ends, or which part of it was left out.",
        "Copy the dump again, or filter it with tcpdump.",
    ),
    rules.PACKETS_ODD: Advice(
        "How many packets, and why they are not read.", "Nothing, if no packets of the stream are missing."
    ),
    rules.UNFINISHED_SAVE: Advice(
        "The file begins with LibvirtQemudPart.", "The save was interrupted, or is still going on: look at its end."
    ),
    rules.UNFINISHED_BITMAP: Advice(
        "RAM's END is not there.", "Extract what the records give. Pages that no bit marks are unknown, not zero."
    ),
    rules.MAPPED_LAYOUT: Advice(
        "The bitmap does not stand right behind the header, or the pages not at the next multiple of 1 MiB.",
        "Look whether the stream was cut out of its file: offsets count from the file's start. Else the header was"
        " changed: QEMU loads the stream with wrong pages.",
    ),
    rules.SKIPPED: Advice(
        "`start` and `end` of the skipped bytes, and how certain reading on is (`certainty`).",
        "Look at the bytes: xbrle salvage S lists what was skipped and which pages it puts in doubt.",
    ),
    rules.TRAILING_DATA: _the_place(f"Ask what wrote on to this file. {_HEX}"),
    rules.DEVICE_TAIL_UNCHECKED: Advice(
        "`start` and `end` of the device state.", "Nothing. Streams of this age do not protect it."
    ),
    rules.BAD_RECORD: _the_place(f"The bytes before it are damaged, or some are missing. {_SALVAGE}"),
    rules.BLOCK_LIST: _the_place(f"Give the blocks with --salvage --blocks NAME=SIZE,... . {_AGAIN}"),
    rules.BLOCK_LIST_FORM: _the_place("See the list: xbrle dump S --fields."),
    rules.DESTINATION_BLOCKS: Advice(
        "The blocks that --blocks names.", "Start the destination with the memory and the devices of the source."
    ),
    rules.FLAGS_UNKNOWN: Advice("The record's flags.", "See them: xbrle dump S --fields. A bit may have flipped."),
    rules.RDMA_HOOK: Advice(
        "The record's flags.",
        "Ask whether this was a migration over RDMA. Else the record is damage: xbrle dump S --hex.",
    ),
    rules.END_ODD: Advice("The record's word.", "See it: xbrle dump S --fields. A bit may have flipped."),
    rules.FLAGS_COMBINED: Advice("The record's flags.", "See them: xbrle dump S --fields. A bit may have flipped."),
    rules.NO_KIND: Advice(
        "The record's flags.", "See them: xbrle dump S --fields. The record before it may be damaged."
    ),
    rules.CONTINUE_WITHOUT_BLOCK: Advice(
        "`records` counts the records of which the same is true.", f"Records before it are missing. {_SALVAGE}"
    ),
    rules.UNKNOWN_BLOCK: Advice("The record's block name.", f"The name or the block list is damaged. {_HEX}"),
    rules.PAGE_OUT_OF_BOUNDS: Advice("`block_length`, in bytes.", f"The address or the block list is damaged. {_HEX}"),
    rules.UNREADABLE_DELTA: _the_place(f"The delta's header is damaged, or its dialect is not known. {_SALVAGE}"),
    rules.FORCED_READING: Advice(
        "`shows` is what the capture's deltas show by themselves.", "Leave out --dialect and --endian."
    ),
    rules.DELTA_LENGTH: Advice("The length in the delta's header.", f"The header is damaged. {_HEX}"),
    rules.DELTA_HEADER: Advice("`header_flags` of the delta.", f"The header is damaged. {_HEX}"),
    rules.DELTA_FLAGS: Advice("`header_flags` of the delta.", "A bit may have flipped: compare other deltas' headers."),
    rules.DELTA_PADDING: Advice("`padding` of the header.", "A bit may have flipped, or the sender does not clear it."),
    rules.DELTA_ODD: Advice("The length of the payload.", "See the runs: xbrle dump S --fields --runs."),
    rules.DELTA_FORM: Advice("The runs of the payload.", "See the runs: xbrle dump S --fields --runs."),
    rules.DELTA_STAGE: Advice("The type of the record's section.", "A section header may be damaged."),
    rules.DELTA_SIZE: Advice(
        "What stops its decoding, in the message.", "See the runs: xbrle dump S --fields --runs. A run is damaged."
    ),
    rules.DELTA_WITHOUT_BASE: Advice(
        "Where a sum is stated: `stated`, and `blank`, the sum over a receiver's empty page.",
        "The records that gave this page are missing. Look at the page's story: xbrle page S ADDRESS.",
    ),
    rules.COMPRESSED_PAGE: Advice(
        "What stops zlib, in the message.", "The page is lost. Old senders raced and wrote such streams."
    ),
    rules.COMPRESSED_PAGE_SUPERSEDED: Advice(
        "`superseded_by_record` gives the page again.", "Nothing: the receiver ends up with the right page."
    ),
    rules.BASE_WRONG: Advice(
        "`byte` is the place in the page, `healed_by_record` the record that gives the page anew.",
        "Look at the page's story: xbrle page S ADDRESS.",
    ),
    rules.CHECKSUM_MISMATCH: Advice(
        "`stated` is the sum in the header, `computed` that of the page.",
        "Look at the cause that explains it. Without one: xbrle verify S --explain checksum-mismatch@RECORD.",
    ),
    rules.STALE_BASE: Advice(
        "`base_record` is the sender's base, `dup_record` the dup page by which the receiver lost it. "
        "`healed_by_record` gives the page anew, and `certainty` says what shows it.",
        "Take the source's memory: xbrle extract S --view sender. Mend the sender: it must cache dup pages.",
    ),
    rules.CHECKSUM_COLLISION: Advice(
        "`stated` is the sum, `base_record`, `dup_record` and `healed_by_record` are as in stale-base.",
        "Take the source's memory: xbrle extract S --view sender.",
    ),
    rules.REPLAYED_SPAN: Advice(
        "`first_record` to `last_record` repeat `of_first_record` to `of_last_record`, with so many `deltas`.",
        "Ask how the capture was put together. Deltas that came twice undo themselves.",
    ),
    rules.DELTA_UNDONE: Advice(
        "`first_record` to `last_record` repeat `of_first_record` to `of_last_record`, with so many `deltas`.",
        "Nothing, unless other findings speak for a replay.",
    ),
    rules.CORRUPT_PAGE: Advice(
        "The damage lies between `earliest_record` and the finding's record. `tainted` counts the records that rest on "
        "it, `healed_by_record` gives the page anew.",
        "See the records behind it: xbrle verify S --explain corrupt-page@RECORD. " + _AGAIN,
    ),
    rules.DROPPED_SPAN: Advice(
        "The deltas of so many `pages` fail, which were right up to `after_record`.",
        f"Ask whether the recording lost a part. {_AGAIN}",
    ),
    rules.ENDS_DISAGREE: Advice(
        "The line of each log, with the sum that it gives of the page.", "Look at the page: xbrle page S ADDRESS."
    ),
    rules.LOG_UNREAD: Advice("The line of the log.", "Nothing: salvage skipped the record."),
    rules.REFUSED_BY_ALL: Advice(
        "`receivers` that refuse it, and what the newest of them `said`.",
        "Ask what the lines mean: xbrle why LINE S. Look at the bytes: xbrle dump S --hex.",
    ),
    rules.PAGE_NEVER_SENT: Advice(
        "`missing` of so many `pages` of a block.",
        "They are unknown. A guest's balloon or virtio-mem device may have kept the sender from sending them.",
    ),
}


def meaning(rule: Rule) -> Iterator[tuple[str, str]]:
    """What a rule says, part by part: a heading, and a text of whole sentences."""
    advice = ADVICE[rule]
    yield "What it means", _sentence(rule.sentence)
    yield "Severity", _severity(rule)
    yield "Evidence", advice.evidence
    for case, text in rule.conclusions.items():
        title = "What it amounts to" if case in (ANY, STATES_SUMS) else f"Where the certainty is {case}"
        yield title, text.replace("{dialect}", "capture's")
    yield "What to do", advice.to_do
    stops = [receiver.value for receiver in type(next(iter(rules.TRUNCATED.stops))) if receiver in rule.stops]
    yield "Receivers", f"Stop at it: {', '.join(stops)}." if stops else "None stops at it by itself."
    if rule.messages:
        yield "QEMU says", "; ".join(f'"{message}"' for message in rule.messages)


def _severity(rule: Rule) -> str:
    if rule in (rules.STALE_BASE, rules.CHECKSUM_COLLISION, rules.BASE_WRONG, rules.CORRUPT_PAGE):
        return f"{rule.severity.value} where no later record healed the page, warning where one did."
    if rule is rules.REPLAYED_SPAN:
        return "error where sums or literals show it, else warning."
    if rule is rules.DESCRIPTION_MISMATCH:
        return f"error where a version or the size of pages differs, {rule.severity.value} otherwise."
    return f"{rule.severity.value}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


_HEAD = """# Rules

What each finding of `xbrle verify` means. This file is made by `python docs/make_rules.py` from `verify/rules.py` and
`verify/reference.py`. `xbrle verify --explain RULE` prints the same. [verdict.md](verdict.md) says what findings amount
to. {} in a message of QEMU stands for what varies.

An error means that memory is lost or wrong, or that a receiver stops. A warning is suspicious. A note is for
information."""


def document() -> str:
    """docs/rules.md: every rule, in the order in which findings about one record are listed."""
    out = _HEAD.split("\n")
    for rule in RULES.values():
        out += ["", f"## {rule.id}", ""]
        out += [f"- **{title}**: {text}" for title, text in meaning(rule)]
    return "\n".join(out) + "\n"
