"""What happens to a batch of posts and to a minute: the pipeline's answers go into the store with the cursor they belong to.

`take` and `tick` are each one transaction, and each a function of the store and its arguments, so that the daemon and a
replay of an archive share them, and a process killed between two of them goes on where it was.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from listener.batches import Batch, Taken, Understood, counted
from listener.classify.classifier import Classifier
from listener.drifting import Drifting
from listener.habits import Habits, habits_of
from listener.noticing import Noticing
from listener.pipeline import Pipeline
from listener.signals import bins
from listener.signals.baseline import Baselines
from listener.signals.expected import expected_hours
from listener.signals.exposure import Shares, exposure
from listener.signals.lookback import Lookbacks, earliest, left
from listener.signals.panel import panel
from listener.signals.recent import Recent
from listener.store import Store, Writer
from listener.store.noticed import HEARING_NOW, NOTICED
from listener.text.language import Identifier
from listener.types import (
    Delete,
    Drift,
    Floats,
    Incident,
    IncidentState,
    Mention,
    Panel,
    Point,
    Post,
    Transition,
)

__all__ = ["Batch", "Recorder", "Taken", "Understood"]

WINDOW = timedelta(hours=36)  # what detectors look back on: a gap, and the echo of a day before
HOUR = timedelta(hours=1)
FORGETTING = timedelta(minutes=70)  # texts are erased once an hour; what is about to be may go at any moment
SETTLES = timedelta(minutes=10)  # after this a minute's hearing is final
EXPLAIN_EVERY = timedelta(minutes=5)  # how often the cause of an ongoing incident is worked out again
WATCHED = "watched"  # the mark that holds the last minute watched
HEARD_FROM = "heard_from"  # the mark that holds the first minute of an archive


class Turn(Protocol):
    """One batch's turn to be stored, where others store theirs. Both may refuse by raising; nothing of it is stored then."""

    def begin(self, tx: Writer) -> Mapping[str, datetime] | None:
        """Of which services others stored, changed or erased mentions since our last turn, and from when; None: not known."""
        ...

    def end(self, tx: Writer, points: Sequence[Point], touched: Mapping[str, datetime]) -> None:
        """The last word: these points are new, and from then on the batch touched mentions of these services."""
        ...


class Recorder:
    """Takes batches and watches minutes on one store. Used from one thread."""

    def __init__(self, pipeline: Pipeline, store: Store, shares: Shares | None = None, *, shown: bool = True) -> None:
        """`shown`: somebody may ask what could be noticed now; of an archive nobody does."""
        self.pipeline = pipeline
        self.store = store
        self.shares: Shares = shares or {}
        self.regions = sorted(pipeline.config.signal.regions or pipeline.catalog.regions)
        self._services = frozenset(pipeline.config.signal.services)
        self._recent = Recent(WINDOW, lambda since: store.points(since=since))
        self._expected: set[str] = set()  # services whose usual hours were kept by this process
        self._heard: tuple[datetime, datetime, dict[str, Floats]] | None = None  # exposure of the last window
        self._baselines = Baselines(pipeline.catalog, self._hourly)
        self._drifting = Drifting(store)
        self._lookbacks = Lookbacks(pipeline)
        self._noticing = Noticing(store) if shown else None

    def adopt(self, classifier: Classifier, identifier: Identifier) -> None:
        """Judge with another model from now on; the rest of the pipeline stays."""
        self.pipeline = replace(self.pipeline, classifier=classifier, identifier=identifier)

    def drift(self, now: datetime) -> tuple[tuple[Drift, ...], bool]:
        """How the sources drift, and whether that was found just now: once a day."""
        return self._drifting.judged(now, self.pipeline.classifier.digest)

    def watched(self) -> datetime | None:
        """The last minute that was watched, also before this process."""
        mark = self.store.mark(WATCHED)
        return datetime.fromisoformat(mark) if mark else None

    def heard_from(self) -> datetime | None:
        """The first minute anything was heard in."""
        mark = self.store.mark(HEARD_FROM)
        return datetime.fromisoformat(mark) if mark else None

    def take(self, batch: Batch) -> Taken:
        """Understand and measure a batch, and store all of it with its cursors: data first, cursor second, at once."""
        return self.keep(self.understood(batch))

    def understood(self, batch: Batch, habits: Habits | None = None) -> Understood:
        """A batch with an answer to each of its posts. Only reads, so any thread may do it, and many at once."""
        posts = [item for item in batch.items if isinstance(item, Post)]
        if habits is None:
            habits = self.habits(posts)
        return Understood(batch, posts, self.pipeline.understand(posts, habits), habits)

    def habits(self, posts: Sequence[Post]) -> Habits:
        """Where authors wrote from before, by post id, as the store knows it now."""
        return habits_of(posts, self.store, self.pipeline)

    def brought_up(self, was: Understood) -> Understood:
        """The same answers, as they are when everything before the batch is stored: authors may have written meanwhile."""
        asked = [post for post, a in zip(was.posts, was.answers, strict=True) if isinstance(a, Mention)]
        habits = self.habits(asked)
        moved = [post for post in asked if habits.get(post.id) != was.habits.get(post.id)]
        if not moved:
            return was
        anew = dict(zip([post.id for post in moved], self.pipeline.understand(moved, habits), strict=True))
        answers = [anew.get(post.id, answer) for post, answer in zip(was.posts, was.answers, strict=True)]
        return replace(was, answers=answers, habits=habits)

    def keep(self, understood: Understood, turn: Turn | None = None) -> Taken:
        """Measure and store what was understood in one transaction. Where others store too it needs a `turn`."""
        is_whole = True  # what is kept in memory follows from what is stored
        try:
            with self.store.transaction() as tx:
                if turn is not None:
                    self._others_touched(turn.begin(tx))
                is_whole = False
                taken, points, touched = self._keep(tx, understood)
                if turn is not None:
                    turn.end(tx, points, touched)
                # not of one that is refused
                tx.add_tallies(self._drifting.tallies(understood, taken.mentions, self.pipeline))
            is_whole = True
        finally:
            if not is_whole:
                self._lookbacks.clear()
        self._recent.put(points)
        return taken

    def _others_touched(self, since: Mapping[str, datetime] | None) -> None:
        if since is None:
            self._lookbacks.clear()
        else:
            self._lookbacks.touched(since)

    def _keep(self, tx: Writer, understood: Understood) -> tuple[Taken, list[Point], dict[str, datetime]]:
        batch, posts, answers = understood.batch, understood.posts, understood.answers
        deletes = [item for item in batch.items if isinstance(item, Delete)]
        dropped, by_source = counted(understood)
        wanted = [self._wanted(answer) for answer in answers if isinstance(answer, Mention)]
        before = tx.mentions_of([mention.post.id for mention in wanted])  # an edit may leave a bin or a service
        mentions = tx.add_mentions(wanted)
        erased = [mention for delete in deletes for mention in tx.erase(delete)]
        touched = earliest([*before, *mentions, *erased])
        self._lookbacks.touched(touched)
        points = self._measured(tx, before, mentions) if mentions else []
        tx.put_points(points)
        tx.add_hearing(batch.hearing)
        for (source, day_of), reasons in by_source.items():
            tx.add_dropped(source, day_of, dict(reasons))
        tx.put_health(batch.health)
        for source, cursor in batch.cursors.items():
            tx.set_cursor(source, cursor)
        if posts and tx.mark(HEARD_FROM) is None:
            tx.set_mark(HEARD_FROM, bins.floor(posts[0].received_at).isoformat())
        return Taken(mentions, dropped, len(erased)), points, touched

    def _measured(self, tx: Writer, before: Sequence[Mention], mentions: Sequence[Mention]) -> list[Point]:
        """The points that change, but of minutes whose authors may be forgotten: nobody could count them again."""
        received_at = max(mention.post.received_at for mention in mentions)
        config = self.pipeline.config  # a minute's points rest on two lookbacks before it
        known_from = received_at - config.privacy.retention + 2 * config.signal.lookback + FORGETTING
        was, now = ([m for m in some if m.at >= known_from] for some in (before, mentions))
        points = self._lookbacks.measured([*was, *now], tx.mentions_between)
        return [*points, *left(was, points)]

    def tick(self, now: datetime) -> list[Transition]:
        """Watch the minute that ends at `now` (a bin start): panels in, transitions stored before they are given back."""
        self._recent.move(now)
        self._expect(now)
        ongoing = self.store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING), limit=1000)
        recently = self.store.incidents(states=(IncidentState.RESOLVED,), since=now - timedelta(hours=1), limit=1000)
        services = sorted({incident.service for incident in [*ongoing, *recently]} | self._recent.stirring(now))
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

    def begin_anew(self) -> None:
        """Forget what is kept in memory of the store: others may have written to it."""
        self._recent.forget()
        self._heard = None
        self._lookbacks.clear()
        if self._noticing:
            self._noticing.begin_anew()

    def others_stored(self, since: datetime) -> None:
        """Points from then on were changed by somebody else: they are read again."""
        self._recent.changed(since)

    def _expect(self, now: datetime) -> None:
        """Keep what was usual, for people who look later, how well each region is heard now, and how little would be noticed.

        Each service has its own minute of the hour, so that no tick has to do them all; of new ones the loudest comes soon.
        """
        minute = (now - bins.floor(now, HOUR)) // bins.BIN
        loudest = self._recent.loudest()
        known = self._noticing.kept if self._noticing else self._expected
        fresh = [] if minute % 5 else [service for service in loudest if service not in known][:1]
        due = {*fresh, *(service for service in loudest if zlib.crc32(service.encode()) % 60 == minute)}
        rows = []
        for service, one in self._panels(sorted(due), now).items():
            spoken = self._recent.regions(service)
            since = now - (3 * HOUR if service in self._expected else WINDOW)
            self._expected.add(service)
            usual = self._baselines.of(one, now)
            rows += [e for region in sorted(spoken) for e in expected_hours(one.signals[region], usual[region], since)]
            if self._noticing:
                lately = self._recent.regions(service, now - 2 * HOUR)
                self._noticing.work_out(one, usual, lately, now, self.pipeline)
        if not due and minute % 5:
            return
        heard = {region: round(float(values[-1]), 3) for region, values in self._exposure(now - WINDOW, now).items()}
        with self.store.transaction() as tx:
            tx.put_expected(rows)
            tx.set_mark(HEARING_NOW, json.dumps(heard))
            if self._noticing:
                tx.set_mark(NOTICED, self._noticing.mark(now))

    def forget(self, now: datetime) -> int:
        """Erase texts, authors and links older than the retention; give back of how many posts. Counts stay."""
        self._lookbacks.clear()
        return self.store.forget(now, now - self.pipeline.config.privacy.retention)

    def _wanted(self, mention: Mention) -> Mention:
        """Leave out services the operator does not watch."""
        if not self._services:
            return mention
        return replace(mention, services=tuple(s for s in mention.services if s in self._services))

    def _panels(self, services: Sequence[str], now: datetime) -> dict[str, Panel]:
        start = now - WINDOW
        heard = self._exposure(start, now)
        return {
            service: panel(service, self._recent.of(service), heard, self.regions, start, now) for service in services
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
