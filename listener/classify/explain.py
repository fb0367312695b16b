"""Why a reading scored as it did: how far each word, each meaning and each finding moved the odds of chatter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from listener.classify import features
from listener.classify.linear import Linear, softmax
from listener.classify.network import Network
from listener.classify.ngrams import Parameters, grams
from listener.classify.sensegrams import sense_grams
from listener.classify.senses import Senses
from listener.types import Reading


def moved(
    reading: Reading, wide: Linear, deep: Network, parameters: Parameters, senses: Senses, chatter: NDArray[np.bool_]
) -> list[tuple[str, float]]:
    """Name and push in logits, the strongest first.

    With its hidden units as they are switched for this reading the network is linear too, so pushes add up.
    """
    matrix = features.matrix([reading], parameters, senses)
    folded = features.folded(matrix, parameters)
    odds = softmax(wide.logits(matrix) + deep.logits(folded))[0]
    inside, outside = odds * chatter, odds * ~chatter
    direction = (inside / max(inside.sum(), 1e-12) - outside / max(outside.sum(), 1e-12)).astype(np.float32)
    toward = (deep.outward @ direction) * (deep.hidden(folded)[0] > 0)
    pushes = wide.weights[matrix.indices] @ direction + deep.inward[folded.indices] @ toward
    names = dict(_named(reading, parameters, senses))
    pushed: dict[str, float] = defaultdict(float)
    for column, push in zip(matrix.indices.tolist(), (matrix.data * pushes).tolist(), strict=True):
        pushed[names[column]] += push
    return sorted(pushed.items(), key=lambda item: (-abs(item[1]), item[0]))


def _named(reading: Reading, parameters: Parameters, senses: Senses) -> Iterator[tuple[int, str]]:
    """What each column of the reading's row stands for: the word a piece is of, words, senses in braces, findings."""
    text = features.masked(reading)
    words = text.split()
    found = grams([text], parameters)
    at = np.cumsum(np.array([char == " " for char in f" {text} "])) - 1
    for buckets in found.chars:
        yield from ((int(buckets[i]), words[at[i]]) for i in np.flatnonzero(buckets != found.nothing))
    for buckets, count in zip(found.words, (1, 2, 1, 2, 3), strict=True):
        yield from ((int(buckets[i]), " ".join(words[i : i + count])) for i in np.flatnonzero(buckets != found.nothing))
    meant = sense_grams([senses.of(text, features.spoken_in(reading))], parameters.sense_bits)
    rows = [row for made in meant.made_of for row in zip(*(part.tolist() for part in made), strict=True)]
    for bucket, row in zip(meant.bucket.tolist(), rows, strict=True):
        yield parameters.buckets + bucket, "{" + " ".join(senses.names[sense] for sense in row) + "}"
    for column, name in enumerate(features.TOLD):
        yield parameters.buckets + parameters.sense_buckets + column, name
