"""Polls feeds in a process of its own and tells what it cost: `python -m tests.servers.fetching GOOD URL...`

A line of JSON for each address (its reason, the seconds it took), then one with the most memory that was ever held, in MiB: by
this process after GOOD was read once, by it at the end, and by the ones that read documents for it; and the seconds of each poll
of GOOD, which go on all the while.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from listener.errors import SourceError
from listener.sources import _confined, rss
from listener.sources._net import Limits, Net
from tests.servers.driving import net, one_poll


async def polled(url: str, edge: Net) -> float:
    begun = time.monotonic()
    await one_poll(rss.posts(rss.Options(url=url), None, edge))
    return time.monotonic() - begun


async def again_and_again(url: str, edge: Net, took: list[float]) -> None:
    while True:
        took.append(await polled(url, edge))
        await asyncio.sleep(0.1)


def most_held() -> float:
    """`ru_maxrss` of our own would inherit that of the process that started us."""
    return int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) / 1024


async def main(good: str, urls: list[str]) -> None:
    async with net(limits=Limits(gap=0, read=1, total=3)) as edge:
        await polled(good, edge)
        before, took = most_held(), list[float]()
        beside = asyncio.create_task(again_and_again(good, edge, took))
        for url in urls:
            begun, reason, items = time.monotonic(), "", 0
            try:
                raws, _ = await one_poll(rss.posts(rss.Options(url=url), None, edge))
                items = len(raws)
            except SourceError as error:
                reason = error.reason
            print(json.dumps({"reason": reason, "items": items, "seconds": time.monotonic() - begun}), flush=True)
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
    _confined._end_all()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps([before, most_held(), children, took]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
