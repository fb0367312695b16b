"""What happens to a batch of posts and to a minute: the pipeline's answers go into the store with the cursor they belong to.

`take` and `tick` are each one transaction, and each a function of the store and its arguments, so that the daemon and a
replay of an archive share them, and a process killed between two of them goes on where it was.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from listener.pipeline import Pipeline
from listener.regions.history import habit
from listener.signals import bins
from listener.signals.aggregate import affected
from listener.signals.baseline import Baselines
from listener.signals.expected import expected_hours
from listener.signals.exposure import Shares, exposure
from listener.signals.panel import panel
from listener.store import Store
from listener.types import (
    Delete,
    Dropped,
    Floats,
    Hearing,
    Incident,
    IncidentState,
    Mention,
    Panel,
    Point,
    Post,
    SourceHealth,
    Transition,
)

WINDOW = timedelta(hours=36)  # what detectors look back on: a gap, and the echo of a day before
STIRRED = timedelta(minutes=15)  # how long one complaint keeps a service watched; without a new one no score grows
HOUR = timedelta(hours=1)
SETTLES = timedelta(minutes=10)  # after this a minute's hearing is final
EXPLAIN_EVERY = timedelta(minutes=5)  # how often the cause of an ongoing incident is worked out again
EARLIER = 50  # of an author's earlier posts that are asked where they came from
WATCHED = "watched"  # the mark that holds the last minute watched
HEARING_NOW = "hearing_now"  # the mark that holds, by region, the share of the usual that is heard (JSON)
HEARD_FROM = "heard_from"  # the mark that holds the first minute of an archive


@dataclass
class Batch:
    """What came in since the last batch, in order, with the cursor of each source after its last item."""

    items: list[Post | Delete] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)
    hearing: list[Hearing] = field(default_factory=list)
    health: list[SourceHealth] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)  # source, reason: lost before it was a post


@dataclass(frozen=True)
class Taken:
    """What became of a batch."""

    mentions: list[Mention]  # new or edited
    dropped: Counter[str]
    erased: int


class Recorder:
    """Takes batches and watches minutes on one store. Used from one thread."""

    def __init__(self, pipeline: Pipeline, store: Store, shares: Shares | None = None) -> None:
        self.pipeline = pipeline
        self.store = store
        self.shares: Shares = shares or {}
        self.regions = sorted(pipeline.config.signal.regions or pipeline.catalog.regions)
        self._services = frozenset(pipeline.config.signal.services)
        self._recent: dict[str, dict[tuple[str, datetime], Point]] = defaultdict(dict)
        self._recent_from: datetime | None = None
        self._expected: set[str] = set()  # services whose usual hours were kept by this process
        self._heard: tuple[datetime, datetime, dict[str, Floats]] | None = None  # exposure of the last window
        self._baselines = Baselines(pipeline.catalog, self._hourly)

    def watched(self) -> datetime | None:
        """The last minute that was watched, also before this process."""
        mark = self.store.mark(WATCHED)
        return datetime.fromisoformat(mark) if mark else None

    def take(self, batch: Batch) -> Taken:
        """Understand and measure a batch, and store all of it with its cursors: data first, cursor second, at once."""
        posts = [item for item in batch.items if isinstance(item, Post)]
        deletes = [item for item in batch.items if isinstance(item, Delete)]
        answers = self.pipeline.understand(posts, self._habits(posts))
        dropped = Counter(reason for _, reason in batch.dropped)
        by_source: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for post, answer in zip(posts, answers, strict=True):
            if isinstance(answer, Dropped):
                dropped[answer.reason] += 1
                by_source[post.source, f"{post.received_at:%Y-%m-%d}"][answer.reason] += 1
        day = f"{batch.hearing[0].at:%Y-%m-%d}" if batch.hearing else ""
        for source, reason in batch.dropped:
            by_source[source, day][reason] += 1
        with self.store.transaction() as tx:
            wanted = [self._wanted(answer) for answer in answers if isinstance(answer, Mention)]
            before = tx.mentions_of([mention.post.id for mention in wanted])  # an edit may leave a bin or a service
            mentions = tx.add_mentions(wanted)
            erased = [mention for delete in deletes for mention in tx.erase(delete)]
            points = self._measure(tx.mentions_between, [*before, *mentions] if mentions else [])
            tx.put_points(points)
            tx.add_hearing(batch.hearing)
            for (source, day_of), reasons in by_source.items():
                tx.add_dropped(source, day_of, dict(reasons))
            tx.put_health(batch.health)
            for source, cursor in batch.cursors.items():
                tx.set_cursor(source, cursor)
            if posts and self.store.mark(HEARD_FROM) is None:
                tx.set_mark(HEARD_FROM, bins.floor(posts[0].received_at).isoformat())
        self._remember(points)
        return Taken(mentions, dropped, len(erased))

    def _habits(self, posts: Sequence[Post]) -> dict[str, Mapping[str, float]]:
        """Where authors wrote from before, by post id.

        Only posts that are older than the allowed lateness speak, for these have all arrived: order of arrival changes nothing.
        """
        config = self.pipeline.config
        authors = sorted({post.author for post in posts if post.author})
        if not authors:
            return {}
        times = [post.event_at for post in posts]
        since, until = min(times) - config.privacy.retention, max(times) - config.signal.lateness
        told = self.store.told_of(authors, since, until)
        weights = self.pipeline.attributor.weights
        made = {}
        for post in posts:
            first, last = post.event_at - config.privacy.retention, post.event_at - config.signal.lateness
            earlier = [regions for at, regions in told.get(post.author, ()) if first <= at < last]
            if earlier and (odds := habit(earlier[-EARLIER:], weights)):
                made[post.id] = odds
        return made

    def tick(self, now: datetime) -> list[Transition]:
        """Watch the minute that ends at `now` (a bin start): panels in, transitions stored before they are given back."""
        self._recall(now)
        self._expect(now)
        ongoing = self.store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING), limit=1000)
        recently = self.store.incidents(states=(IncidentState.RESOLVED,), since=now - timedelta(hours=1), limit=1000)
        services = sorted({incident.service for incident in [*ongoing, *recently]} | self._stirring(now))
        if not services:
            return []
        panels = self._panels(services, now)
        baselines = {service: self._baselines.of(panel, now) for service, panel in panels.items()}
        transitions, updated = self.pipeline.watch(panels, baselines, [*ongoing, *recently], now)
        transitions = [replace(t, incident=self._signed(self._explained(t.incident, ongoing))) for t in transitions]
        due = bins.floor(now, EXPLAIN_EVERY) == now
        updated = [self._explained(incident, ongoing) if due else incident for incident in updated]
        with self.store.transaction() as tx:
            tx.put_transitions(transitions)
            tx.put_incidents(updated)
            tx.set_mark(WATCHED, now.isoformat())
        return transitions

    def _expect(self, now: datetime) -> None:
        """Keep what was usual, for people who look later, and how well each region is heard now.

        Each service has its own minute of the hour, so that no tick has to do them all.
        """
        minute = (now - bins.floor(now, HOUR)) // bins.BIN
        due = [s for s, points in self._recent.items() if points and zlib.crc32(s.encode()) % 60 == minute]
        rows = []
        for service, one in self._panels(due, now).items():
            spoken = {region for region, _ in self._recent[service]}
            since = now - (3 * HOUR if service in self._expected else WINDOW)
            self._expected.add(service)
            usual = self._baselines.of(one, now)
            rows += [e for region in sorted(spoken) for e in expected_hours(one.signals[region], usual[region], since)]
        if not rows and minute % 5:
            return
        heard = {region: round(float(values[-1]), 3) for region, values in self._exposure(now - WINDOW, now).items()}
        with self.store.transaction() as tx:
            tx.put_expected(rows)
            tx.set_mark(HEARING_NOW, json.dumps(heard))

    def forget(self, now: datetime) -> int:
        """Erase texts, authors and links older than the retention; give back of how many posts. Counts stay."""
        return self.store.forget(now, now - self.pipeline.config.privacy.retention)

    def _wanted(self, mention: Mention) -> Mention:
        """Leave out services the operator does not watch."""
        if not self._services:
            return mention
        return replace(mention, services=tuple(s for s in mention.services if s in self._services))

    def _measure(
        self, mentions_between: Callable[[Sequence[str], datetime, datetime], list[Mention]], changed: Sequence[Mention]
    ) -> list[Point]:
        lookback = self.pipeline.config.signal.lookback
        wanted = affected(changed, lookback)
        if not wanted:
            return []
        times = [at for _, at in wanted]
        services = sorted({service for service, _ in wanted})
        mentions = mentions_between(services, min(times) - lookback, max(times) + bins.BIN)
        return self.pipeline.measure(mentions, wanted)

    def _remember(self, points: Sequence[Point]) -> None:
        for point in points:
            if self._recent_from is not None and point.at >= self._recent_from:
                self._recent[point.key.service][point.key.region, point.at] = point

    def _recall(self, now: datetime) -> None:
        """Keep the points of the window at hand: read from the store once, then kept up to date by `take`."""
        start = now - WINDOW
        if self._recent_from is None or self._recent_from > start:
            self._recent.clear()
            self._recent_from = start
            self._remember(self.store.points(since=start))
        elif now == bins.floor(now, timedelta(minutes=10)):
            self._recent_from = start
            for points in self._recent.values():
                for key in [key for key in points if key[1] < start]:
                    del points[key]

    def _stirring(self, now: datetime) -> set[str]:
        """Services anybody complained about lately; of the others no detector has anything to say."""
        since = now - STIRRED
        return {
            service
            for service, points in self._recent.items()
            if any(point.observed > 0 for (_, at), point in points.items() if since <= at < now)
        }

    def _panels(self, services: Sequence[str], now: datetime) -> dict[str, Panel]:
        start = now - WINDOW
        heard = self._exposure(start, now)
        return {
            service: panel(service, list(self._recent[service].values()), heard, self.regions, start, now)
            for service in services
        }

    def _exposure(self, start_at: datetime, end_at: datetime) -> dict[str, Floats]:
        if not self.shares:
            return exposure([], {}, self.regions, start_at, end_at)
        known = self._heard
        if known is None or known[0] > start_at or known[1] < start_at or end_at - known[1] > WINDOW:
            known = (start_at, start_at, {region: np.zeros(0) for region in self.regions})
        first, until, arrays = known
        settled = max(start_at, until - SETTLES)  # what is said about the last minutes may still change
        fresh = exposure(self.store.hearing(settled, end_at), self.shares, self.regions, settled, end_at)
        old = slice(bins.count(first, start_at), bins.count(first, settled))
        made = {region: np.concatenate([arrays[region][old], fresh[region]]) for region in self.regions}
        self._heard = (start_at, end_at, made)
        return made

    def _hourly(
        self, service: str, since: datetime, until: datetime
    ) -> tuple[dict[tuple[str, datetime], float], dict[datetime, float]]:
        """History for the baselines: whole hours that nothing can change any more, so that a restart learns the same."""
        settled = bins.floor(until - self.pipeline.config.signal.lateness, HOUR)
        if self.shares:
            heard = self.store.heard_hours(since, settled)
        else:
            mark = self.store.mark(HEARD_FROM)
            start = max(since, bins.ceil(datetime.fromisoformat(mark), HOUR)) if mark else settled
            heard = {start + n * HOUR: 1.0 for n in range(bins.count(start, settled, HOUR))}
        return self.store.hourly(service, since, settled), heard

    def _signed(self, incident: Incident) -> Incident:
        return replace(incident, model=self.pipeline.classifier.digest, config=self.pipeline.config.digest)

    def _explained(self, incident: Incident, ongoing: Sequence[Incident]) -> Incident:
        since = incident.started_at - timedelta(minutes=30)
        mentions = self.store.mentions(service=incident.service, since=since, until=incident.updated_at, limit=2000)
        others = [other for other in ongoing if other.id != incident.id]
        cause, evidence = self.pipeline.explain(incident, mentions, others)
        return replace(incident, cause=cause, cause_evidence=evidence)
