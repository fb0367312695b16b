"""How many words of a text are unknown to a model: they hold a run of four letters that no post it learnt from had."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from listener.text.chargrams import bucket, windows
from listener.text.language import Identifier, words_of

_RUN = 4  # letters, of which the identifier remembers every run it was trained on
_SALT = 9  # under which it remembers them


def unknown_words(identifier: Identifier, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Of each clean text, how many words hold a run of letters never met, and how many words there are.

    Shorter words than a run, and what stands for links and handles, are no words here.
    """
    words = [[word for word in words_of(text).split() if len(word) >= _RUN] for text in texts]
    ends = np.cumsum([0, *(len(of) for of in words)])
    if not ends[-1]:
        return [(0, 0)] * len(texts)
    found = windows([word for of in words for word in of], _RUN)
    place = bucket(found.rolled[_RUN - 1], _SALT, identifier.settings.seen_bits)
    strange = ~identifier.seen[place] & found.inside[_RUN - 1]
    unknown = np.logical_or.reduceat(strange, found.first)
    before = np.concatenate([[0], np.cumsum(unknown)])
    return [(int(before[b] - before[a]), int(b - a)) for a, b in pairwise(ends)]
