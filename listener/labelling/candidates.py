"""Posts to choose from: judged by the model, asked a second opinion, near-duplicates put together, names of people taken out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from listener.classify.service import INTERNET
from listener.labelling.select import AUDIT_SHARE, Pool, choose
from listener.pipeline import Pipeline
from listener.text.normalize import clean, normalize
from listener.types import CORROBORATING, LABELS, UNNAMED, Match, Mention, Post

ALIKE = (
    4  # bands of twelve that two posts share to be asked as one (see `text.copies`): most of their words are the same
)
_BATCH = 512
_SAYS = frozenset({"trouble", "block"})
_UNSAYS = frozenset({"recovery", "denial", "own", "past", "hypothetical", "maintenance"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A post that may be asked about, with what the model thinks of it. `text` is masked: no handle, no link."""

    id: str
    text: str
    language: str
    services: tuple[str, ...]
    probabilities: tuple[float, ...]
    symptom: str
    model: str
    opinion: bool  # whether the phrases found, asked alone, say chatter
    alike: int = 1  # posts of the pool that say the same

    @property
    def guess(self) -> str:
        """The likeliest label."""
        return LABELS[max(range(len(LABELS)), key=self.probabilities.__getitem__)]

    @property
    def named(self) -> tuple[str, ...]:
        """The services that may be shown before the answer: `unnamed` would tell that the model takes it for chatter."""
        return tuple(service for service in self.services if service not in (UNNAMED, INTERNET))


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate chosen, and how: `audit`, or the strategy's name."""

    candidate: Candidate
    picked: str


def phrases_say(matches: Iterable[Match]) -> bool:
    """The second opinion, which knows only phrases: trouble or a block is named, and nothing that takes it back.

    On data/labelled its F1 is 0.62. It errs elsewhere than the model, which makes it worth asking.
    """
    kinds = {match.kind for match in matches}
    return bool(kinds & _SAYS) and not kinds & _UNSAYS


def anonymous(post: Post) -> str:
    """An id that is the same for the same post and tells nothing: the native id of some sources holds the account's name."""
    return blake2b(post.id.encode(), digest_size=8).hexdigest()


def candidates(pipeline: Pipeline, posts: Sequence[Post], *, keep_ids: bool = False) -> list[Candidate]:
    """Judge people's posts that have any text, whether or not the gate would let them pass; near-duplicates become one.

    `keep_ids` leaves ids as they are, for posts out of the analyst's own file.
    """
    usable = [post for post in posts if post.tier not in CORROBORATING and not post.stated and post.text.strip()]
    made: list[Candidate] = []
    clusters: list[str] = []
    for at in range(0, len(usable), _BATCH):
        some = usable[at : at + _BATCH]
        texts = [normalize(post.text) for post in some]
        found = [pipeline.matcher.find(text.skeleton) for text in texts]
        mentions = pipeline.judge(pipeline.read(some, texts, found), {})
        for mention, matches in zip(mentions, found, strict=True):
            made.append(_candidate(mention, matches, keep_ids=keep_ids))
            clusters.append(mention.cluster)
    return together(made, clusters)


def _candidate(mention: Mention, matches: Sequence[Match], *, keep_ids: bool) -> Candidate:
    post = mention.post
    return Candidate(
        id=post.id.partition(":")[2] if keep_ids else anonymous(post),
        text=clean(post.text),
        language=mention.language.code,
        services=mention.services,
        probabilities=mention.score.probabilities,
        symptom=mention.score.symptom,
        model=mention.score.model,
        opinion=phrases_say(matches),
    )


def together(found: Sequence[Candidate], clusters: Sequence[str]) -> list[Candidate]:
    """One candidate of each group of near-duplicates, the one whose id comes first, with the size of its group."""
    leader = list(range(len(found)))

    def root(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    holders: dict[str, list[int]] = defaultdict(list)  # of each band, one post of each group that has it
    for i, cluster in enumerate(clusters):
        bands = cluster.split()
        shared = Counter(group for band in bands for group in {root(other) for other in holders[band]})
        for group, count in shared.items():
            if count >= min(ALIKE, len(bands)):
                low, high = sorted((root(group), root(i)))
                leader[high] = low
        for band in bands:
            if root(i) not in {root(other) for other in holders[band]}:
                holders[band].append(i)
    groups: dict[int, list[Candidate]] = defaultdict(list)
    for i, one in enumerate(found):
        groups[root(i)].append(one)
    return [_group(same) for same in groups.values()]


def _group(same: Sequence[Candidate]) -> Candidate:
    first = min(same, key=lambda one: one.id)
    return replace(first, alike=len(same))


def picks(
    found: Sequence[Candidate],
    count: int,
    *,
    done: Collection[str] = (),
    seed: int = 0,
    strategy: str = "margin",
    audit: float = AUDIT_SHARE,
) -> list[Pick]:
    """Choose up to `count` of those whose id is not `done`. The order of `found` does not matter."""
    left = sorted((one for one in found if one.id not in done), key=lambda one: one.id)
    if not left:
        return []
    pool = Pool(
        np.array([one.probabilities for one in left]),
        np.array([one.opinion for one in left], np.bool_),
        [one.language for one in left],
        [one.services[0] if one.services else "" for one in left],
    )
    chosen = choose(pool, count, np.random.default_rng(seed), strategy=strategy, audit=audit)
    return [Pick(left[i], how) for i, how in chosen]
