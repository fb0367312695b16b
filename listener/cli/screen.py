"""The live table of `listener run`: sources, posts a minute, signals and incidents, painted once a second."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from listener import __version__
from listener.cli import health, show
from listener.cli.configured import Configured
from listener.cli.look import incident_table
from listener.types import IncidentState

if TYPE_CHECKING:
    from listener.daemon import Daemon

SIGNALS = timedelta(minutes=15)
WORST = 12  # sources shown; the rest is one line


async def paint(daemon: Daemon) -> None:
    """Until cancelled."""
    console = Console()
    with Live(console=console, refresh_per_second=2, screen=False) as live:
        while True:
            live.update(await asyncio.to_thread(_screen, daemon, console.width))
            await asyncio.sleep(1)


def _screen(daemon: Daemon, width: int) -> Group:
    now = daemon.clock()
    every = [Configured(s.name, s.kind, s.region, s) for s in daemon.sources]
    found = health.lines(every, daemon.roster.health, {}, now)
    well = sum(1 for line in found if line.state is health.State.HEARS)
    posts = sum(h.posts for h in daemon.store.hearing(now - timedelta(minutes=5), now))
    head = Text.assemble(
        (f"listener {__version__}", "bold"),
        f"  up {show.short(now - daemon.started_at)}  ·  {well} of {len(found)} sources heard",
        f"  ·  {posts / 5:.0f} posts a minute",
    )
    more = f"… and {len(found) - WORST} more: listener sources" if len(found) > WORST else ""
    ongoing = daemon.store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING))
    return Group(
        head,
        Text(),
        health.table(found[:WORST], now, width),
        Text(more, style="dim"),
        _signals(daemon, now),
        Text(),
        incident_table(ongoing),
        Text("Ctrl-C stops; what was heard is kept", style="dim"),
    )


def _signals(daemon: Daemon, now: datetime) -> Text:
    """The loudest series of the last minutes, in one line."""
    sums: dict[tuple[str, str], float] = {}
    for point in daemon.store.points(since=now - SIGNALS, until=now):
        key = (point.key.region, point.key.service)
        sums[key] = sums.get(key, 0.0) + point.observed
    loudest = sorted(sums.items(), key=lambda item: -item[1])[:8]
    said = "  ".join(f"{region} {service} {value:.1f}" for (region, service), value in loudest)
    return Text(f"chatter in the last 15 minutes: {said or 'none'}")
