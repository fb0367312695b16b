"""How the sources are doing, from what the daemon stored: a line for each, sorted so that what matters comes first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from listener.cli import plain, show
from listener.cli.show import Column
from listener.types import UNKNOWN_REGION, Hearing, SourceHealth

if TYPE_CHECKING:
    from listener.cli.configured import Configured
    from listener.store import Store

HOUR = timedelta(hours=1)
DAYS = 7  # how far back the same hour is looked at, to know what is usual
ENOUGH = 45  # minutes heard in those hours, below which nothing is called usual
QUIET = timedelta(days=1)  # without a post for longer a source is called silent, unless it only corroborates
LATE = timedelta(hours=1)  # an answer may come so much later than its interval says: some servers ask for it
STOPPED = timedelta(minutes=15)  # when no source at all has answered for longer, nobody is asking


class State(StrEnum):
    """In the order of the table."""

    FAILS = "fails"
    UNTRIED = "never tried"
    SILENT = "silent"
    HEARS = "hears"


COLOURS = {State.FAILS: "red", State.UNTRIED: "dim", State.SILENT: "yellow", State.HEARS: "green"}
COLUMNS = (
    Column("source", least=16, is_name=True),
    Column("kind", least=8, drop=6),
    Column("in", drop=1),
    Column("heard", right=True, drop=2),
    Column("newest", right=True, drop=3),
    Column("lag", right=True, drop=7),
    Column("1h/usual", right=True, drop=5),
    Column("share", right=True, drop=8),
    Column("state", least=21),
    Column("next", right=True, drop=4),
)


@dataclass(frozen=True)
class Volume:
    """Posts heard from a source in the last hour, how many it usually brings in this hour, and its share of its region."""

    now: int = 0
    usual: float | None = None  # None until it was heard for an hour at this time of day
    share: float | None = None


@dataclass(frozen=True)
class Line:
    """One source. `why` says in plain words what is the matter when it does not hear."""

    health: SourceHealth
    state: State
    why: str = ""
    volume: Volume | None = None  # None when nobody looked


def lines(
    every: Sequence[Configured], stored: Mapping[str, SourceHealth], volumes: Mapping[str, Volume], now: datetime
) -> list[Line]:
    """A line for each source, the worst first."""
    made = [_line(one, stored.get(one.name), volumes.get(one.name), now) for one in every]
    order = list(State)
    return sorted(made, key=lambda x: (order.index(x.state), -x.health.errors_in_a_row, x.health.source))


def _line(one: Configured, known: SourceHealth | None, volume: Volume | None, now: datetime) -> Line:
    health = replace(known or SourceHealth(one.name, one.kind), kind=one.kind, region=one.region)
    answered_at, item_at = health.last_success_at, health.last_item_at
    if one.source is None:
        why = plain.words("terms" if one.needs_terms else "config")
        return Line(replace(health, next_try_at=None), State.UNTRIED, why, volume)
    if health.errors_in_a_row:
        return Line(health, State.FAILS, plain.words(health.reason), volume)
    if answered_at is None:
        return Line(health, State.UNTRIED, "", volume)
    if now - answered_at > one.source.every + LATE:
        return Line(health, State.SILENT, f"no answer for {show.short(now - answered_at)}", volume)
    if one.only_corroborates:
        return Line(health, State.HEARS, "", volume)
    if item_at is None:
        return Line(health, State.SILENT, "no post yet", volume)
    if now - item_at > QUIET:
        return Line(health, State.SILENT, f"no post for {show.short(now - item_at)}", volume)
    return Line(health, State.HEARS, "", volume)


def volumes(store: Store, every: Sequence[Configured], now: datetime) -> dict[str, Volume]:
    """What each source brought in the last hour, beside what this hour usually brings, and its share of its region.

    Usual is the mean of the same hour on the days before, while the source was up: a night is compared with nights.
    Sources that only corroborate have no share, as in the exposure.
    """
    from listener.signals.exposure import shares_of

    last = _posts(store.hearing(now - HOUR, now))
    posts: Counter[str] = Counter()
    minutes: Counter[str] = Counter()
    for day in range(1, DAYS + 1):
        end = now - timedelta(days=day)
        heard = store.hearing(end - HOUR, end)
        posts.update(_posts(heard))
        minutes.update(one.source for one in heard if one.up)
    usual = {name: posts[name] * 60 / count for name, count in minutes.items() if count >= ENOUGH}
    regions = {one.name: one.region or UNKNOWN_REGION for one in every if not one.only_corroborates}
    shares = shares_of({name: {region: usual[name]} for name, region in regions.items() if name in usual})
    share_of = {name: next(iter(of.values()), None) for name, of in shares.items()}
    return {one.name: Volume(last[one.name], usual.get(one.name), share_of.get(one.name)) for one in every}


def _posts(hearing: Sequence[Hearing]) -> Counter[str]:
    counted: dict[str, int] = defaultdict(int)
    for one in hearing:
        counted[one.source] += one.posts
    return Counter(counted)


def summary(found: Sequence[Line], now: datetime) -> Text:
    """How many of each state, in one line; and, when nobody has answered for long, why that may be."""
    counts = Counter(line.state for line in found)
    named = ((State.HEARS, "hear"), (State.FAILS, "fail"), (State.SILENT, "silent"), (State.UNTRIED, "never tried"))
    text = Text(f"{show.counted(len(found), 'source')}: ")
    for i, (state, word) in enumerate(named):
        style = f"bold {COLOURS[state]}" if counts[state] else "dim"
        text.append(" · " if i else "").append(f"{counts[state]} {word}", style=style)
    answers = [line.health.last_success_at for line in found if line.health.last_success_at is not None]
    if answers and now - max(answers) > STOPPED:
        text.append(f"\nthe last answer came {show.ago(max(answers), now)}: is `listener run` running?", style="yellow")
    return text


def table(
    found: Sequence[Line], now: datetime, width: int, *, empty: str = "no source has been tried yet"
) -> Table | Text:
    return show.fitted(COLUMNS, [_row(line, now) for line in found], width, empty=empty)


def _row(line: Line, now: datetime) -> tuple[str | Text, ...]:
    health = line.health
    said = line.why or str(line.state)
    if health.errors_in_a_row > 1:
        said = f"{health.errors_in_a_row}× {said}"
    return (
        health.source,
        health.kind,
        health.region or "–",
        show.short(now - health.last_success_at) if health.last_success_at else "–",
        show.short(now - health.last_item_at) if health.last_item_at else "–",
        show.short(health.lag) if health.lag is not None else "",
        _volume(line.volume) if line.volume else "",
        f"{line.volume.share:.0%}" if line.volume and line.volume.share is not None else "",
        Text(said, style=COLOURS[line.state]),
        _next(health, now),
    )


def _volume(volume: Volume) -> str:
    if volume.usual is None:
        return str(volume.now)
    return f"{volume.now}/{volume.usual:.0f}" if volume.usual >= 9.5 else f"{volume.now}/{volume.usual:.1f}"


def _next(health: SourceHealth, now: datetime) -> str:
    if health.next_try_at is None:
        return ""
    wait = health.next_try_at - now
    return "now" if wait <= timedelta(0) else show.short(wait)


def record(line: Line) -> dict[str, Any]:
    """The line of a source, as promised to other programs."""
    health, volume = line.health, line.volume or Volume()
    return {
        "source": health.source,
        "kind": health.kind,
        "region": health.region or None,
        "state": line.state.replace(" ", "_"),
        "last_success_at": show.when(health.last_success_at) or None,
        "last_item_at": show.when(health.last_item_at) or None,
        "lag_seconds": health.lag.total_seconds() if health.lag is not None else None,
        "errors_in_a_row": health.errors_in_a_row,
        "reason": health.reason or None,
        "said": line.why or None,
        "next_try_at": show.when(health.next_try_at) or None,
        "posts": health.posts,
        "posts_last_hour": volume.now,
        "usual_posts_an_hour": None if volume.usual is None else round(volume.usual, 2),
        "share_of_region": None if volume.share is None else round(volume.share, 4),
    }
