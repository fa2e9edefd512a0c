"""What a real QEMU says of edited streams, against what `xbrle verify --receiver` says it would. With every QEMU found.

`python -m tests.qemu --receivers 500` asks more.
"""

import pytest

import xbrletools
from tests.qemu.edited import EDITS, NOT_JUDGED, made
from tests.qemu.edits import Places, ask
from tests.qemu.guest import EMULATORS, Emulator
from xbrletools.verify.receivers import RECEIVERS, Destination, outcome
from xbrletools.verify.receivers.values import DEVICE_VALUES

pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label),
]
MACHINE = ("-M", "pc-i440fx-7.2", "-m", "16")
IN_THE_GATE = 1  # seeds of each kind; other ones than those in tests/verify/receivers_said.json


NOT_TOLD = "the data of a device was changed: cannot be told"


def difference(kind: str, seed: int, emulator: Emulator, at: Places, folder) -> str | None:
    """What the real QEMU and the receiver of its version say, where that is not the same. Asks nothing in vain.

    It begins with `NOT_TOLD` where the receiver loads all that it judges, and QEMU refuses a value of a device.
    """
    receiver = RECEIVERS.get(f"qemu-{emulator.version[0]}.{emulator.version[1]}")
    if receiver is None:
        return None
    path = folder / "S"
    path.write_bytes(made(kind, seed, at))
    try:
        capture = xbrletools.open(path)
    except xbrletools.XbrleError:
        return None  # not a stream: no receiver is asked
    destination = Destination(b"pc-i440fx-7.2", {b.name: b.length for b in at.blocks})
    ours = outcome(capture.stream, capture.verify(), receiver, destination)
    if ours.loads is None:
        return None
    real = ask(emulator, path, *MACHINE)
    same = ours.loads == real.loads and (list(ours.said) == real.lines or (not ours.loads and not ours.said))
    if same:
        return None
    said = f"{kind} {seed} {emulator.label}: {real} and not {ours}"
    is_open = kind in NOT_JUDGED and ours.loads and DEVICE_VALUES in ours.not_judged and not real.loads
    return f"{NOT_TOLD}: {said}" if is_open else said


@pytest.mark.parametrize("kind", EDITS)
def test_a_real_qemu_says_what_its_receiver_says(kind, emulator, tmp_path, corpus):
    at = Places(corpus("cases/receivers/base-7.2.bin"))
    found = [difference(kind, 1000 + seed, emulator, at, tmp_path) for seed in range(IN_THE_GATE)]
    assert [f for f in found if f and not f.startswith(NOT_TOLD)] == []
