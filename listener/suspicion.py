"""What in an incident's posts looks like noise made by a few rather than a failure met by many: sentences beside its cause.

A campaign in many different words can't be told from an outage by its words. So nothing is taken away here from what was
counted (`signals.voices` does that, where it can be known); it is said what an incident rests on, and people judge.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from listener.types import CORROBORATING, Incident, Mention, PostKind, Tier

FEWEST = 8  # people: of fewer nothing can be said
COPIED = 0.1  # of all people: as many with near-duplicates of one text make it a copied one
MUCH = 1 / 3  # of all people: from here on it is worth saying
MOST = 2 / 3


def suspicions(incident: Incident, mentions: Sequence[Mention], floor: float) -> tuple[str, ...]:
    """Sentences in plain English, the gravest first; none when nothing stands out.

    `mentions` are those of the incident's service since shortly before it began; those with less chatter than `floor` do
    not count.
    """
    told = [
        m
        for m in mentions
        if m.score.chatter >= floor
        and m.post.tier not in CORROBORATING
        and m.post.kind is not PostKind.REPOST
        and any(weight.region in incident.regions and weight.weight > 0 for weight in m.regions)
    ]
    people = [m for m in told if m.post.tier is Tier.PERSON]
    authors = {_author(m) for m in people}
    found = []
    if len(authors) >= FEWEST:
        found += [*_by_words(people, len(authors)), *_by_talk(people, authors), *_by_source(people, authors)]
    outlets = {_author(m) for m in told if m.post.tier is Tier.PRESS}
    if len(outlets) > max(len(authors), FEWEST / 2):
        found.append(f"looks like news: {len(outlets)} outlets write of it and {len(authors)} people")
    return tuple(found)


def _by_words(people: Sequence[Mention], count: int) -> list[str]:
    by_band: dict[str, set[str]] = defaultdict(set)
    for mention in people:
        for band in mention.cluster.split():
            by_band[band].add(_author(mention))
    made = []
    short = max((len(by) for band, by in by_band.items() if band.startswith("~")), default=0)
    if short / count >= MUCH:
        made.append(f"looks coordinated, or very plain: {short} of {count} people write the same few words")
    copied: set[str] = set()
    for band, by in by_band.items():
        if not band.startswith("~") and len(by) >= max(3, COPIED * count):
            copied |= by
    if len(copied) / count >= MUCH:
        made.append(f"looks coordinated: {len(copied)} of {count} people send the same text, small changes apart")
    return made


def _by_talk(people: Sequence[Mention], authors: set[str]) -> list[str]:
    alone = {_author(m) for m in people if m.post.kind is PostKind.POST}
    talking = len(authors - alone)
    if talking / len(authors) < MOST:
        return []
    return [f"looks like one conversation: {talking} of {len(authors)} people only reply or quote"]


def _by_source(people: Sequence[Mention], authors: set[str]) -> list[str]:
    sources = Counter(m.post.source for m in people)
    if len(sources) > 1:
        return []
    return [
        f"rests on one source: all {len(authors)} people write on {next(iter(sources))}; a campaign there looks the same"
    ]


def _author(mention: Mention) -> str:
    return mention.post.author or mention.post.id
