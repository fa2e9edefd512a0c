"""The words that the report uses, as docs/glossary.md explains them."""

from .markup import Markup, section, tag

#: Each word as docs/glossary.md has it, which a test holds.
WORDS = {
    "Capture": "the bytes of one migration stream: a recorded live migration, a savevm snapshot or a libvirt save "
    "file.",
    "Verdict": "the conclusion from all findings, in one word and one sentence: NO FAULT, HEALED, INCOMPLETE, DAMAGED, "
    "CORRUPT or UNREADABLE.",
    "Cause": "what explains one or many findings, with how sure that is: certain, likely, one of several, or unknown.",
    "Finding": "one observation about a capture, with a rule, a severity, a place and its evidence.",
    "Rule": "the kind of a finding, for example checksum-mismatch or stale-base.",
    "Severity": "error loses or falsifies memory, or stops a receiver; warning is suspicious; note is for information.",
    "Healed": "said of a wrong page that a later record made right again.",
    "Unknown": "not determined: the byte was not sent, a base is missing, or damage makes it uncertain.",
    "Receiver": "a program whose verdict on the stream is computed.",
    "View": "whose memory is shown. Receiver, the default: what the destination ended up with. Sender: what the source "
    "really held. They differ where a base was stale.",
    "RAM block": "a named piece of guest memory, for example pc.ram or vga.vram.",
    "Section": "a part of the stream with its own header. Each section belongs to one owner, for example ram or a "
    "device.",
    "Record": "one unit of a RAM section. Most records carry one page. Those are numbered from 1, and the number is "
    "the same in text, in options and in JSON.",
    "Dup page": "a page whose bytes are all the same, most often zero. Only that byte is sent.",
    "Delta": "a record that holds only what changed in a page since an earlier version of it.",
    "Base": "the earlier version that a delta is applied to. The receiver must have the same base as the sender, or "
    "the result is wrong.",
    "Stale base": "a base that the sender still has, but the receiver has lost.",
    "Dialect": "one of the ways in which deltas have been written: posted (the XBRLE patch of May 2011), xbzrle (QEMU "
    "since 2012), and others.",
    "Checksum": "the byte sum of a page, which some dialects state in each delta. It is weak: moving bytes around in a "
    "page does not change it.",
    "Pass": "one sweep of the sender over memory, in rising addresses. The first pass sends everything, each later one "
    "what the guest has changed meanwhile.",
    "Stage": "the part of the migration that a section belongs to. START announces the blocks, PART sections (stage 2) "
    "are sent while the guest runs, END (stage 3) when it is stopped.",
    "Channel": "one connection of a migration. With multifd and postcopy-preempt there are several: the main channel "
    "has the sections, the others carry pages.",
    "VM description": "JSON at the end of a stream, in which QEMU names the fields of each device.",
    "Guest-physical address": "where the guest's hardware has a byte.",
    "ram_addr": "the sender's own numbering of all RAM, across blocks.",
    "Converge": "said of a migration whose passes become short enough that the rest can be sent while the guest stands "
    "still.",
    "Page cache": "the sender's copies of pages, from which it computes deltas.",
    "Policy": "when the sender sends a delta instead of a full page.",
}


def glossary_section() -> Markup:
    """What the words mean."""
    words = (tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in WORDS.items())
    return section("glossary", "Glossary", tag("dl", *words, class_="glossary"))
