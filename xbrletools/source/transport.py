"""What goes wrong between a store and here, in one line that says what to do next. URLs in it hold no secrets."""

import errno

from ..errors import TransportError
from ..text import label
from ..urls import all_without_secrets, scheme_of, without_secrets

_SAID_MAX = 160  # characters of what a library says
_ABSENT = (404, 410)
_REFUSED = (401, 403)
_CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; FSSPEC_S3_ANON=true for a public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; FSSPEC_GS_TOKEN=anon for a public bucket",
}
_NAMES_OF_REFUSED = ("NoCredentials", "Credential", "Unauthorized", "Forbidden", "RefreshError")


def failure(url: str, error: BaseException) -> TransportError:
    """The error for ``error``, which a library raised for ``url``. It says what happened and what to do next."""
    name = without_secrets(url)
    chain = list(_chain(error))
    status = next((s for e in chain if (s := _status(e)) is not None), None)
    unanswered = any(isinstance(e, ConnectionError | TimeoutError) or "Connect" in type(e).__name__ for e in chain)
    refused = isinstance(error, PermissionError) or any(w in type(e).__name__ for e in chain for w in _NAMES_OF_REFUSED)
    if status in _ABSENT or (status is None and isinstance(error, FileNotFoundError) and not unanswered):
        return TransportError(f"{name}: there is no such object. Look at its name", absent=True)
    if status in _REFUSED or refused:
        how = _CREDENTIALS.get(scheme_of(url), "a user and password before the host, or a signed URL")
        return TransportError(f"{name}: access is refused{_of(status)}. Give credentials: {how}", absent=status == 403)
    return TransportError(f"{name}: {_words(chain, status)}. The capture is not damaged by that: try again")


def broken(name: str, at: int, error: BaseException) -> TransportError:
    """The error for a file object that raised ``error`` after ``at`` bytes."""
    chain = list(_chain(error))
    return TransportError(
        f"{name}: reading failed after {at:,} bytes: {_words(chain, None)}. "
        "The capture is not damaged by that: try again"
    )


def ended(name: str, at: int, size: int) -> TransportError:
    """The error for a file object that ended after ``at`` bytes and said that it has ``size``."""
    return TransportError(f"{name}: only {at:,} of its {size:,} bytes came. Try again")


def is_network(error: BaseException) -> bool:
    """Whether an error of a file on this machine is one of a network: what is behind it may be there again later."""
    lost = (errno.ESTALE, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EREMOTEIO)
    return isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) in lost


def _chain(error: BaseException | None) -> "list[BaseException]":
    """An error and those that led to it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _status(error: BaseException) -> int | None:
    """The status of HTTP that an error tells of."""
    if type(error).__module__ == "aiohttp.http_exceptions":  # its code is what a server would say, not what one said
        return None
    told = getattr(error, "status", None) or getattr(error, "code", None)
    response = getattr(error, "response", None)
    if told is None and isinstance(response, dict):
        told = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    try:
        return None if told is None or not 400 <= int(told) < 600 else int(told)
    except (TypeError, ValueError):
        return None


def _of(status: int | None) -> str:
    return "" if status is None else f" (HTTP {status})"


def _words(chain: "list[BaseException]", status: int | None) -> str:
    """What happened, in a few words: by the status, else by what the libraries say."""
    if status is not None:
        return f"the server answers with an error (HTTP {status})"
    error = chain[-1] if any(isinstance(e, OSError) for e in chain[-1:]) else chain[0]
    said = getattr(error, "strerror", None) or str(error)
    said = label(" ".join(all_without_secrets(str(said)).split()))[:_SAID_MAX].rstrip(". ")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
