"""Drift: whether what a source brings is still what it used to bring, so that the model can be trusted with it.

Three measures of the posts that were judged, counted by day, source and model: the histogram of chatter scores, the share of
words with a run of letters no training post had, and the mix of languages. The last two days, each by itself, or the last week
of a source that brings little, are compared with the weeks that ended two weeks ago. The yardstick is the source's own unrest:
how far its days lie from each other, by the square root of the Jensen-Shannon divergence (Lin, 1991) or, for words, by the
share itself.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean, median, stdev

from listener.types import Drift, Tally

SCORE, WORDS, LANGUAGE = "score", "words", "language"
KNOWN, UNKNOWN = "known", "unknown"
UNSURE, CHATTER = "unsure", "chatter"

HISTORY = timedelta(days=77)  # how far back `watch` looks; older tallies are of no use
_LEAST = {SCORE: 0.05, WORDS: 0.03, LANGUAGE: 0.08}  # a smaller distance is nothing to train for


@dataclass(frozen=True)
class _Rhythm:
    """By which length of time a source is judged."""

    days: int  # of a block
    judged: int  # blocks that must all stand out
    gap: int  # blocks before them that are left out, so that what began lately is not taken for usual at once
    reference: int  # blocks they are compared with,
    enough: int  # of which there must be so many
    times: float  # a distance stands out that is so many standard deviations of theirs above their mean


# `times` by simulation (docs/promotion.md): the few weeks of a quiet source tell its unrest less well than many days.
_DAILY, _WEEKLY = _Rhythm(1, 2, 12, 28, 14, 5.0), _Rhythm(7, 1, 2, 8, 5, 8.0)
_POSTS_A_DAY = 100  # judged by the day from so many posts on a usual day
_POSTS = 60  # a block of fewer says nothing

Block = Mapping[str, Counter[str]]  # measure -> bucket -> count


def bucket_of(chatter: float) -> str:
    """The bucket of a score: tenths, by their number.

    >>> bucket_of(0.0), bucket_of(0.55), bucket_of(1.0)
    ('0', '5', '9')
    """
    return str(min(9, int(10 * chatter)))


def watch(tallies: Iterable[Tally], model: str, today: str) -> list[Drift]:
    """How each source's last complete days before `today` compare with its weeks before, as this model saw both.

    One answer a source and measure, in order; sources with too little history are left out.
    """
    by_source: dict[str, dict[date, dict[str, Counter[str]]]] = defaultdict(lambda: defaultdict(_empty))
    for tally in tallies:
        if tally.model == model:
            by_source[tally.source][date.fromisoformat(tally.day)][tally.measure][tally.bucket] += tally.count
    end = date.fromisoformat(today)
    return [drift for source, days in sorted(by_source.items()) for drift in _compared(source, days, end)]


def _compared(source: str, days: Mapping[date, Block], end: date) -> list[Drift]:
    a_day = [sum(days[day][SCORE].values()) if day in days else 0 for n in range(1, 15) for day in [end - timedelta(n)]]
    rhythm = _DAILY if median(a_day) >= _POSTS_A_DAY else _WEEKLY
    blocks = [_block(days, end, n, rhythm.days) for n in range(rhythm.judged + rhythm.gap + rhythm.reference)]
    judged, before = blocks[: rhythm.judged], [b for b in blocks[rhythm.judged + rhythm.gap :] if _is_enough(b)]
    if len(before) < rhythm.enough or not all(map(_is_enough, judged)):
        return []
    until = (end - timedelta(1)).isoformat()
    return [_drift(source, measure, until, judged, before, rhythm.times) for measure in (SCORE, WORDS, LANGUAGE)]


def _drift(
    source: str, measure: str, until: str, judged: Sequence[Block], before: Sequence[Block], times: float
) -> Drift:
    counts = [block[measure] for block in before]
    usual, now = _sum(counts), _sum([block[measure] for block in judged])
    if measure == WORDS:
        unrest = [_share(one, UNKNOWN) for one in counts]
        distances = [_share(block[measure], UNKNOWN) for block in judged]
    else:
        unrest = [distance(one, usual - one) for one in counts]
        distances = [distance(block[measure], usual) for block in judged]
    middle = fmean(unrest)
    limit = max(times * stdev(unrest), _LEAST[measure])
    strength = min(distances) - middle
    what = _moved(measure, now, usual)
    return Drift(
        source, measure, until, round(max(0.0, strength / limit), 3), what, _share(now, what), _share(usual, what)
    )


def distance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Square root of the Jensen-Shannon divergence of two histograms in bits, 0 to 1; 0 when either is empty.

    >>> distance(Counter(a=5), Counter(b=3)), distance(Counter(a=5), Counter(a=1))
    (1.0, 0.0)
    """
    n, m = sum(one.values()), sum(other.values())
    if not n or not m:
        return 0.0
    total = 0.0
    for bucket in one.keys() | other.keys():
        p, q = one.get(bucket, 0) / n, other.get(bucket, 0) / m
        middle = (p + q) / 2
        total += sum(x / 2 * math.log2(x / middle) for x in (p, q) if x)
    return math.sqrt(max(0.0, total))


def _moved(measure: str, now: Counter[str], usual: Counter[str]) -> str:
    if measure == WORDS:
        return UNKNOWN
    if measure == SCORE:
        return max((UNSURE, CHATTER), key=lambda what: abs(_share(now, what) - _share(usual, what)))
    return max(sorted(now | usual) or [""], key=lambda code: _share(now, code) - _share(usual, code))


_TENTHS = {UNSURE: frozenset("234567"), CHATTER: frozenset("89")}


def _share(counts: Mapping[str, int], what: str) -> float:
    total = sum(counts.values())
    wanted = _TENTHS.get(what, {what})
    return round(sum(counts.get(bucket, 0) for bucket in wanted) / total, 4) if total else 0.0


def _block(days: Mapping[date, Block], end: date, number: int, length: int) -> dict[str, Counter[str]]:
    """The `number`-th run of so many days before `end`, the latest being 0."""
    last = end - timedelta(number * length)
    of = [days[day] for n in range(1, length + 1) if (day := last - timedelta(n)) in days]
    return {measure: _sum([one[measure] for one in of]) for measure in (SCORE, WORDS, LANGUAGE)}


def _is_enough(block: Block) -> bool:
    return sum(block[SCORE].values()) >= _POSTS


def _sum(counts: Iterable[Counter[str]]) -> Counter[str]:
    made: Counter[str] = Counter()
    for one in counts:
        made.update(one)
    return made


def _empty() -> dict[str, Counter[str]]:
    return {SCORE: Counter(), WORDS: Counter(), LANGUAGE: Counter()}
