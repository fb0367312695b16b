"""Polls feeds in a process of its own and tells what it cost: `python -m tests.servers.fetching URL...`

A line of JSON for each address (its reason, the seconds it took), then one with the most memory that was ever held, in MiB,
by this process and by the ones that read documents for it.
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
from listener.sources._net import Limits
from tests.servers.driving import net, one_poll


async def main(urls: list[str]) -> None:
    async with net(limits=Limits(gap=0, read=1, total=3)) as edge:
        for url in urls:
            begun, reason, items = time.monotonic(), "", 0
            try:
                raws, _ = await one_poll(rss.posts(rss.Options(url=url), None, edge))
                items = len(raws)
            except SourceError as error:
                reason = error.reason
            print(json.dumps({"reason": reason, "items": items, "seconds": time.monotonic() - begun}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
    _confined._end_all()
    # `ru_maxrss` of our own would inherit that of the process that started us.
    ours = int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps([ours, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
