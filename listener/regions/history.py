"""What an author's earlier posts say about where the next one is from.

Only posts that said it themselves count, by a place, a provider or their source: what the language alone suggests is in the
next post too, and would be counted twice. Look back on posts that are older than the allowed lateness, and not older than the
retention: those have all arrived, so that the same posts give the same weights in whatever order they came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from listener.regions.weights import Weights
from listener.types import UNKNOWN_REGION, RegionWeight

LANGUAGE, HABIT = "language", "author"  # evidence that a post does not give by itself


def habit(earlier: Sequence[Sequence[RegionWeight]], weights: Weights) -> Mapping[str, float]:
    """Odds a region from the weights of an author's earlier posts; empty when none of these said anything by itself.

    >>> from listener.regions.weights import Weights
    >>> w = Weights(**{**dict.fromkeys(Weights.__slots__, 1.0), "habit": 1.5, "habit_most": 12.0})
    >>> niš = (RegionWeight("RS", 0.9, ("language", "place:nisu")), RegionWeight("BA", 0.1, ("language",)))
    >>> plain = (RegionWeight("RS", 0.8, ("language",)),)
    >>> habit([niš, niš, plain], w), habit([plain], w)
    ({'RS': 2.7}, {})
    """
    odds: Counter[str] = Counter()
    for regions in earlier:
        for told in regions:
            if told.region != UNKNOWN_REGION and any(e not in (LANGUAGE, HABIT) for e in told.evidence):
                odds[told.region] += weights.habit * told.weight  # type: ignore[assignment]  # a Counter adds floats too
    most = max(odds.values(), default=0.0)
    scale = min(1.0, weights.habit_most / most) if most else 0.0
    return {region: round(value * scale, 4) for region, value in sorted(odds.items())}
