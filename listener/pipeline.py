"""The whole project on one screen: posts are understood, mentions are measured, panels are watched.

    understand   posts     normalize, match, identify, classify, attribute  -> mentions | dropped, one a post, in order
    measure      mentions  aggregate                                        -> points; same mentions, same points
    watch        panels    detect, track, explain                           -> transitions; same inputs, same answer

Nothing here waits, reads the clock, stores or talks to anyone: `daemon` does, and `replay` runs these same three on an archive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener import causes, incidents, kinds
from listener.catalog import Catalog
from listener.classify.classifier import Classifier
from listener.classify.gate import FOUND, is_found
from listener.classify.service import services_of
from listener.config import Config
from listener.regions.attribute import Attributor
from listener.screen import MAY_PASS, NO_MATCH, Screen
from listener.signals.aggregate import Tally, aggregate
from listener.suspicion import suspicions
from listener.text.copies import clusters_of
from listener.text.language import Identifier
from listener.text.normalize import Normalized, normalize, skeleton
from listener.text.phrases import Matcher, matcher_of
from listener.types import (
    LABELS,
    Baseline,
    Dropped,
    DropReason,
    Incident,
    Language,
    Match,
    Mention,
    Panel,
    Point,
    Post,
    Reading,
    Score,
    Transition,
)

SAYS_NOTHING = 0.1  # a post in which nothing was found and that is less likely chatter than this is not kept


@dataclass(frozen=True)
class Pipeline:
    """What the stages know. Build it once with `load`; it never changes, so any thread may use it."""

    catalog: Catalog
    matcher: Matcher
    identifier: Identifier
    classifier: Classifier
    attributor: Attributor
    detector: ModuleType
    detector_options: Any
    config: Config

    @classmethod
    def load(cls, catalog: Catalog, model: Path, config: Config) -> Pipeline:
        detector = kinds.load("detectors", config.detector.kind, "detector")
        matcher = matcher_of(catalog)
        return cls(
            catalog=catalog,
            matcher=matcher,
            identifier=Identifier.load(model),
            classifier=Classifier.load(model),
            attributor=Attributor(catalog, matcher.find, skeleton),
            detector=detector,
            detector_options=kinds.convert(config.detector.options, detector.Options, "detector.options"),
            config=config,
        )

    @cached_property
    def screen(self) -> Screen:
        """What sees in raw text that a post can't pass the gate."""
        return Screen(self.matcher, self.classifier.gate)

    def silent(self, posts: Sequence[Post]) -> NDArray[np.uint8]:
        """What `screen` says of posts, 0 being worth judging; also of those whose source says what they mean."""
        texts = [post.text.replace("\n", " ").encode("utf-8", "ignore") for post in posts]
        verdicts = self.screen(texts)
        verdicts[[n for n, p in enumerate(posts) if (p.services or p.stated) and verdicts[n] == NO_MATCH]] = MAY_PASS
        return verdicts

    def understand(
        self, posts: Sequence[Post], habits: Mapping[str, Mapping[str, float]] | None = None
    ) -> list[Mention | Dropped]:
        """One answer per post, in order. Language, score and regions are worked out only for posts that pass the gate.

        `habits` are what authors' earlier posts say of where they write from, by post id (see `regions.history`).
        """
        texts = [normalize(post.text) for post in posts]
        found = [self.matcher.find(text.skeleton) for text in texts]
        gate = self.classifier.gate.passes([text.skeleton for text in texts], found)
        told = [bool(text.skeleton and (p.services or p.stated)) for text, p in zip(texts, posts, strict=True)]
        passed = np.flatnonzero(np.logical_or(gate, told)).tolist()
        readings = self.read([posts[i] for i in passed], [texts[i] for i in passed], [found[i] for i in passed])
        judged = dict(zip(passed, self.judge(readings, habits or {}), strict=True))
        return [
            _kept(judged[i], found[i]) if i in judged else Dropped(post.id, _why(texts[i]))
            for i, post in enumerate(posts)
        ]

    def read(
        self, posts: Sequence[Post], texts: Sequence[Normalized], found: Sequence[Sequence[Match]]
    ) -> list[Reading]:
        """Add the language, in one batch."""
        languages: list[Language] = self.identifier.identify([t.clean for t in texts], [p.languages for p in posts])
        return [
            Reading(post, text.clean, text.skeleton, tuple(matches), language)
            for post, text, matches, language in zip(posts, texts, found, languages, strict=True)
        ]

    def judge(self, readings: Sequence[Reading], habits: Mapping[str, Mapping[str, float]]) -> list[Mention]:
        """Score, attribute and name what readings are about."""
        made = []
        known = [habits.get(reading.post.id, {}) for reading in readings] if habits else ()
        scores, places = self.classifier.score(readings), self.attributor.attribute(readings, known)
        clusters = clusters_of([reading.skeleton for reading in readings])
        for reading, judged, regions, cluster in zip(readings, scores, places, clusters, strict=True):
            score = stated(reading.post.stated) or judged
            made.append(
                Mention(
                    post=reading.post,
                    services=services_of(reading, score.chatter, regions, self.catalog),
                    score=score,
                    language=reading.language,
                    regions=regions,
                    matches=tuple(dict.fromkeys([m.form for m in reading.matches if m.kind in FOUND])),
                    cluster=cluster,
                )
            )
        return made

    def explain_score(self, post: Post) -> list[tuple[str, float]]:
        """The features that moved a post's score most, with the size and sign of their push."""
        text = normalize(post.text)
        (reading,) = self.read([post], [text], [self.matcher.find(text.skeleton)])
        return self.classifier.explain(reading)

    def measure(
        self,
        mentions: Sequence[Mention],
        bins: Collection[tuple[str, datetime]],
        before: Mapping[str, Tally] | None = None,
    ) -> list[Point]:
        """The points of the wanted (service, bin)s; `mentions` holds all of them and those of the lookback before.

        Of a service whose lookback was added up already, `before` holds that instead.
        """
        tally = self.tally()
        return aggregate(
            mentions, bins, lookback=tally.lookback, lateness=tally.lateness, floor=tally.floor, before=before
        )

    def tally(self) -> Tally:
        """An empty one, for a service's mentions."""
        signal = self.config.signal
        return Tally(signal.lookback, signal.lateness, signal.chatter_floor)

    def watch(
        self,
        panels: Mapping[str, Panel],
        baselines: Mapping[str, Mapping[str, Baseline]],
        ongoing: Sequence[Incident],
        now: datetime,
    ) -> tuple[list[Transition], list[Incident]]:
        """What changes at `now`: transitions to store and tell, and incidents whose figures moved."""
        alarms = [
            alarm
            for service, panel in sorted(panels.items())
            for alarm in self.detector.detect(panel, baselines[service], self.detector_options)
        ]
        return incidents.track(alarms, panels, ongoing, now, resolve_after=self.config.detector.resolve_after)

    def explain(
        self, incident: Incident, mentions: Sequence[Mention], others: Sequence[Incident]
    ) -> tuple[dict[str, float], tuple[str, ...]]:
        """What kind of trouble an incident looks like, and why; first of all what makes it look like noise."""
        cause, evidence = causes.causes(incident, mentions, others, self.catalog)
        return cause, (*suspicions(incident, mentions, self.config.signal.chatter_floor), *evidence)


def stated(label: str) -> Score | None:
    """The score of a post whose source says itself what it means; None when it does not."""
    return Score(tuple(float(label == name) for name in LABELS), model="stated") if label else None


def _kept(mention: Mention, found: Sequence[Match]) -> Mention | Dropped:
    if mention.score.chatter < SAYS_NOTHING and not mention.post.stated and not is_found(found):
        return Dropped(mention.post.id, DropReason.NO_CHATTER, mention.score)
    return mention


def _why(text: Normalized) -> DropReason:
    return DropReason.NO_MATCH if text.skeleton else DropReason.NO_TEXT
