"""Captures in object stores and on web servers, read through fsspec (extra ``remote``).

An object is fetched whole into a folder, and read there as any file: it can be mapped, and has an index. It is kept
there under what the store says of it: size, ETag, time of change. So the next opening asks the store once and fetches
nothing, and an object that changed is another one. It gets its name when all of it is there, and when the store says
the same of it as before. Whatever fails on the way is a `TransportError`, and never damage of the capture.
"""

import errno
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import TransportError, XbrleError
from ..outputs import protect
from ..progress import tell
from ..text import label, size
from ..urls import EXTRAS, SCHEMES, scheme_of, without_secrets
from .keeping import folder as cache_folder

FOLDER, ROOM = "XBRLE_REMOTE_CACHE", "XBRLE_REMOTE_CACHE_SIZE"  # variables of the environment
MOST = 64 << 30  # bytes that are kept, where `ROOM` does not say it; those unused for longest go
SPARE = 20  # a part of the disk that stays free: one in so many
_HALF_DONE = 24 * 3600  # seconds after which a file that was never finished is dropped
_NAME_MAX = 100  # characters of an object's name that its file has
_PART = "part-"  # what the name of a file that is not whole begins with
_SILENCE = 60  # seconds without a byte after which a web server counts as gone
#: Where stores say what changes with the content.
_MARKS = (
    *("ETag", "etag", "VersionId", "generation", "Content-MD5", "Digest", "md5Hash"),
    *("LastModified", "Last-Modified", "updated", "created", "mtime"),
)

_LIBRARIES = ("fsspec", "s3fs", "gcsfs", "aiohttp", "aiobotocore", "botocore", "google")
_SILENT = logging.NullHandler()  # without any handler, Python prints warnings to stderr


@dataclass(frozen=True, slots=True)
class State:
    """What a store says of an object: its size in bytes, None where it does not say it, and marks of its content."""

    size: int | None
    marks: tuple[tuple[str, str], ...]


# -- the store --------------------------------------------------------------------------------------------------------


def check(url: str) -> None:
    """Look whether what reading ``url`` takes is installed. Nothing is imported for it.

    Raises:
        XbrleError: it is not, or no URL like this is read.
    """
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        listed = ", ".join(f"{s}://" for s in SCHEMES)
        raise XbrleError(f"{without_secrets(url)}: {scheme}:// is not read, only {listed}. Copy it to a file first")
    needed = [name for name in ("fsspec", SCHEMES[scheme]) if name and find_spec(name) is None]
    if needed:
        raise XbrleError(
            f"{without_secrets(url)}: {scheme}:// needs {' and '.join(needed)}. "
            f"Install it: pip install 'xbrletools[{EXTRAS[scheme]}]'"
        )


@contextmanager
def _store(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL and the path in it. What goes wrong with it in the block is a `TransportError`."""
    check(url)
    import fsspec

    for name in _LIBRARIES:  # what they say of a try that failed is said here, once and in one line
        logging.getLogger(name).addHandler(_SILENT)
    kind = fsspec.get_filesystem_class(scheme_of(url))
    options: dict[str, Any] = {**kind._get_kwargs_from_urls(url), "use_listings_cache": False}
    if SCHEMES[scheme_of(url)] == "aiohttp":
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
        options["client_kwargs"] = {"timeout": limits, "auto_decompress": False, "trust_env": True}
    try:
        yield fsspec.filesystem(scheme_of(url), **options), kind._strip_protocol(url)
    except XbrleError:
        raise
    except Exception as error:  # of four libraries, each with errors of its own
        from .transport import failure

        raise failure(url, error) from None


def state_of(url: str) -> State:
    """What the store says of an object.

    Raises:
        TransportError: there is none, or the store does not answer.
    """
    with _store(url) as (store, path):
        return _state(store, path, url)


def _state(store: Any, path: str, url: str) -> State:
    about = store.info(path)
    if about.get("type") == "directory":
        raise XbrleError(f"{without_secrets(url)}: is a folder, not a capture")
    found = about.get("size")
    marks = tuple((name, str(about[name])) for name in _MARKS if about.get(name) is not None)
    return State(None if found is None else int(found), marks)


def exists(url: str) -> bool:
    """Whether there is such an object. One that may not be seen counts as not there, as stores have it.

    Raises:
        TransportError: the store does not answer.
    """
    try:
        state_of(url)
    except TransportError as error:
        if error.absent:
            return False
        raise
    return True


def beside(url: str, ending: str) -> str | None:
    """The name of ``url`` with ``ending`` after it. None where a signature stands there, which is for one object."""
    return None if scheme_of(url) in ("http", "https") and ("?" in url or "#" in url) else url + ending


def head_of(url: str, count: int) -> bytes:
    """The first bytes of an object, at most ``count``.

    Raises:
        TransportError: there is none, or the store does not answer.
    """
    with _store(url) as (store, path):
        about = _state(store, path, url)
        if not about.size:
            return b""
        return bytes(store.cat_file(path, start=0, end=min(count, about.size)))


# -- the folder -------------------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where fetched objects are kept: ``$XBRLE_REMOTE_CACHE``, by default ``remote`` in the user's cache folder.

    Raises:
        XbrleError: the variable is not set, and there is no home.
    """
    named = os.environ.get(FOLDER)
    try:
        return Path(named) if named else cache_folder() / "remote"
    except RuntimeError:
        raise XbrleError(f"there is no home to keep what is fetched in: name a folder in {FOLDER}") from None


def most() -> int:
    """How many bytes of fetched objects are kept: ``$XBRLE_REMOTE_CACHE_SIZE``, by default `MOST`.

    Raises:
        XbrleError: the variable does not hold a size.
    """
    named = os.environ.get(ROOM)
    return size(named) if named else MOST


@contextmanager
def at_hand(url: str, keep: bool = True) -> Iterator[Path]:
    """The object as a file. Without ``keep`` the file is a temporary one, which is removed after the block.

    Raises:
        TransportError: it cannot be had: the message says why and what to do. Trying again may help.
    """
    if keep:
        path = fetched(url)
        protect(path)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="xbrletools-", ignore_cleanup_errors=True) as where:
        file = Path(where) / _name_of(url)
        with _store(url) as (store, place):
            state = _state(store, place, url)
            _check_room(url, file.parent, state.size)
            _fetch(store, place, url, state, file)
        yield file


def fetched(url: str) -> Path:
    """The file with the content of an object, fetched where it is not there yet.

    Raises:
        TransportError: it cannot be had: the message says why and what to do. Trying again may help.
    """
    with _store(url) as (store, place):
        state = _state(store, place, url)
        entry = folder() / _key(url, state)
        file = entry / _name_of(url)
        with suppress(OSError):
            if state.marks and state.size is not None and file.stat().st_size == state.size:
                os.utime(entry)  # in use, so not the first to go; the file's own times are part of what an index is of
                return file
        try:
            entry.mkdir(mode=0o700, parents=True, exist_ok=True)
            trim(state.size or 0, entry)
            _check_room(url, entry, state.size)
            descriptor, part = tempfile.mkstemp(prefix=_PART, dir=entry)
            os.close(descriptor)
            try:
                _fetch(store, place, url, state, Path(part))
                Path(part).replace(file)
            except BaseException:
                with suppress(OSError):
                    Path(part).unlink()
                    entry.rmdir()
                raise
        except OSError as error:
            of_folder = str(error.filename or "").startswith(str(folder()))
            if not of_folder and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
                raise
            raise XbrleError(
                f"{without_secrets(url)}: cannot be kept in {folder()}: {error.strerror}. "
                f"Name another folder in {FOLDER}, or use --no-cache"
            ) from None
    return file


def _fetch(store: Any, place: str, url: str, state: State, to: Path) -> None:
    """Fetch an object, all of it as it was when ``state`` was asked for, or raise."""
    import fsspec

    name, came = without_secrets(url), [0]

    class Counting(fsspec.Callback):  # type: ignore[misc]
        """Notes how many bytes are to come, and tells of those that came."""

        def relative_update(self, inc: int = 1) -> None:
            came[0] += inc
            tell(f"fetching {name}", came[0], state.size)

    told = Counting()
    plain = {"headers": {"Accept-Encoding": "identity"}} if SCHEMES[scheme_of(url)] == "aiohttp" else {}
    store.get_file(place, str(to), callback=told, **plain)
    there = to.stat().st_size
    expected = state.size if told.size is None else int(told.size)
    if expected is None:
        raise TransportError(
            f"{name}: the server does not say how long it is, so that one which is cut could not be told from a whole "
            "one. Fetch it with another program, and give the file"
        )
    if state.size not in (None, expected) or _state(store, place, url) != state:
        raise TransportError(f"{name}: it changed while it was fetched. Try again when nobody writes to it")
    if there != expected:
        raise TransportError(f"{name}: only {there:,} of its {expected:,} bytes came. Try again")


def _key(url: str, state: State) -> str:
    """What tells this content of this object from every other. No secret can be read from it."""
    strong = any(name in ("ETag", "etag", "generation", "VersionId") for name, _ in state.marks)
    told = [without_secrets(url) if strong else url, state.size, *state.marks]
    return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _name_of(url: str) -> str:
    """The name of the file that an object's content is kept in."""
    last = label(without_secrets(url).removesuffix("?...").rstrip("/").rpartition("/")[2])
    return last.replace("\\", "_").replace("\0", "_").lstrip(".")[-_NAME_MAX:] or "object"


def _check_room(url: str, where: Path, needed: int | None) -> None:
    """Look whether the disk has room.

    Raises:
        XbrleError: it does not.
    """
    disk = os.statvfs(where)
    room = max(0, disk.f_bavail - disk.f_blocks // SPARE) * disk.f_frsize
    if needed is not None and needed > room:
        named = f"a folder on a larger disk in {FOLDER}, or in TMPDIR with --no-cache"
        raise XbrleError(
            f"{without_secrets(url)}: has {needed:,} bytes, and {where.parent} has room for {room:,}. Name {named}"
        )


def trim(coming: int = 0, keep: Path | None = None) -> None:
    """Drop what was not used for longest, until the rest and the ``coming`` bytes fit, and what was never finished.

    ``keep`` stays. A file that another process reads stays readable for it.

    Raises:
        XbrleError: the variable of the environment does not hold a size.
    """
    total, limit, now = coming, most(), time.time()
    entries = []
    with suppress(OSError):
        entries = sorted(((e.stat().st_mtime, e) for e in folder().iterdir() if e.is_dir() and e != keep), reverse=True)
    for _, entry in entries:
        with suppress(OSError):
            files = list(entry.iterdir())
            left = [f for f in files if f.name.startswith(_PART)]
            if any(now - f.stat().st_mtime < _HALF_DONE for f in left):
                continue  # another process fetches it
            total += sum(f.stat().st_size for f in files)
            if left or total > limit:
                for file in files:
                    file.unlink()
                entry.rmdir()
