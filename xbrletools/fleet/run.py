"""How jobs are done: one after the other here, many at a time on this machine, or on the machines of a Dask cluster.

Each way gives the outcomes as they come. A job that ends its process costs only itself.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from ..errors import XbrleError
from ..version import __version__
from . import layout
from .jobs import CannotWrite, Failure, Job, Outcome
from .work import failed, process

_AHEAD = 4  # jobs a worker that are handed over before one is done
_PATIENCE = 30  # seconds in which a scheduler has to answer, and to have a worker
_ENDS_TWICE = 1  # deaths of a worker after which a job is taken for their reason, less one


def run(jobs: Iterable[Job], workers: int = 1, scheduler: str | None = None) -> Iterator[Outcome]:
    """Do the jobs: with one worker here, with more by Dask here, or by the Dask scheduler at this address.

    Raises:
        CannotWrite: the tables cannot be written.
        XbrleError: Dask is not installed, the scheduler does not answer, or its workers have another version.
    """
    if scheduler is None and workers == 1:
        return here(jobs)
    return on_dask(jobs, workers, scheduler)


def here(jobs: Iterable[Job]) -> Iterator[Outcome]:
    """One job after the other. Those with limits are done in a child, which can be ended."""
    child: _Child | None = None
    try:
        for job in jobs:
            if not job.is_limited:
                yield process(job)
                continue
            child = child or _Child()
            outcome = child.do(job)
            if outcome is None:
                outcome, child = lost(job, child.ended()), None
            yield outcome
    finally:
        if child is not None:
            child.ended()


def lost(job: Job, why: str) -> Outcome:
    """The outcome of a job whose process ended: what that process noted of it, or that it was killed."""
    noted = layout.failure_of(job)
    if noted is not None:
        return failed(job, noted["error"], noted["message"], noted["seconds"], written=True)
    return failed(job, Failure.KILLED, why)


class _Child:
    """A process that does one job after the other."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def do(self, job: Job) -> Outcome | None:
        """The outcome of a job, or None where the process ended."""
        try:
            self._pipe.send(job)
            found = self._pipe.recv()
        except (EOFError, OSError):
            return None
        if isinstance(found, XbrleError):
            raise found
        assert isinstance(found, Outcome)
        return found

    def ended(self) -> str:
        """End the process. Says how it had ended, if it had."""
        self._process.join(1)
        status = self._process.exitcode
        self._process.kill()
        self._process.join()
        self._pipe.close()
        return f"the process that read it ended with status {status}"


def _serve(pipe: Connection) -> None:
    """Do jobs until nobody sends more. Ctrl-C is for the parent, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(process(job))
        except CannotWrite as error:
            pipe.send(error)


# -- Dask --------------------------------------------------------------------------------------------------------------


def on_dask(jobs: Iterable[Job], workers: int, scheduler: str | None) -> Iterator[Outcome]:
    """The jobs by Dask, as `run` does it."""
    with _client(workers, scheduler) as client:
        executor = client.get_executor(pure=False, retries=0)
        yield from through(executor, jobs, max(workers, len(client.scheduler_info()["workers"])))


def through(executor: Executor, jobs: Iterable[Job], workers: int) -> Iterator[Outcome]:
    """The jobs by any executor. An error of it other than `CannotWrite` costs one job."""
    pending: dict[Future[Outcome], Job] = {}
    waiting = iter(jobs)
    try:
        while True:
            for job in islice(waiting, _AHEAD * workers - len(pending)):
                pending[executor.submit(process, job)] = job
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                job = pending.pop(future)
                try:
                    outcome = future.result()
                except CannotWrite:
                    raise
                except Exception as error:
                    outcome = lost(job, f"the worker that read it ended ({type(error).__name__})")
                yield outcome
    finally:
        for future in pending:
            future.cancel()


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the scheduler at this address, or of a cluster on this machine."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise XbrleError("Dask is not installed; install it with: pip install 'xbrletools[fleet]'") from error
    settings = {
        "distributed.scheduler.allowed-failures": _ENDS_TWICE,
        "distributed.scheduler.worker-ttl": None,  # a long loop in C does not let a worker answer
        "distributed.logging.distributed": "critical",
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            where = scheduler
            if scheduler is None:
                where = stack.enter_context(
                    LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        memory_limit=0,
                        silence_logs=logging.CRITICAL,
                    )
                )
            client = stack.enter_context(Client(where, timeout=_PATIENCE))
            client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            raise XbrleError(f"{scheduler or 'Dask'}: {error}") from error
        _check(client.run(_version))
        if scheduler is None:  # Ctrl-C is for this process, which ends its own workers
            client.register_plugin(_deaf())
        yield client


def _deaf() -> Any:
    """What has the workers of this machine pass over SIGINT, those too that are started later."""
    from distributed import WorkerPlugin

    class Deaf(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Deaf()


def _version() -> str:
    return __version__


def _check(versions: dict[str, str], own: Callable[[], str] = _version) -> None:
    """Make sure that all workers are of this version.

    Raises:
        XbrleError: one is not.
    """
    for worker, version in versions.items():
        if version != own():
            raise XbrleError(f"worker {worker} has xbrletools {version}, and this is {own()}: install the same on both")
