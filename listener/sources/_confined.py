"""Runs one of our functions in a process of its own, which may use so much time and memory and no more.

For documents written by strangers and read by parsers with known holes: a regular expression that has run away holds the
interpreter and can't be stopped from within. What goes in and comes out is plain data. Processes are started when they are
first needed, two at most, and serve many calls; their input ends when we do, however we end, and then they end as well.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from signal import SIGXCPU
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

from listener.errors import SourceError

T = TypeVar("T")

CPU = 5  # seconds of work a call may take
WALL = 30.0  # seconds it may last: much longer, for a machine that is busy with something else
MEMORY = 512 * 2**20  # bytes of address space of a process
PROCESSES = 2  # so that a document made to keep us busy holds up half of us
CALLS = 500  # after which a process is replaced, whatever it may have gathered

_MEMORY_SPENT = 77  # exit code of a process that ran out of it
_ROOT = Path(__file__).resolve().parents[2]
_SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from listener.sources import _confined; _confined.serve()"


class _Answer(msgspec.Struct, omit_defaults=True):
    value: msgspec.Raw = msgspec.Raw()
    failure: tuple[str, str] | None = None  # message and reason of a `SourceError`


class _Worker:
    """A process that waits for calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-P", "-c", _SERVE, str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # tracebacks quote the document
            start_new_session=True,  # an interrupt from the keyboard is for us to act on
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def call(self, request: bytes, wall: float) -> bytes:
        """The answer to a request; empty when the process died over it."""
        self.calls += 1
        clock = threading.Timer(wall, self.kill)
        clock.start()
        try:
            _send(self._stdin, request)
            return _receive(self._stdout)
        except OSError:
            return b""
        finally:
            clock.cancel()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """Let it go, and give back its exit code."""
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # what it never read can't be sent any more
                pipe.close()
        try:
            return self._process.wait(WALL)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()


_idle: list[_Worker] = []
_threads = ThreadPoolExecutor(PROCESSES, "confined")  # each waits for one process


class Call(Generic[T]):
    """A function called in a process of its own; it is named by its module, so it must be found there.

    Raises what it raises when that is a `SourceError`, else one whose reason is `costly` when it took too much, and `broken`
    when it failed in a way it should not. `cpu` and `wall` are seconds of work and of time.
    """

    def __init__(
        self,
        function: Callable[..., T],
        *arguments: Any,
        into: type[T],
        costly: str,
        broken: str,
        cpu: int = CPU,
        wall: float = WALL,
    ) -> None:
        self._request = msgspec.msgpack.encode((function.__module__, function.__name__, arguments, cpu))
        self._into, self._costly, self._broken, self._cpu, self._wall = into, costly, broken, cpu, wall
        self._lock = (
            threading.Lock()
        )  # of the two below: the process of one call must not be killed while it serves another
        self._worker: _Worker | None = None
        self._is_unwanted = False

    def wait(self) -> T:
        """The result, waited for by the calling thread."""
        return self._started().result()

    async def aside(self) -> T:
        """The result, waited for without holding up anyone. Whoever gives up waiting ends the process."""
        started = self._started()
        try:
            return await asyncio.wrap_future(started)
        except asyncio.CancelledError:
            with self._lock:
                self._is_unwanted = True
                if self._worker is not None:
                    self._worker.kill()
            raise

    def _started(self) -> Future[T]:
        return _threads.submit(self._run)

    def _run(self) -> T:
        with self._lock:
            if self._is_unwanted:
                raise SourceError("nobody waits for it any more", reason=self._broken)
            worker = self._worker = _ready()
        data = worker.call(self._request, self._wall)
        with self._lock:
            self._worker = None
        if data and worker.calls < CALLS:
            _idle.append(worker)
        else:
            code = worker.end()
        if not data:
            raise self._death(code)
        answer = msgspec.msgpack.decode(data, type=_Answer)
        if answer.failure is not None:
            message, reason = answer.failure
            raise SourceError(message, reason=reason)
        return msgspec.msgpack.decode(answer.value, type=self._into)

    def _death(self, code: int) -> SourceError:
        if code in (-SIGXCPU, _MEMORY_SPENT) or code < 0:
            spent = {-SIGXCPU: f"more than {self._cpu} s of work", _MEMORY_SPENT: "too much memory"}.get(
                code, "too much time"
            )
            return SourceError(f"reading it takes {spent}", reason=self._costly)
        return SourceError(f"reading it ends with code {code}", reason=self._broken)


def _ready() -> _Worker:
    """A process that is alive: an idle one, or a fresh one."""
    while _idle:
        worker = _idle.pop()
        if worker.is_alive:
            return worker
        worker.end()
    return _Worker()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def serve() -> None:
    """What a process does: calls come in, answers go out, until the input ends."""
    import resource

    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a parser prints is no answer
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (most, most))
    while request := _receive(calls):
        module, name, arguments, cpu = msgspec.msgpack.decode(request, type=tuple[str, str, list[Any], int])
        used = resource.getrusage(resource.RUSAGE_SELF)
        until = math.ceil(used.ru_utime + used.ru_stime) + cpu  # the limit counts all of a process, in whole seconds
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))
        try:
            value = getattr(importlib.import_module(module), name)(*arguments)
            answer = _Answer(value=msgspec.Raw(msgspec.msgpack.encode(value)))
            _send(answers, msgspec.msgpack.encode(answer))
        except SourceError as error:
            _send(answers, msgspec.msgpack.encode(_Answer(failure=(str(error), error.reason))))
        except MemoryError:
            os._exit(_MEMORY_SPENT)


def _send(pipe: BinaryIO | Any, data: bytes) -> None:
    pipe.write(len(data).to_bytes(4, "big"))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: BinaryIO | Any) -> bytes:
    """The next message; empty at the end of the pipe, also when it ends half-way."""
    head = pipe.read(4)
    length = int.from_bytes(head, "big")
    data: bytes = pipe.read(length)
    return data if len(head) == 4 and len(data) == length else b""
