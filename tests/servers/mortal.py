"""A small daemon whose lives are cut short: `python -m tests.servers.mortal FOLDER MINUTES`.

For every line on stdin it forks a life, which goes on where the one before was killed: a batch a minute of an invented stream,
taken and watched by the real recorder and told by the real outbox to a file. The line says what ends it:

    statement 17    SIGKILL at the 17th point before or after a statement of its store, inside transactions too
    send 1          SIGKILL just before or after the file has a message, and before that is recorded
    moment 0.05     SIGKILL so many seconds after it began, wherever it is then
    never 0         nothing: it lives until all minutes are over

It prints `lived CURSOR` when a life got to the end of the stream, else `died CURSOR` with what that life had acknowledged.
Forking spares each life the seconds in which the model is loaded.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from listener import telemetry
from listener.catalog import load
from listener.channels import file as file_channel
from listener.cli import wiring
from listener.config import Config, Table
from listener.outbox import Outbox
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import Store, open_store
from listener.types import Hearing, Post
from tests.builders import at
from tests.conftest import ROOT

SERVICES = ("instagram", "whatsapp", "youtube", "viber", "facebook", "tiktok")
SAYINGS = (
    "{} çöktü mü, giremiyorum",
    "{} açılmıyor, sizde de mi",
    "{} ne radi, je l pao",
    "{} гръмна ли, не зарежда",
    "{} hata veriyor, bağlanmıyor",
)
EVERY, LASTS = 8, 4  # minutes: every so often something fails, for so long
VOICES = 9  # a minute write about what fails
QUIET_AFTER = timedelta(minutes=3)


def posts_of(minute: int) -> list[Post]:
    """What upstream serves of a minute: always the same."""
    rng = random.Random(minute)
    name = SERVICES[minute // EVERY % len(SERVICES)]
    voices = VOICES if minute % EVERY < LASTS and minute >= EVERY else int(rng.random() < 0.3)
    return [
        Post(
            id=f"test:{minute}-{n}",
            source="test",
            text=f"{rng.choice(SAYINGS).format(name)} {minute} {n}",
            created_at=(when := at(minute + n / (voices + 1))),
            received_at=when,
            author=f"a{minute}-{n}",
        )
        for n in range(voices)
    ]


class Fate:
    """Kills this process at the n-th point of a kind."""

    def __init__(self, kind: str, left: int) -> None:
        self.kind, self.left = kind, left

    def point(self, kind: str) -> None:
        if kind == self.kind:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def doomed(fate: Fate) -> None:
    """Put points into the store's connections, into the channel and around what it records."""

    class Connection(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            fate.point("statement")
            made = super().execute(*arguments)
            fate.point("statement")
            return made

        def executemany(self, *arguments: Any) -> sqlite3.Cursor:
            fate.point("statement")
            made = super().executemany(*arguments)
            fate.point("statement")
            return made

    connect, append = sqlite3.connect, file_channel._append

    def appended(path: Path, line: bytes) -> None:
        fate.point("send")
        append(path, line)
        fate.point("send")

    sqlite3.connect = partial(connect, factory=Connection)  # type: ignore[assignment]
    file_channel._append = appended


def live(folder: Path, minutes: int, pipeline: Pipeline, acknowledge: Callable[[int], None]) -> None:
    """Where the store says, to the end of the stream."""
    told = Table("file", "file", {"path": str(folder / "told.jsonl"), "when": "any"})
    (channel,) = wiring.channels(
        Config(channels=(replace(told, options={"path": str(folder / "told.jsonl")}),)), CATALOG
    )
    with closing(open_store(f"sqlite:///{folder / 'listener.db'}")) as store:
        recorder, now = Recorder(pipeline, store), [at(0)]
        box = _outbox(store, channel, lambda: now[0])
        cursor = int(store.cursor("test") or 0)
        watched = recorder.watched()
        acknowledge(cursor)
        asyncio.run(box.tell(channel))  # what the life before left untold
        for minute in range(int((watched - at(0)) / timedelta(minutes=1)) if watched else 0, minutes):
            if minute >= cursor:
                batch = Batch(items=list(posts_of(minute)), cursors={"test": str(minute + 1)})
                batch.hearing = [Hearing("test", at(minute), len(batch.items), up=True)]
                recorder.take(batch)
                acknowledge(minute + 1)
            now[0] = at(minute + 1)
            recorder.tick(now[0])
            asyncio.run(box.tell(channel))


def _outbox(store: Store, channel: Any, clock: Callable[[], datetime]) -> Outbox:
    async def write(work: Callable[[], None]) -> None:
        await asyncio.to_thread(work)

    return Outbox(
        store,
        [channel],
        write=write,
        clock=clock,
        metrics=telemetry.Metrics("test"),
        random=random.Random(1),
        told_from=datetime(2000, 1, 1, tzinfo=UTC),
    )


def main(folder: Path, minutes: int) -> None:
    config = replace(Config(), detector=replace(Config().detector, resolve_after=QUIET_AFTER))
    pipeline = Pipeline.load(CATALOG, ROOT / "models" / "current", config)
    for line in sys.stdin:
        kind, how = line.split()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            if kind in ("statement", "send"):
                doomed(Fate(kind, int(how)))
            live(folder, minutes, pipeline, partial(_say, writing))
            os._exit(0)
        os.close(writing)
        if kind == "moment":
            time.sleep(float(how))
            os.kill(pid, signal.SIGKILL)
        with os.fdopen(reading) as said:
            acknowledged = [int(word) for word in said]
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and status:
            sys.exit(f"a life ended by itself: {status}")
        print("died" if killed else "lived", max(acknowledged, default=0), flush=True)


def _say(where: int, cursor: int) -> None:
    os.write(where, f"{cursor}\n".encode())


CATALOG = load(ROOT / "data")

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
