"""Migrates by every kind with every QEMU that is found, and prints how many pages each capture gives wrong.

    python -m tests.qemu > docs/qemu-versions.md      # a minute for each QEMU

.ci/install-tools installs the QEMUs. A cell says why, where a kind cannot be made or its capture does not read.
"""

import sys
import tempfile
from pathlib import Path

from tests.qemu.guest import EMULATORS, RAM, Emulator
from tests.qemu.kinds import KINDS, Kind, recorded, wrong_pages
from xbrletools.errors import XbrleError

HEAD = f"""# Kinds of captures, and versions of QEMU

A guest of {RAM >> 20} MiB that keeps writing is migrated by each kind, with each version of QEMU. The numbers count
pages of its RAM that the capture gives otherwise than the paused source held them, or does not give. Each capture must
also verify without an error. A dash: this version cannot make that kind. `python -m tests.qemu` makes this table. The
same runs are tests (`tests/qemu`).
"""


def cell(kind: Kind, emulator: Emulator) -> str:
    """What the table says of one kind with one QEMU."""
    if not kind.made_by(emulator):
        return "-"
    with tempfile.TemporaryDirectory() as folder:
        try:
            return str(wrong_pages(*recorded(kind, emulator, Path(folder))))
        except (XbrleError, AssertionError) as error:
            return f"fails: {str(error).splitlines()[0] if str(error) else 'the capture is not clean'}"


def main() -> int:
    """Print the table. Returns 1 where a page is wrong, or a capture does not read."""
    print(HEAD)
    print("| kind | " + " | ".join(emulator.label for emulator in EMULATORS) + " |")
    print("| --- |" + " ---: |" * len(EMULATORS))
    right = True
    for kind in KINDS:
        cells = [cell(kind, emulator) for emulator in EMULATORS]
        right &= set(cells) <= {"0", "-"}
        print(f"| {kind.name} | {' | '.join(cells)} |", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
