"""Which captures are to be read: sources as they are given, lines of manifests, and channels that go with others."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..source.beside import channels_beside
from ..urls import is_url, without_secrets
from .jobs import Job, Outcome

_NUMBERED = re.compile(r"(.*)\.[0-9]{1,9}", re.DOTALL)
_ZERO = re.compile(r"[._-]chan(?:nel)?0")


def absolute(job: Job) -> Job:
    """A job whose files are named so that another machine, or another folder, finds them."""
    return replace(
        job,
        source=_absolute(job.source),
        channels=tuple(map(_absolute, job.channels)),
        out=os.path.abspath(job.out),  # noqa: PTH100 - links stay as they are
    )


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100


def without_channels(jobs: Iterable[Job]) -> tuple[list[Job], list[Job]]:
    """The jobs without doubles, and those whose source lies as a channel beside another's: it may be read with that."""
    distinct = list({job.source_id: job for job in jobs}.values())
    named = {job.source for job in distinct}
    mains = {match[1] for name in named if (match := _NUMBERED.fullmatch(name))}  # others need no look at their folder
    held: set[str] = set()
    for job in distinct:
        if job.beside and (job.source in mains or _ZERO.search(job.source)):
            held.update(str(p) for p in channels_beside(job.source))
        held.update(job.channels)
    held &= named
    return [j for j in distinct if j.source not in held], [j for j in distinct if j.source in held]


def untaken(held: Iterable[Job], outcomes: Iterable[Outcome], jobs: Iterable[Job]) -> Iterator[Job]:
    """Those of the jobs that were held back which nothing took as a channel."""
    taken = {name for outcome in outcomes for name in outcome.taken}
    taken |= {without_secrets(channel) for job in jobs for channel in job.channels}
    return (job for job in held if without_secrets(job.source) not in taken)
