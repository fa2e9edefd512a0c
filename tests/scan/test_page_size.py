"""The target's page size is found by trial, where nothing states it."""

import pytest

import xbrletools
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

pytestmark = pytest.mark.usefixtures("loops")


@pytest.mark.parametrize("dups", range(8))
def test_page_sums_before_the_pages_are_not_taken_for_a_larger_page(dups: int):
    start = {"section_id": 1, "idstr": b"ram", "instance_id": 0, "version_id": ram.VERSION_FLAT}
    record = ram.record(ram.VERSION_FLAT, DIALECTS["m115dbg"])
    content = bytes(range(256)) * 16
    page = {"checksum": sum(content), "data": content}
    stream = qevm.FileHeader.build({"version": 3})
    stream += qevm.SectionHeader.build({"type": SectionType.START, "start": start, "part": None})
    stream += record.build({"word": 0x40000 | Flag.MEM_SIZE, "blocks": None, "name": None, "body": None})
    for n in range(dups):
        stream += record.build({"word": n << 12 | Flag.COMPRESS, "blocks": None, "name": None, "body": {"fill": 7}})
    for n in range(dups, 6 + dups):
        stream += record.build({"word": n << 12 | Flag.PAGE, "blocks": None, "name": None, "body": page})
    stream += ram.Word.build(int(Flag.EOS)) + b"\0"
    capture = xbrletools.open(stream)
    assert capture.page_size == ram.PAGE_SIZE
    assert capture.records.counts()["page"] == 6
    assert not capture.problems
