"""The target's page size is found by trial, where nothing states it."""

import pytest

import xbrletools
from tests.building import page, stream
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
    summed = {"checksum": sum(content), "data": content}
    whole = qevm.FileHeader.build({"version": 3})
    whole += qevm.SectionHeader.build({"type": SectionType.START, "start": start, "part": None})
    whole += record.build({"word": 0x40000 | Flag.MEM_SIZE, "blocks": None, "name": None, "body": None})
    for n in range(dups):
        whole += record.build({"word": n << 12 | Flag.COMPRESS, "blocks": None, "name": None, "body": {"fill": 7}})
    for n in range(dups, 6 + dups):
        whole += record.build({"word": n << 12 | Flag.PAGE, "blocks": None, "name": None, "body": summed})
    whole += ram.Word.build(int(Flag.EOS)) + b"\0"
    capture = xbrletools.open(whole)
    assert capture.page_size == ram.PAGE_SIZE
    assert capture.records.counts()["page"] == 6
    assert not capture.problems


def test_damage_behind_some_pages_does_not_make_a_smaller_page_of_them():
    """With 1024 bytes a page one record reads, and then a word that none can have. With 4096 there are five."""
    content = bytes(range(64)) * 64
    records = [page(0, content, b"pc.ram"), *(page(at << 12, content) for at in range(1, 5))]
    capture = xbrletools.open(stream(*records, b"\xff" * 8))
    assert capture.page_size == ram.PAGE_SIZE
    assert capture.records.counts()["page"] == 5
