"""Who is heard: the health of every source as plain bookkeeping. `now` is an argument; nothing here waits or stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from types import ModuleType
from typing import Any

from listener.types import Post, SourceHealth

RETRY_FIRST = timedelta(seconds=20)
RETRY_MOST = timedelta(hours=1)
GIVEN_UP = timedelta(days=1)  # wait after an error that trying again soon can't mend
DOWN_AFTER = timedelta(minutes=5)  # a source silent for so much longer than it should be no longer counts as heard


@dataclass(frozen=True)
class Source:
    """One configured source: its kind's module and options, and what the operator says about what it brings."""

    name: str
    kind: str
    module: ModuleType
    options: Any
    region: str = ""
    language: str = ""
    every: timedelta = timedelta(minutes=1)


class Roster:
    """The health of the sources, by name."""

    def __init__(self, sources: Sequence[Source], random: Random) -> None:
        self._sources = {source.name: source for source in sources}
        self._random = random
        self._changed: set[str] = set()
        self.health = {s.name: SourceHealth(s.name, s.kind, s.region) for s in sources}

    def remember(self, known: Iterable[SourceHealth]) -> None:
        """Take over what an earlier run stored; its errors are its own."""
        for health in known:
            if health.source in self.health:
                self.health[health.source] = replace(health, errors_in_a_row=0, reason="", next_try_at=None)

    def heard(self, name: str, now: datetime) -> int:
        """A source answered; give back after how many errors in a row."""
        health = self.health[name]
        next_try_at = now + self._sources[name].every
        self.health[name] = replace(health, last_success_at=now, errors_in_a_row=0, reason="", next_try_at=next_try_at)
        self._changed.add(name)
        return health.errors_in_a_row

    def failed(self, name: str, reason: str, now: datetime, *, asked: float | None, permanent: bool) -> timedelta:
        """A source failed; give back how long to wait: full jitter on a doubling cap, never less than it asked (seconds)."""
        health = self.health[name]
        module = self._sources[name].module
        first: timedelta = getattr(module, "RETRY_FIRST", RETRY_FIRST)
        most: timedelta = getattr(module, "RETRY_MOST", RETRY_MOST)
        cap: timedelta = min(most, first * 2 ** min(health.errors_in_a_row, 16))
        jittered: timedelta = cap * self._random.uniform(0.5, 1.0)
        wait = max(timedelta(seconds=asked or 0.0), jittered)
        if permanent:
            wait = GIVEN_UP
        self.health[name] = replace(
            health, errors_in_a_row=health.errors_in_a_row + 1, reason=reason, next_try_at=now + wait
        )
        self._changed.add(name)
        return wait

    def noted(self, name: str, post: Post) -> timedelta:
        """A source brought a post; give back how old it was when it came."""
        health = self.health[name]
        lag = max(timedelta(0), post.received_at - post.created_at)
        newest = max(post.event_at, health.last_item_at or post.event_at)
        self.health[name] = replace(health, last_item_at=newest, posts=health.posts + 1, lag=lag)
        self._changed.add(name)
        return lag

    def passed_by(self, name: str, posts: int) -> None:
        """A source brought posts that nobody looked at closely."""
        health = self.health[name]
        self.health[name] = replace(health, posts=health.posts + posts)
        self._changed.add(name)

    def is_up(self, name: str, minute: datetime) -> bool:
        """A polling source is heard between two polls as long as the last one went well, which was not long before or
        after: the minute is over by some seconds, and a clock that was ahead may have been put right.
        """
        health = self.health[name]
        return (
            health.errors_in_a_row == 0
            and health.last_success_at is not None
            and abs(minute - health.last_success_at) <= self._sources[name].every + DOWN_AFTER
        )

    def unsaved(self) -> list[SourceHealth]:
        """What changed since this was last asked."""
        changed, self._changed = sorted(self._changed), set()
        return [self.health[name] for name in changed]
