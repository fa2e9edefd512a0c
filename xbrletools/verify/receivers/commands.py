"""What QEMU's loader makes of COMMANDs, one at a time: their lengths, and the order that postcopy asks for [Q][C]."""

import errno
from dataclasses import dataclass

from construct import Int16ub, Int32ub, Int64ub

from ...formats import qevm
from ...formats.qevm import Command
from .loading import Loading
from .tape import Tape, c_string
from .words import CHAINED, Fault, Version, cut, refused

SWITCHOVER_START: Version = (10, 0)  # the version that knows command 11
COLO_TYPO: Version = (9, 0)  # before it the message names another capability
NONE, ADVISE, DISCARD, LISTENING, RUNNING = range(5)  # the states of postcopy, as messages number them
_DISCARD_LEAST = 4 + 2 * Int64ub.sizeof()  # bytes of a RAM_DISCARD with one range


@dataclass(slots=True)
class Path:
    """What earlier commands set up: postcopy's ``state``, and the return path."""

    state: int = NONE
    is_open: bool = False


def command(on: Loading, path: Path, tape: Tape) -> Fault | None:
    """Read one COMMAND, its type byte being read already."""
    number, length = tape.number(Int16ub), tape.number(Int16ub)
    if tape.ended:
        return cut(on.version, f"Failed to load VM process command: stream error: -{errno.EIO}")
    asked = {k: v for k, v in qevm.COMMAND_LENGTHS.items() if k < _last(on)}
    if number not in asked:
        return refused(f"MIG_CMD {number:#x} unknown (len {length:#x})")
    fixed = asked[Command(number)]
    if fixed is not None and fixed != length:
        name = "(null)" if number == Command.ENABLE_COLO else Command(number).name
        message = f"{name} received with bad length - expecting {fixed}, got {length}"
        return refused(message, number=errno.ERANGE)
    start = tape.at
    fault = _obeyed(on, path, tape, Command(number), length)
    if fault is None:
        tape.at = min(start + length, tape.end)
    return fault


def _last(on: Loading) -> int:
    return int(Command.SWITCHOVER_START) + (1 if on.version >= SWITCHOVER_START else 0)


def _obeyed(on: Loading, path: Path, tape: Tape, number: Command, length: int) -> Fault | None:
    if number == Command.OPEN_RETURN_PATH:
        again, path.is_open = path.is_open, True
        return _complaint("CMD_OPEN_RETURN_PATH called when RP already open") if again else None
    if number == Command.PING and not path.is_open:
        value = tape.number(Int32ub)
        return refused(f"CMD_PING ({value:#x}) received with no return path", number=errno.EPERM)
    if number == Command.PACKAGED:
        return _packaged(tape)
    if number == Command.ENABLE_COLO:
        return _colo(on)
    if number == Command.POSTCOPY_RESUME:
        prefix = on.either("", "warning: ")
        return _complaint(f"{prefix}loadvm_postcopy_handle_resume: illegal resume received")
    if number == Command.RECV_BITMAP:
        return _bitmap(on, tape, length)
    return _postcopy(on, path, tape, number, length)


def _complaint(line: str) -> Fault:
    return Fault(0, (line,), complains=True)


def _packaged(tape: Tape) -> Fault | None:
    size = tape.number(Int32ub)
    left = tape.end - tape.at
    if size <= left:
        return None
    message = f"CMD_PACKAGED: Buffer receive fail ret={left} length={size}"
    return refused(message, number=errno.EAGAIN)


def _colo(on: Loading) -> Fault | None:
    if on.version >= CHAINED:
        return refused("MIG_CMD 0x8 deprecated (len 0x0)")
    if on.version < (8, 0) or on.has("x-colo"):
        return None
    on.needs.add("x-colo")
    name = "c-colo" if on.version < COLO_TYPO else "x-colo"
    return refused(f"ENABLE_COLO command come in migration stream, but {name} capability is not set")


def _bitmap(on: Loading, tape: Tape, length: int) -> Fault | None:
    prefix = on.either("loadvm_handle_recv_bitmap: ", "")
    name = tape.counted()
    if name is None:
        return refused(f"{prefix}failed to read block name")
    if length != len(name) + 1:
        return refused(f"{prefix}invalid payload length ({length})")
    if on.lengths and name not in on.lengths:
        return refused(f"{prefix}block '{c_string(name)}' not found")
    return _complaint("migrate_send_rp_recv_bitmap: MSG_RP_RECV_BITMAP only used for recovery")


def _postcopy(on: Loading, path: Path, tape: Tape, number: Command, length: int) -> Fault | None:
    """The commands that postcopy takes one after the other."""
    before = path.state
    wrong = f"CMD_{number.name} in wrong postcopy state ({before})"
    if number == Command.POSTCOPY_ADVISE:
        path.state = ADVISE
        return refused(wrong, number=errno.EPERM) if before != NONE else _advised(on, length)
    if number == Command.POSTCOPY_RAM_DISCARD:
        if before not in (ADVISE, DISCARD):
            return refused(wrong, number=errno.EPERM)
        path.state = DISCARD
        if length < _DISCARD_LEAST:
            return refused(f"CMD_{number.name} invalid length ({length})", number=errno.EPERM)
        version = tape.number()
        return refused(f"CMD_{number.name} invalid version ({version})", number=errno.EPERM) if version else None
    if number == Command.POSTCOPY_LISTEN:
        path.state = LISTENING
        return refused(wrong, number=errno.EPERM) if before not in (ADVISE, DISCARD) else None
    if number == Command.POSTCOPY_RUN:
        path.state = RUNNING
        return refused(wrong, number=errno.EPERM) if before != LISTENING else None
    return None


def _advised(on: Loading, length: int) -> Fault | None:
    ready = on.has("postcopy-ram")
    if length not in (0, qevm.PostcopyAdvise.sizeof()):
        return refused(f"CMD_POSTCOPY_ADVISE invalid length ({length})")
    if length and not ready:
        on.needs.add("postcopy-ram")
        return refused("RAM postcopy is disabled but have 16 byte advise")
    return refused("RAM postcopy is enabled but have 0 byte advise") if ready and not length else None
