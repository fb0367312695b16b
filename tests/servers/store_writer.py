"""Writes to a store until it is killed, again and again: `python -m tests.servers.store_writer URL`.

For every line on stdin it forks a writer, which prints its pid, then the cursor of each transaction once that is
committed; when the writer has died it prints `died`. Forking spares each writer the second that Python takes to start.
"""

from __future__ import annotations

import os
import sys

from listener.store import open_store
from tests.builders import mention, point

BATCH = 20


def say(word: object) -> None:
    """One write, so that no kill can leave half a line behind."""
    os.write(sys.stdout.fileno(), f"{word}\n".encode())


def write_for_ever(url: str) -> None:
    store = open_store(url)
    count = int(store.cursor("test") or 0)
    while True:
        with store.transaction() as writer:
            writer.add_mentions([mention(id=f"test:{n}", minutes=n / 10) for n in range(count, count + BATCH)])
            count += BATCH
            writer.put_points([point(count / BATCH, BATCH)])
            writer.set_cursor("test", str(count))
        say(count)


def main(url: str) -> None:
    open_store(url).close()  # the driver is loaded once, not in every fork
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            say(os.getpid())
            write_for_ever(url)
        os.waitpid(pid, 0)
        say("died")


if __name__ == "__main__":
    main(sys.argv[1])
