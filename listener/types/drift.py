"""How a source's posts change over weeks: daily counts, and what stands out in them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """How much of what a source brought on a UTC day fell into one bucket of a measure, as one model saw it."""

    day: str  # 2026-03-02
    source: str
    model: str  # digest
    measure: str  # "score", "words" or "language"
    bucket: str
    count: int


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the last days of a source are from its weeks before, by one measure; from a `strength` of 1 labels are wanted."""

    source: str
    measure: str
    until: str  # the last day judged
    strength: float
    what: str  # what moved most: "unknown" words, "unsure" or "chatter" posts, or a language's code
    now: float  # its share in the last days
    usual: float  # and in the weeks before

    @property
    def wanted(self) -> bool:
        return self.strength >= 1
