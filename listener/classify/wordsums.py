"""What `Gate.sums` adds up, for a batch that is already folded to one array of letters: the same sums, without words as objects.

A word's hash is a polynomial in its letters, so all of them, and of their stems, come from one running total: the total at
the end less that at the beginning, divided by the power at the beginning (odd numbers have an inverse modulo 2**32).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from listener.classify.gate import BITS, Gate
from listener.classify.ngrams import HIGH, STEP, Codes, Indices, bucket

_WORD, _STEM = 11, 13  # the salts of `ngrams.word_grams`
_INVERSE = np.uint32(pow(int(STEP), -1, 2**32))


class WordSums:
    """Sums of a gate's weights. The tables of powers grow with the longest batch; they only save time."""

    def __init__(self, gate: Gate) -> None:
        self._weights = gate.weights
        self._stem = gate.parameters.stem
        self._powers: tuple[Codes, Codes] = _powers(1 << 17)

    def of(self, codes: NDArray[np.uint8] | Codes, ends: Indices) -> tuple[NDArray[np.float64], Indices]:
        """Sum and number of words of each text.

        `codes` are letters (above 32) with at least one space or line feed at both ends of every word; `ends` says where
        each text ends.
        """
        if len(codes) >= len(self._powers[0]):
            self._powers = _powers(2 * len(codes))
        powers, inverse = self._powers
        letter = codes > 32
        edges = np.flatnonzero(letter[1:] != letter[:-1]) + 1
        first, last = edges[0::2], edges[1::2]
        total = np.zeros(len(codes) + 1, np.uint32)
        np.cumsum(codes * powers[: len(codes)], dtype=np.uint32, out=total[1:])
        before, back = total[first], inverse[first]
        stems = np.minimum(first + self._stem, last)
        weights = self._weights
        weight = weights[bucket((total[last] - before) * back, _WORD, BITS)].astype(np.float64)
        weight += weights[bucket((total[stems] - before) * back, _STEM, BITS)]
        upto = np.searchsorted(first, ends)
        sums = np.concatenate([[0.0], np.cumsum(weight)])[upto]
        return np.diff(sums, prepend=0.0), np.diff(upto, prepend=0)


def _powers(length: int) -> tuple[Codes, Codes]:
    """What the letter at each place of a batch is multiplied with, and what undoes it for a word that begins there."""
    forward = np.cumprod(np.full(length, STEP, np.uint32), dtype=np.uint32) * HIGH
    back = np.cumprod(np.concatenate([[np.uint32(1)], np.full(length - 1, _INVERSE, np.uint32)]), dtype=np.uint32)
    return forward, back
