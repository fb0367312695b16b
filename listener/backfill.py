"""Reading and judging an archive ahead, in as many processes as there are cores, with answers in the archive's order.

What is judged depends on where an author wrote from before, which the store says. So a batch is judged with what is stored
while the batches before it are still on their way, and what has changed by its turn is judged again: the answers are those
of one process.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from listener.archives import post_of
from listener.batches import Batch, Understood
from listener.catalog import load
from listener.config import Config
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.types import Dropped, DropReason, Mention, Post

AT_ONCE = 4000  # lines that travel together to a process
MINUTES_AT_ONCE = 500
WORTH_A_CREW = 50_000  # posts
_REASONS = (None, DropReason.NO_MATCH, DropReason.NO_TEXT)  # by verdict of the screen

Habits = Mapping[str, Mapping[str, float]]
Silent = Counter[tuple[str, str]]
Read = tuple[list[Post], Silent]  # posts worth judging, and how many others there are by source and reason
Answers = list[Mention | Dropped]


@dataclass(frozen=True)
class Step:
    """A batch with its answers, ready to be stored, and how many lines it was."""

    lines: int
    understood: Understood


class Crew(Protocol):
    """Who reads and judges; the answers are asked for in the order of the questions."""

    ahead: int  # groups of batches on their way at once
    at_once: int  # lines of a group

    def read(self, batches: Sequence[Sequence[Any]]) -> Callable[[], list[Read]]: ...

    def judge(self, batches: Sequence[tuple[list[Post], Habits]]) -> Callable[[], list[Answers]]: ...


class Alone:
    """This process, at once."""

    ahead, at_once = 0, 1

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def read(self, batches: Sequence[Sequence[Any]]) -> Callable[[], list[Read]]:
        return lambda: _read(self._pipeline, batches)

    def judge(self, batches: Sequence[tuple[list[Post], Habits]]) -> Callable[[], list[Answers]]:
        return lambda: _judged(self._pipeline, batches)


class Processes:
    """Several processes, each with a pipeline of its own. To be closed, or used in a `with`."""

    at_once = AT_ONCE

    def __init__(self, number: int, *, data: Path | None, model: Path, config: Config) -> None:
        """They make their pipelines of the catalog in `data`, the model and the config."""
        self.ahead = number + 1
        self._pool = ProcessPoolExecutor(
            number, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(data, model, config)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, batches: Sequence[Sequence[Any]]) -> Callable[[], list[Read]]:
        return self._pool.submit(_read_there, batches).result

    def judge(self, batches: Sequence[tuple[list[Post], Habits]]) -> Callable[[], list[Answers]]:
        if not any(posts for posts, _ in batches):
            return lambda: [[] for _ in batches]
        future: Future[list[Answers]] = self._pool.submit(_judged_there, batches)
        return future.result


def crew_of(
    jobs: int | None, posts: int, data: Path, model: Path, config: Config
) -> AbstractContextManager[Processes | None]:
    """As many processes as wanted, else one a core; none when one core or few posts make them not worth their start."""
    number = jobs or (os.cpu_count() or 1)
    if number == 1 or (jobs is None and posts < WORTH_A_CREW):
        return nullcontext()
    return Processes(number, data=data, model=model, config=config)


@dataclass
class _Group:
    steps: list[list[Any] | datetime]
    read: Callable[[], list[Read]]
    reads: list[tuple[list[Post], Habits, Silent]]
    answers: Callable[[], list[Answers]]


def ahead(steps: Iterator[list[Any] | datetime], recorder: Recorder, crew: Crew) -> Iterator[Step | datetime]:
    """Each step in its turn: a batch of lines with what is to be stored of it, or a minute to be watched."""
    reading: deque[_Group] = deque()
    judging: deque[_Group] = deque()
    for steps_ in _groups(steps, crew.at_once):
        batches = [step for step in steps_ if not isinstance(step, datetime)]
        reading.append(_Group(steps_, crew.read(batches), [], list))
        if len(reading) > crew.ahead:
            judging.append(_asked(reading.popleft(), recorder, crew))
        if len(judging) > crew.ahead:
            yield from _told(judging.popleft(), recorder, crew)
    while reading or judging:
        if reading:
            judging.append(_asked(reading.popleft(), recorder, crew))
        if judging and (len(judging) > crew.ahead or not reading):
            yield from _told(judging.popleft(), recorder, crew)


def _groups(steps: Iterator[list[Any] | datetime], most: int) -> Iterator[list[list[Any] | datetime]]:
    group: list[list[Any] | datetime] = []
    lines = 0
    for step in steps:
        group.append(step)
        lines += 0 if isinstance(step, datetime) else len(step)
        if lines >= most or len(group) >= MINUTES_AT_ONCE or most == 1:
            yield group
            group, lines = [], 0
    if group:
        yield group


def _asked(group: _Group, recorder: Recorder, crew: Crew) -> _Group:
    group.reads = [(posts, recorder.habits(posts), silent) for posts, silent in group.read()]
    group.answers = crew.judge([(posts, habits) for posts, habits, _ in group.reads])
    return group


def _told(group: _Group, recorder: Recorder, crew: Crew) -> Iterator[Step | datetime]:
    answered = iter(zip(group.reads, group.answers(), strict=True))
    for step in group.steps:
        if isinstance(step, datetime):
            yield step
            continue
        (posts, habits, silent), answers = next(answered)
        understood = Understood(Batch(list(posts), silent=silent), posts, answers, dict(habits))
        yield Step(len(step), recorder.brought_up(understood) if crew.ahead else understood)


# --- in a process ---------------------------------------------------------------------------------------------------

_here: list[Pipeline] = []


def _begin(data: Path | None, model: Path, config: Config) -> None:
    _here.append(Pipeline.load(load(data) if data else load(), model, config))


def _read_there(batches: Sequence[Sequence[Any]]) -> list[Read]:
    return _read(_here[0], batches)


def _judged_there(batches: Sequence[tuple[list[Post], Habits]]) -> list[Answers]:
    return _judged(_here[0], batches)


def _read(pipeline: Pipeline, batches: Sequence[Sequence[Any]]) -> list[Read]:
    """Lines parsed; a batch may also be of posts. The last post of a batch is always kept: it says which day it is."""
    made = []
    for batch in batches:
        posts = [one if isinstance(one, Post) else post_of(one.raw, one.number) for one in batch]
        silent: Silent = Counter()
        verdicts = pipeline.silent(posts)
        verdicts[-1:] = 0
        for n in np.flatnonzero(verdicts).tolist():
            silent[posts[n].source, str(_REASONS[verdicts[n]])] += 1
        made.append(([posts[n] for n in np.flatnonzero(verdicts == 0).tolist()], silent))
    return made


def _judged(pipeline: Pipeline, batches: Sequence[tuple[list[Post], Habits]]) -> list[Answers]:
    return [pipeline.understand(posts, habits) for posts, habits in batches]
