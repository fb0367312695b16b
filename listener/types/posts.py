"""Posts as they come, and what is understood of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

LABELS = ("report", "question", "blocked", "relay", "recovered", "works", "own", "not_now", "other")
CHATTER = frozenset({"report", "question", "blocked", "relay"})
SYMPTOMS = (
    "down", "login", "feed", "stories", "messages", "slow", "error", "upload", "call", "notifications", "payments",
)  # fmt: skip
UNKNOWN_REGION = "ZZ"
UNNAMED = "unnamed"  # the service of a post that reports trouble and names none


class PostKind(StrEnum):
    POST = "post"
    REPLY = "reply"
    REPOST = "repost"
    QUOTE = "quote"


class Tier(StrEnum):
    """How far a voice is from the people it happens to. The last two corroborate and are never counted."""

    PERSON = "person"
    PRESS = "press"
    OFFICIAL = "official"  # the company's own status page
    MEASURED = "measured"  # a probe, what people search for


CORROBORATING = frozenset({Tier.OFFICIAL, Tier.MEASURED})


@dataclass(frozen=True, slots=True)
class Post:
    """One public message as received. `id` is `<source>:<native id>`, the same however often it is delivered."""

    id: str
    source: str
    text: str
    created_at: datetime  # theirs
    received_at: datetime  # ours
    author: str = ""  # a keyed hash, never a name; empty when unknown
    kind: PostKind = PostKind.POST
    languages: tuple[str, ...] = ()  # declared by the writer's client or the source: a weak hint
    place: str = ""
    region: str = ""
    url: str = ""
    tier: Tier = Tier.PERSON
    services: tuple[str, ...] = ()  # what the source itself is about, such as the app that is reviewed
    stated: str = ""  # one of `LABELS` when the source says what it means; then no classifier is asked

    @property
    def event_at(self) -> datetime:
        """When it happened: their clock, never later than ours."""
        return min(self.created_at, self.received_at)


@dataclass(frozen=True, slots=True)
class Delete:
    """Upstream asks that a post, or everything of an author, be erased. One of the two ids is set."""

    source: str
    at: datetime
    post_id: str = ""
    author: str = ""


class Match(NamedTuple):  # not a dataclass: a post makes half a dozen, and this costs a third
    """A service alias or a phrase found in a post. `start` and `end` are offsets into the skeleton."""

    kind: str  # "service" or a concept of data/languages, such as "trouble"
    name: str  # service id, or the phrase's language
    form: str  # the words as they stand in the skeleton
    start: int
    end: int
    exact: bool = True
    symptom: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """BCP 47 code and confidence; `und` when unsure. `group` members share the probability (sr, hr, bs)."""

    code: str
    confidence: float
    script: str = "Latn"
    probabilities: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A post with its text in both forms, what was found in it, and its language: what the classifier judges."""

    post: Post
    clean: str
    skeleton: str
    matches: tuple[Match, ...]
    language: Language


@dataclass(frozen=True, slots=True)
class Score:
    """Probability of each of `LABELS`, in that order; the symptom when the post says one; the model's digest."""

    probabilities: tuple[float, ...]
    symptom: str = ""
    model: str = ""

    @property
    def chatter(self) -> float:
        """P(report) + P(question) + P(blocked) + P(relay)."""
        return sum(self.probabilities[:4])

    @property
    def label(self) -> str:
        return LABELS[max(range(len(LABELS)), key=self.probabilities.__getitem__)]


@dataclass(frozen=True, slots=True)
class RegionWeight:
    """How much of a post belongs to a region. The weights of a post sum to 1, the unknown part being `ZZ`."""

    region: str
    weight: float
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mention:
    """A post that counts, with everything that was understood about it."""

    post: Post
    services: tuple[str, ...]
    score: Score
    language: Language
    regions: tuple[RegionWeight, ...]
    matches: tuple[str, ...]
    cluster: str  # near-duplicate texts share it

    @property
    def at(self) -> datetime:
        return self.post.event_at


class DropReason(StrEnum):
    NO_TEXT = "no_text"
    NO_MATCH = "no_match"  # nothing found, and no words that chatter is made of: not judged
    NO_CHATTER = "no_chatter"  # nothing found, and judged to be everyday talk
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    POISON = "poison"  # our own code failed on it: it lies among the dead letters of the bus


@dataclass(frozen=True, slots=True)
class Dropped:
    """A post that does not count, and why. Dropping is always counted."""

    post_id: str
    reason: DropReason
    score: Score | None = None  # when it was judged
