"""Keeps the counts from which drift is read, and reads them once a day: see `signals.drift`.

Posts about a service that has an open incident are left out: an outage changes what people write, and is no drift.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import structlog

from listener.batches import Understood
from listener.pipeline import Pipeline
from listener.signals import bins, drift
from listener.store import Store
from listener.text.familiar import unknown_words
from listener.text.normalize import normalize
from listener.types import Drift, Dropped, IncidentState, Mention, Post, Tally

DRIFT = "drift"  # the mark that holds the last verdict (JSON)
READ = 8  # of so many judged posts the words of one are looked up, which takes no time worth speaking of

_ONGOING = (IncidentState.PENDING, IncidentState.FIRING)
_UNTOLD = "stated"  # the model of a score that no model gave


_Bucket = tuple[str, str, str, str, str]  # day, source, model, measure, bucket


class Verdict(msgspec.Struct, frozen=True):
    """What was found on a UTC day for the model in force then."""

    day: str
    model: str
    found: tuple[Drift, ...]


class Drifting:
    """The drift of one store's sources. Used from the thread that writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._verdict: Verdict | None = None
        self._counts: dict[_Bucket, int] = defaultdict(int)  # not stored yet
        self._unread: list[tuple[tuple[str, str, str], str]] = []  # day, source and model, and a text
        self._passed = 0
        self._stored: datetime | None = None  # the minute counts were stored in last
        self._looked: tuple[datetime, frozenset[str]] | None = None  # the minute, and services in trouble then

    def tallies(self, understood: Understood, fresh: Sequence[Mention], pipeline: Pipeline) -> list[Tally]:
        """What is to be stored with a batch: once a minute, what was counted since. A crash may lose a minute.

        `fresh` are its mentions that were new: a post delivered again is not counted again.
        """
        if not understood.posts:
            return []
        now, counts = understood.posts[-1].received_at, self._counts
        for post, chatter, model, language in self._judged(understood, fresh, self._in_trouble(now)):
            key = post.received_at.date().isoformat(), post.source, model
            counts[*key, drift.SCORE, drift.bucket_of(chatter)] += 1
            if language:
                counts[*key, drift.LANGUAGE, language] += 1
            self._passed += 1
            if self._passed % READ == 0:
                self._unread.append((key, post.text))
        if bins.floor(now) == self._stored:
            return []
        self._stored = bins.floor(now)
        self._read(pipeline)
        self._counts = defaultdict(int)
        return [Tally(*key, count) for key, count in sorted(counts.items()) if count]

    def _read(self, pipeline: Pipeline) -> None:
        told = unknown_words(pipeline.identifier, [normalize(text).clean for _, text in self._unread])
        for (key, _), (unknown, words) in zip(self._unread, told, strict=True):
            self._counts[*key, drift.WORDS, drift.UNKNOWN] += unknown
            self._counts[*key, drift.WORDS, drift.KNOWN] += words - unknown
        self._unread = []

    @staticmethod
    def _judged(
        understood: Understood, fresh: Sequence[Mention], in_trouble: frozenset[str]
    ) -> Iterator[tuple[Post, float, str, str]]:
        """Post, chatter, model and language of what a model judged; the language of everyday talk is not known."""
        for mention in fresh:
            if mention.score.model != _UNTOLD and in_trouble.isdisjoint(mention.services):
                yield mention.post, mention.score.chatter, mention.score.model, mention.language.code
        for post, answer in zip(understood.posts, understood.answers, strict=True):
            if isinstance(answer, Dropped) and answer.score is not None:
                yield post, answer.score.chatter, answer.score.model, ""

    def _in_trouble(self, at: datetime) -> frozenset[str]:
        minute = bins.floor(at)
        if self._looked is None or self._looked[0] != minute:
            ongoing = self._store.incidents(states=_ONGOING, limit=1000)
            self._looked = minute, frozenset(incident.service for incident in ongoing)
        return self._looked[1]

    def judged(self, now: datetime, model: str) -> tuple[tuple[Drift, ...], bool]:
        """The verdict of today on the model in force, and whether it was found just now: once a day, after midnight UTC."""
        today = now.date().isoformat()
        if not _is_of(self._verdict, today, model) and (mark := self._store.mark(DRIFT)):
            self._verdict = msgspec.json.decode(mark, type=Verdict)  # another process may have looked
        known = self._verdict
        if known is not None and _is_of(known, today, model):
            return known.found, False
        since = (now - drift.HISTORY).date().isoformat()
        found = tuple(drift.watch(self._store.tallies(since), model, today))
        self._verdict = Verdict(today, model, found)
        with self._store.transaction() as tx:
            tx.drop_tallies(since)
            tx.set_mark(DRIFT, msgspec.json.encode(self._verdict).decode())
        return found, True


def _is_of(verdict: Verdict | None, day: str, model: str) -> bool:
    return verdict is not None and (verdict.day, verdict.model) == (day, model)


def said(one: Drift) -> str:
    """Why labels are wanted, in plain English.

    >>> said(Drift("forum-ro", "words", "2026-03-01", 1.4, "unknown", 0.42, 0.18))
    '42 % of words unknown, usually 18 %'
    """
    what = {drift.UNKNOWN: "of words unknown", drift.UNSURE: "of posts judged unsurely"}.get(
        one.what, "of posts surely about trouble" if one.what == drift.CHATTER else f"of posts in {one.what}"
    )
    return f"{one.now:.0%} {what}, usually {one.usual:.0%}".replace("%", " %")


def tell_drift(log: structlog.stdlib.BoundLogger, found: Sequence[Drift]) -> None:
    """One line a day: a warning when labels are wanted."""
    sources = len({one.source for one in found})
    if wanted := [one for one in found if one.wanted]:
        why = "; ".join(f"{one.source}: {said(one)}" for one in wanted)
        log.warning("labels_wanted", why=why[:2000], sources_judged=sources)
    else:
        log.info("no_drift", sources_judged=sources)
