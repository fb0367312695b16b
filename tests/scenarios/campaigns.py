"""Ways to make noise about a service that works, and an outage of the same size beside them. Every post is invented."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import open_store
from listener.types import Hearing, IncidentState, Post, PostKind, Tier
from tests.builders import MINUTE, at, post

FOLDER = Path(__file__).parent / "manipulation"
OUTAGE = Path(__file__).parent / "first_day" / "outage.txt"
QUIET, BUSY, AFTER = 30, 20, 5  # minutes heard before, during and after


@dataclass(frozen=True)
class Outcome:
    """What an evening came to."""

    states: tuple[str, ...]  # the last of each incident about the service
    fired: bool
    evidence: tuple[str, ...]
    observed: float  # people counted, all regions together
    excluded: dict[str, int]

    @property
    def suspected(self) -> bool:
        return any(said.startswith(("looks ", "rests on one source")) for said in self.evidence)


def texts(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def lived(pipeline: Pipeline, said: list[Post]) -> Outcome:
    """An evening of one stream and one feed, without a past: posts are taken each minute, and the minute is watched."""
    by_minute: dict[int, list[Post]] = {}
    for one in sorted(said, key=lambda p: (p.received_at, p.id)):
        by_minute.setdefault(int((one.received_at - at(0)) / MINUTE), []).append(one)
    shares = {"bluesky": dict.fromkeys(pipeline.catalog.regions, 1.0)}
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store, shares)
        fired = False
        for minute in range(QUIET + BUSY + AFTER):
            posts = by_minute.get(minute, [])
            heard = [Hearing("bluesky", at(minute), 50 + len(posts), up=True)]
            recorder.take(Batch(items=list(posts), hearing=heard))
            told = recorder.tick(at(minute) + MINUTE)
            fired |= any(t.to_state is IncidentState.FIRING for t in told)
        points = store.points(service="instagram")
        excluded: dict[str, int] = {}
        for point in points:
            for reason, count in point.excluded:
                excluded[reason] = excluded.get(reason, 0) + count
        found = store.incidents(service="instagram", limit=50)
        return Outcome(
            tuple(str(one.state) for one in found),
            fired,
            tuple(dict.fromkeys(said for one in found for said in one.cause_evidence)),
            sum(point.observed for point in points),
            excluded,
        )


def spread(rng: random.Random, count: int) -> list[float]:
    """Minutes of so many posts, in order."""
    return sorted(QUIET + rng.uniform(0, BUSY) for _ in range(count))


def written(text: str, n: int, minutes: float, author: str = "", **changes: object) -> Post:
    made = post(text, id=f"bluesky:{n}", minutes=minutes)
    return replace(made, author=author or f"account-{n}", **changes)  # type: ignore[arg-type]


def one_author(rng: random.Random, size: int) -> Iterator[Post]:
    """One author writes all day, in many words and languages."""
    lines = [*OUTAGE.read_text(encoding="utf-8").splitlines(), *texts("copied")]
    for n, minute in enumerate(spread(rng, size)):
        yield written(rng.choice(lines), n, minute, author="loud")


def puppets(rng: random.Random, size: int) -> Iterator[Post]:
    """Many accounts send one text."""
    text = rng.choice(texts("copied"))
    for n, minute in enumerate(spread(rng, size)):
        yield written(text, n, minute)


def puppets_in_brief(rng: random.Random, size: int) -> Iterator[Post]:
    """Many accounts send the same few words."""
    text = rng.choice(texts("short"))
    for n, minute in enumerate(spread(rng, size)):
        yield written(text, n, minute)


def puppets_that_vary(rng: random.Random, size: int) -> Iterator[Post]:
    """Many accounts send one text, each with up to three words changed and something added."""
    words = rng.choice(texts("copied")).split()
    others = [word for line in texts("joke") for word in line.split()]
    for n, minute in enumerate(spread(rng, size)):
        said = list(words)
        for i in rng.sample(range(len(said)), rng.randrange(4)):
            said[i] = rng.choice(others)
        yield written(
            " ".join([*said, rng.choice(["", "!!", "😡", f"#{n}", "@birisi", "https://a.example/x"])]), n, minute
        )


def hijack(rng: random.Random, size: int) -> Iterator[Post]:
    """A hashtag that trends is ridden by advertisers."""
    lines = texts("hijack")
    for n, minute in enumerate(spread(rng, size)):
        yield written(rng.choice(lines), n, minute)


def joke(rng: random.Random, size: int) -> Iterator[Post]:
    """A celebrity jokes; people reply, quote and repost."""
    first, *rest = texts("joke")
    yield written(first, 0, QUIET, author="celebrity")
    for n, minute in enumerate(spread(rng, size), 1):
        kind = rng.choice([PostKind.REPLY, PostKind.REPLY, PostKind.QUOTE, PostKind.REPOST])
        yield written(first if kind is PostKind.REPOST else rng.choice(rest), n, minute, kind=kind)


def passed_on(rng: random.Random, size: int) -> Iterator[Post]:
    """One report is reposted and quoted, by most with its own words."""
    first, *rest = texts("quotes")
    yield written(first, 0, QUIET)
    for n, minute in enumerate(spread(rng, size), 1):
        kind = rng.choice([PostKind.REPOST, PostKind.REPOST, PostKind.QUOTE])
        text = first if kind is PostKind.REPOST or rng.random() < 0.5 else f"{rng.choice(rest)} {first}"
        yield written(text, n, minute, kind=kind)


def campaign(rng: random.Random, size: int) -> Iterator[Post]:
    """Fresh accounts on one source, each with words of its own, say that it is down: an outage but for the truth."""
    lines = OUTAGE.read_text(encoding="utf-8").splitlines()
    for n, minute in enumerate(spread(rng, size)):
        yield written(lines[n % len(lines)], n, minute)


def old_news(rng: random.Random, size: int) -> Iterator[Post]:
    """Outlets, and people who share them, write about an outage that is over."""
    lines = texts("past")
    for n, minute in enumerate(spread(rng, size)):
        text = rng.choice(lines)
        if rng.random() < 0.5:
            yield written(text, n, minute, author=f"outlet-{n % 40}", tier=Tier.PRESS)
        else:
            yield written(text, n, minute)


def translated(rng: random.Random, size: int) -> Iterator[Post]:
    """One message in ten languages, from many accounts."""
    lines = [line.split("\t") for line in texts("translated")]
    for n, minute in enumerate(spread(rng, size)):
        language, text = lines[n % len(lines)]
        yield written(text, n, minute, languages=(language,))


def outage(rng: random.Random, size: int) -> Iterator[Post]:
    """What it looks like when it is true: words of their own, few words for a third, some replies, two sources."""
    lines = OUTAGE.read_text(encoding="utf-8").splitlines()
    brief = ["instagram çöktü mü", "instagram çöktü", "insta gitti mi"]
    for n, minute in enumerate(spread(rng, size)):
        text = rng.choice(brief) if rng.random() < 0.35 else lines[n % len(lines)]
        kind = PostKind.REPLY if rng.random() < 0.25 else PostKind.POST
        made = written(text, n, minute, kind=kind)
        yield replace(made, id=f"mastodon:{n}", source="mastodon") if rng.random() < 0.1 else made


def plain_outage(rng: random.Random, size: int) -> Iterator[Post]:
    """An outage in which nobody says more than the same few words."""
    for n, minute in enumerate(spread(rng, size)):
        yield written("instagram çöktü mü", n, minute)


def puppets_again(rng: random.Random, size: int) -> Iterator[Post]:
    """A thousand fresh accounts send one text again and again."""
    text = rng.choice(texts("copied"))
    for n, minute in enumerate(spread(rng, size)):
        yield written(text, n, minute, author=f"fresh-{n % 1000}")


Made = Callable[[random.Random, int], Iterator[Post]]
NOISE: dict[str, tuple[Made, int]] = {
    "one author with 1,000 posts": (one_author, 1000),
    "300 accounts, one text": (puppets, 300),
    "300 accounts, the same few words": (puppets_in_brief, 300),
    "300 accounts, one text with changes": (puppets_that_vary, 300),
    "hashtag hijack, 300 ads": (hijack, 300),
    "viral joke, 500 replies and quotes": (joke, 500),
    "one report, 300 reposts and quotes": (passed_on, 300),
    "news wave about the past, 200": (old_news, 200),
    "translation spam, 300 accounts": (translated, 300),
    "campaign in its own words, 300": (campaign, 300),
}
HUGE: dict[str, tuple[Made, int]] = {
    "one author with 10,000 posts": (one_author, 10_000),
    "1,000 fresh accounts, 5,000 copies": (puppets_again, 5_000),
    "one report, 3,000 reposts and quotes": (passed_on, 3_000),
    "viral joke, 3,000 replies and quotes": (joke, 3_000),
}
TRUE: dict[str, tuple[Made, int]] = {
    "outage, 300 people": (outage, 300),
    "outage, 50 people": (outage, 50),
    "outage, 20 people": (outage, 20),
    "outage, 50 people, the same few words": (plain_outage, 50),
}
