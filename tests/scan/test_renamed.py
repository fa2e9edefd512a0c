"""RAM's START with a damaged name: its data tells it, and it is read all the same."""

import numpy as np
import pytest

from tests import building
from tests.building import PAGE, configuration, patterned
from tests.cli.run import run
from tests.streams import StreamBuilder, noise
from xbrletools import open as open_capture
from xbrletools.verify.cause import CauseName


def modern() -> bytes:
    pages = [building.page(i * PAGE, patterned(i), None if i else b"pc.ram") for i in range(4)]
    return building.stream(*pages, blocks=((b"pc.ram", 4 * PAGE),))


def whole(builder: StreamBuilder) -> StreamBuilder:
    for i in range(4):
        builder.page(i * PAGE, noise(i))
    return builder


def posted() -> bytes:
    return (
        whole(StreamBuilder())
        .part()
        .delta(PAGE, noise(1), noise(1) ^ (np.arange(PAGE) == 7).astype(np.uint8))
        .end()
        .bytes()
    )


def flat() -> bytes:
    return whole(StreamBuilder({b"ram": 4 * PAGE}, dialect="m115")).part().dup(0).end().bytes()


def damaged(data: bytes, name: bytes) -> bytes:
    return data.replace(b"\x03ram", name, 1)


@pytest.mark.parametrize("make", [modern, posted, flat])
@pytest.mark.parametrize("name", [b"\x03rbm", b"\x03RAM", b"\x04ram", b"\x02ram", b"\x83ram"])
def test_memory_is_read_under_a_damaged_name_and_the_name_is_the_cause(make, name, tmp_path, capsys):
    sound, capture = open_capture(make()), open_capture(damaged(make(), name))
    assert capture.records.columns.offset.tolist() == sound.records.columns.offset.tolist()
    assert [(p.rule, p.offset) for p in capture.problems] == [("unknown-owner", make().index(b"\x03ram") - 5)]
    verdict = capture.verdict()
    assert (verdict.status, [c.name for c in verdict.causes]) == ("damaged", [CauseName.SECTION_FRAMING])
    assert verdict.receivers["qemu-7.2"].offset == capture.problems[0].offset
    path = tmp_path / "capture"
    path.write_bytes(damaged(make(), name))
    for command in (["info"], ["verify"], ["dump"]):
        status, out, err = run(capsys, *command, path)
        assert status == 1, command
        assert "its name was changed" in out + err or command == ["verify"]


def test_a_live_section_of_another_kind_is_not_taken_for_ram():
    data = building.HEADER + configuration() + building.start(b"pbs-state", 3, 1) + b"\x01" + building.footer(3)
    data += building.start() + building.block_list([(b"pc.ram", 16 * PAGE)]) + building.EOS + building.footer()
    data += building.part(kind=building.SectionType.END) + building.EOS + building.footer() + building.EOF
    capture = open_capture(data)
    assert not any(p.rule == "unknown-owner" for p in capture.problems)
    assert [s.owner.idstr for s in capture.sections if s.owner is not None][:2] == [b"pbs-state", b"ram"]
