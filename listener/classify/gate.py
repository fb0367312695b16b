"""Whether a post says enough to be judged: something was found in it, or its words by themselves make chatter possible.

The words' weights are a logistic regression over hashed words and stems, far cheaper than the classifier behind it; its
floor is set so that little chatter is lost (see models/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.classify.ngrams import Indices, Parameters, word_grams
from listener.types import Match

FOUND = frozenset({"service", "network", "trouble", "weak", "block", "recovery"})
BITS = 15
_KINDS = (0, 2)  # of `word_grams`: words, stems


def is_found(matches: Sequence[Match]) -> bool:
    """Whether a post names a service, or trouble, a block or a recovery."""
    return any(match.kind in FOUND for match in matches)


@dataclass(frozen=True)
class Gate:
    """`weights` of buckets (the last one zero: no word there) and the sum from which a post passes."""

    weights: NDArray[np.float32]
    floor: float
    parameters: Parameters

    @classmethod
    def of(cls, weights: NDArray[Any], floor: float, parameters: Parameters) -> Gate:
        return cls(np.append(weights.astype(np.float32), np.float32(0)), floor, parameters)

    def passes(self, skeletons: Sequence[str], found: Sequence[Sequence[Match]]) -> list[bool]:
        """One answer a post."""
        enough = (self.sums(skeletons) >= self.floor).tolist()
        return [
            bool(text) and (more or is_found(matches))
            for text, matches, more in zip(skeletons, found, enough, strict=True)
        ]

    def sums(self, skeletons: Sequence[str]) -> NDArray[np.float64]:
        rows, columns = cells(skeletons, self.parameters)
        return np.bincount(rows, self.weights[columns], minlength=len(skeletons)).astype(np.float64)


def cells(skeletons: Sequence[str], parameters: Parameters) -> tuple[Indices, Indices]:
    """Post and bucket of every word and stem."""
    words, posts, nothing = word_grams(skeletons, replace(parameters, bits=BITS))
    rows = np.concatenate([posts] * len(_KINDS))
    columns = np.concatenate([words[kind] for kind in _KINDS])
    real = columns != nothing
    return rows[real], columns[real]
