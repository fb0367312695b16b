"""Chooses the posts most worth a person's time: where the model wavers, spread over languages and services, and an audit share.

The posts of the audit share are drawn by lot before anything else is looked at, so that what is counted on them alone (how
often the model is right, how much chatter there is) holds for the whole pool. All others are picked and tell nothing of it.
What each way of choosing is worth is measured in `curves`; `margin` with languages evened out won.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from listener.types import UNNAMED, Floats

STRATEGIES = ("margin", "disagreement", "entropy", "random")
AUDIT = "audit"  # how a post is said to be picked that was drawn by lot
AUDIT_SHARE = 0.2
EVEN = 0.5  # a language's share of the picks goes by its posts to this power: 1 = as in the pool, 0 = all the same
ONE_SERVICE = 0.25  # of a language's picks, the most about one named service
_CHATTER = 4  # columns of the four labels that are chatter
_DISSENT = 0.25  # weight of the second opinion beside the margin
_ANY = frozenset({"", UNNAMED, "internet"})  # no service in particular


@dataclass(frozen=True)
class Pool:
    """What is known of the posts to choose from: arrays of one length, one entry a post (or a group of near-duplicates)."""

    probabilities: Floats  # (posts, 9), in the order of LABELS
    opinion: NDArray[np.bool_]  # whether the phrases found, asked alone, say chatter
    languages: Sequence[str]
    services: Sequence[str]  # the first one named, or empty

    def __len__(self) -> int:
        return len(self.languages)


def worth(pool: Pool, strategy: str, random: np.random.Generator) -> Floats:
    """How much an answer would teach, by post; only the order means anything. `strategy` is one of `STRATEGIES`.

    margin: chatter probability near a half. disagreement: the same, and the phrases say otherwise than the model.
    entropy: unsure between the nine labels.
    """
    chatter = pool.probabilities[:, :_CHATTER].sum(axis=1)
    if strategy == "margin":
        made: Floats = -np.abs(chatter - 0.5)
    elif strategy == "disagreement":
        made = -np.abs(chatter - 0.5) + _DISSENT * np.abs(chatter - pool.opinion)
    elif strategy == "entropy":
        made = -(pool.probabilities * np.log(np.maximum(pool.probabilities, 1e-12))).sum(axis=1)
    else:
        made = random.random(len(pool))
    return made


def choose(
    pool: Pool, count: int, random: np.random.Generator, *, strategy: str = "margin", audit: float = AUDIT_SHARE
) -> list[tuple[int, str]]:
    """Up to `count` places in the pool, each with how it was picked (`audit` or the strategy), in an order that tells nothing.

    The same pool and the same state of `random` give the same choice.
    """
    count = min(count, len(pool))
    drawn = random.permutation(len(pool))[: round(count * audit)].tolist()
    values = worth(pool, strategy, random)
    taken = set(drawn)
    order = [i for i in np.lexsort((random.random(len(pool)), -values)).tolist() if i not in taken]
    picked = spread(order, pool, count - len(drawn))
    made = [(i, AUDIT) for i in drawn] + [(i, strategy) for i in picked]
    return [made[i] for i in random.permutation(len(made)).tolist()]


def spread(order: Sequence[int], pool: Pool, count: int, even: float = EVEN) -> list[int]:
    """The first of `order` that keep to the shares of languages and services; what is then missing by language, then by order."""
    shares = quotas([pool.languages[i] for i in order], count, even)
    kept: dict[int, None] = {}
    by_language, by_service = Counter[str](), Counter[tuple[str, str]]()
    for strict in (True, False):
        for i in order:
            language, service = pool.languages[i], pool.services[i]
            most = ceil(shares[language] * ONE_SERVICE) if strict and service not in _ANY else count
            if i not in kept and by_language[language] < shares[language] and by_service[language, service] < most:
                kept[i] = None
                by_language[language] += 1
                by_service[language, service] += 1
            if len(kept) == count:
                return list(kept)
    kept.update(dict.fromkeys(order))
    return list(kept)[:count]


def quotas(languages: Sequence[str], count: int, even: float) -> dict[str, int]:
    """How many of `count` fall to each language, by largest remainder.

    >>> quotas(["tr"] * 90 + ["sq"] * 10, 8, even=0.5), quotas(["tr"] * 90 + ["sq"] * 10, 10, even=1)
    ({'sq': 2, 'tr': 6}, {'sq': 1, 'tr': 9})
    """
    found = sorted(Counter(languages).items())
    total = sum(posts**even for _, posts in found)
    wanted = {language: count * posts**even / total for language, posts in found}
    made = {language: int(share) for language, share in wanted.items()}
    for language in sorted(wanted, key=lambda one: (made[one] - wanted[one], one))[: count - sum(made.values())]:
        made[language] += 1
    return made
