"""Each message that `xbrle why` knows from a real QEMU is printed by one here. With every QEMU that is found."""

import pytest

from tests.qemu.edits import Places, ask
from tests.qemu.guest import EMULATORS
from tests.qemu.provoked import streams
from tests.qemu.test_receivers import MACHINE
from xbrletools.verify.messages import SEEN, matches, messages

pytestmark = pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it")

#: Messages of some versions alone: the first version that has it, and the first that does not any more.
VERSIONS = {
    "SaveVM v2 format is obsolete and don't work anymore": ((0,), (11, 1)),
    "SaveVM v2 format is obsolete and no longer supported": ((11, 1), (99,)),
    "Unknown savevm section type {}": ((0,), (11, 1)),
    "Unknown section type {}": ((11, 1), (99,)),
    "Unknown savevm section {}": ((0,), (11, 1)),
    "Unknown section {}": ((11, 1), (99,)),
    "Unknown savevm section or instance '{}' {}": ((0,), (11, 1)),
    "Unknown section or instance '{}' {}": ((11, 1), (99,)),
    "Section footer error, section_id: {}": ((11, 1), (99,)),
    "Failed to validate capabilities": ((11, 1), (99,)),
    "Failed to load vmstate version_id: {}, ret: {}": ((11, 1), (99,)),
    "VM subsection '{}' in '{}' does not exist": ((11, 1), (99,)),
    "Loading VM subsection '{}' in '{}' failed": ((11, 1), (99,)),
    "post load hook failed for: {}, version_id: {}": ((11, 1), (99,)),
    "Failed to load {} state: stream error: {}": ((11, 1), (99,)),
    "Failed to load section ID: stream error: {}": ((11, 1), (99,)),
    "MIG_CMD {} deprecated (len {})": ((11, 1), (99,)),
    "error while loading state section id {}({})": ((0,), (11, 1)),
    "Failed to load {}:{}": ((0,), (11, 1)),
    "Getting RAM address failed": ((9,), (99,)),
    "Found a zero page with value {}": ((8, 2), (99,)),
    "Received an unexpected compressed page": ((0,), (9, 1)),
}


@pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label)
def test_every_message_of_its_version_is_provoked_and_every_line_is_known(emulator, tmp_path, corpus):
    at = Places(corpus("cases/receivers/base-7.2.bin"))
    known, unknown = set(), []
    for title, stream in streams(at).items():
        path = tmp_path / "S"
        path.write_bytes(stream)
        for line in ask(emulator, path, *MACHINE).lines:
            found = [message.template for message, _ in matches(line)]
            known.update(found)
            if not found:
                unknown.append((title, line))
    assert unknown == []
    expected = {m.template for m in messages() if m.source == SEEN}
    for template, (since, until) in VERSIONS.items():
        if not since <= emulator.version < until:
            expected.discard(template)
    assert expected - known == set()


def test_forty_messages_and_more_are_known():
    assert len({m.template for m in messages() if m.source == SEEN}) > 60
    assert len(messages()) > 100
