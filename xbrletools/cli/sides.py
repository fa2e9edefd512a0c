"""Which of two files is a capture and which a dump of memory: known by their first bytes, or as the user says."""

import stat
from dataclasses import dataclass

from ..container import identify
from ..errors import XbrleError, unopened
from ..formats import magics, qevm
from ..source.beside import at_hand
from ..source.dumps import Dump, Form, form_of, open_dump, open_folder
from ..source.opening import open_source
from ..source.sources import MappedSource, Source
from ..source.wrappers import is_libvirt, is_qcow2
from ..urls import without_secrets

_MAGIC = qevm.MAGIC.to_bytes(4, "big")
_HEAD = 64  # bytes that show what is around a stream


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two files. ``form`` is that of a dump, None for a capture.

    ``capture`` is what to open as a capture: the path, or a source where it can be read only once. ``sure``: the first
    bytes show what it is.
    """

    path: str
    capture: str | MappedSource
    form: Form | None
    sure: bool

    @property
    def is_dump(self) -> bool:
        """Whether it is a dump."""
        return self.form is not None

    def dump(self) -> Dump:
        """The dump, opened.

        Raises:
            XbrleError: it cannot be read, or is not what its first bytes say.
        """
        if self.form is Form.FOLDER:
            return open_folder(self.path)
        assert self.form is not None
        source = open_source(self.path) if isinstance(self.capture, str) else self.capture
        return open_dump(self.path, source.spool(), self.form)


def look(path: str, offset: int | None, snapshot: str | None, raw: bool | None) -> Side:
    """What the file at ``path`` is. ``raw`` says what one is that its first bytes do not show, None: it is searched.

    ``offset`` and ``snapshot`` are those of a capture. What can be read only once goes to a temporary file.

    Raises:
        XbrleError: it cannot be read.
    """
    once = path == "-"
    try:
        with at_hand(path) as there:
            mode = None if once else there.stat().st_mode
            if mode is not None and stat.S_ISDIR(mode):
                return Side(path, path, Form.FOLDER, True)
            if mode is not None and stat.S_ISREG(mode):
                with there.open("rb") as file:
                    head = file.read(_HEAD)
                if is_libvirt(head) or is_qcow2(head):
                    return Side(path, path, None, True)
            else:
                once = True
    except OSError as error:
        raise unopened(without_secrets(path), error) from error
    source: Source = open_source(path, snapshot if once else None, offset)
    if once:
        source = source.spool()
    try:
        form, sure = _form(source, offset, raw)
    finally:
        source.close()
    return Side(path, source if isinstance(source, MappedSource) and once else path, form, sure)


def _form(source: Source, offset: int | None, raw: bool | None) -> tuple[Form | None, bool]:
    """The form of a dump, None for a capture, and whether its first bytes show it."""
    if source.wrapping is not None:
        return None, True
    view, _ = source.window(0, identify.HEAD)
    head = bytes(view[: identify.HEAD])
    if head.startswith(_MAGIC) or offset is not None:
        return None, True
    form = form_of(head)
    if form is not None:
        return form, True
    if head.startswith(magics.FIRMWARE_VECTOR * 2):
        return Form.RAW, True
    if raw is not None:
        return (Form.RAW if raw else None), False
    if identify.foreign(head) is not None:
        return None, True  # to open it says what it is
    view, _ = source.window(0, identify.SEARCHED)
    return (None if identify.stream_in(view[: identify.SEARCHED]) is not None else Form.RAW), False


def of_two(first: Side, second: Side, salvage: bool) -> tuple[Side, Side]:
    """Which of two files is the capture, then which is the dump, where at least one is a dump.

    With ``salvage`` one whose head is lost can be the capture, and nothing shows it but the other one.

    Raises:
        XbrleError: neither is a capture.
    """
    for capture, dump in ((first, second), (second, first)):
        if not capture.is_dump:
            return capture, dump
    for capture, dump in ((first, second), (second, first)) if salvage else ():
        if not capture.sure and capture.form is Form.RAW:
            return Side(capture.path, capture.capture, None, False), dump
    raise XbrleError(
        f"neither {without_secrets(first.path)} nor {without_secrets(second.path)} is a migration stream; "
        "one of the two must be. "
        "To compare raw files, use: cmp -l"
    )
