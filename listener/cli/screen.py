"""The live table of `listener run`: sources, posts a minute, signals and incidents, painted once a second."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from listener import __version__
from listener.cli import show
from listener.cli.look import health_table, incident_table
from listener.types import IncidentState

if TYPE_CHECKING:
    from listener.daemon import Daemon

SIGNALS = timedelta(minutes=15)
WORST = 12  # sources shown; the rest is one line


async def paint(daemon: Daemon) -> None:
    """Until cancelled."""
    with Live(console=Console(), refresh_per_second=2, screen=False) as live:
        while True:
            live.update(await asyncio.to_thread(_screen, daemon))
            await asyncio.sleep(1)


def _screen(daemon: Daemon) -> Group:
    now = daemon.clock()
    health = list(daemon.roster.health.values())
    well = sum(1 for h in health if h.last_success_at and not h.errors_in_a_row)
    posts = sum(h.posts for h in daemon.store.hearing(now - timedelta(minutes=5), now))
    head = Text.assemble(
        (f"listener {__version__}", "bold"),
        f"  up {show.short(now - daemon.started_at)}  ·  {well} of {len(health)} sources heard",
        f"  ·  {posts / 5:.0f} posts a minute",
    )
    worst = sorted(health, key=lambda h: (-h.errors_in_a_row, -h.posts, h.source))[:WORST]
    more = f"… and {len(health) - WORST} more: listener sources" if len(health) > WORST else ""
    ongoing = daemon.store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING))
    return Group(
        head,
        Text(),
        health_table(worst, now),
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
