"""Two classifiers on the same posts: the difference of their F1, how sure it is, and which posts they part on.

Posts of one group (copies, one author) go together in all resampling. The interval is a paired bootstrap; the probability is
from an approximate randomisation test, which swaps the two answers of a group at random (Yeh, COLING 2000); of many
comparisons, Holm's correction. All draws are of counts of like groups, so that they cost the same for any number of posts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.training.figures import interval, told
from listener.types import Floats

SURE = 0.05  # a difference that chance makes less often than this, corrected, is called one
_DRAWS = 4000

Truth = NDArray[np.bool_]
Counts = NDArray[np.int64]  # a row a group: true, then said and hit by the first, said and hit by the second


def difference(truth: Truth, first: Truth, second: Truth, group: NDArray[np.intp], seed: int) -> dict[str, Any]:
    """F1 of both on one question (yes or no a post), the change from the first to the second, and how many posts it mends."""
    kinds, counts = _kinds(truth, first, second, group)
    was, now = (float(f1[0]) for f1 in _f1s(counts[None, :] @ kinds))
    random = np.random.default_rng(seed)
    drawn = (
        random.multinomial(counts.sum(), counts / max(counts.sum(), 1), size=_DRAWS) if len(counts) else counts[None]
    )
    before, after = _f1s(drawn @ kinds)
    return {
        "posts": len(truth),
        "true": int(truth.sum()),
        "f1": [told(was), told(now)],
        "change": told(now - was),
        "interval": interval(after - before),
        "mended": int(((first != truth) & (second == truth)).sum()),
        "broken": int(((first == truth) & (second != truth)).sum()),
        "p": _by_chance(kinds, counts, abs(now - was), random),
    }


def judged(parts: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The parts with `p` corrected for how many they are, and `verdict`: better, worse or the same as far as can be told.

    >>> made = judged({"tr": {"p": 0.01, "change": 0.02}, "sr": {"p": 0.04, "change": -0.01}, "bg": {"p": 0.03, "change": 0.1}})
    >>> [(each["p"], each["verdict"]) for each in made.values()]
    [(0.03, 'better'), (0.06, ''), (0.06, '')]
    """
    made, least = {}, 0.0
    for rank, name in enumerate(sorted(parts, key=lambda name: (parts[name]["p"], name))):
        least = max(least, min(1.0, parts[name]["p"] * (len(parts) - rank)))
        verdict = "" if least > SURE else "better" if parts[name]["change"] > 0 else "worse"
        made[name] = parts[name] | {"p": round(least, 4), "verdict": verdict}
    return {name: made[name] for name in parts}


def _kinds(truth: Truth, first: Truth, second: Truth, group: NDArray[np.intp]) -> tuple[Counts, Counts]:
    """The different rows of counts that groups have, and how many groups have each."""
    columns = np.stack([truth, first, first & truth, second, second & truth], axis=1).astype(np.int64)
    _, place = np.unique(group, return_inverse=True)
    rows = np.zeros((int(place.max()) + 1 if len(place) else 0, columns.shape[1]), np.int64)
    np.add.at(rows, place, columns)
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    return kinds, counts.astype(np.int64)


def _f1s(sums: Counts) -> tuple[Floats, Floats]:
    true, said, hit, said_after, hit_after = sums.T.astype(np.float64)
    return 2 * hit / np.maximum(true + said, 1), 2 * hit_after / np.maximum(true + said_after, 1)


def _by_chance(kinds: Counts, counts: Counts, change: float, random: np.random.Generator) -> float:
    """How often a change as large comes about when it is left to chance which of the two gave which answer."""
    parted = (kinds[:, 1:3] != kinds[:, 3:5]).any(axis=1)
    agreed = counts[~parted] @ kinds[~parted]
    swapped = random.binomial(counts[parted], 0.5, size=(_DRAWS, int(parted.sum())))
    other_way = kinds[parted][:, [0, 3, 4, 1, 2]]
    before, after = _f1s(agreed + swapped @ other_way + (counts[parted] - swapped) @ kinds[parted])
    return float((1 + (np.abs(after - before) >= change - 1e-12).sum()) / (1 + _DRAWS))
