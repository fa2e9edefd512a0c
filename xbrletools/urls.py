"""Names of captures that do not lie on this machine: URLs of object stores and web servers."""

import re

#: What a URL can begin with, and the packages that reading it takes beside fsspec.
SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "memory": ""}
#: The extra of this package that brings them.
EXTRAS = {"s3": "s3", "gs": "gs", "http": "remote", "https": "remote", "memory": "remote"}

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/@]*@)?(?P<rest>.*)", re.DOTALL)
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def is_url(name: object) -> bool:
    """Whether ``name`` is a URL and not a path."""
    return isinstance(name, str) and _URL.fullmatch(name) is not None


def scheme_of(url: str) -> str:
    """What a URL begins with, in lower case."""
    found = _URL.fullmatch(url)
    return found["scheme"].lower() if found else ""


def without_secrets(url: str) -> str:
    """A URL as it may be shown: without a user, a password, and what follows ``?``, which can be a signature."""
    found = _URL.fullmatch(url)
    if found is None:
        return url
    rest = found["rest"]
    if found["scheme"].lower() in ("http", "https"):
        rest, mark, _ = rest.partition("?")
        rest = rest.partition("#")[0] + ("?..." if mark else "")
    return f"{found['scheme']}://{rest}"


def all_without_secrets(text: str) -> str:
    """A text of someone else, in which URLs stand as they may be shown."""
    return _IN_TEXT.sub(lambda found: without_secrets(found[0]), text)
