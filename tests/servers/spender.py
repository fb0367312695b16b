"""Drives a source that spends until it is killed: `python -m tests.servers.spender KIND OPTIONS CURSOR MINUTES`.

It keeps a cursor as the daemon does: beside a `Memo` it is on disk before the source goes on, any other follows later, and
never overtakes. OPTIONS are JSON, with `{"secret": ...}` for tokens; the clock begins so many minutes after the tests' now.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path

from listener import kinds
from listener.kinds import Secret
from listener.sources import Memo
from tests.servers.driving import NOW, Time, net

LAZY = 40  # items that may wait for a cursor to be written


async def spend(kind: str, table: str, path: Path, cursor: str | None, now: datetime) -> None:
    module = kinds.load("sources", kind, "here")
    made = {key: Secret(v["secret"]) if isinstance(v, dict) else v for key, v in json.loads(table).items()}
    options, waiting = kinds.convert(made, module.Options, "here"), 0
    async with net(Time(now)) as edge, aclosing(module.posts(options, cursor, edge)) as items:
        async for raw, given in items:
            cursor, waiting = given or cursor, waiting + 1
            if cursor is not None and (isinstance(raw, Memo) or waiting > LAZY):
                store(path, cursor)
                waiting = 0


def store(path: Path, cursor: str) -> None:
    beside = path.with_suffix(".new")
    with beside.open("w") as handle:
        handle.write(cursor)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)


if __name__ == "__main__":
    kept = Path(sys.argv[3])
    known = kept.read_text() if kept.exists() else None
    asyncio.run(spend(sys.argv[1], sys.argv[2], kept, known, NOW + timedelta(minutes=float(sys.argv[4]))))
