"""The nouns of the project. Plain values: no behaviour beyond what their own fields tell, no edges.

Instants end in `_at` and are UTC-aware; lengths of time are `timedelta`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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


@dataclass(frozen=True, slots=True)
class Dropped:
    """A post that does not count, and why. Dropping is always counted."""

    post_id: str
    reason: DropReason
    score: Score | None = None  # when it was judged


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    service: str
    region: str


@dataclass(frozen=True, slots=True)
class Point:
    """One bin of a series. `observed` is expected chatter authors (fractional), `exposure` the share heard."""

    key: SeriesKey
    at: datetime  # the bin's start
    observed: float
    posts: int
    authors: int
    recovered: float = 0.0
    labels: tuple[tuple[str, float], ...] = ()  # observed by label, and "symptom:<name>" for symptoms
    excluded: tuple[tuple[str, int], ...] = ()  # reason -> posts that did not add to `observed`


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one source let us hear in one bin: posts seen before any gate, and whether it was up at all."""

    source: str
    at: datetime
    posts: int
    up: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """A gapless run of bins of one series; bin `i` starts at `start_at + i * bin`. Arrays share one length."""

    key: SeriesKey
    start_at: datetime
    bin: timedelta
    observed: Floats
    exposure: Floats  # 0..1; 0 = nothing could be heard
    recovered: Floats
    posts: Floats
    authors: Floats


@dataclass(frozen=True, slots=True)
class Panel:
    """The signals of one service over all regions, all of the same start, bin and length."""

    service: str
    signals: dict[str, Signal]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is expected in the bins of a signal, at full exposure.

    `mean` has the signal's length. `dispersion` is the negative-binomial size k of one bin's count
    (variance = mean + mean**2 / k); `noise` is the variance of the slow log-rate noise, shared by neighbouring bins.
    `weeks` says how much history stands behind it (0 = the prior from data alone), `doubt` how far it may be off
    altogether (variance of the log of `mean`), `memory` how long the noise remembers itself.
    """

    mean: Floats
    dispersion: float
    noise: float
    weeks: float
    doubt: float = 0.0
    memory: timedelta = timedelta(hours=4)


class State(StrEnum):
    NO_DATA = "no_data"
    QUIET = "quiet"
    POSSIBLE = "possible"
    PROBLEMS = "problems"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A detector's verdict on one bin (words of R's `surveillance`); `raised` when the score passes the threshold."""

    key: SeriesKey
    at: datetime
    observed: float
    expected: float
    upperbound: float
    score: float
    raised: bool
    window: timedelta
    exposure: float = 1.0


class IncidentState(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class RegionPart:
    """One region's share in an incident. `onset_at` lies between `onset_low_at` and `onset_high_at`."""

    region: str
    state: State
    onset_at: datetime
    onset_low_at: datetime
    onset_high_at: datetime
    observed: float
    expected: float
    score: float  # the highest so far


@dataclass(frozen=True, slots=True)
class Incident:
    """Alarms that belong together: one service, one or more regions, in order of onset."""

    id: str
    service: str
    state: IncidentState
    parts: tuple[RegionPart, ...]
    started_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None
    quiet_since_at: datetime | None = None
    cause: dict[str, float] = field(default_factory=dict)
    cause_evidence: tuple[str, ...] = ()
    observed: float = 0.0
    expected: float = 0.0
    authors: int = 0
    posts: int = 0

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(part.region for part in self.parts)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an incident's state, stored before anyone is told. `incident` is as it is after the change."""

    id: str
    at: datetime
    incident: Incident
    from_state: IncidentState | None
    to_state: IncidentState


@dataclass(frozen=True, slots=True)
class Notification:
    """One transition told to one channel, with its outcome."""

    transition_id: str
    channel: str
    at: datetime
    outcome: str  # "sent" or "failed"
    reason: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is doing. Times are None until the thing has happened once."""

    source: str
    kind: str
    region: str = ""
    last_success_at: datetime | None = None
    last_item_at: datetime | None = None
    errors_in_a_row: int = 0
    reason: str = ""
    next_try_at: datetime | None = None
    posts: int = 0
    lag: timedelta | None = None
