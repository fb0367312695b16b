"""Which texts are copies of one another: a key made of bands, of which near-duplicates share some.

The words of a text, order and repeats aside, are put through 24 random orders; the first words of two orders at a time make a
band (MinHash with locality-sensitive hashing; Broder 1997). Two texts share a given band with the probability J squared, J
being the share of their words that they have in common: copies with a few words changed share several of the twelve. In the
labelled posts and in real ones two texts of five words and more by different people have less than half of their words in
common, whatever fails, and mostly less than a tenth.

A shorter text has one band, all of its words, because many people write the same four words without copying anyone;
what is made of that is up to `signals.aggregate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

LONG = 5  # distinct words from which on a text is somebody's own
SHORT = "~"  # begins the one band of a shorter text
BANDS, ROWS = 12, 2

_random = np.random.Generator(np.random.PCG64(20260302))  # part of the key: another seed makes other bands
_TIMES = _random.integers(1, 2**63, (BANDS * ROWS, 1), dtype=np.uint64) | np.uint64(1)
_PLUS = _random.integers(1, 2**63, (BANDS * ROWS, 1), dtype=np.uint64)
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)


def cluster_of(folded: str) -> str:
    """The key of a skeleton: its bands, separated by spaces; empty when it has no words.

    >>> first = cluster_of("instagram coktu mu acaba bir tek bende mi 3")
    >>> first == cluster_of("acaba tek bende mi bir instagram coktu mu")
    True
    >>> text = "kimse giremiyor instagrama iki saattir hata veriyor sizde durum nasil arkadaslar"
    >>> changed = cluster_of(text.replace("saattir", "gundur").replace("arkadaslar", "millet"))
    >>> len(set(cluster_of(text).split()) & set(changed.split())), len(set(first.split()) & set(changed.split()))
    (5, 0)
    >>> cluster_of("instagram coktu")[0], cluster_of("3")
    ('~', '')
    """
    return clusters_of([folded])[0]


def clusters_of(folded: Sequence[str]) -> list[str]:
    """The keys of many skeletons, in order."""
    words = [{word for word in text.split() if len(word) > 1 and not word.isdigit()} for text in folded]
    keys = [_short(one) for one in words]
    long = [n for n, one in enumerate(words) if len(one) >= LONG]
    if not long:
        return keys
    numbers = np.array([_number(word) for n in long for word in words[n]], dtype=np.uint64)
    begins = np.cumsum([0, *(len(words[n]) for n in long[:-1])])
    firsts = np.minimum.reduceat((_TIMES * numbers + _PLUS) >> np.uint64(32), begins, axis=1)
    bands = ((firsts.T.reshape(len(long), BANDS, ROWS) + np.uint64(1)) * _MIX).sum(
        axis=2, dtype=np.uint64
    ) >> np.uint64(44)
    for n, row in zip(long, bands.tolist(), strict=True):
        keys[n] = " ".join([f"{chr(97 + place)}{band:05x}" for place, band in enumerate(row)])
    return keys


def _short(words: set[str]) -> str:
    if not words or len(words) >= LONG:
        return ""
    return SHORT + blake2b(" ".join(sorted(words)).encode(), digest_size=8).hexdigest()


@lru_cache(50_000)
def _number(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
