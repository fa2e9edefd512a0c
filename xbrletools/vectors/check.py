"""Holding an implementation to the vectors: this one, or a program that answers lines on its standard output.

The protocol: README.md, beside this file.
"""

import contextlib
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ..errors import XbrleError
from ..text import label
from .answers import OK, REFUSED, UNSENT, answer
from .cases import BYTES_MAX, Case, differences, on_line, request

UNSUPPORTED = "unsupported"
OP = "{op}"

SHOWN = 40  # characters of a word that is not as expected
LINE_MAX = 4 * BYTES_MAX  # characters of an answer


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case. ``wrong`` are lines that say what was not as expected. It is None where the implementation
    does not support the operation.

    ``unlike`` are lines that say where a right answer is not the one that the original program gives: another encoding
    of the same delta, or another reason to refuse one. It is None where there is one right answer alone.
    """

    case: Case
    wrong: list[str] | None
    unlike: list[str] | None = None


def check(cases: Iterable[Case], ask: Callable[[Case], Mapping[str, str] | None]) -> Iterator[Result]:
    """Ask every case. An XbrleError that ``ask`` raises counts as a wrong answer."""
    for case in cases:
        try:
            given = ask(case)
        except XbrleError as error:
            yield Result(case, [str(error)])
        else:
            yield Result(case, None) if given is None else _judged(case, given)


def _judged(case: Case, given: Mapping[str, str]) -> Result:
    """Look at an answer. Of an encoding it counts what it decodes to and how long it is, not its bytes."""
    unlike = differences(case, given)
    if case.op == "encode" and "payload" in given:
        return Result(case, _wrong_encoding(case, given), unlike)
    if case.op == "decode" and case.expect["verdict"] == REFUSED == given.get("verdict"):
        return Result(case, [], unlike)
    return Result(case, unlike, [] if case.op in ("encode", "decode") and not unlike else None)


def _wrong_encoding(case: Case, given: Mapping[str, str]) -> list[str]:
    """What is wrong with the payload of an answer: it has to make the new page of the old one, within the limit."""
    if given.get("verdict") != OK or case.expect["verdict"] == UNSENT:
        wanted = on_line("verdict", case.expect["verdict"])
        return [f"verdict: expected {wanted}, got {label(given.get('verdict', 'no answer')[:SHOWN])}"]
    try:
        payload = bytes.fromhex(given["payload"])
    except ValueError:
        return ["payload: is not hex"]
    limit = case.ask["limit"]
    assert isinstance(limit, int)
    if len(payload) > limit:
        return [f"payload: {len(payload)} bytes, and the limit is {limit}"]
    decoded = answer("decode", {"coding": case.ask["coding"], "old": case.ask["old"], "payload": payload})
    if decoded["verdict"] != OK:
        return [f"payload: a receiver refuses it ({on_line('reason', decoded['reason'])})"]
    if decoded["page"] != case.ask["new"]:
        return ["payload: does not make the new page of the old one"]
    return []


def own(case: Case) -> Mapping[str, str]:
    """What this implementation answers, as words."""
    return {key: on_line(key, value) for key, value in answer(case.op, case.ask).items()}


class Programs:
    """The programs that a command starts: one for each operation where ``{op}`` is in it, else one for all.

    A program that ends, or that answers a request in more than ``timeout`` seconds, fails that case and is started
    anew for the next.
    """

    def __init__(self, command: str, timeout: float) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise XbrleError(f"{command!r} is not a command: {error}") from error
        if not self._words:
            raise XbrleError("the command is empty")
        self._timeout = timeout
        self._running: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for op in list(self._running):
            self._stop(op, kind is not None)

    def ask(self, case: Case) -> Mapping[str, str] | None:
        """The program's answer, its words by key, or None where it does not support the operation.

        Raises:
            XbrleError: the program gives no answer, or one that is not KEY=VALUE words.
            OSError: the program cannot be started.
        """
        key = case.op if any(OP in word for word in self._words) else ""
        if key not in self._running:
            words = [word.replace(OP, case.op) for word in self._words]
            self._running[key] = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii", errors="replace"
            )
        program = self._running[key]
        assert program.stdin is not None and program.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            program.kill()

        timer = threading.Timer(self._timeout, stop)
        timer.start()
        try:
            program.stdin.write(request(case) + "\n")
            program.stdin.flush()
            line = program.stdout.readline(LINE_MAX)
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line.endswith("\n"):
            status = self._stop(key, True)
            if late.is_set():
                raise XbrleError(f"no answer in {self._timeout:g} s")
            raise XbrleError(f"no answer; the program ended with status {status}")
        if line.strip() == UNSUPPORTED:
            return None
        return _words(line)

    def _stop(self, key: str, kill: bool) -> int:
        program = self._running.pop(key)
        assert program.stdin is not None and program.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            program.stdin.close()
        if kill and program.poll() is None:
            try:
                program.wait(0.2)  # one that just ended keeps its own status
            except subprocess.TimeoutExpired:
                program.kill()
        try:
            status = program.wait(self._timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            status = program.wait()
        program.stdout.close()
        return status


def _words(line: str) -> dict[str, str]:
    out = {}
    for word in line.split():
        key, equals, value = word.partition("=")
        if not equals:
            raise XbrleError(f"{word[:40]!a} is not KEY=VALUE")
        out[key] = value
    return out
