"""What came in since the last batch, and what was made of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from listener.types import Delete, Dropped, Hearing, Mention, Post, SourceHealth


@dataclass
class Batch:
    """What came in since the last batch, in order, with the cursor of each source after its last item."""

    items: list[Post | Delete] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)
    hearing: list[Hearing] = field(default_factory=list)
    health: list[SourceHealth] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)  # source, reason: lost before it was a post
    silent: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, reason: not parsed, they say nothing


@dataclass(frozen=True)
class Taken:
    """What became of a batch."""

    mentions: list[Mention]  # new or edited
    dropped: Counter[str]
    erased: int


@dataclass(frozen=True)
class Understood:
    """A batch, its posts, and the answer to each; `habits` are what was known of the authors then."""

    batch: Batch
    posts: list[Post]
    answers: list[Mention | Dropped]
    habits: Mapping[str, Mapping[str, float]]


def counted(understood: Understood) -> tuple[Counter[str], dict[tuple[str, str], Counter[str]]]:
    """What was dropped: by reason, and by source and UTC day."""
    batch = understood.batch
    dropped = Counter(reason for _, reason in batch.dropped)
    by_source: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for post, answer in zip(understood.posts, understood.answers, strict=True):
        if isinstance(answer, Dropped):
            dropped[answer.reason] += 1
            by_source[post.source, f"{post.received_at:%Y-%m-%d}"][answer.reason] += 1
    day = f"{batch.hearing[0].at:%Y-%m-%d}" if batch.hearing else ""
    for source, reason in batch.dropped:
        by_source[source, day][reason] += 1
    for (source, reason), posts in batch.silent.items():
        dropped[reason] += posts
        by_source[source, day][reason] += posts
    return dropped, by_source
